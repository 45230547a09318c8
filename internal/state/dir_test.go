package state

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"blackswan/store"
	"blackswan/store/bolt"
)

// machineAt writes a machine-id and returns options that look there.
func machineAt(t testing.TB, id string) Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{MachineID: []string{path}}
}

// openDir opens a directory that is closed when the test ends, if not before.
func openDir(t testing.TB, path string, opt Options) *Dir {
	t.Helper()
	d, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func closeDir(t testing.TB, d *Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// refused opens a directory that must not open and looks for words in the error.
func refused(t *testing.T, path string, opt Options, words ...string) {
	t.Helper()
	d, err := Open(path, opt)
	if err == nil {
		d.Close()
		t.Fatalf("opened; want an error with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v\nlacks %q", err, w)
		}
	}
}

func TestOpenFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "state")
	opt := machineAt(t, "m1")
	d := openDir(t, path, opt)
	for name, mode := range map[string]os.FileMode{".": 0o700, keyFile: 0o600, storeFile: 0o600, lockFile: 0o600} {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode().Perm(), err, mode)
		}
	}
	key, err := ReadStateKey(filepath.Join(path, keyFile))
	if err != nil || key == (StateKey{}) {
		t.Fatalf("the key in the file: %v", err)
	}
	if err := d.Store().Apply(t.Context(), []store.Op{{Key: []byte("place"), Value: []byte("plain")}}, store.Behind); err != nil {
		t.Fatal(err)
	}
	closeDir(t, d)
	closeDir(t, d)

	d = openDir(t, path, opt)
	if b, err := d.Store().Get(t.Context(), []byte("place")); err != nil || string(b) != "plain" {
		t.Errorf("after a restart: %q, %v", b, err)
	}
	closeDir(t, d)
	engine, err := bolt.Open(filepath.Join(path, storeFile), true)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	b, err := engine.Get(t.Context(), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := Unwrap(key, []byte("place"), b); err != nil || string(plain) != "plain" {
		t.Errorf("in the file: %q, %v; want it wrapped under the key in the file", b, err)
	}
}

