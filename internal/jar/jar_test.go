package jar

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t testing.TB, dir string) *Jar {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func newJar(t testing.TB) (*Jar, string) {
	dir := filepath.Join(t.TempDir(), "jar")
	return open(t, dir), dir
}

func save(t testing.TB, j *Jar, name string, e *Entry) {
	t.Helper()
	if err := j.Save(name, e); err != nil {
		t.Fatal(err)
	}
}

// contents returns all that the directory's files hold.
func contents(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s: %s\n", filepath.Base(f), b)
	}
	return all.String()
}

func TestRuleD12_SaveLoadWipe(t *testing.T) {
	j, dir := newJar(t)
	if _, err := j.Load("office"); !errors.Is(err, ErrNone) {
		t.Errorf("an empty jar: %v", err)
	}
	first, second := sample(), sample()
	second.Ticket = []byte("the second")
	for _, e := range []*Entry{first, second} {
		save(t, j, "office", e)
		got, err := j.Load("office")
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%v %v", got, err)
		}
	}
	save(t, j, "home", first)
	path := filepath.Join(dir, "office.ticket")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := j.Wipe("office"); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Load("office"); !errors.Is(err, ErrNone) {
		t.Errorf("after Wipe: %v", err)
	}
	if err := j.Wipe("office"); err != nil {
		t.Errorf("the second Wipe: %v", err)
	}
	if got, err := j.Load("home"); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("another connection: %v %v", got, err)
	}
	if left := contents(t, dir); strings.Contains(left, "the second") {
		t.Errorf("left: %s", left)
	}
}

