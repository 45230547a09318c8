// Command mutate proves the clause lists of docs/rfc: it breaks the marked line
// of every MUST in turn and wants to see the named test fail each time.
//
// All lines are guarded at once in an overlay, so that each test binary is
// built once and the tree is never touched; the environment then says which
// line is broken. It exits with 1 when a broken line survives, when a line
// cannot be broken, and, once clauses.Complete is set, when a row is open.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"blackswan/internal/clauses"
)

func main() {
	o := options{complete: clauses.Complete, patience: 5 * time.Second}
	root := flag.String("root", ".", "root of the tree")
	flag.BoolVar(&o.all, "all", false, "try every marked row, not the MUST rows alone")
	flag.Parse()
	ok, err := prove(os.Stdout, *root, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

type options struct {
	all      bool          // rows of every level
	complete bool          // open rows are failures
	patience time.Duration // what a broken test may take beyond ten times an honest one
}

// prove tries every row of the lists in the tree at root, prints a table of
// verdicts and reports whether all is well.
func prove(w io.Writer, root string, o options) (ok bool, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return false, err
	}
	folder, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(folder)

	report, err := clauses.Check(os.DirFS(root), clauses.Lists(os.DirFS(root)), nil)
	if err != nil {
		return false, err
	}
	for _, wrong := range report.Wrong {
		fmt.Fprintln(w, wrong)
	}
	wanted := make(map[string]bool)
	for _, r := range report.Rows {
		wanted[r.Clause] = (o.all || r.Must()) && !r.Excused() && !r.Open()
	}
	overlay, sites, err := writeOverlay(root, folder, report.Source.Marks, wanted)
	if err != nil {
		return false, err
	}
	trials := plan(report.Rows, sites, o.all)
	tryAll(newBench(root, folder, overlay, o.patience), trials)
	return show(w, trials, o.complete) && len(report.Wrong) == 0, nil
}

// plan pairs each row with each site that is marked with it.
func plan(rows []clauses.Row, sites []site, all bool) []*trial {
	of := make(map[string][]*site)
	for i := range sites {
		for _, c := range sites[i].Clauses {
			of[c] = append(of[c], &sites[i])
		}
	}
	var trials []*trial
	for _, r := range rows {
		switch found := of[r.Clause]; {
		case r.Excused() || !all && !r.Must():
		case r.Open():
			trials = append(trials, &trial{Row: r, Verdict: open, Why: "no test yet"})
		case len(found) == 0 && r.Must():
			trials = append(trials, &trial{Row: r, Verdict: open, Why: "no marked line"})
		default:
			for _, s := range found {
				trials = append(trials, &trial{Row: r, Site: s})
			}
		}
	}
	return trials
}

// tryAll tries two at a time.
func tryAll(b *bench, trials []*trial) {
	next := make(chan *trial)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for t := range next {
				b.try(t)
			}
		})
	}
	for _, t := range trials {
		if t.Verdict == "" {
			next <- t
		}
	}
	close(next)
	group.Wait()
}

// show prints the table and the reasons, and reports whether all is well.
func show(w io.Writer, trials []*trial, complete bool) bool {
	count := make(map[verdict]int)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range trials {
		count[t.Verdict]++
		if t.Site != nil {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", t.Row.Clause, t.Site.ID(), t.Site.How, t.Row.Test, t.Verdict)
		}
	}
	table.Flush()
	said := make(map[string]bool) // one room that does not build is one reason
	for _, t := range trials {
		if t.Verdict == sick && !said[t.Why] {
			said[t.Why] = true
			fmt.Fprintf(w, "%s, %s: %s\n", t.Row.Clause, t.Site.ID(), strings.TrimSpace(t.Why))
		}
	}
	for _, t := range trials {
		if t.Verdict == open {
			fmt.Fprintf(w, "%s:%d: %s %s is open: %s\n", t.Row.List, t.Row.Line, t.Row.Clause, t.Row.Level, t.Why)
		}
	}
	dead := count[killed] + count[timedOut]
	fmt.Fprintf(w, "%d lines broken: %d killed, %d survived, %d errors; %d rows open\n",
		dead+count[survived]+count[sick], dead, count[survived], count[sick], count[open])
	return count[survived] == 0 && count[sick] == 0 && (!complete || count[open] == 0)
}
