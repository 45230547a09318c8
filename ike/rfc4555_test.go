package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

// RFC 4555 3.5: a gateway to which the new path is not acceptable says so, and
// the client begins anew.
func TestRFC4555_3_5_Unacceptable(t *testing.T) {
	w := mobileWorld(t, "unacceptable")
	_, c := w.one()
	w.lose = func(from *node, p Packet) bool { return from == w.cl && p.Data[18] == byte(wire.ExchangeInformational) }
	w.moveClient(elsewhere)
	w.deliver()
	w.lose = nil
	cookie := c.cold.open.cookie
	w.give(w.cl, w.craft(w.gw, w.gw.live()[0], wire.ExchangeInformational, true, c.cold.open.id, func(m *wire.Writer) {
		m.Notify(wire.Notify{Type: wire.NotifyUnacceptableAddresses})
		m.Notify(wire.Notify{Type: wire.NotifyCookie2, Data: cookie[:]})
	}))
	w.run(time.Second)
	outcome(t, w, 1, 1)
	w.one()
}

// RFC 4555 3.8: a client behind a NAT whose traffic comes from elsewhere is
// followed, with MOBIKE too.
func TestRFC4555_3_8_ESPMoves(t *testing.T) {
	w := mobileWorld(t, "ESP moves")
	g, _ := w.one()
	g.behind = true
	before := g.remote
	bare := Report{Kind: ReportMoved, SPI: g.child.in, Local: g.local.addrPort(), Remote: netip.AddrPortFrom(elsewhere.Addr(), 0)}
	w.gw.e.Plane(w.now, bare)
	w.drain(w.gw)
	if g.remote != before || len(w.gw.moves) != 0 {
		t.Error("bare ESP says where IKE finds the client")
	}
	w.gw.e.Plane(w.now, Report{Kind: ReportMoved, SPI: g.child.in, Local: g.local.addrPort(), Remote: elsewhere, Marker: true})
	w.drain(w.gw)
	if g.remote.addrPort() != elsewhere || w.gw.lastMove() != elsewhere {
		t.Error("not followed")
	}
}

// RFC 4555 3.11: a gateway waits five minutes for a mobile client, a client
// for its gateway seconds.
func TestRFC4555_3_11_Patience(t *testing.T) {
	w := mobileWorld(t, "patience")
	g, _ := w.one()
	w.lose = func(*node, Packet) bool { return true }
	w.hold(w.gw, g, requestEmpty)
	w.run(4*time.Minute + 50*time.Second)
	if w.gw.e.bySPI(g.ours()) != g {
		t.Error("the gateway has lost its patience")
	}
	w.run(time.Minute)
	if w.gw.e.bySPI(g.ours()) == g {
		t.Error("the gateway waits for ever")
	}
	if w.cl.count(EventDetected) == 0 {
		t.Error("the client waits as long")
	}
}

// crafted is a resumed IKE_AUTH request with more in it than our client sends.
func (w *world) crafted(cl *SA, more func(m *wire.Writer)) {
	w.say(w.cl, cl, wire.ExchangeIKEAuth, false, 1, func(m *wire.Writer) {
		m.ID(wire.PayloadIDi, w.cl.conn.Local.ID)
		m.ID(wire.PayloadIDr, w.cl.conn.Remote.ID)
		m.Auth(wire.Auth{Method: wire.AuthSharedKey, Data: cl.half.authI.bytes()})
		more(m)
	})
}

// RFC 4555 4.2.1: data in MOBIKE_SUPPORTED is of a later version, and ignored.
func TestRFC4555_4_2_1_DataIsIgnored(t *testing.T) {
	w := mobileWorld(t, "data")
	_, g, c := w.resumeHeld()
	w.crafted(c, func(m *wire.Writer) { m.Notify(wire.Notify{Type: wire.NotifyMOBIKESupported, Data: []byte{1, 2, 3}}) })
	if g.state != stateEstablished || !g.mobike {
		t.Errorf("state %d, MOBIKE %v", g.state, g.mobike)
	}
}

// RFC 4555 3.9: in IKE_AUTH, too. The ticket is not spent by it.
func TestRFC4555_3_9_InAuth(t *testing.T) {
	w := mobileWorld(t, "in auth")
	tp, g, c := w.resumeHeld()
	w.crafted(c, func(m *wire.Writer) { m.Notify(wire.Notify{Type: wire.NotifyNoNATsAllowed, Data: make([]byte, 12)}) })
	if w.gw.e.bySPI(g.ours()) != nil || !tp.of(w.gw, wire.ExchangeIKEAuth)[0].has(wire.NotifyUnexpectedNATDetected) {
		t.Error("an altered IKE_AUTH was taken")
	}
	w.run(2 * time.Minute)
	w.one()
}

