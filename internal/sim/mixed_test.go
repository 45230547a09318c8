package sim

import (
	"testing"
	"time"
)

// mixed is a gateway that needs 4 ms for a message, and a hundredth of a second
// for a key agreement. Clients of the first hosts are connected, the last host's
// have never been.
func mixed() (w *World, old, fresh []*Client) {
	w = New(Options{Seed: max(*seed, 1), Hosts: 8, Tunnels: 50, Cheap: true, Network: Network{Delay: 5 * time.Millisecond}})
	fresh = w.Hosts[7].clients
	old = w.Clients[:len(w.Clients)-len(fresh)]
	for _, c := range old {
		c.Begin()
	}
	w.Run(time.Minute)
	w.Slow(4*time.Millisecond, 10*time.Millisecond)
	return w, old, fresh
}

// TestFullHandshakesDelayNoResume (rule E5): all clients resume at once, with and
// without a crowd of full handshakes for which all workers are busy. The crowd
// costs them what its messages cost, and no key agreement.
func TestFullHandshakesDelayNoResume(t *testing.T) {
	t.Parallel()
	took := [2]time.Duration{}
	for i := range took {
		w, old, fresh := mixed()
		w.Gateway.Crash(time.Second)
		w.Run(time.Second)
		began := w.now
		atOnce(w)
		if i == 1 {
			for _, c := range fresh {
				c.Begin()
			}
		}
		for w.Err() == nil && w.Resumes() < len(old) && w.now.Sub(began) < time.Minute {
			w.Run(10 * time.Millisecond)
		}
		if took[i] = w.now.Sub(began); w.Err() != nil || w.Resumes() != len(old) {
			t.Fatalf("%d of %d clients have resumed: %v", w.Resumes(), len(old), w.Err())
		}
		if err := w.Rest(time.Minute); i == 1 && (err != nil || w.Fulls() != len(w.Clients)) {
			t.Errorf("%d full handshakes: %v", w.Fulls(), err)
		}
	}
	if own := time.Duration(50*2) * 4 * time.Millisecond; took[1] > took[0]+2*own {
		t.Errorf("%v alone, %v beside full handshakes", took[0], took[1])
	}
	t.Logf("%v alone, %v beside full handshakes", took[0], took[1])
}

// TestResumesStarveNobody (rule E5): while resumes fill all of the shard's time,
// and more, new clients log in all the same.
func TestResumesStarveNobody(t *testing.T) {
	t.Parallel()
	w, old, fresh := mixed()
	const look = 100 * time.Millisecond
	looks, busy, before := 0, 0, 0
	for ; w.Err() == nil && w.Fulls() < len(w.Clients) && looks < 600; looks++ {
		if looks == 100 {
			before = w.Resumes()
			for _, c := range fresh {
				c.Begin()
			}
		}
		atOnce(w) // whoever is back is sent off again
		if len(w.Gateway.shards[0].line.waiting) > 0 {
			busy++
		}
		w.Run(look)
	}
	if w.Err() != nil || w.Fulls() != len(w.Clients) {
		t.Errorf("%d of %d have logged in: %v", w.Fulls(), len(w.Clients), w.Err())
	}
	if busy < looks*9/10 || before < 2*len(old) || w.Resumes() < before+len(old)/2 {
		t.Errorf("the shard was busy in %d of %d looks, with %d resumes before and %d in all", busy, looks, before, w.Resumes())
	}
	t.Logf("all have logged in after %v, beside %d resumes", time.Duration(looks-100)*look, w.Resumes()-before)
}
