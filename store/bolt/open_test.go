package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func TestRuleF6_MustExist(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	refuse := func(what string) {
		t.Helper()
		_, err := Open(path, true)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: %v; want ErrRefused that names the file and says what to do", what, err)
		}
	}
	refuse("missing")
	if _, err := os.Stat(path); err == nil {
		t.Fatal("Open made what it refused")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse("empty")
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Fatal("Open wrote to what it refused")
	}
}

func TestOpenMakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	leftovers := map[string]string{"": "nothing there", path + ".new": "half a store", path: ""}
	for name, text := range leftovers {
		if name != "" {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := openAt(t, path, false).Close(); err != nil {
			t.Fatal(err)
		}
		if err := openAt(t, path, true).Close(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
		}
		if _, err := os.Stat(path + ".new"); err == nil {
			t.Fatal("the half-made file is still there")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	foreign, err := bbolt.Open(at("foreign"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"short": "hello", "text": strings.Repeat("hello, world\n", 4096)} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := openAt(t, at("open to others"), false).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at("open to others"), 0o640); err != nil {
		t.Fatal(err)
	}
	for name, word := range map[string]string{
		"foreign":        "no bucket",
		"short":          "does not open",
		"text":           "does not open",
		"folder":         "not a regular file",
		"open to others": "chmod 600",
	} {
		for _, mustExist := range []bool{true, false} {
			_, err := Open(at(name), mustExist)
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v; want ErrRefused and %q", name, err, word)
			}
		}
	}
	if _, err := Open(filepath.Join(dir, "no", "such", "folder"), false); err == nil {
		t.Error("a store in a missing folder opened")
	}
}

func TestOpenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	openAt(t, path, false)
	if _, err := Open(path, true); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second Open = %v; want a word that it is in use", err)
	}
}
