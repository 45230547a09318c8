package clauses

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"
)

const titles = "| clause | level | in our words | file | test |\n|---|---|---|---|---|\n"

// sound is a small tree in which every row is true.
func sound() map[string]string {
	return map[string]string{
		"list.md": titles +
			"| 5723-4.1-1 | MUST | ask | ike/a.go | ike.TestAsk |\n" +
			"| 5723-4.1-2 | SHOULD | ask well | ike/a.go | internal/suite.TestWell/loud |\n" +
			"| 5723-4.1-3 | MUST NOT | shout | ike/a.go | `blackswan.TestRoof` |\n",
		"threats.md": "| attacker | test |\n|---|---|\n| thief | ike.TestAsk, blackswan.TestRoof |\n\n" +
			"| limit | number | test |\n|---|---|---|\n" +
			"| ike.Limits.Queue | 4,096 | internal/suite.TestWell |\n" +
			"| `ike.most` | 96 MiB | internal/suite.TestWell |\n" +
			"| blackswan.room | 7 | internal/suite.TestWell, internal/suite.TestWell |\n",
		"ike/limits.go": "package ike\n\nconst (\n\tunit = 1 << 20\n\tmost = (unit*200 - 8*unit) / 2\n)\n\n" +
			"func DefaultLimits() Limits { return Limits{Queue: 4096} }\n",
		"roof.go":                     "package blackswan\n\nconst room = 7\n",
		"ike/a.go":                    "package ike\n\nfunc f() {\n\tf() //rfc:5723-4.1-1 5723-4.1-3 // both\n}\n",
		"ike/a_test.go":               "package ike\nfunc TestAsk() {}\n",
		"internal/suite/a_test.go":    "package suite\nfunc TestWell() {}\n",
		"roof_test.go":                "package blackswan\nfunc TestRoof() {}\n",
		"ike/testdata/broken.go":      "//rfc:nonsense",
		"ike/testdata/broken_test.go": "",
	}
}

func check(t *testing.T, tree map[string]string) (*Report, error) {
	t.Helper()
	m := make(fstest.MapFS)
	for name, text := range tree {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Check(m, []string{"list.md"}, []string{"threats.md"})
}

func TestSoundTree(t *testing.T) {
	r, err := check(t, sound())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Wrong)+len(r.Open) > 0 {
		t.Errorf("wrong %q, open %q", r.Wrong, r.Open)
	}
	if len(r.Rows) != 3 || len(r.Threats) != 1 || len(r.Source.Marks) != 2 {
		t.Errorf("%d rows, %d threats, %d marks; want 3, 1, 2", len(r.Rows), len(r.Threats), len(r.Source.Marks))
	}
}

