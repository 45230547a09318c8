package storm

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/internal/udp"
)

// A gateway sees one address and as many ports as there are clients.
func TestStormByPorts(t *testing.T) {
	const clients = 100
	g, o := raiseInside(t, clients)
	o.Ports, o.Crash = true, nil
	o.Resume = true
	r, err := Run(t.Context(), o)
	if err != nil || r.FullLatency.P50 <= 0 {
		t.Fatal(r, err)
	}
	seen := map[netip.AddrPort]string{}
	for _, sa := range g.g.Status(-1).SAs {
		if sa.Remote.Addr() != o.Gateway.Addr() {
			t.Errorf("%s is at %v", sa.Peer, sa.Remote)
		}
		seen[sa.Remote] = sa.Peer
	}
	if len(seen) != clients {
		t.Errorf("%d ports for %d clients", len(seen), clients)
	}
}

// Each client has one port, for both of the gateway's; what comes from the port
// of UDP encapsulation without a marker is none of ours.
func TestPorts(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	gateway, err := udp.Listen(udp.Config{Addr: loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	ike, nat := gateway.Ports()
	const clients, first = 3, 7
	p, err := openPorts(loopback, nat, first, clients)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	next := func(from <-chan *udp.Batch) *udp.Batch {
		select {
		case b := <-from:
			return b
		case <-time.After(10 * time.Second):
			t.Fatal("nothing came")
			return nil
		}
	}
	for i := range clients {
		local, natPort := p.of(first + i)
		if natPort != local.Port() || local.Addr() != loopback {
			t.Errorf("client %d: %v and port %d", i, local, natPort)
		}
		for _, marked := range []bool{false, true} {
			to := ike
			if marked {
				to = nat
			}
			p.Queue(udp.Message{Local: local, Remote: to, Marker: marked, Data: []byte("question")})
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
			b := next(gateway.Read())
			m := b.Messages[0]
			if m.Remote != local || m.Marker != marked || string(m.Data) != "question" {
				t.Errorf("the gateway got %+v", m)
			}
			gateway.Queue(udp.Message{Remote: m.Remote, Kind: udp.ESP, Data: []byte("ESP of an SPI")})
			gateway.Queue(udp.Message{Remote: m.Remote, Marker: marked, Data: []byte("answer")})
			if err := gateway.Flush(); err != nil {
				t.Fatal(err)
			}
			gateway.Recycle(b)
			var got []udp.Message
			for len(got) == 0 {
				b := next(p.Read())
				for _, m := range b.Messages {
					m.Data = []byte(string(m.Data))
					got = append(got, m)
				}
				p.Recycle(b)
			}
			if m := got[0]; len(got) != 1 || m.Local != local || m.Remote != to || m.Marker != marked || string(m.Data) != "answer" {
				t.Errorf("client %d got %+v", i, got)
			}
		}
	}
	p.Queue(udp.Message{Local: netip.AddrPortFrom(loopback, 1), Remote: ike, Data: []byte("of nobody")})
	if err := p.Flush(); err != nil {
		t.Error(err)
	}
}
