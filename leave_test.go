package blackswan

import (
	"fmt"
	"net/netip"
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

// TestGoodbyeOfShards: all shards say goodbye, at the same time.
func TestGoodbyeOfShards(t *testing.T) {
	l := newLoopback(t, 2)
	g, gr := l.gateway()
	const clients = 12
	var all []*running
	for i := range byte(clients) {
		name := fmt.Sprintf("c%d", i)
		_, r := l.connect(name, l.at(name, netip.AddrFrom4([4]byte{127, 0, 2, i + 1}), g))
		all = append(all, r)
	}
	l.await("gateway", Established, clients)
	if n, err := g.Goodbye(); n != clients || err != nil {
		t.Errorf("Goodbye: %d SAs, %v", n, err)
	}
	if err := <-gr.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	for i, r := range all {
		l.await(fmt.Sprintf("c%d", i), Down, 1)
		r.cancel(ErrKeepTicket)
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	}
}

// TestGoodbyeLetsNobodyIn: while a client does not answer our DELETE another one,
// which has, comes back. It finds nobody, and has no SA with a gateway that ends.
func TestGoodbyeLetsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		_, ar := l.connect("ann", l.client("ann"))
		bob := l.client("bob")
		bob.Listen = bobAddr
		_, br := l.connect("bob", bob)
		time.Sleep(2 * time.Second)
		l.want("gateway", Established, 2)
		br.stop(t, ErrKeepTicket) // and is never heard again
		if n, err := g.Goodbye(); n != 2 || err != nil {
			t.Fatalf("Goodbye: %d SAs, %v", n, err)
		}
		if err := <-gr.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		l.want("ann", Down, 1)
		l.want("gateway", Established, 2)
		ar.stop(t, ErrKeepTicket)
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