// TestWhatIsNotTrue changes one thing in a sound tree and wants one complaint.
func TestWhatIsNotTrue(t *testing.T) {
	tests := []struct {
		name, file, old, new string
		want                 string
	}{
		{"file is gone", "list.md", "ike/a.go | ike", "ike/b.go | ike", "list.md:3: 5723-4.1-1 names the file ike/b.go, which is not there"},
		{"file is a folder", "list.md", "ike/a.go | int", "ike | int", "list.md:4: 5723-4.1-2 names the file ike, which is not there"},
		{"test is gone", "ike/a_test.go", "TestAsk", "TestNothing", "list.md:3: 5723-4.1-1 names the test ike.TestAsk, which is not there|threats.md:3: thief names the test ike.TestAsk, which is not there"},
		{"test is a method", "roof_test.go", "func Test", "type T int\nfunc (T) Test", "list.md:5: 5723-4.1-3 names the test blackswan.TestRoof, which is not there|threats.md:3: thief names the test blackswan.TestRoof, which is not there"},
		{"test of another room", "list.md", "internal/suite.", "ike.", "list.md:4: 5723-4.1-2 names the test ike.TestWell, which is not there"},
		{"not a test", "list.md", "internal/suite.TestWell/loud", "suite.go", `list.md:4: 5723-4.1-2: "suite.go" does not name a test: write room.TestName`},
		{"MUST without a mark", "ike/a.go", "5723-4.1-1 ", "", "list.md:3: 5723-4.1-1 is a MUST, and ike/a.go has no line marked //rfc:5723-4.1-1"},
		{"mark behind a mark of a rule", "ike/a.go", "//rfc:", "//rule:A3 //rfc:", ""},
		{"mark in a test", "ike/a_test.go", "{}", "{} //rfc:5723-9-9", ""},
		{"mark without a row", "ike/a.go", "4.1-3", "4.1-4", "list.md:5: 5723-4.1-3 is a MUST NOT, and ike/a.go has no line marked //rfc:5723-4.1-3|ike/a.go:4: the mark 5723-4.1-4 names no row of the lists"},
		{"row twice", "list.md", "4.1-2", "4.1-1", "list.md:4: 5723-4.1-1 stands here for the second time"},
		{"excuse without a reason", "list.md", "ike/a.go | internal/suite.TestWell/loud", "n/a | —", "list.md:4: 5723-4.1-2 is n/a without a reason"},
		{"another number", "threats.md", "4,096", "4,097", "threats.md:7: ike.Limits.Queue is 4096, not 4097"},
		{"the code has changed", "ike/limits.go", "1 << 20", "1 << 19", "threats.md:8: ike.most is 50331648, not 100663296"},
		{"limit is gone", "roof.go", "room", "place", "threats.md:9: blackswan.room is no number of the code"},
		{"field is set elsewhere", "ike/limits.go", "func Default", "func other", "threats.md:7: ike.Limits.Queue is no number of the code"},
		{"limit of another room", "threats.md", "ike.Limits", "ike/x.Limits", "threats.md:7: ike/x.Limits.Queue is no number of the code"},
		{"limit without a test", "threats.md", "4,096 | internal/suite.TestWell", "4,096 | ", `threats.md:7: ike.Limits.Queue: "" does not name a test: write room.TestName`},
		{"made from another package", "roof.go", "room = 7", "room = ike.Room", "threats.md:9: blackswan.room is no number of the code"},
		{"excuse", "list.md", "ike/a.go | internal/suite.TestWell/loud", "n/a | we do not speak", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := maps.Clone(sound())
			if !strings.Contains(tree[test.file], test.old) {
				t.Fatalf("%s does not contain %q", test.file, test.old)
			}
			tree[test.file] = strings.Replace(tree[test.file], test.old, test.new, 1)
			r, err := check(t, tree)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.Wrong, "|"); got != test.want {
				t.Errorf("complaints\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestMarkedElsewhere: a row that has a marked line names the file that has it,
// whatever its level.
func TestMarkedElsewhere(t *testing.T) {
	tree := sound()
	tree["ike/b.go"] = "package ike\n\nfunc g() {\n\tg() //rfc:5723-4.1-2\n}\n"
	r, err := check(t, tree)
	if err != nil {
		t.Fatal(err)
	}
	want := "list.md:4: 5723-4.1-2 is marked elsewhere, and not in ike/a.go"
	if got := strings.Join(r.Wrong, "|"); got != want {
		t.Errorf("complaints %s; want %s", got, want)
	}
}

func TestOpenRows(t *testing.T) {
	tree := sound()
	tree["list.md"] = strings.Replace(tree["list.md"], "ike.TestAsk", Open, 1)
	tree["threats.md"] = strings.Replace(tree["threats.md"], "ike.TestAsk, blackswan.TestRoof", Open, 1)
	r, err := check(t, tree)
	if err != nil {
		t.Fatal(err)
	}
	want := "list.md:3: 5723-4.1-1 MUST|threats.md:3: thief"
	if got := strings.Join(r.Open, "|"); got != want || len(r.Wrong) > 0 {
		t.Errorf("open %q, want %q; wrong %q", got, want, r.Wrong)
	}
}

func TestListsThatCannotBeRead(t *testing.T) {
	tests := []struct{ name, file, old, new, want string }{
		{"level", "list.md", "SHOULD", "OUGHT", `list.md:4: level "OUGHT"`},
		{"clause", "list.md", "5723-4.1-2", "5723-4.1", `list.md:4: clause "5723-4.1"`},
		{"empty cell", "list.md", "ask well", "", "list.md:4: 5723-4.1-2 has an empty cell"},
		{"cell too many", "list.md", "ask well", "ask | well", "line 4: 6 cells under 5 titles"},
		{"titles", "list.md", "| level |", "| must |", "list.md:3: the columns are"},
		{"no test column", "threats.md", "| test |", "| tests |", "threats.md:3: the columns are"},
		{"no test", "threats.md", "ike.TestAsk, blackswan.TestRoof", "", "threats.md:3: thief has no test"},
		{"number", "threats.md", "96 MiB", "96 MB", "threats.md:8: ike.most: \"96 MB\" is no number"},
		{"code", "ike/a.go", "package", "pakcage", "ike/a.go:1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := sound()
			tree[test.file] = strings.Replace(tree[test.file], test.old, test.new, 1)
			if _, err := check(t, tree); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	tree := sound()
	tree["list.md"], tree["threats.md"] = "words\n", "words\n"
	if _, err := check(t, tree); err == nil {
		t.Error("lists without a row are read without an error")
	}
}