// RFC 4555 4.2.5: COOKIE2 has 8 to 64 octets, and each is another one.
func TestRFC4555_4_2_5_Cookie2(t *testing.T) {
	w := mobileWorld(t, "cookie2")
	tp := w.watch()
	w.moveClient(elsewhere)
	w.run(time.Second)
	w.moveClient(clAddr)
	w.run(time.Second)
	seen := map[string]bool{}
	for _, s := range tp.seen {
		for _, n := range s.notes(wire.NotifyCookie2) {
			if seen[string(n.Data)] = true; len(n.Data) < 8 || len(n.Data) > 64 || n.Protocol != 0 || len(n.SPI) != 0 {
				t.Errorf("COOKIE2 is %v", n)
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d different cookies in two updates and two checks", len(seen))
	}
}

// behindNAT puts the client behind a NAT whose mapping the test can change.
func (w *world) behindNAT(outside netip.Addr, mapped map[uint16]uint16) {
	w.tamper = func(from *node, p *Packet) {
		if from == w.cl {
			p.Local = netip.AddrPortFrom(outside, mapped[p.Local.Port()])
			return
		}
		for in, out := range mapped {
			if p.Remote == netip.AddrPortFrom(outside, out) {
				p.Remote = netip.AddrPortFrom(w.cl.addr.Addr(), in)
			}
		}
	}
}

// RFC 4555 3.8: a client behind a NAT sees in its own liveness checks that the
// mapping changed, and updates.
func TestRFC4555_3_8_MappingChanges(t *testing.T) {
	mapped := map[uint16]uint16{500: 61000, 4500: 61001}
	w := newWorld(t, "mapping", func(gw, cl *Config) {
		gw.Connections[0].MOBIKE, cl.Connections[0].MOBIKE = true, true
		gw.Connections[0].DPD = 0
	})
	w.behindNAT(elsewhere.Addr(), mapped)
	w.connect()
	g, c := w.one()
	if !c.natted || !w.cl.kids[0].Encap || !w.gw.kids[0].Encap {
		t.Fatal("the NAT was not seen")
	}
	for _, port := range []uint16{61001, 62002, 62002, 63003} {
		mapped[4500] = port
		w.run(31 * time.Second)
		w.same(g, c)
		if g.remote.port != port {
			t.Fatalf("the NAT maps to %d, the gateway sends to %d\n%s", port, g.remote.port, w.text())
		}
	}
	if n := w.cl.count(EventMoved); n != 3 { // the first check of an SA knows of nothing before it
		t.Errorf("%d updates", n)
	}
}

// RFC 4555 3.5: NAT traversal goes on and off with the path.
func TestRFC4555_3_5_NATComesAndGoes(t *testing.T) {
	w := mobileWorld(t, "comes and goes")
	g, c := w.one()
	w.behindNAT(netip.MustParseAddr("203.0.113.200"), map[uint16]uint16{500: 61000, 4500: 61001})
	w.moveClient(elsewhere)
	w.run(time.Second)
	w.same(g, c)
	if last := w.cl.moves[len(w.cl.moves)-1]; !c.natted || !last.Encap || !last.Behind || !w.gw.moves[len(w.gw.moves)-1].Encap {
		t.Error("a NAT is on the path and ESP is bare")
	}
	w.tamper = nil
	w.moveClient(clAddr)
	w.run(time.Second)
	w.same(g, c)
	if last := w.cl.moves[len(w.cl.moves)-1]; c.natted || last.Encap || last.Behind || w.gw.moves[len(w.gw.moves)-1].Encap {
		t.Error("no NAT is on the path and ESP goes in UDP")
	}
}

// RFC 4555 3.9: NO_NATS_ALLOWED that does not fit the packet.
func TestRFC4555_3_9_NoNATsAllowed(t *testing.T) {
	right := append(append(clAddr.Addr().AsSlice(), gwAddr.Addr().AsSlice()...), 17, 148, 17, 148) // ports 4500
	wrong := append([]byte{1}, right[1:]...)
	for _, c := range []struct {
		name  string
		data  []byte
		moves bool
	}{{"as sent", right, true}, {"altered", wrong, false}, {"of no size", right[:11], false}} {
		t.Run(c.name, func(t *testing.T) {
			w := mobileWorld(t, c.name)
			g, x := w.one()
			tp := w.watch()
			id, _ := x.sent.Open()
			w.say(w.cl, x, wire.ExchangeInformational, false, id, func(m *wire.Writer) {
				m.Notify(wire.Notify{Type: wire.NotifyUpdateSAAddresses})
				m.Notify(wire.Notify{Type: wire.NotifyNoNATsAllowed, Data: c.data})
			})
			refused := tp.of(w.gw, wire.ExchangeInformational)[0].has(wire.NotifyUnexpectedNATDetected)
			if refused == c.moves || (len(w.gw.moves) > 0) != c.moves || g.state != stateEstablished {
				t.Errorf("refused %v, moved %d times", refused, len(w.gw.moves))
			}
		})
	}
}
