package durable

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// want fails unless the file has these contents and mode, and nothing lies
// beside it.
func want(t *testing.T, path, contents string, mode fs.FileMode) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != contents {
		t.Errorf("%s has %q, %v, want %q", path, b, err, contents)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != mode {
		t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, mode)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside %s: %v, %v", path, entries, err)
	}
}

func put(t *testing.T, path, contents string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReplace(t *testing.T) {
	for _, before := range []string{"nothing", "a file", "a killed call"} {
		path := filepath.Join(t.TempDir(), "f")
		switch before {
		case "a file":
			put(t, path, "old, and longer than what comes")
		case "a killed call":
			put(t, path+Next, "half of something, open to all")
		}
		if err := Replace(path, []byte("new")); err != nil {
			t.Errorf("over %s: %v", before, err)
		}
		want(t, path, "new", 0o600)
	}
}

// A reader that has the old file open keeps the old contents: the new ones are
// another file, and are never seen half written.
func TestReplaceLeavesOpenFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "old")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Replace(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if n, _ := f.Read(b); string(b[:n]) != "old" {
		t.Errorf("the open file has %q", b[:n])
	}
}

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	var named *fs.PathError
	if err := Replace(filepath.Join(dir, "gone", "f"), nil); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &named) {
		t.Errorf("without a directory: %v", err)
	}
	path := filepath.Join(dir, "sub")
	if err := os.MkdirAll(filepath.Join(path, "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("new")); err == nil {
		t.Error("replaced a directory")
	}
	if err := Discard(path); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path+Next, "half of something")
	if err := Create(path, []byte("first"), 0o400); err != nil {
		t.Fatal(err)
	}
	want(t, path, "first", 0o400)
	if err := Create(path, []byte("second"), 0o400); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v, want fs.ErrExist", err)
	}
	want(t, path, "first", 0o400)
}

func TestMakeDir(t *testing.T) {
	top := filepath.Join(t.TempDir(), "a")
	path := filepath.Join(top, "b", "c")
	for range 2 {
		if err := MakeDir(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{top, path} {
		if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := MakeDir(top); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(top); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("one that is there became %v, %v", info.Mode(), err)
	}
	file := filepath.Join(top, "file")
	put(t, file, "")
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if err := MakeDir(path); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v, want ENOTDIR", path, err)
		}
	}
}

// victimEnv makes this test binary the process that TestKilled kills: it
// replaces a file for ever and prints the number of each version that is there.
const victimEnv = "BLACKSWAN_DURABLE_VICTIM"

func TestMain(m *testing.M) {
	path := os.Getenv(victimEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	for i := 0; ; i++ {
		if err := Replace(path, version(i)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// version is 4 to 64 KiB of one number, so that half of it is not another one.
func version(i int) []byte {
	return bytes.Repeat([]byte(strconv.Itoa(i)+"\n"), 2048*(1+i%8))
}

// TestKilled: killed at any moment, a writer leaves a whole version, the last
// that it spoke of or the one after.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for round := range 10 {
		last := kill(t, path, 1+3*round)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, version(last)) && !bytes.Equal(got, version(last+1)) {
			t.Errorf("round %d: %d octets, neither version %d nor the next", round, len(got), last)
		}
	}
	if err := Replace(path, []byte("the end")); err != nil {
		t.Fatal(err)
	}
	want(t, path, "the end", 0o600)
}

// kill starts a victim, kills it once it has spoken n times and returns the
// last number that it said.
func kill(t *testing.T, path string, n int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := 0
	lines := bufio.NewScanner(out)
	for said := 0; lines.Scan(); said++ {
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("the victim failed: %s", lines.Text())
		}
		if said == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if cmd.Wait() == nil {
		t.Fatal("the victim ended by itself")
	}
	return last
}
