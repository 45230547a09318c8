package blackswan

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestDrainNowhere: a gateway sends nobody to itself, or to no name.
func TestDrainNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		for _, to := range []string{"", gatewayAddr.String()} {
			if _, err := g.Drain(to); err == nil {
				t.Errorf("Drain to %q", to)
			}
		}
		gr.stop(t, nil)
	})
}

// TestGoodbye: every peer is told DELETE, and its ticket is gone (RFC 5723 6.2).
func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		if n, err := g.Goodbye(); n != 1 || err != nil {
			t.Fatalf("Goodbye: %d SAs, %v", n, err)
		}
		if err := <-gr.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		time.Sleep(time.Second)
		l.want("ann", Down, 1)
		if len(l.tickets(cfg)) != 0 {
			t.Errorf("the client's tickets: %v", l.tickets(cfg))
		}
		cr.stop(t, ErrKeepTicket)
	})
}

// TestStop: nobody is told, and who was connected resumes at the next start.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.keeping("ann"))
		time.Sleep(2 * time.Second)
		g.Stop()
		if err := <-gr.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		l.want("ann", Down, 0)
		_, gr = l.gateway()
		time.Sleep(2 * time.Second)
		l.want("ann", Resumed, 1)
		l.detected("ann", "roll_call")
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}
