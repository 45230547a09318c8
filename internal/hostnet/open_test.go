//go:build linux

package hostnet

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenDamaged: Open says what a person can do, and leaves the file alone.
func TestOpenDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "office"+journalSuffix)
	half := encoded(t, good())[:100]
	must(t, os.WriteFile(path, half, 0o600))
	for range 2 {
		_, err := Open(dir, "office")
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "ip route show table 17664") {
			t.Errorf("error %v", err)
		}
	}
	if b, err := os.ReadFile(path); !bytes.Equal(b, half) {
		t.Errorf("the file is now %q, %v", b, err)
	}
	must(t, os.WriteFile(path, encoded(t, good()), 0o600))
	must(t, os.Chmod(path, 0o620))
	if _, err := Open(dir, "office"); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a journal that others may write to: %v", err)
	}
}

func TestHeld(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	if _, err := Open(dir, "office"); !errors.Is(err, ErrHeld) {
		t.Errorf("the same connection: %v", err)
	}
	other, err := Open(dir, "../office") // a name is no path
	must(t, err)
	must(t, other.Close())
	must(t, h.Close())
	must(t, open(t, dir).Close())
	if outside, _ := filepath.Glob(filepath.Join(dir, "..", "office*")); outside != nil {
		t.Errorf("outside of the directory: %v", outside)
	}
}

// TestRebooted: what a former kernel had is gone, whatever looks like it now;
// what programs were told may be on disk.
func TestRebooted(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	if h.Changed() {
		t.Error("something to undo in a new directory")
	}
	h.journal = good()
	h.journal.Boot = "another"
	must(t, h.save())
	must(t, h.Close())
	h = open(t, dir)
	if h.journal.Entries != nil || h.journal.Link != nil || h.journal.DNS == nil {
		t.Errorf("journal %+v", h.journal)
	}
}

func open(t testing.TB, dir string) *Host {
	t.Helper()
	h, err := Open(dir, "office")
	must(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}
