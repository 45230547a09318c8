package floors

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// small is the plan of the fixture trees below.
var small = []Room{
	{Path: "wire", Floor: 0, Pure: true},
	{Path: "ticket", Floor: 1, Pure: true},
	{Path: "suite", Floor: 1, Pure: true, Modules: []string{"filippo.io/bigmod"}},
	{Path: "propose", Floor: 1, Pure: true, Beside: []string{"suite"}},
	{Path: "store", Floor: 2},
	{Path: "store/storetest", Floor: 2, Kit: true, Beside: []string{"store"}},
	{Path: "auth", Floor: 2},
	{Path: ".", Floor: 4},
}

// TestEachRuleCanFail breaks each rule once in a tree of a file or two: a law
// that cannot fail is no law. An empty want is a tree that keeps the law.
func TestEachRuleCanFail(t *testing.T) {
	tests := []struct {
		name string
		tree map[string]string
		want string // "file:line: rule", of the only finding
	}{
		{"a lower floor", files("store/a.go", `package store; import _ "swan/wire"`), ""},
		{"an upper floor", files("wire/a.go", `package wire; import _ "swan/ticket"`), "wire/a.go:1: floor"},
		{"an upper floor from a test", files("wire/a_test.go", `package wire; import _ "swan/ticket"`), "wire/a_test.go:1: floor"},
		{"the same floor", files("auth/a.go", `package auth; import _ "swan/store"`), "auth/a.go:1: floor"},
		{"the same floor from a test", files("auth/a_test.go", `package auth; import _ "swan/store"`), ""},
		{"the root", files("store/a.go", `package store; import _ "swan"`), "store/a.go:1: floor"},
		{"a permission", files("propose/a.go", `package propose; import _ "swan/suite"`), ""},
		{"a permission one way", files("suite/a.go", `package suite; import _ "swan/propose"`), "suite/a.go:1: floor"},
		{"an unused permission", files("propose/a.go", `package propose`, "suite/a.go", `package suite`), "propose: unused"},
		{"a kit in a test", files("auth/a_test.go", `package auth; import _ "swan/store/storetest"`), ""},
		{"a kit in a program", files("a.go", `package swan; import _ "swan/store/storetest"`), "a.go:1: kit"},
		{"an import off the plan", files("store/a.go", `package store; import _ "swan/cellar"`), "store/a.go:1: floor"},
		{"a package off the plan", files("cellar/a.go", `package cellar`), "cellar: listed"},
		{"a package of tests off the plan", files("cellar/a_test.go", `package cellar`), "cellar: listed"},
		{"a dot", files("store/a.go", `package store; import . "bytes"`), "store/a.go:1: import"},

		{"net/netip", files("wire/a.go", `package wire; import _ "net/netip"`), ""},
		{"net", files("wire/a.go", `package wire; import _ "net"`), "wire/a.go:1: pure"},
		{"net/http", files("wire/a.go", `package wire; import _ "net/http"`), "wire/a.go:1: pure"},
		{"os", files("wire/a.go", `package wire; import _ "os"`), "wire/a.go:1: pure"},
		{"sync", files("wire/a.go", `package wire; import _ "sync"`), "wire/a.go:1: pure"},
		{"sync/atomic", files("wire/a.go", `package wire; import _ "sync/atomic"`), "wire/a.go:1: pure"},
		{"context", files("wire/a.go", `package wire; import _ "context"`), "wire/a.go:1: pure"},
		{"log", files("wire/a.go", `package wire; import _ "log"`), "wire/a.go:1: pure"},
		{"log/slog", files("wire/a.go", `package wire; import _ "log/slog"`), "wire/a.go:1: pure"},
		{"crypto/rand", files("wire/a.go", `package wire; import _ "crypto/rand"`), "wire/a.go:1: pure"},
		{"math/rand/v2", files("wire/a.go", `package wire; import _ "math/rand/v2"`), "wire/a.go:1: pure"},
		{"testing", files("wire/a.go", `package wire; import _ "testing"`), "wire/a.go:1: pure"},
		{"os in a test", files("wire/a_test.go", `package wire; import _ "os"`), ""},
		{"os in a room of sockets", files("store/a.go", `package store; import _ "os"`), ""},
		{"a module", files("ticket/a.go", `package ticket; import _ "filippo.io/bigmod"`), "ticket/a.go:1: pure"},
		{"an agreed module", files("suite/a.go", `package suite; import _ "filippo.io/bigmod"`), ""},
		{"another module", files("suite/a.go", `package suite; import _ "filippo.io/nistec"`), "suite/a.go:1: pure"},

		{"go", files("wire/a.go", "package wire\nfunc f() { go f() }"), "wire/a.go:2: pure"},
		{"chan", files("wire/a.go", "package wire\ntype t struct{ c chan int }"), "wire/a.go:2: pure"},
		{"receive", files("wire/a.go", "package wire\nfunc f() { <-g() }"), "wire/a.go:2: pure"},
		{"select", files("wire/a.go", "package wire\nfunc f() { select {} }"), "wire/a.go:2: pure"},
		{"linkname", files("wire/a.go", "package wire\n//go:linkname now time.now\nfunc now()"), "wire/a.go:2: pure"},
		{"time.Time", files("wire/a.go", "package wire\nimport \"time\"\nvar t time.Time"), ""},
		{"time.Now", files("wire/a.go", "package wire\nimport \"time\"\nvar t = time.Now()"), "wire/a.go:3: pure"},
		{"time.Now as a value", files("wire/a.go", "package wire\nimport \"time\"\nvar now = time.Now"), "wire/a.go:3: pure"},
		{"time by another name", files("wire/a.go", "package wire\nimport clock \"time\"\nvar t = clock.Since"), "wire/a.go:3: pure"},
		{"time.Now elsewhere", files("store/a.go", "package store\nimport \"time\"\nvar t = time.Now()"), ""},
		{"fmt.Println", files("wire/a.go", "package wire\nimport \"fmt\"\nfunc f() { fmt.Println() }"), "wire/a.go:3: pure"},

		{"sleep", files("store/a_test.go", "package store\nimport \"time\"\nfunc f() { time.Sleep(1) }"), "store/a_test.go:3: sleep"},
		{"sleep in a bubble", files("store/a_test.go", "package store\nimport (\"time\"; \"testing/synctest\")\nfunc f() { time.Sleep(1); synctest.Wait() }"), ""},

		{"a long file", files("store/a.go", "package store\n"+strings.Repeat("//\n", longFile-1)), ""},
		{"a longer file", files("store/a.go", "package store\n"+strings.Repeat("//\n", longFile)), "store/a.go: length (warning)"},
		{"too long a file", files("store/a.go", "package store\n"+strings.Repeat("//\n", tooLongFile)), "store/a.go: length"},
		{"too long a test", files("store/a_test.go", "package store\n"+strings.Repeat("//\n", tooLongFile)), ""},
		{"a function of the limit", files("store/a.go", function(longFunction)), ""},
		{"a longer function", files("store/a.go", function(longFunction+1)), "store/a.go:2: length (warning)"},
		{"too long a function", files("store/a.go", function(tooLongFunction+1)), "store/a.go:2: length"},

		{"testdata", files("wire/testdata/a.go", `package wire; import _ "os"`), ""},
		{"a module of its own", files("tools/a.go", `package tools; import _ "os"`, "tools/go.mod", "module tools"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := make(fstest.MapFS)
			for name, text := range test.tree {
				tree[name] = &fstest.MapFile{Data: []byte(text)}
			}
			found, err := Check(tree, "swan", small)
			if err != nil {
				t.Fatal(err)
			}
			if got := brief(found); got != test.want {
				t.Errorf("findings %q, want %q", got, test.want)
			}
		})
	}
}

