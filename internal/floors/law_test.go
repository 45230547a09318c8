package floors

import (
	"os"
	"testing"
)

// TestLaw holds the tree that this file lies in against the plan.
func TestLaw(t *testing.T) {
	const root = "../.."
	if _, err := os.Stat(root + "/go.mod"); err != nil {
		t.Fatalf("the root of the tree: %v", err)
	}
	found, err := Check(os.DirFS(root), "blackswan", plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Warning {
			t.Logf("warning: %v", f)
		} else {
			t.Error(f)
		}
	}
}

// TestPlan holds the plan itself against what it says about itself.
func TestPlan(t *testing.T) {
	floor := make(map[string]int)
	previous := 0
	for _, r := range plan {
		if _, twice := floor[r.Path]; twice {
			t.Errorf("%s is on the plan twice", r.Path)
		}
		if r.Floor < previous {
			t.Errorf("%s (floor %d) stands below a room of floor %d: ground floor first", r.Path, r.Floor, previous)
		}
		if r.Pure && r.Kit {
			t.Errorf("%s is pure and a kit: a kit imports testing", r.Path)
		}
		if !r.Pure && len(r.Modules) > 0 {
			t.Errorf("%s is not pure: its modules are those of go.mod", r.Path)
		}
		floor[r.Path], previous = r.Floor, r.Floor
	}
	for _, r := range plan {
		for _, b := range r.Beside {
			if f, ok := floor[b]; !ok || f != r.Floor {
				t.Errorf("%s may import %s beside it, which is not on floor %d", r.Path, b, r.Floor)
			}
		}
	}
}