// TestRuleF6_NeverAnew: what a directory lost is not replaced by something empty.
func TestRuleF6_NeverAnew(t *testing.T) {
	begun := func(t *testing.T, opt Options) string {
		path := t.TempDir()
		d := openDir(t, path, opt)
		op := store.Op{Key: []byte("k"), Value: []byte("v")}
		if err := d.Store().Apply(t.Context(), []store.Op{op}, store.Durable); err != nil {
			t.Fatal(err)
		}
		if opt.Key != nil { // Boot leaves this behind
			if err := d.Adopt(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		closeDir(t, d)
		return path
	}
	remove := func(t *testing.T, path, name string) {
		if err := os.Remove(filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	opt := machineAt(t, "m1")
	key := NewStateKey()
	keyed := opt
	keyed.Key = &key
	t.Run("store missing", func(t *testing.T) {
		path := begun(t, opt)
		remove(t, path, storeFile)
		for range 2 {
			refused(t, path, opt, storeFile, "missing or empty", "restore")
		}
	})
	t.Run("store empty", func(t *testing.T) {
		path := begun(t, opt)
		if err := os.Truncate(filepath.Join(path, storeFile), 0); err != nil {
			t.Fatal(err)
		}
		refused(t, path, opt, storeFile, "missing or empty", "restore")
	})
	t.Run("store missing, key configured", func(t *testing.T) {
		path := begun(t, keyed)
		remove(t, path, storeFile)
		refused(t, path, keyed, storeFile, "missing or empty")
	})
	t.Run("key missing", func(t *testing.T) {
		path := begun(t, opt)
		remove(t, path, keyFile)
		for range 2 {
			refused(t, path, opt, keyFile, "missing", "restore")
		}
	})
	t.Run("key cut", func(t *testing.T) {
		path := begun(t, opt)
		if err := os.Truncate(filepath.Join(path, keyFile), 40); err != nil {
			t.Fatal(err)
		}
		refused(t, path, opt, keyFile, "not a state key")
	})
	t.Run("two keys", func(t *testing.T) {
		refused(t, begun(t, opt), keyed, keyFile, "remove one")
	})
	t.Run("the same key twice", func(t *testing.T) {
		path := begun(t, opt)
		same, err := ReadStateKey(filepath.Join(path, keyFile))
		if err != nil {
			t.Fatal(err)
		}
		openDir(t, path, Options{Key: &same})
	})
}

// TestFirstStartCut: a first start that died anywhere is a first start still.
func TestFirstStartCut(t *testing.T) {
	path := t.TempDir()
	closeDir(t, openDir(t, path, Options{}))
	if err := os.Remove(filepath.Join(path, keyFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, keyFile+".new"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	closeDir(t, openDir(t, path, Options{})) // died before the key
	refusing := Options{Engine: func(string, bool) (store.Store, error) { return nil, errors.New("no disk") }}
	path = t.TempDir()
	refused(t, path, refusing, "no disk")
	if _, err := os.Stat(filepath.Join(path, keyFile)); err == nil {
		t.Error("a key was made for a store that did not open")
	}
	closeDir(t, openDir(t, path, Options{}))
}

func TestPermissions(t *testing.T) {
	path := t.TempDir()
	closeDir(t, openDir(t, path, Options{}))
	key := filepath.Join(path, keyFile)
	for _, c := range []struct {
		file string
		mode os.FileMode
		ok   bool
	}{
		{path, 0o700, true}, {path, 0o750, true}, {path, 0o755, true},
		{path, 0o770, false}, {path, 0o702, false}, {path, 0o777, false},
		{key, 0o400, true}, {key, 0o640, false}, {key, 0o604, false}, {key, 0o620, false}, {key, 0o601, false},
		{filepath.Join(path, storeFile), 0o640, false}, {filepath.Join(path, storeFile), 0o602, false},
	} {
		info, err := os.Stat(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(c.file, c.mode); err != nil {
			t.Fatal(err)
		}
		if c.ok {
			closeDir(t, openDir(t, path, Options{}))
		} else {
			refused(t, path, Options{}, c.file, "chmod", fmt.Sprintf("%04o", c.mode))
		}
		if err := os.Chmod(c.file, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("LEFT OUT: only root can give a file away")
	}
	path := t.TempDir()
	closeDir(t, openDir(t, path, Options{}))
	for _, file := range []string{path, filepath.Join(path, keyFile)} {
		if err := os.Chown(file, 12345, 0); err != nil {
			t.Fatal(err)
		}
		refused(t, path, Options{}, file, "12345")
		if err := os.Chown(file, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadStateKeyMissing(t *testing.T) {
	if _, err := ReadStateKey(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v; want %v", err, os.ErrNotExist)
	}
}

// holderEnv makes this test binary a process that holds a directory.
const holderEnv = "BLACKSWAN_STATE_HOLDER"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderEnv); path != "" {
		d, err := Open(path, Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("holding", d.path)
		select {}
	}
	if path := os.Getenv(victimEnv); path != "" {
		victim(path)
	}
	os.Exit(m.Run())
}

// TestRuleB4_OneProcess: a second process refuses to start and names the first;
// a dead one holds nothing.
func TestRuleB4_OneProcess(t *testing.T) {
	path := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+path)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "holding") {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	for range 2 {
		refused(t, path, Options{}, path, "in use", strconv.Itoa(holder.Process.Pid))
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	holder.Wait()
	openDir(t, path, Options{})
	refused(t, path, Options{}, "in use", strconv.Itoa(os.Getpid()))
}

func TestRuleB4_AdoptNeedsMachine(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	empty := machineAt(t, "").MachineID[0]
	d := openDir(t, t.TempDir(), Options{MachineID: []string{missing, empty}})
	if err := d.Adopt(t.Context()); err == nil || !strings.Contains(err.Error(), "systemd-machine-id-setup") {
		t.Errorf("Adopt without a machine-id = %v", err)
	}
	second := machineAt(t, "m2").MachineID[0]
	d.machineID = append(d.machineID, second)
	if id, err := d.machine(); id != "m2" || err != nil {
		t.Errorf("machine = %q, %v; want the first that is not empty", id, err)
	}
}
