package clauses

import (
	"os"
	"testing"
)

// TestLists holds the lists of this tree against its code.
func TestLists(t *testing.T) {
	r, err := Check(os.DirFS("../.."), Lists(os.DirFS("../..")), Threats)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range r.Wrong {
		t.Error(w)
	}
	if len(r.Open) > 0 {
		t.Logf("%d of %d rows are open, %d do not bind us yet", len(r.Open), len(r.Rows)+len(r.Threats), r.Excused())
	}
	for _, o := range r.Open {
		if Complete {
			t.Errorf("%s: open", o)
		} else {
			t.Logf("open: %s", o)
		}
	}
}