func TestNamesThatSayNothing(t *testing.T) {
	for _, dir := range []string{"util", "internal/common", "wire/helpers", "pkg/wire"} {
		tree := fstest.MapFS{dir + "/a.go": {Data: []byte("package a")}}
		found, err := Check(tree, "swan", []Room{{Path: dir}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := brief(found), dir+": name"; got != want {
			t.Errorf("findings %q, want %q", got, want)
		}
	}
}

func TestFileThatDoesNotParse(t *testing.T) {
	tree := fstest.MapFS{"wire/a.go": {Data: []byte("pakcage wire")}}
	if _, err := Check(tree, "swan", small); err == nil || !strings.Contains(err.Error(), "wire/a.go:1") {
		t.Errorf("error %v, want one that names wire/a.go:1", err)
	}
}

func files(namesAndTexts ...string) map[string]string {
	tree := make(map[string]string)
	for i := 0; i < len(namesAndTexts); i += 2 {
		tree[namesAndTexts[i]] = namesAndTexts[i+1]
	}
	return tree
}

// function is a file whose only function has the given number of lines.
func function(lines int) string {
	return "package store\nfunc f() {\n" + strings.Repeat("\n", lines-2) + "}\n"
}

// brief renders findings without their text: "file:line: rule; ...".
func brief(found []Finding) string {
	var all []string
	for _, f := range found {
		at := f.File
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if f.Warning {
			f.Rule += " (warning)"
		}
		all = append(all, at+": "+f.Rule)
	}
	return strings.Join(all, "; ")
}
