package hostnet

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// good is a journal with one of everything.
func good() journal {
	plan := Plan{
		Addresses: prefixes("10.9.0.5/32", "fd00::5/128"), Routes: prefixes("0.0.0.0/0", "::/0"),
		Gateway: netip.MustParseAddr("198.51.100.1"), Mark: 7,
	}
	tun0 := device{"tun0", 7}
	return journal{
		Version: journalVersion, Boot: bootID(), Slot: 3, Entries: plan.entries(tun0),
		Gateway: plan.Gateway, Link: &link{Device: tun0, MTU: 1500}, DNS: &resolver{Program: resolvconf, Device: tun0},
	}
}

func encoded(t testing.TB, j journal) []byte {
	b, err := json.Marshal(&j)
	must(t, err)
	return b
}

func TestJournalRoundTrip(t *testing.T) {
	for _, want := range []journal{good(), {Version: journalVersion}} {
		got, err := parseJournal(encoded(t, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// TestDamagedJournal: no part of a journal that is not whole is acted upon.
func TestDamagedJournal(t *testing.T) {
	b := encoded(t, good())
	for cut := range b {
		if _, err := parseJournal(b[:cut]); err == nil {
			t.Errorf("the first %d of %d octets were enough", cut, len(b))
		}
	}
	for name, spoil := range map[string]func(j *journal){
		"another version":          func(j *journal) { j.Version++ },
		"no slot":                  func(j *journal) { j.Slot = 0 },
		"a slot below":             func(j *journal) { j.Slot = -1 },
		"a slot above":             func(j *journal) { j.Slot = slots + 1 },
		"an unknown kind":          func(j *journal) { j.Entries[0].Kind = "chain" },
		"an address anywhere":      func(j *journal) { j.Entries[0].Device = device{} },
		"a device without number":  func(j *journal) { j.Entries[0].Device.Index = 0 },
		"a rule on a device":       func(j *journal) { j.Entries[2].Device = device{"eth0", 2} },
		"a prefix with host bits":  func(j *journal) { j.Entries[2].Prefix = netip.MustParsePrefix("10.0.0.1/8") },
		"no prefix":                func(j *journal) { j.Entries[2].Prefix = netip.Prefix{} },
		"a link without a device":  func(j *journal) { j.Link.Device.Name = "" },
		"an unknown program":       func(j *journal) { j.DNS.Program = "rm" },
		"a program like a flag":    func(j *journal) { j.DNS.Device.Name = "-rf" },
		"a program without device": func(j *journal) { j.DNS.Device.Name = "" },
	} {
		j := good()
		spoil(&j)
		if _, err := parseJournal(encoded(t, j)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, text := range []string{"", "null", "[]", "{}", string(b) + "{}", strings.Replace(string(b), `"slot"`, `"sloth"`, 1), strings.Repeat("\x00", len(b))} {
		if _, err := parseJournal([]byte(text)); err == nil {
			t.Errorf("%.40q: taken", text)
		}
	}
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"version":1}`))
	f.Add(encoded(f, good()))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := parseJournal(b)
		if err != nil {
			return
		}
		for _, e := range j.Entries {
			if e.command("del", j.Slot) == "" {
				t.Error("an entry that cannot be named")
			}
		}
		again, err := parseJournal(encoded(t, j))
		if err != nil || !bytes.Equal(encoded(t, again), encoded(t, j)) {
			t.Errorf("%+v came back as %+v, %v", j, again, err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConnections(t *testing.T) {
	dir := t.TempDir()
	if got, err := Connections(dir); len(got) != 0 || err != nil {
		t.Errorf("none: %q, %v", got, err)
	}
	want := []string{"a/b c", "office"}
	for _, name := range want {
		h := &Host{dir: dir, connection: name}
		for _, suffix := range []string{journalSuffix, lockSuffix} {
			if err := os.WriteFile(h.file(suffix), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := Connections(dir); !slices.Equal(got, want) || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "%zz"+journalSuffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Connections(dir); err == nil {
		t.Errorf("a name that is none: %q", got)
	}
}
