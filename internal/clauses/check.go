package clauses

import (
	"errors"
	"fmt"
	"io/fs"
)

// Report is what Check found.
type Report struct {
	Rows    []Row
	Threats []Threat
	Limits  []Limit
	Source  *Source

	Wrong []string // rows and marks that are not true, each with file and line
	Open  []string // rows that nobody has filled in yet
}

// Check reads the lists and the threats with their limits, each a file of tree, and holds them
// against the code of tree. Its error tells of something that cannot be read;
// what is read and not true is in the Report.
func Check(tree fs.FS, lists, threats []string) (*Report, error) {
	r := &Report{}
	for _, name := range lists {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		rows, err := ParseList(name, string(text))
		if err != nil {
			return nil, err
		}
		r.Rows = append(r.Rows, rows...)
	}
	for _, name := range threats {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		all, err := ParseThreats(name, string(text))
		if err != nil {
			return nil, err
		}
		r.Threats = append(r.Threats, all...)
		limits, err := ParseLimits(name, string(text))
		if err != nil {
			return nil, err
		}
		r.Limits = append(r.Limits, limits...)
	}
	if len(r.Rows)+len(r.Threats) == 0 {
		return nil, errors.New("clauses: no rows at all: the tables have lost their titles")
	}
	source, err := ReadSource(tree)
	if err != nil {
		return nil, err
	}
	r.Source = source
	r.rows(tree)
	r.threats()
	return r, r.limits(tree)
}

// Excused counts the clauses that do not bind us.
func (r *Report) Excused() int {
	n := 0
	for _, row := range r.Rows {
		if row.Excused() {
			n++
		}
	}
	return n
}

func (r *Report) wrong(file string, line int, format string, args ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf("%s:%d: %s", file, line, fmt.Sprintf(format, args...)))
}

func (r *Report) rows(tree fs.FS) {
	marked := make(map[[2]string]bool) // clause, file; file "": anywhere
	for _, m := range r.Source.Marks {
		marked[[2]string{m.Clause, m.File}] = true
		marked[[2]string{m.Clause, ""}] = true
	}
	known := make(map[string]bool)
	for _, row := range r.Rows {
		if known[row.Clause] {
			r.wrong(row.List, row.Line, "%s stands here for the second time", row.Clause)
		}
		known[row.Clause] = true
		switch {
		case row.Excused():
			if row.Test == Open {
				r.wrong(row.List, row.Line, "%s is n/a without a reason", row.Clause)
			}
			continue
		case row.Open():
			r.Open = append(r.Open, fmt.Sprintf("%s:%d: %s %s", row.List, row.Line, row.Clause, row.Level))
			continue
		}
		info, err := fs.Stat(tree, row.File)
		switch {
		case err != nil || info.IsDir():
			r.wrong(row.List, row.Line, "%s names the file %s, which is not there", row.Clause, row.File)
		case marked[[2]string{row.Clause, row.File}]:
		case row.Must():
			r.wrong(row.List, row.Line, "%s is a %s, and %s has no line marked %s%s", row.Clause, row.Level, row.File, markPrefix, row.Clause)
		case marked[[2]string{row.Clause, ""}]:
			r.wrong(row.List, row.Line, "%s is marked elsewhere, and not in %s", row.Clause, row.File)
		}
		r.test(row.List, row.Line, row.Clause, row.Test)
	}
	for _, m := range r.Source.Marks {
		if !known[m.Clause] {
			r.wrong(m.File, m.Line, "the mark %s names no row of the lists", m.Clause)
		}
	}
}

func (r *Report) threats() {
	for _, t := range r.Threats {
		if len(t.Tests) == 0 {
			r.Open = append(r.Open, fmt.Sprintf("%s:%d: %s", t.List, t.Line, t.Attacker))
		}
		for _, test := range t.Tests {
			r.test(t.List, t.Line, t.Attacker, test)
		}
	}
}

func (r *Report) test(list string, line int, what, name string) {
	test, err := ParseTest(name)
	if err != nil {
		r.wrong(list, line, "%s: %v", what, err)
		return
	}
	test.Sub = ""
	if !r.Source.Tests[test] {
		r.wrong(list, line, "%s names the test %v, which is not there", what, test)
	}
}
