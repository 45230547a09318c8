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

func TestCrashes(t *testing.T) { play(t, crashes) }
func TestCrowds(t *testing.T)  { play(t, crowds) }
func TestOutages(t *testing.T) { play(t, outages) }
func TestDrains(t *testing.T)  { play(t, drains) }
func TestThefts(t *testing.T)  { play(t, thefts) }
func TestRekeys(t *testing.T)  { play(t, rekeys) }

func play(t *testing.T, scenarios []scenario) {
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
	t.Logf("seed %d: %d clients, %d full, %d resumes, %d fallbacks; roll_call %d, qcd_reply %d, esp_reply %d, timeout %d; %d tokens",
		seed, len(w.Clients), w.Fulls(), w.Resumes(), w.Fallbacks(), w.Detected(ike.ByRollCall), w.Detected(ike.ByQCDReply),
		w.Detected(ike.ByESPReply), w.Detected(ike.ByTimeout), w.Tokens())
	if t.Failed() {
		t.Logf("replay: go test ./internal/sim -run '%s' -seed %d", t.Name(), seed)
	}
}
