package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// house is a small module with lines of every fate; its door never closes
// when its loop is broken.
const house = "testdata/house"

// hurried waits a second for a test that never ends.
var hurried = options{patience: time.Second}

// row reads a line of the table: clause, site, verdict.
var row = regexp.MustCompile(`(?m)^(\S+) +(\S+:\d+) .*?(killed \(time\)|killed|SURVIVED|ERROR)$`)

func TestProve(t *testing.T) {
	if testing.Short() {
		t.Skip("builds test binaries")
	}
	before := digest(t)
	var out bytes.Buffer
	ok, err := prove(&out, house, hurried)
	if err != nil {
		t.Fatal(err)
	}
	if ok {
		t.Error("all is well, says prove; it is not")
	}
	got := make(map[string]string)
	for _, m := range row.FindAllStringSubmatch(out.String(), -1) {
		got[m[1]+" "+m[2]] = m[3]
	}
	want := map[string]string{
		"5723-1-1 door/door.go:18":  "killed",
		"5723-1-2 door/door.go:20":  "killed",        // by a test of the room above
		"5723-1-3 door/door.go:23":  "SURVIVED",      // another value, and no test looks
		"5723-1-4 door/door.go:10":  "ERROR",         // a type
		"5723-1-5 door/door.go:25":  "ERROR",         // its test is skipped
		"5723-1-6 door/door.go:25":  "ERROR",         // its test fails by itself
		"5723-1-10 door/door.go:27": "killed (time)", // for ever
		"6290-1-1 door/door.go:18":  "ERROR",         // no such subtest
	}
	if !maps.Equal(got, want) {
		t.Errorf("verdicts %v\nwant     %v", got, want)
	}
	for _, s := range []string{
		"door.TestSkipped was skipped, or there is no such test",
		"door.TestBroken fails with nothing broken",
		"hall.TestGuest/never was skipped, or there is no such test",
		"a declaration is not code",
		"docs/rfc/5723.md:9: 5723-1-7 MUST is open: no test yet",
		"8 lines broken: 3 killed, 1 survived, 4 errors; 1 rows open",
	} {
		if !strings.Contains(out.String(), s) {
			t.Errorf("%q is not said", s)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
	if after := digest(t); !maps.Equal(before, after) {
		t.Error("the tree was touched")
	}
}

// TestShow: what makes the whole fail, and what only once the lists are complete.
func TestShow(t *testing.T) {
	tests := []struct {
		verdict        verdict
		ok, okComplete bool
	}{
		{killed, true, true},
		{timedOut, true, true},
		{survived, false, false},
		{sick, false, false},
		{open, true, false},
	}
	for _, test := range tests {
		for complete, want := range map[bool]bool{false: test.ok, true: test.okComplete} {
			trials := []*trial{{Site: &site{}, Verdict: killed}, {Site: &site{}, Verdict: test.verdict}}
			if got := show(&bytes.Buffer{}, trials, complete); got != want {
				t.Errorf("%s, complete %t: %t, want %t", test.verdict, complete, got, want)
			}
		}
	}
}

// TestDoesNotCompile: a guard that the compiler refuses is told with the line
// of the tree, not of a copy elsewhere.
func TestDoesNotCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("builds test binaries")
	}
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(house)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(root, "door", "door.go")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "\n// Always ends with a loop.\nfunc Always() int {\n\tpanic(1) //rfc:5723-1-1\n}\n"...)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if ok, err := prove(&out, root, hurried); ok || err != nil {
		t.Fatalf("%t, %v", ok, err)
	}
	if !strings.Contains(out.String(), "do not compile") || !strings.Contains(out.String(), "missing return") {
		t.Errorf("the compiler's word is not said:\n%s", out.String())
	}
}

func TestNoTree(t *testing.T) {
	if _, err := prove(&bytes.Buffer{}, t.TempDir(), hurried); err == nil {
		t.Error("an empty folder is proved")
	}
}

// digest returns the files of the fixture and their texts.
func digest(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.Walk(house, func(name string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
