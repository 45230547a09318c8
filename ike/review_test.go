package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

// hold makes a node's request of that kind without delivering it.
func (w *world) hold(n *node, sa *SA, kind requestKind) {
	n.e.at(w.now)
	n.e.request(sa, kind)
	w.drain(n)
}

// craft is a protected message of n's under sa, made by add.
func (w *world) craft(n *node, sa *SA, x wire.ExchangeType, response bool, id uint32, add func(m *wire.Writer)) Packet {
	n.e.at(w.now)
	m := n.e.compose(sa, x, response, id)
	add(m)
	data := append([]byte(nil), n.e.protect(sa, 0)...)
	return Packet{Local: sa.remote.addrPort(), Remote: sa.local.addrPort(), Marker: sa.marker, Data: data}
}

func (w *world) give(n *node, p Packet) {
	p.Data = append([]byte(nil), p.Data...)
	n.e.Packet(w.now, p)
	w.drain(n)
}

// A DELETE that waits behind other requests still ends the SA.
func TestRFC7296_2_3_DeleteBehindWaitingRequests(t *testing.T) {
	w := newWorld(t, "delete waits")
	w.connect()
	g, _ := w.one()
	was := g.handle()
	w.hold(w.gw, g, requestEmpty)
	w.hold(w.gw, g, requestToken)
	w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: was})
	w.drain(w.gw)
	w.run(time.Second)
	if w.gw.e.sa(was) != nil || w.cl.count(EventDown) != 1 {
		t.Fatal("the SA was not deleted\n" + w.text() + w.dump())
	}
}

// A response that cannot be parsed leaves neither a DELETE nor what waits
// behind it undone (RFC 7296 2.21: clean up the state).
func TestRFC7296_2_21_MalformedResponse(t *testing.T) {
	for _, kind := range []requestKind{requestEmpty, requestDelete} {
		w := newWorld(t, "malformed response")
		w.connect()
		g, c := w.one()
		was := g.handle()
		w.lose = func(*node, Packet) bool { return true }
		if kind == requestDelete {
			w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()})
			w.drain(w.gw)
		} else {
			w.hold(w.gw, g, kind)
			w.hold(w.gw, g, requestToken)
		}
		w.lose = nil
		p := w.craft(w.cl, c, wire.ExchangeInformational, true, 0, func(m *wire.Writer) { m.Raw(wire.PayloadKE, make([]byte, 8)) })
		w.give(w.gw, p)
		w.run(3 * time.Minute)
		if x := w.gw.e.sa(was); kind == requestDelete && x != nil {
			t.Error("a DELETE answered with nonsense never ends")
		} else if kind == requestEmpty && x != nil && x.cold != nil {
			t.Error("what waits is never sent")
		}
	}
}

// Whatever ends a client's SA, its connection is up again.
func TestClientIsNeverStuck(t *testing.T) {
	for name, end := range map[string]func(w *world, g, c *SA){
		"AUTHENTICATION_FAILED": func(w *world, g, c *SA) {
			w.give(w.cl, w.craft(w.gw, g, wire.ExchangeInformational, false, 0, func(m *wire.Writer) {
				m.Notify(wire.Notify{Type: wire.NotifyAuthenticationFailed})
			}))
		},
		"CommandDelete": func(w *world, g, c *SA) {
			w.cl.e.Command(w.now, Command{Kind: CommandDelete, SA: c.handle()})
			w.drain(w.cl)
		},
		"CommandDelete, unanswered": func(w *world, g, c *SA) {
			w.lose = func(*node, Packet) bool { return true }
			w.cl.e.Command(w.now, Command{Kind: CommandDelete, SA: c.handle()})
			w.drain(w.cl)
			w.run(2 * time.Minute)
			w.lose = nil
		},
		"CommandDelete of an attempt": func(w *world, g, c *SA) {
			w.crash(w.gw)
			w.lose = func(*node, Packet) bool { return true }
			w.callRoll(w.gw)
			w.cl.e.crashed(c, ByTimeout)
			w.drain(w.cl)
			for _, s := range w.cl.e.slots {
				if s.sa != nil && s.sa.half != nil {
					w.cl.e.Command(w.now, Command{Kind: CommandDelete, SA: s.sa.handle()})
					w.drain(w.cl)
				}
			}
			w.lose = nil
		},
		"Message IDs used up": func(w *world, g, c *SA) { // to use 2^32 takes too long
			w.cl.e.ended(c, "message ids used up", true)
			w.drain(w.cl)
		},
	} {
		w := newWorld(t, "stuck "+name)
		w.connect()
		g, c := w.one()
		was := c.spi
		end(w, g, c)
		w.run(5 * time.Minute)
		if n := w.cl.live(); len(n) != 1 || n[0].spi == was {
			t.Errorf("%s: %d SAs\n%s\n%s", name, len(n), w.text(), w.dump())
		}
	}
}

