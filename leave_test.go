package blackswan

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// otherAddr is where the second gateway of a test is.
var otherAddr = netip.MustParseAddr("192.0.2.2")

// another starts a gateway at otherAddr with the secrets of the lab's gateway,
// which does not run.
func (l *lab) another() (*Gateway, *running) {
	l.t.Helper()
	cfg := l.gw
	cfg.Listen = []netip.Addr{otherAddr}
	cfg.StateDir, cfg.MachineID = l.image(), []string{machineID(l.t)}
	cfg.OnEvent, cfg.listen = l.hear("other"), l.listen
	g, err := NewGateway(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	return g, start(g.Run)
}

// TestDrain: everybody is sent to the other gateway and resumes there; this one
// ends by itself, and no ticket has died (rules D6, F2, RFC 5685 5).
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, first := l.gateway()
		time.Sleep(time.Second)
		first.stop(t, nil) // now there are secrets to share
		_, or := l.another()
		g, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		l.want("gateway", Established, 1)
		if n, err := g.Drain(otherAddr.String()); n != 1 || err != nil {
			t.Fatalf("Drain: %d SAs, %v", n, err)
		}
		if err := <-gr.ended; err != nil {
			t.Errorf("the drained gateway: %v", err)
		}
		time.Sleep(time.Second)
		l.want("ann", Redirected, 1)
		l.want("other", Resumed, 1)
		l.want("other", Established, 0)
		if len(l.tickets(cfg)) != 1 {
			t.Errorf("the client's tickets: %v", l.tickets(cfg))
		}
		cr.stop(t, nil)
		or.stop(t, nil)
	})
}

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
