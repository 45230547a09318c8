package keysonly

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
)

func TestPlane(t *testing.T) {
	planetest.Run(t, func(*testing.T) dataplane.Plane { return Open() })
}

func TestKeepsWhatItWasTold(t *testing.T) {
	p := Open()
	defer p.Close()
	told := planetest.Child(0x1000)
	if err := p.Install(told); err != nil {
		t.Fatal(err)
	}
	clear(told.EncrIn)
	clear(told.LocalTS)
	want := planetest.Child(0x1000)
	kept := p.Children()
	if len(kept) != 1 {
		t.Fatalf("%d children, want 1", len(kept))
	}
	got := kept[0]
	if !bytes.Equal(got.EncrIn, want.EncrIn) || !bytes.Equal(got.EncrOut, want.EncrOut) || got.LocalTS[0] != want.LocalTS[0] {
		t.Error("what was kept changed with the caller's slices")
	}
	clear(got.EncrOut)
	if again := p.Children()[0]; !bytes.Equal(again.EncrOut, want.EncrOut) {
		t.Error("Children gives what is kept itself, not a copy")
	}
}

func TestKeysAreWiped(t *testing.T) {
	for name, end := range map[string]func(*Plane) error{
		"Remove": func(p *Plane) error { return p.Remove(0x1000) },
		"Close":  (*Plane).Close,
	} {
		p := Open()
		if err := p.Install(planetest.Child(0x1000)); err != nil {
			t.Fatal(err)
		}
		kept := p.children[0x1000]
		if err := end(p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kept.EncrIn, make([]byte, len(kept.EncrIn))) {
			t.Errorf("%s leaves keys in memory", name)
		}
	}
}

func TestKeysArePrintedNowhere(t *testing.T) {
	c := planetest.Child(0x1000)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		shown := fmt.Sprintf(verb, c)
		for _, secret := range []string{
			fmt.Sprintf("%x", []byte(c.EncrIn)), fmt.Sprintf("%d", []byte(c.EncrIn)), strings.Trim(fmt.Sprint([]byte(c.EncrOut)), "[]"),
		} {
			if strings.Contains(shown, secret) {
				t.Errorf("%s shows a key: %s", verb, shown)
			}
		}
		if !strings.Contains(shown, "redacted") {
			t.Errorf("%s: no %q in %s", verb, "redacted", shown)
		}
	}
}
