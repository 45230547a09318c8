package qcd

import (
	"bytes"
	"errors"
	"testing"
)

func nothingLive(uint8) bool { return false }

func TestRFC6290_5_1_SecretIs32RandomOctets(t *testing.T) {
	g, err := NewGenerations(&counted{next: 9})
	if err != nil {
		t.Fatal(err)
	}
	want := Secret{}
	(&counted{next: 9}).Read(want[:])
	if g.Secrets[0] != want || g.Current != 0 || g.Kept != [Slots]bool{true} {
		t.Errorf("the first generation is not of the reader: current %d, kept %v", g.Current, g.Kept)
	}
	if _, err := NewGenerations(broken{}); err == nil {
		t.Error("a secret without randomness")
	}
}

func TestRFC6290_5_1_ThreeEarlierGenerationsAreKept(t *testing.T) {
	rand := &counted{}
	g, err := NewGenerations(rand)
	if err != nil {
		t.Fatal(err)
	}
	history := []Secret{g.Secrets[0]}
	for range 9 {
		if err := g.Rotate(rand, nothingLive); err != nil {
			t.Fatal(err)
		}
		history = append(history, g.Secrets[g.Current])
		for back := range min(len(history), Slots) {
			n := len(history) - 1 - back
			slot := n % Slots
			if !g.Kept[slot] || g.Secrets[slot] != history[n] {
				t.Fatalf("after %d rotations generation %d is gone", len(history)-1, n)
			}
		}
		if int(g.Current) != (len(history)-1)%Slots {
			t.Fatalf("current is slot %d after %d rotations", g.Current, len(history)-1)
		}
	}
}

func TestB2_RotateDropsNothingThatLives(t *testing.T) {
	g := made(t, 4) // current 3, oldest 0
	before := g
	asked := -1
	err := g.Rotate(&counted{}, func(generation uint8) bool { asked = int(generation); return true })
	if !errors.Is(err, ErrLive) || g != before || asked != 0 {
		t.Errorf("asked for %d, then %v, changed %v; want 0, ErrLive, unchanged", asked, err, g != before)
	}
	// A revoked generation still has SAs whose SPIs name it: a new secret in
	// its slot would give them the wrong token.
	g.Revoke(0)
	if err := g.Rotate(&counted{}, func(generation uint8) bool { return generation == 0 }); !errors.Is(err, ErrLive) {
		t.Errorf("slot of a revoked generation with live SAs was used again: %v", err)
	}
	if err := g.Rotate(broken{}, nothingLive); err == nil || g.Current != 3 {
		t.Errorf("rotated without randomness: %v, current %d", err, g.Current)
	}
}

func TestB2_Revoke(t *testing.T) {
	g := made(t, 3)
	if err := g.Revoke(g.Current); !errors.Is(err, ErrCurrent) || !g.Kept[g.Current] {
		t.Errorf("revoked the current generation: %v", err)
	}
	if err := g.Revoke(1); err != nil || g.Kept[1] || g.Secrets[1] != (Secret{}) {
		t.Errorf("Revoke(1): %v, its secret is still there: %v", err, g.Kept[1])
	}
}

func TestGenerationsEncoding(t *testing.T) {
	for n := 1; n <= 6; n++ {
		g := made(t, n)
		if n > 2 {
			g.Revoke((g.Current + Slots - 1) % Slots)
		}
		b := g.Append([]byte("kept"))[4:]
		got, err := ParseGenerations(b)
		if err != nil || got != g {
			t.Fatalf("%d generations do not come back: %v", n, err)
		}
		for i := range b {
			if _, err := ParseGenerations(b[:i]); err != ErrFormat {
				t.Fatalf("a prefix of %d octets: %v", i, err)
			}
		}
		if _, err := ParseGenerations(append(bytes.Clone(b), 0)); err != ErrFormat {
			t.Errorf("with an octet more: %v", err)
		}
	}
	good := made(t, 2).Append(nil)
	for name, change := range map[string]func(b []byte){
		"version":            func(b []byte) { b[0] = 2 },
		"current 4":          func(b []byte) { b[1] = 4 },
		"current not kept":   func(b []byte) { b[1] = 2 },
		"fifth slot":         func(b []byte) { b[2] |= 1 << 4 },
		"slot without one":   func(b []byte) { b[2] |= 1 << 3 },
		"secret without one": func(b []byte) { b[2] &^= 1 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := ParseGenerations(b); err != ErrFormat {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseGenerations(f *testing.F) {
	f.Add(made(f, 1).Append(nil))
	f.Add(made(f, 5).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGenerations(b)
		if err != nil {
			return
		}
		if got := g.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("%x comes back as %x", b, got)
		}
		if _, ok := g.For(g.Current + 1); !ok {
			t.Error("no secret at all")
		}
	})
}
