package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/ticket"
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

// Retransmissions come at intervals that grow exponentially.
func TestRFC7296_2_1_RetransmissionsSlowDown(t *testing.T) {
	d := DefaultTimers()
	if a, b := d.Retry.Delay(0, 1<<31), d.Retry.Delay(2, 1<<31); b < 2*a {
		t.Errorf("Retry: %v, then %v", a, b)
	}
	if a, b := d.Liveness.Delay(0, 1<<31), d.Liveness.Delay(2, 1<<31); b < 2*a {
		t.Errorf("Liveness: %v, then %v", a, b)
	}
}

// A DELETE that waits behind other requests still ends the SA.
func TestRFC7296_2_3_DeleteBehindWaitingRequests(t *testing.T) {
	w := newWorld(t, "delete waits")
	w.connect()
	g, _ := w.one()
	w.hold(w.gw, g, requestEmpty)
	w.hold(w.gw, g, requestToken)
	w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()})
	w.drain(w.gw)
	w.run(time.Second)
	if w.gw.e.bySPI(g.ours()) != nil || w.cl.count(EventDown) != 1 {
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
		if x := w.gw.e.bySPI(g.ours()); kind == requestDelete && x != nil {
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
		end(w, g, c)
		w.run(5 * time.Minute)
		if n := w.cl.live(); len(n) != 1 || n[0].spi == c.spi {
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
	if w.gw.e.counts.established != 0 || len(w.gw.e.peers) != 0 || !w.gw.e.Empty() {
		t.Fatal(w.gw.e.counts, w.gw.e.peers)
	}
	w.lose = nil
	w.run(5 * time.Minute)
	w.one()
}

// A queue that is never empty does not grow.
func TestRuleE5_QueueThatIsNeverEmpty(t *testing.T) {
	var q queue
	q.push(waitingFirst{p: Packet{Remote: clAddr}}, 4096)
	for range 100000 {
		q.push(waitingFirst{p: Packet{Remote: clAddr}}, 4096)
		q.pop()
	}
	if cap(q.items) > 2*4096 {
		t.Fatalf("one message waits, and the queue has room for %d", cap(q.items))
	}
}

// IKE_SA_INIT responses have at most 3 times the octets of their request, or a
// COOKIE comes first; nothing else is larger than its cause.
func TestRuleA3_FirstAnswersDoNotAmplify(t *testing.T) {
	w := newWorld(t, "amplify", func(gw, _ *Config) { gw.CertReq = make([]byte, 20*40) })
	w.connect()
	w.one()
	w.has(t, "-> IKE_SA_INIT {SAi1", "<- IKE_SA_INIT {N(COOKIE)}", "-> IKE_SA_INIT {N(COOKIE), SAi1", "<- IKE_SA_INIT {SAr1")

	m := wire.NewWriter(nil, wire.Header{SPIi: 7, Version: wire.Version, Exchange: wire.ExchangeIKESAInit, Flags: wire.FlagInitiator})
	m.Raw(200, nil)
	data := m.Finish()
	data[wire.HeaderLen+1] = 0x80 // critical
	w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: clAddr, Data: data})
	for o, ok := w.gw.e.Next(); ok; o, ok = w.gw.e.Next() {
		if o.Kind == OutputSend && len(o.Packet.Data) > len(data) {
			t.Errorf("%d octets to %d", len(o.Packet.Data), len(data))
		}
	}
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

// After three resumes that were accepted and then met silence, the full
// handshake waits: all clients may be in the same crowd.
func TestRuleE7_FallbackAfterSilenceWaits(t *testing.T) {
	w := newWorld(t, "silence")
	w.connect()
	w.crash(w.gw)
	w.lose = func(from *node, p Packet) bool { return p.Data[18] == byte(wire.ExchangeIKEAuth) }
	w.callRoll(w.gw)
	var third, full time.Time
	seen := 0
	w.tamper = func(from *node, p *Packet) {
		if from == w.cl && p.Data[18] == byte(wire.ExchangeIKESAInit) && full.IsZero() {
			full = w.now
		}
	}
	for full.IsZero() {
		w.run(10 * time.Millisecond)
		if n := w.cl.count(EventResuming); n > seen {
			seen, third = n, w.now
		}
		if third.Add(time.Minute).Before(w.now) {
			t.Fatal("no full handshake")
		}
	}
	if seen != 3 || full.Sub(third) <= w.cl.cfg.Timers.AuthSilence+10*time.Millisecond {
		t.Fatalf("%d resumes, full handshake %v after the last", seen, full.Sub(third))
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

// A ticket that the client does not take leaves no used one behind.
func TestRFC5723_4_3_1_UsedTicketGoesWhateverComes(t *testing.T) {
	w := newWorld(t, "no life")
	w.connect()
	_, c := w.one()
	old := append([]byte(nil), w.cl.ticket.Ticket...)
	w.cl.e.at(w.now)
	_ = w.cl.e.msg.sort(informational, wire.PayloadNone, nil)
	w.cl.e.msg.notes[0] = wire.Notify{Type: wire.NotifyTicketLTOpaque, Data: make([]byte, 40)} // life 0
	w.cl.e.msg.nNotes = 1
	c.half = &half{}
	c.state = stateAuth
	w.cl.e.counts.established--
	w.cl.e.forgetPeer(c)
	w.cl.e.connected(c)
	w.drain(w.cl)
	if w.cl.ticket != nil && string(w.cl.ticket.Ticket) == string(old) {
		t.Fatal("the used ticket is still there")
	}
}

// A ticket of an authentication that the connection does not allow any more is
// no way around the new one.
func TestRFC5723_5_AuthenticationMethodIsJudgedAgain(t *testing.T) {
	w := newWorld(t, "method")
	w.connect()
	w.one()
	w.gw.conn.Remote.Auth = AuthCert
	s := &ticket.Session{}
	if err := ticket.ParseSession(w.cl.ticket.Session, s); err != nil {
		t.Fatal(err)
	}
	if w.gw.e.judge(s, w.gw.conn) == nil {
		t.Fatal("a PSK ticket resumes a connection of certificates")
	}
}

// An initiator may send a CERTREQ for each of its CAs; they are hints.
func TestRFC7296_3_7_ManyCertReqs(t *testing.T) {
	b := wire.NewWriter(nil, wire.Header{})
	for range 12 {
		b.CertReq(wire.CertReq{Encoding: wire.CertX509Signature, Hashes: make([]byte, 20)})
	}
	b.ID(wire.PayloadIDi, id("x"))
	body := b.Finish()
	var m message
	if err := m.sort(authRequest, wire.PayloadCERTREQ, body[wire.HeaderLen:]); err != nil {
		t.Fatal(err)
	}
}

// An identity may be as long as a message allows; no ticket holds it.
func TestLongIdentity(t *testing.T) {
	w := newWorld(t, "long")
	w.cl.conn.Local.ID = id(string(make([]byte, 20000)) + ".clients.test")
	w.connect()
	w.run(time.Second)
	w.one()
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(2 * time.Minute)
	w.one()
}

// A report that may not be answered does not use up the answers of its SA.
func TestRuleA8_ShortPacketsSpendNoToken(t *testing.T) {
	w := newWorld(t, "short esp", quiet, func(gw, cl *Config) { gw.RollCall = RollCallAll })
	w.connect()
	g, _ := w.one()
	spi := g.child.in
	var list []Survivor
	for _, s := range w.gw.kidmap {
		list = append(list, s)
	}
	w.crash(w.gw)
	w.gw.e.Command(w.now, Command{Kind: CommandSurvivors, Survivors: list})
	w.drain(w.gw)
	report := func(length int) {
		w.gw.e.Plane(w.now, Report{Kind: ReportUnknownSPI, SPI: spi, Local: gwAddr, Remote: clAddr, Length: length})
		w.drain(w.gw)
	}
	for range 20 {
		report(20)
		w.now = w.now.Add(2 * time.Second)
	}
	report(1400)
	w.deliver()
	if w.cl.last(EventDetected).By != ByESPReply {
		t.Fatal(w.text(), w.dump())
	}
}

// The proof counts although what stands behind it is over the limit.
func TestRuleA6_ProofBeforeTheLimit(t *testing.T) {
	w := newWorld(t, "proof", quiet)
	w.connect()
	g, c := w.one()
	right, _ := w.gw.e.tokens.Token(nil, g.gen, uint64(c.spi.I), uint64(c.spi.R))
	for range 9 {
		c.budget.Take(w.cl.e.now)
	}
	m := wire.NewWriter(nil, wire.Header{SPIi: c.spi.I, SPIr: c.spi.R, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagResponse})
	m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: right})
	for range 4 {
		m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
	}
	w.give(w.cl, Packet{Local: clAddr, Remote: gwAddr, Data: m.Finish()})
	if w.cl.count(EventDetected) != 1 {
		t.Fatal("the proof was lost")
	}
}

// Each single message of a connection, of a resume and of a DELETE may be lost.
func TestAnySingleMessageMayBeLost(t *testing.T) {
	for nth := range 16 {
		w := newWorld(t, "single")
		n := 0
		w.lose = func(*node, Packet) bool { n++; return n-1 == nth }
		w.connect()
		w.run(40 * time.Second)
		if g, c := w.one(); g.keys != c.keys {
			t.Fatalf("message %d of the full handshake\n%s", nth, w.text())
		}
		w.crash(w.gw)
		n = 0
		w.callRoll(w.gw)
		w.run(2 * time.Minute)
		if g, c := w.one(); !g.resumed || g.keys != c.keys || g.confirm {
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
	if _, c := w.one(); c.keys != g.keys {
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

// One network does not take all half-open SAs, with or without a COOKIE.
func TestRuleE5_HalfOpenFairByPrefix(t *testing.T) {
	w := newWorld(t, "one prefix", func(gw, _ *Config) { gw.Limits.HalfOpen, gw.Limits.CookieAt = 16, -1 })
	for i := range 40 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 500)
		w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: from, Data: w.initRequest()})
		w.drain(w.gw)
		w.advanceNodes()
	}
	w.flight = nil
	if w.gw.e.counts.half == 0 {
		t.Fatal(w.dump())
	}
	w.connect()
	w.one()
	w.run(time.Minute)
	if w.gw.e.counts.half != 0 || len(w.gw.e.halfFrom) != 0 {
		t.Fatal(w.gw.e.counts, w.gw.e.halfFrom)
	}
}

// A recorded request, replayed from a forged source, is answered a few times a
// second, not each time.
func TestRuleA3_ReplayedRequestsDoNotAmplify(t *testing.T) {
	w := newWorld(t, "replayed")
	var p Packet
	w.tamper = func(from *node, q *Packet) {
		if from == w.cl && q.Data[18] == byte(wire.ExchangeIKEAuth) {
			p = Packet{Local: q.Remote, Remote: netip.MustParseAddrPort("203.0.113.5:500"), Data: append([]byte(nil), q.Data...)}
		}
	}
	w.connect()
	w.one()
	n := len(w.ladder)
	for range 1000 {
		w.now = w.now.Add(time.Millisecond)
		w.give(w.gw, p)
	}
	if n = len(w.ladder) - n; n < 1 || n > 5 {
		t.Fatalf("%d answers in a second", n)
	}
}

// Busy workers are met by silence, and the next copy of the request is served
// (rule E7): neither AUTHENTICATION_FAILED nor a duplicate of nothing.
func TestRuleE7_BusyIsSilence(t *testing.T) {
	w := newWorld(t, "busy pool")
	certs(w, 600)
	w.start(w.gw)
	w.start(w.cl)
	busy, work := map[QuestionKind]int{}, w.gw.answer
	w.gw.answer = func(q *Question) *Answer {
		if busy[q.Kind]++; busy[q.Kind] == 1 {
			return &Answer{Err: ErrBusy}
		}
		return work(q)
	}
	w.connect()
	w.run(15 * time.Second)
	g, c := w.one()
	if w.cl.count(EventFailed) != 0 || w.gw.count(EventRefused) != 0 || g.cert == nil || c.cert == nil || w.gw.e.counts.questions != 0 {
		t.Fatal(w.text(), w.dump())
	}
	for _, k := range []QuestionKind{AskAgree, AskVerify, AskSign} {
		if busy[k] < 2 {
			t.Errorf("question %d was asked %d times", k, busy[k])
		}
	}
}
