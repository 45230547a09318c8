package main

import (
	"go/format"
	"strings"
	"testing"
)

const before = `package p

func f(a, b bool, xs []int) (int, error) {
	var n int
	var err error
`

const after = `
	return n, err
}
`

// TestBreak shows what becomes of each kind of marked line. ID stands for the
// site in the wanted text, and want "" for an error that contains how.
func TestBreak(t *testing.T) {
	tests := []struct{ name, line, how, want string }{
		{"if", `if a { //rfc:1`, "condition turned round", `if (a) != mutantOn(ID) { //rfc:1`},
		{"if with a statement", `if c := a; c && b { //rfc:1`, "condition turned round", `if c := a; (c && b) != mutantOn(ID) { //rfc:1`},
		{"else if", "if a {\n} else if b { //rfc:1", "condition turned round", "if a {\n} else if (b) != mutantOn(ID) { //rfc:1"},
		{"first of two lines", "if a || //rfc:1\n\t\tb {", "operand turned round", "if (a) != mutantOn(ID) || //rfc:1\n\t\tb {"},
		{"second of two lines", "if a ||\n\t\tb { //rfc:1", "operand turned round", "if a ||\n\t\t(b) != mutantOn(ID) { //rfc:1"},
		{"case of conditions", "switch {\n\tcase a, b: //rfc:1\n\t\tn = 1", "condition turned round", "switch {\n\tcase (a) != mutantOn(ID), (b) != mutantOn(ID): //rfc:1\n\t\tn = 1"},
		{"case of values", "switch n {\n\tcase 1, 2: //rfc:1\n\t\tn = 1\n\t\tn = 2", "case skipped", "switch n {\n\tcase 1, 2: if !mutantOn(ID) { //rfc:1\n\t\tn = 1\n\t\tn = 2 }"},
		{"default", "switch n {\n\tdefault: //rfc:1\n\t\tn = 1", "case skipped", "switch n {\n\tdefault: if !mutantOn(ID) { //rfc:1\n\t\tn = 1 }"},
		{"empty case", "switch n {\n\tcase 1: //rfc:1", "an empty case", ""},
		{"for", "for range 3 { //rfc:1\n\t\tn++\n\t}\n\tif a {", "statement skipped", "if !mutantOn(ID) { for range 3 { //rfc:1\n\t\tn++\n\t} }\n\tif a {"},
		{"labelled", "l: for a { //rfc:1\n\t\tcontinue l\n\t}\n\tif a {", "statement skipped", "if !mutantOn(ID) { l: for a { //rfc:1\n\t\tcontinue l\n\t} }\n\tif a {"},
		{"below its label", "l:\n\tfor a { //rfc:1\n\t\tcontinue l\n\t}\n\tif a {", "stands in no list", ""},
		{"call", `if a { println(n) //rfc:1`, "condition turned round", `if (a) != mutantOn(ID) { println(n) //rfc:1`},
		{"call alone", "if a {\n\t\tprintln(n) //rfc:1", "statement skipped", "if a {\n\t\tif !mutantOn(ID) { println(n) } //rfc:1"},
		{"call over lines", "if a {\n\t\tprintln(\n\t\t\tn) //rfc:1", "statement skipped", "if a {\n\t\tif !mutantOn(ID) { println(\n\t\t\tn) } //rfc:1"},
		{"assignment", "if a {\n\t\tn = 4 //rfc:1", "statement skipped", "if a {\n\t\tif !mutantOn(ID) { n = 4 } //rfc:1"},
		{"increment", "if a {\n\t\tn++ //rfc:1", "statement skipped", "if a {\n\t\tif !mutantOn(ID) { n++ } //rfc:1"},
		{"defer", "if a {\n\t\tdefer println() //rfc:1", "statement skipped", "if a {\n\t\tif !mutantOn(ID) { defer println() } //rfc:1"},
		{"define", "if a {\n\t\t_, k := g() //rfc:1\n\t\tn = k", "k spoiled", "if a {\n\t\t_, k := g(); mutantSpoil(ID, &k) //rfc:1\n\t\tn = k"},
		{"var", "if a {\n\t\tvar k = 1 //rfc:1\n\t\tn = k", "k spoiled", "if a {\n\t\tvar k = 1; mutantSpoil(ID, &k) //rfc:1\n\t\tn = k"},
		{"const", "if a {\n\t\tconst k = 1 //rfc:1\n\t\tn = k", "no variable gets a value", ""},
		{"error", "if a {\n\t\treturn 0, err //rfc:1", "error swallowed", "if a {\n\t\treturn 0, mutantValue[error](ID, err) //rfc:1"},
		{"no error", "if a {\n\t\treturn n, nil //rfc:1", "result spoiled", "if a {\n\t\treturn mutantValue[int](ID, n), nil //rfc:1"},
		{"results of a call", "if a {\n\t\treturn g() //rfc:1", "all results of a call", ""},
		{"bool", "if func() (int, bool) {\n\t\treturn 1, b //rfc:1\n\t}; a {", "result turned round", "if func() (int, bool) {\n\t\treturn 1, (b) != mutantOn(ID) //rfc:1\n\t}; a {"},
		{"nil", "if func() (x, y []int) {\n\t\treturn nil, nil //rfc:1\n\t}; a {", "nothing but nil", ""},
		{"named results", "if func() (x, y []int) {\n\t\treturn nil, xs //rfc:1\n\t}; a {", "result spoiled", "if func() (x, y []int) {\n\t\treturn nil, mutantValue[[]int](ID, xs) //rfc:1\n\t}; a {"},
		{"return", "if func() {\n\t\treturn //rfc:1\n\t}; a {", "return skipped", "if func() {\n\t\tif !mutantOn(ID) { return } //rfc:1\n\t}; a {"},
		{"function on a line", "if func() bool { return b }() { //rfc:1", "condition turned round", "if (func() bool { return b }()) != mutantOn(ID) { //rfc:1"},
		{"field", "if a {\n\t\t_ = T{\n\t\t\tA: 1, B: n, //rfc:1\n\t\t}", "value spoiled", "if a {\n\t\t_ = T{\n\t\t\tA: 1, B: mutantValue(ID, n), //rfc:1\n\t\t}"},
		{"field that is true", "if a {\n\t\t_ = T{\n\t\t\tOn: true, //rfc:1\n\t\t}", "value spoiled", "if a {\n\t\t_ = T{\n\t\t\tOn: (true) != mutantOn(ID), //rfc:1\n\t\t}"},
		{"field that is a number", "if a {\n\t\t_ = T{\n\t\t\tA: 1, //rfc:1\n\t\t}", "nothing on this line", ""},
		{"brace", "if a {\n\t} //rfc:1\n\tif b {", "condition turned round", "if (a) != mutantOn(ID) {\n\t} //rfc:1\n\tif b {"},
		{"empty line", "//rfc:1\n\tif a {", "nothing on this line", ""},
		{"not wanted", `if a { //rfc:2`, "", `if a { //rfc:2`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := before + "\t" + test.line + "\n\t}" + after
			broken, sites, pkg, err := breakMarks("p/a.go", []byte(text), map[string]bool{"1": true})
			if err != nil {
				t.Fatal(err)
			}
			if pkg != "p" {
				t.Errorf("package %q, want p", pkg)
			}
			if test.how == "" {
				if len(sites) > 0 || string(broken) != text {
					t.Errorf("a line that nobody asked for is broken:\n%s", broken)
				}
				return
			}
			if len(sites) != 1 {
				t.Fatalf("%d sites, want 1", len(sites))
			}
			if test.want == "" {
				if sites[0].Err == nil || !strings.Contains(sites[0].Err.Error(), test.how) {
					t.Errorf("error %v, want one with %q", sites[0].Err, test.how)
				}
				if string(broken) != text {
					t.Errorf("a line that cannot be broken is changed:\n%s", broken)
				}
				return
			}
			want := before + "\t" + strings.ReplaceAll(test.want, "ID", `"`+sites[0].ID()+`"`) + "\n\t}" + after
			if sites[0].Err != nil || sites[0].How != test.how || !same(t, string(broken), want) {
				t.Errorf("%s, %v:\n%s\nwant %s:\n%s", sites[0].How, sites[0].Err, broken, test.how, want)
			}
			if strings.Count(string(broken), "\n") != strings.Count(text, "\n") {
				t.Error("lines have moved")
			}
		})
	}
}

