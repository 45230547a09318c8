// Package clauses keeps the clause lists of docs/rfc and the attackers and limits
// of docs/threats.md true: what they name exists, each MUST has a marked line, and
// a number is that of the code.
//
// A list is a Markdown file with tables | clause | level | in our words | file |
// test |. A line of code that fulfils a clause ends with a comment, two slashes and
//
//	rfc:5723-4.3.2-1
//
// with no space between, or with several clauses. Tests are named by room and
// function, "ticket.TestOpen" or "internal/suite.TestResume/sha256".
package clauses

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Complete turns open rows into failures.
const Complete = true

// Lists are the files of a tree that hold clauses, relative to its root: every
// page of docs/rfc.
func Lists(root fs.FS) []string {
	lists, _ := fs.Glob(root, "docs/rfc/*.md") // the pattern is well-formed
	return lists
}

// Threats are the files that hold attackers.
var Threats = []string{"docs/threats.md"}

// Open stands in the column of tests of a row that nobody has filled in yet.
const Open = "—"

// Excused stands in the column of files of a clause that does not bind us; the
// column of tests then holds the reason.
const Excused = "n/a"

// levels are the words of RFC 2119, and two of ours for what the RFC says
// without them: a plain sentence, and a row of RFC 5723's table of state.
var levels = []string{"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "MAY", "text", "table"}

// clauseID is RFC, section, and the running number within the section.
var clauseID = regexp.MustCompile(`^\d{4}-[0-9]+(\.[0-9]+)*-[0-9]+$`)

// Row is one clause of an RFC.
type Row struct {
	List   string // file that holds the row
	Line   int
	Clause string // "5723-4.3.2-1"
	Level  string
	Words  string
	File   string // file whose marked line does it, relative to the root; or Excused
	Test   string // test that proves it; Open; or the reason of an excused row
}

// Must reports whether the clause binds without exception.
func (r Row) Must() bool { return r.Level == "MUST" || r.Level == "MUST NOT" }

// Excused reports whether the clause does not bind us.
func (r Row) Excused() bool { return r.File == Excused }

// Open reports whether the row waits for its test.
func (r Row) Open() bool { return !r.Excused() && r.Test == Open }

// ParseList reads the rows of a list. Its error names the first line that is
// not a row though it stands in a table of clauses.
func ParseList(name, text string) ([]Row, error) {
	var rows []Row
	err := tables(text, "clause", func(line int, columns []string, cell map[string]string) error {
		if want := []string{"clause", "level", "in our words", "file", "test"}; !slices.Equal(columns, want) {
			return fmt.Errorf("%s:%d: the columns are %q, want %q", name, line, columns, want)
		}
		r := Row{
			List: name, Line: line,
			Clause: cell["clause"], Level: cell["level"], Words: cell["in our words"], File: cell["file"], Test: cell["test"],
		}
		switch {
		case !clauseID.MatchString(r.Clause):
			return fmt.Errorf("%s:%d: clause %q is not RFC-section-number", name, line, r.Clause)
		case !slices.Contains(levels, r.Level):
			return fmt.Errorf("%s:%d: level %q is none of %s", name, line, r.Level, strings.Join(levels, ", "))
		case r.Words == "" || r.File == "" || r.Test == "":
			return fmt.Errorf("%s:%d: %s has an empty cell: an open one is %q", name, line, r.Clause, Open)
		}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// Threat is what one attacker can do of docs/threats.md and the tests that say what stops
// them.
type Threat struct {
	List     string
	Line     int
	Attacker string
	Tests    []string // empty: open
}

// ParseThreats reads the tables whose first column is "attacker". Their column
// "test" holds tests separated by commas, or Open.
func ParseThreats(name, text string) ([]Threat, error) {
	var threats []Threat
	err := tables(text, "attacker", func(line int, columns []string, cell map[string]string) error {
		if !slices.Contains(columns, "test") {
			return fmt.Errorf("%s:%d: the columns are %q, without %q", name, line, columns, "test")
		}
		t := Threat{List: name, Line: line, Attacker: cell["attacker"]}
		switch cell["test"] {
		case "":
			return fmt.Errorf("%s:%d: %s has no test: an open one is %q", name, line, t.Attacker, Open)
		case Open:
		default:
			for test := range strings.SplitSeq(cell["test"], ",") {
				t.Tests = append(t.Tests, strings.TrimSpace(test))
			}
		}
		threats = append(threats, t)
		return nil
	})
	return threats, err
}

// tables calls row for each row of the Markdown tables whose first column has
// the given title. Code quotes around a cell are taken off.
func tables(text, first string, row func(line int, columns []string, cell map[string]string) error) error {
	var columns []string // of the table that we are in; nil outside
	line := 0
	for s := range strings.SplitSeq(text, "\n") {
		line++
		cells, ok := split(s)
		switch {
		case !ok:
			columns = nil
		case columns == nil:
			columns = cells
		case strings.Trim(strings.Join(cells, ""), "-: ") == "":
			// the rule below the titles
		case columns[0] == first:
			if len(cells) != len(columns) {
				return fmt.Errorf("line %d: %d cells under %d titles", line, len(cells), len(columns))
			}
			cell := make(map[string]string, len(cells))
			for i, title := range columns {
				cell[title] = cells[i]
			}
			if err := row(line, columns, cell); err != nil {
				return err
			}
		}
	}
	return nil
}

// split reads "| a | b |". It knows no escaped bars: words need none.
func split(s string) (cells []string, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) < 2 || s[0] != '|' || s[len(s)-1] != '|' {
		return nil, false
	}
	for cell := range strings.SplitSeq(s[1:len(s)-1], "|") {
		cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
	}
	return cells, true
}