// A second order to delete is not a second DELETE, and leaves no trace of the
// SA in the tables.
func TestDeleteTwice(t *testing.T) {
	w := newWorld(t, "twice")
	w.connect()
	g, _ := w.one()
	w.lose = func(*node, Packet) bool { return true }
	for range 2 {
		w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()})
		w.drain(w.gw)
	}
	if w.gw.e.counts.established != 0 || w.gw.e.peers.Len() != 0 || !w.gw.e.Empty() {
		t.Fatal(w.gw.e.counts, w.gw.e.peers.Len())
	}
	w.lose = nil
	w.run(5 * time.Minute)
	w.one()
}

// A forged packet between the request and its copy changes nothing: the copy
// is still answered from memory.
func TestRFC7296_2_1_ForgeryBetweenFragments(t *testing.T) {
	w := newWorld(t, "between")
	w.cl.conn.Fragment, w.gw.conn.Fragment = 200, 200
	var pieces []Packet
	w.lose = func(from *node, p Packet) bool {
		lost := from == w.cl && p.Data[18] == byte(wire.ExchangeIKEAuth)
		if lost {
			pieces = append(pieces, p)
		}
		return lost
	}
	w.connect()
	if len(pieces) < 2 {
		t.Fatal(len(pieces))
	}
	in := func(p Packet) {
		w.give(w.gw, Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: p.Data})
	}
	in(pieces[0])
	forged := pieces[1]
	forged.Data = append([]byte(nil), forged.Data...)
	forged.Data[len(forged.Data)-1] ^= 1
	in(forged)
	for _, p := range pieces[1:] {
		in(p)
	}
	if len(w.gw.live()) != 1 {
		t.Fatal(w.dump())
	}
	n := len(w.ladder)
	in(pieces[0])
	if len(w.ladder) == n {
		t.Fatal("the copy is not answered\n" + w.dump())
	}
}

// What is left of a message that never came whole is forgotten: it does not
// spoil the next one, and its place is free again.
func TestRFC7383_2_6_LeftoverFragments(t *testing.T) {
	w := newWorld(t, "leftover")
	w.connect()
	g, c := w.one()
	c.frag, g.frag = true, true
	noise := func(id uint32) (out []Packet) {
		w.cl.conn.Fragment = 200
		p := w.craft(w.cl, c, wire.ExchangeInformational, false, id, func(m *wire.Writer) { m.VendorID(make([]byte, 300)) })
		for b := p.Data; len(b) > 0; {
			h, _ := wire.ParseHeader(b)
			q := p
			q.Data, b = b[:h.Length], b[h.Length:]
			out = append(out, q)
		}
		return out
	}
	id := g.recv
	first := noise(2)
	w.give(w.gw, first[0])
	if w.gw.e.counts.pieces != 1 || g.recv != id {
		t.Fatal(w.gw.e.counts.pieces, w.dump())
	}
	w.cl.conn.Fragment = 1252
	w.give(w.gw, w.craft(w.cl, c, wire.ExchangeInformational, false, 2, func(*wire.Writer) {})) // the same request, whole
	if w.gw.e.counts.pieces != 0 {
		t.Error("the fragments of an answered request are still kept")
	}
	for _, p := range noise(3) {
		w.give(w.gw, p)
	}
	if got := w.ladder[len(w.ladder)-1]; w.gw.e.Counters[DropFragment] != 0 || g.recv == id {
		t.Error(got, w.dump())
	}
	w.give(w.gw, noise(4)[0])
	w.run(2 * time.Minute)
	if w.gw.e.counts.pieces != 0 {
		t.Error("fragments are kept without end")
	}
}

// INVALID_SYNTAX is fatal in both peers.
func TestRFC7296_2_21_3_InvalidSyntaxIsFatal(t *testing.T) {
	w := newWorld(t, "fatal", quiet)
	w.connect()
	g, c := w.one()
	w.give(w.gw, w.craft(w.cl, c, wire.ExchangeInformational, false, 2, func(m *wire.Writer) { m.Raw(wire.PayloadKE, make([]byte, 8)) }))
	w.has(t, "<- IKE_AUTH", "<- INFORMATIONAL SK")
	if w.gw.e.bySPI(g.ours()) != nil {
		t.Error("the SA stays after INVALID_SYNTAX was sent")
	}

	w = newWorld(t, "fatal 2", quiet)
	w.connect()
	g, c = w.one()
	w.lose = func(*node, Packet) bool { return true }
	w.hold(w.cl, c, requestEmpty)
	w.lose = nil
	w.give(w.cl, w.craft(w.gw, g, wire.ExchangeInformational, true, 2, func(m *wire.Writer) { m.Notify(wire.Notify{Type: wire.NotifyInvalidSyntax}) }))
	if w.cl.e.bySPI(c.ours()) != nil {
		t.Error("the SA stays after INVALID_SYNTAX was received")
	}
	w.run(time.Minute)
	if len(w.cl.live()) != 1 {
		t.Error("the client does not come back\n" + w.dump())
	}
}

