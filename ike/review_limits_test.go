package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/ticket"
	"blackswan/wire"
)

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
		c.told.budget.Take(w.cl.e.now)
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
