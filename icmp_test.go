package blackswan

import (
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/internal/udp"
	"blackswan/wire"
)

// TestA7_ICMP: what was not reached makes one liveness check, whoever else is
// named meanwhile and however often, and ends nothing.
func TestA7_ICMP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		c, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		if g.heedICMP() != nil {
			t.Error("a gateway listens to ICMP")
		}
		before, orders := l.sent(), 0
		tell, gateway := c.heedICMP(), c.Status(-1).SAs[0].Remote
		const steps, step = 1000, 2 * time.Millisecond
		for range steps {
			tell(gateway)
			tell(netip.AddrPortFrom(gateway.Addr().Next(), gateway.Port()))
			synctest.Wait()
			if len(c.unreached) == 0 {
				orders++ // it was taken
			}
			time.Sleep(step)
		}
		if most := int(steps*step/icmpGap) + 1; orders > most {
			t.Errorf("%d orders in two seconds, want %d at most", orders, most)
		}
		if n := l.sent() - before; n != 1 {
			t.Errorf("%d answers to liveness checks, want 1", n)
		}
		l.want("ann", Down, 0)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// sending is a plane with its ports.
type sending struct {
	*seeing
	ports []udp.ESPPort
}

func (p *sending) Attach(ports ...udp.ESPPort) { p.ports = append(p.ports, ports...) }

func (p *sending) Stray(udp.Message) {}

// TestA7_ICMPWithoutRoot: traffic that meets a closed port, by the sockets that
// anybody may have, makes the client ask its gateway at once.
func TestA7_ICMPWithoutRoot(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no other system tells")
	}
	l := newLoopback(t, 1)
	g, gr := l.gateway()
	cfg := l.at("ann", netip.MustParseAddr("127.0.1.1"), g)
	plane := &sending{seeing: newSeeing()}
	cfg.Plane = plane
	var gone atomic.Bool
	asked := make(chan struct{}, 1)
	cfg.Tap = func(out bool, data []byte, _ time.Time) {
		if h, err := wire.ParseHeader(data); err == nil && out && gone.Load() && h.Exchange == wire.ExchangeInformational {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
	}
	_, cr := l.connect("ann", cfg)
	l.await("ann", Established, 1)
	nat := g.Addrs()[1]
	gr.stop(t, nil)
	gone.Store(true)
	if _, err := plane.ports[0].Send(netip.Addr{}, nat, 0, [][]byte{make([]byte, 100)}); err != nil {
		t.Fatal(err)
	}
	received := make(chan error)
	go func() { received <- plane.ports[0].Receive(udp.NewBurst()) }()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	select {
	case <-asked:
	case <-late.C:
		t.Errorf("the client has not asked:\n%s", l.story())
	}
	l.want("ann", Down, 0)
	cr.stop(t, ErrKeepTicket)
	<-received
}
