package sim

import (
	"fmt"
	"testing"
	"time"

	"blackswan/ike"
)

// overload is a crash of a gateway that needs so many times longer for all of its
// clients than one of them waits for an answer to IKE_AUTH (rule E6).
type overload struct {
	name   string
	times  time.Duration
	learn  func(w *World) // how clients learn of the crash, beside what they always do
	broken bool           // no ticket is good any more: full handshakes for all (rule E7)
	most   time.Duration  // how many times longer than its work the recovery may take
}

// patience is Timers.AuthSilence.
const patience = 4 * time.Second

var overloads = []overload{
	{name: "roll call", times: 2, most: 2},
	{name: "roll call", times: 4, most: 2},
	{name: "roll call", times: 8, most: 4},
	{name: "all at once", times: 2, most: 4, learn: atOnce},
	{name: "all at once", times: 4, most: 4, learn: atOnce},
	{name: "all at once", times: 8, most: 4, learn: atOnce},
	{name: "broken ring", times: 8, most: 3, broken: true},
	{name: "broken ring", times: 32, most: 3, broken: true},
}

// TestOverload: a gateway that is slower than its clients' patience gets slower
// and does not collapse. Nobody logs in anew for that alone, and nothing is done
// for who has gone.
func TestOverload(t *testing.T) {
	for _, o := range overloads {
		t.Run(fmt.Sprintf("%s, %d times", o.name, o.times), func(t *testing.T) {
			t.Parallel()
			o.play(t)
		})
	}
}

func (o *overload) play(t *testing.T) {
	const clients = 1600
	w := New(Options{Seed: max(*seed, 1), Hosts: 10, Tunnels: clients / 10, NAT: true, Cheap: true, Network: Network{Delay: 5 * time.Millisecond}})
	w.Connect(90 * time.Second)
	w.Run(5 * time.Minute)
	work := o.times * patience
	w.Slow(work/(2*clients), 0)
	if o.broken {
		w.Slow(work/clients/6, work/clients)
		w.Gateway.NewKeys()
	}
	w.Gateway.Crash(time.Second)
	w.Run(time.Second)
	began := w.now
	if o.learn != nil {
		o.learn(w)
	}
	for w.Err() == nil && w.atRest() != nil && w.now.Sub(began) < o.most*work {
		w.Run(time.Second)
	}
	if err := w.atRest(); err != nil || w.Err() != nil {
		t.Errorf("work of %v is not done after %v: %v, %v", work, o.most*work, err, w.Err())
	}
	if again := w.Fulls() - clients; !o.broken && (again != 0 || w.Fallbacks() != 0 || w.Resumes() != clients) {
		t.Errorf("%d resumes, %d full handshakes, %d fallbacks", w.Resumes(), again, w.Fallbacks())
	}
	t.Logf("%v for work of %v: %d resumes, %d full handshakes, %d fallbacks", w.now.Sub(began), work, w.Resumes(), w.Fulls()-clients, w.Fallbacks())
}

// atOnce tells every client in the same moment that the gateway has lost its SA.
func atOnce(w *World) {
	for _, h := range w.Hosts {
		for _, v := range views(h.m) {
			h.m.command(ike.Command{Kind: ike.CommandLost, SA: v.SA})
		}
	}
}
