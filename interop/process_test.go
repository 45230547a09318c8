package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// failing is a test that has failed and comes to its end before t does.
type failing struct {
	testing.TB
	cleanups []func()
	over     bool
	log      string
}

func (f *failing) Failed() bool       { return true }
func (f *failing) Cleanup(end func()) { f.cleanups = append(f.cleanups, end) }

func (f *failing) Logf(format string, args ...any) {
	if f.over {
		f.TB.Errorf("the log of a test that is over is written to: "+format, args...)
	}
	f.log += fmt.Sprintf(format, args...)
}

func (f *failing) end() {
	backwards(f.cleanups)
	f.over = true
}

// backwards does what is to be done at an end.
func backwards(ends []func()) {
	for _, end := range slices.Backward(ends) {
		end()
	}
}

// What a daemon says is in the log of the test that began it, also if the daemon
// outlives the test: then up to the test's end.
func TestLastingProcessOfAFailedTest(t *testing.T) {
	n := lab.Node(t, "lasting")
	for name, lasts := range map[string]bool{"ends with its test": false, "lasts": true} {
		t.Run(name, func(t *testing.T) {
			f, few := &failing{TB: t}, &Lab{}
			on := testing.TB(f)
			if lasts {
				on = few.Lasting(f)
			}
			p := n.Start(on, nil, "sh", "-c", "echo here I am; exec sleep 60")
			p.Await(t, 0, "here I am")
			f.end()
			if !strings.Contains(f.log, "here I am") {
				t.Errorf("the test's log has %q", f.log)
			}
			select {
			case <-p.done:
				if lasts {
					t.Error("it ended with its test")
				}
			default:
				if !lasts {
					t.Error("it outlives its test")
				}
			}
			backwards(few.closers)
		})
	}
}