// TestRuleD12_Overwrites: what was replaced or wiped is zeros, for who had the
// file open.
func TestRuleD12_Overwrites(t *testing.T) {
	j, dir := newJar(t)
	save(t, j, "office", sample())
	path := filepath.Join(dir, "office.ticket")
	for name, end := range map[string]func(){
		"Save": func() { save(t, j, "office", sample()) },
		"Wipe": func() {
			if err := j.Wipe("office"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		save(t, j, "office", sample())
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		end()
		b := make([]byte, maxFile)
		n, err := f.ReadAt(b, 0)
		if n < fixed || len(bytes.Trim(b[:n], "\x00")) > 0 {
			t.Errorf("%s left %q, %v", name, b[:n], err)
		}
	}
}

// TestRuleD12_Lock: one process at a time; who only looks is not kept out.
func TestRuleD12_Lock(t *testing.T) {
	j, dir := newJar(t)
	save(t, j, "office", sample())
	other := open(t, dir)
	_, err := other.Load("office")
	for what, err := range map[string]error{
		"Load": err, "Save": other.Save("office", sample()), "Wipe": other.Wipe("office"),
	} {
		if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if e, err := other.Peek("office"); err != nil || !reflect.DeepEqual(e, sample()) {
		t.Errorf("Peek: %v %v", e, err)
	}
	if _, err := other.Load("home"); !errors.Is(err, ErrNone) {
		t.Errorf("another connection: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Load("office"); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// TestCorrupt: a damaged file is moved aside and told of once, and Wipe clears
// that away too.
func TestCorrupt(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"cut short": func(path string) error { return os.Truncate(path, 100) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"too long":  func(path string) error { return os.Truncate(path, 1<<20) },
		"rubbish":   func(path string) error { return os.WriteFile(path, []byte("rubbish"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			j, dir := newJar(t)
			save(t, j, "office", sample())
			path := filepath.Join(dir, "office.ticket")
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			if _, err := j.Peek("office"); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Peek: %v", err)
			}
			if _, err := j.Load("office"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path+".corrupt") {
				t.Errorf("Load: %v", err)
			}
			if _, err := j.Load("office"); !errors.Is(err, ErrNone) {
				t.Errorf("the second Load: %v", err)
			}
			if err := j.Wipe("office"); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path + ".corrupt"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the damaged file is left: %v", err)
			}
		})
	}
}

// TestRuleD12_Match: what does not fit the profile any more is wiped.
func TestRuleD12_Match(t *testing.T) {
	now := time.Unix(1750000000, 0)
	all := func([32]byte) bool { return true }
	for _, row := range []struct {
		name    string
		change  func(*Entry)
		profile [32]byte
		now     time.Time
		trusted func([32]byte) bool
		want    error
	}{
		{"fits", nil, [32]byte{1}, now, all, nil},
		{"in its last second", nil, [32]byte{1}, time.Unix(1799999999, 0), all, nil},
		{"a shared key has no certificate", func(e *Entry) { e.Anchor, e.PeerCert, e.NotAfter = [32]byte{}, [32]byte{}, time.Time{} }, [32]byte{1}, now, func([32]byte) bool { return false }, nil},
		{"another profile", nil, [32]byte{9}, now, all, ErrMismatch},
		{"another authority", nil, [32]byte{1}, now, func(a [32]byte) bool { return a != [32]byte{3} }, ErrMismatch},
		{"the gateway's certificate ended", func(e *Entry) { e.NotAfter = now.Add(-time.Second) }, [32]byte{1}, now, all, ErrMismatch},
		{"expired", nil, [32]byte{1}, time.Unix(1800000000, 0), all, ErrExpired},
		{"without an expiry", func(e *Entry) { e.Expires = time.Time{} }, [32]byte{1}, now, all, ErrExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			j, dir := newJar(t)
			e := sample()
			if row.change != nil {
				row.change(e)
			}
			save(t, j, "office", e)
			got, err := j.Match("office", row.profile, row.now, row.trusted)
			if !errors.Is(err, row.want) || (got == nil) != (row.want != nil) {
				t.Fatalf("%v %v, want %v", got, err, row.want)
			}
			if left := strings.Contains(contents(t, dir), "secret"); left != (row.want == nil) {
				t.Errorf("secret on disk: %v", left)
			}
		})
	}
	j, _ := newJar(t)
	if _, err := j.Match("office", [32]byte{1}, now, all); !errors.Is(err, ErrNone) {
		t.Errorf("an empty jar: %v", err)
	}
}

func TestSaveRefuses(t *testing.T) {
	j, dir := newJar(t)
	save(t, j, "office", sample())
	for name, change := range map[string]func(*Entry){
		"no ticket":         func(e *Entry) { e.Ticket = nil },
		"a ticket too long": func(e *Entry) { e.Ticket = make([]byte, MaxTicket+1) },
		"no session":        func(e *Entry) { e.Session = nil },
		"a session as long": func(e *Entry) { e.Session = make([]byte, MaxSession+1) },
		"many gateways":     func(e *Entry) { e.Gateways = append(e.Gateways, make([]netip.AddrPort, MaxGateways)...) },
		"before 1970":       func(e *Entry) { e.Expires = time.Unix(-1, 0) },
		"after 9999":        func(e *Entry) { e.NotAfter = time.Unix(lastSecond+1, 0) },
		"a zone of a novel": func(e *Entry) {
			e.Gateway = netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(strings.Repeat("z", 300)), 500)
		},
	} {
		e := sample()
		change(e)
		if err := j.Save("office", e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if got, err := j.Load("office"); err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("the old entry: %v %v", got, err)
	}
	if strings.Contains(contents(t, dir), ".new") {
		t.Error("a file half written is left")
	}
}

// TestNames: whatever a connection is called, its file lies in the jar, and two
// names never share one.
func TestNames(t *testing.T) {
	j, dir := newJar(t)
	names := []string{"office", "Office", "of/fice", "../office", "of%2ffice", ".", "..", "a b", "a\x00b", "\xff", "b\u00fcro", "a.ticket", "%"}
	for i, name := range names {
		e := sample()
		e.LocalPort = uint16(i)
		save(t, j, name, e)
	}
	for i, name := range names {
		if e, err := j.Load(name); err != nil || e.LocalPort != uint16(i) {
			t.Errorf("%q: %v %v", name, e, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*")); len(left) != 1 || err != nil {
		t.Errorf("outside the jar: %q", left)
	}
	for _, name := range []string{"", strings.Repeat("n", maxName+1), strings.Repeat("/", maxName)} {
		if err := j.Save(name, sample()); err == nil {
			t.Errorf("%.10q: accepted", name)
		}
		if _, err := j.Peek(name); err == nil || errors.Is(err, ErrNone) {
			t.Errorf("Peek %.10q: %v", name, err)
		}
	}
}

func TestPermissions(t *testing.T) {
	j, dir := newJar(t)
	save(t, j, "office", sample())
	path := filepath.Join(dir, "office.ticket")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Load("office"); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("a ticket that others may read: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "chmod 0700") {
		t.Errorf("a jar that others may enter: %v", err)
	}
	if _, err := Open(path); err == nil {
		t.Error("a file for a jar: accepted")
	}
}

func TestAtOnce(t *testing.T) {
	j, _ := newJar(t)
	var group sync.WaitGroup
	for i := range 4 {
		for range 4 {
			group.Go(func() {
				name := fmt.Sprint(i)
				if err := j.Save(name, sample()); err != nil {
					t.Error(err)
				}
				if e, err := j.Load(name); err != nil || !reflect.DeepEqual(e, sample()) {
					t.Errorf("%v %v", e, err)
				}
			})
		}
	}
	group.Wait()
}

// TestMain is also the process that TestKilled kills: it saves for ever.
func TestMain(m *testing.M) {
	dir := os.Getenv("JAR_TEST_SAVE_FOR_EVER")
	if dir == "" {
		os.Exit(m.Run())
	}
	j, err := Open(dir)
	for i := 0; err == nil; i++ {
		e := sample()
		e.Ticket = bytes.Repeat([]byte{byte(i)}, 1+i%MaxTicket)
		if err = j.Save("office", e); err == nil {
			fmt.Println(i)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestRuleD12_Killed: killed at any moment, a client has a whole entry, and
// not an older one than the last that was told to be saved.
func TestRuleD12_Killed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jar")
	for round := range 10 {
		saver := exec.Command(os.Args[0])
		saver.Env = append(os.Environ(), "JAR_TEST_SAVE_FOR_EVER="+dir)
		out, err := saver.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := saver.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + 3*round {
			if !lines.Scan() {
				t.Fatal("the saver ended by itself")
			}
		}
		if err := saver.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		last := lines.Text()
		for lines.Scan() {
			last = lines.Text()
		}
		_ = saver.Wait() // it was killed

		j, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		e, err := j.Load("office")
		var i int
		if _, serr := fmt.Sscan(last, &i); err != nil || serr != nil {
			t.Fatalf("round %d: %v %v", round, err, serr)
		}
		if got := len(e.Ticket); got != 1+i%MaxTicket && got != 1+(i+1)%MaxTicket {
			t.Errorf("round %d: %d was saved, a ticket of %d octets is there", round, i, got)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
			t.Errorf("round %d: left %q", round, left)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	j, _ := newJar(b)
	e := sample()
	for b.Loop() {
		save(b, j, "office", e)
	}
}
