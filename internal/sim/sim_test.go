package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"blackswan/ike"
)

var (
	seed = flag.Uint64("seed", 0, "run each scenario with this seed alone; 0: with the first few")
	long = flag.Int("long", 1, "how many times as many seeds")
)

// scenario is a story about a world. It lets time pass and breaks things; what
// may never happen is watched meanwhile, and afterwards all must be at rest.
type scenario struct {
	name    string
	seeds   int
	options Options
	full    bool // a full handshake more than one for each client is no fault
	tell    func(w *World)
	judge   func(t *testing.T, w *World)
}

// rough is a path that nobody would like to have.
var rough = Network{Loss: 0.05, Double: 0.05, Late: 0.1, Delay: 20 * time.Millisecond}

func up(w *World) {
	w.Connect(5 * time.Second)
	w.Run(30 * time.Second)
}

var scenarios = []scenario{
	{name: "nothing happens", seeds: 2, options: Options{Shards: 3, Hosts: 4, Tunnels: 3},
		tell: func(w *World) { up(w); w.Run(5 * time.Minute) },
		judge: func(t *testing.T, w *World) {
			if w.Resumes() != 0 || w.Tokens() != 0 {
				t.Errorf("%d resumes, %d tokens", w.Resumes(), w.Tokens())
			}
		}},
	{name: "a crash", seeds: 4, options: Options{Shards: 3, Hosts: 4, Tunnels: 3},
		tell: func(w *World) { up(w); w.Gateway.Crash(time.Second); w.Run(10 * time.Second) },
		judge: func(t *testing.T, w *World) {
			if n := w.Detected(ike.ByRollCall); n != len(w.Clients) || w.Resumes() != n {
				t.Errorf("%d of %d learned by the roll call, %d resumes", n, len(w.Clients), w.Resumes())
			}
		}},
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for i := range uint64(s.seeds * *long) {
				if *seed != 0 {
					i = *seed - 1
				}
				s.play(t, i+1)
				if t.Failed() || *seed != 0 {
					return
				}
			}
		})
	}
}

func (s *scenario) play(t *testing.T, seed uint64) {
	t.Helper()
	o := s.options
	o.Seed = seed
	w := New(o)
	s.tell(w)
	err := w.Rest(15 * time.Minute)
	if err == nil && !s.full && (w.Fulls() != len(w.Clients) || w.Fallbacks() != 0) {
		err = fmt.Errorf("%d full handshakes of %d clients, %d fallbacks", w.Fulls(), len(w.Clients), w.Fallbacks())
	}
	if err == nil && s.judge != nil {
		s.judge(t, w)
	}
	if err != nil {
		t.Errorf("%v", err)
	}
	if t.Failed() {
		t.Logf("replay: go test ./internal/sim -run '%s' -seed %d", t.Name(), seed)
	}
}