// Who is itself behind a NAT does not follow a peer (RFC 7296 2.23).
func TestRuleG3_BehindANATNobodyIsFollowed(t *testing.T) {
	w := newWorld(t, "natted gateway")
	public := netip.MustParseAddrPort("203.0.113.1:500")
	w.cl.conn.Gateway = public
	w.connectThrough(public)
	g, c := w.one()
	if !g.behind {
		t.Fatal("the NAT was not seen")
	}
	w.now = w.now.Add(5 * time.Second)
	p := w.craft(w.cl, c, wire.ExchangeInformational, false, 2, func(*wire.Writer) {})
	from := netip.MustParseAddrPort("203.0.113.66:4500")
	before := g.remote
	w.give(w.gw, Packet{Local: g.local.addrPort(), Remote: from, Marker: true, Data: p.Data})
	if g.remote != before {
		t.Fatal("moved to " + from.String())
	}
}

// connectThrough connects to a gateway whose address a NAT translates.
func (w *world) connectThrough(public netip.AddrPort) {
	step := func() {
		for i := 0; len(w.flight) > 0 && i < 100; i++ {
			p := w.flight[0]
			w.flight = w.flight[1:]
			if p.Remote.Addr() == public.Addr() {
				w.gw.e.Packet(w.now, Packet{Local: netip.AddrPortFrom(gwAddr.Addr(), p.Remote.Port()), Remote: p.Local, Marker: p.Marker, Data: p.Data})
				w.drain(w.gw)
			} else {
				w.cl.e.Packet(w.now, Packet{Local: p.Remote, Remote: netip.AddrPortFrom(public.Addr(), p.Local.Port()), Marker: p.Marker, Data: p.Data})
				w.drain(w.cl)
			}
			w.advanceNodes()
		}
	}
	w.cl.e.Command(w.now, Command{Kind: CommandConnect, Conn: w.cl.conn, Local: w.cl.addr, Remote: public})
	w.drain(w.cl)
	w.advanceNodes()
	step()
}

// Each single message of a connection, of a resume and of a DELETE may be lost.
func TestAnySingleMessageMayBeLost(t *testing.T) {
	for nth := range 16 {
		w := newWorld(t, "single")
		n := 0
		w.lose = func(*node, Packet) bool { n++; return n-1 == nth }
		w.connect()
		w.run(40 * time.Second)
		if g, c := w.one(); !sameKeys(g.keys, c.keys) {
			t.Fatalf("message %d of the full handshake\n%s", nth, w.text())
		}
		w.crash(w.gw)
		n = 0
		w.callRoll(w.gw)
		w.run(2 * time.Minute)
		if g, c := w.one(); !g.resumed || !sameKeys(g.keys, c.keys) || g.confirm {
			t.Fatalf("message %d of the resume\n%s", nth, w.text())
		}
		n = 0
		if nth%2 == 0 {
			w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn})
			w.drain(w.cl)
		} else {
			g, _ := w.one()
			w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()})
			w.drain(w.gw)
		}
		w.run(5 * time.Minute)
		if nth%2 == 0 && (!w.gw.e.Empty() || !w.cl.e.Empty()) {
			t.Fatalf("message %d of the DELETE\n%s", nth, w.text())
		}
	}
}

// A request of the responder that overtakes its IKE_AUTH response does not
// spoil what AUTH covers.
func TestRFC7296_2_3_RequestBeforeTheIKE_AUTHResponse(t *testing.T) {
	w := newWorld(t, "overtaken")
	var held []Packet
	w.lose = func(from *node, p Packet) bool {
		if from == w.gw && p.Data[18] == byte(wire.ExchangeIKEAuth) {
			held = append(held, Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: p.Data})
			return true
		}
		return false
	}
	w.connect()
	g := w.gw.live()[0]
	w.hold(w.gw, g, requestToken)
	w.deliver()
	w.lose = nil
	w.give(w.cl, held[0])
	w.run(20 * time.Second)
	if _, c := w.one(); !sameKeys(c.keys, g.keys) {
		t.Fatal(w.text(), w.dump())
	}
}

// Both DELETE at once.
func TestSimultaneousDelete(t *testing.T) {
	w := newWorld(t, "both")
	w.connect()
	g, _ := w.one()
	w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()})
	w.drain(w.gw)
	w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn})
	w.drain(w.cl)
	w.run(time.Minute)
	if !w.gw.e.Empty() || !w.cl.e.Empty() {
		t.Fatal(w.text())
	}
}