// same compares two texts as gofmt would write them.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := format.Source([]byte(a))
	if err != nil {
		t.Fatalf("does not parse: %v\n%s", err, a)
	}
	y, err := format.Source([]byte(b))
	if err != nil {
		t.Fatalf("the wanted text does not parse: %v\n%s", err, b)
	}
	return string(x) == string(y)
}

func TestBreakDeclarations(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"variable", "var a = f() //rfc:1", "var a = mutantValue(ID, f()) //rfc:1"},
		{"variable with a type", "var a uint8 = c //rfc:1", "var a uint8 = mutantValue[uint8](ID, c) //rfc:1"},
		{"variable of a group", "var (\n\tb = 1\n\ta = f() //rfc:1\n)", "var (\n\tb = 1\n\ta = mutantValue(ID, f()) //rfc:1\n)"},
		{"row of a table", "var a = map[k]v{\n\tx: once, y: never, //rfc:1\n}", "var a = map[k]v{\n\tx: once, y: mutantValue(ID, never), //rfc:1\n}"},
		{"constant", "const a = 16 //rfc:1", ""},
		{"constant of a group", "const (\n\ta = b //rfc:1\n)", ""},
		{"type", "type a int //rfc:1", ""},
		{"method", "func (a) f() { //rfc:1\n\tg()\n}", ""},
		{"method on a line", "func (a) f() bool { return true } //rfc:1", "func (a) f() bool { return (true) != mutantOn(ID) } //rfc:1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := "package p\n\n" + test.text + "\n"
			broken, sites, _, err := breakMarks("p/a.go", []byte(text), map[string]bool{"1": true})
			if err != nil || len(sites) != 1 {
				t.Fatalf("%d sites, %v", len(sites), err)
			}
			if test.want == "" {
				if sites[0].Err == nil {
					t.Errorf("no error, %s:\n%s", sites[0].How, broken)
				}
				return
			}
			want := "package p\n\n" + strings.ReplaceAll(test.want, "ID", `"`+sites[0].ID()+`"`) + "\n"
			if sites[0].Err != nil || string(broken) != want {
				t.Errorf("%v:\n%s\nwant\n%s", sites[0].Err, broken, want)
			}
		})
	}
}

// TestMarksOfOneLine: two clauses on a line are one site, two lines two.
func TestMarksOfOneLine(t *testing.T) {
	text := "package p\n\nfunc f() {\n\tg() //rfc:1 2\n\tg() //rfc:1\n}\n"
	broken, sites, _, err := breakMarks("p/a.go", []byte(text), map[string]bool{"1": true, "2": true})
	if err != nil {
		t.Fatal(err)
	}
	if len(sites) != 2 || len(sites[0].Clauses) != 2 || len(sites[1].Clauses) != 1 {
		t.Errorf("sites %+v", sites)
	}
	if n := strings.Count(string(broken), "mutantOn"); n != 2 {
		t.Errorf("%d guards, want 2:\n%s", n, broken)
	}
}
