package ike

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

// The attackers of docs/threats.md whose attempts no test of a clause or a rule
// shows. Where one wins, the test says so: the document must not promise more.

// TestThreatPassive: no identity, no granted ticket and no given token is to be
// read on the wire, and a ticket that is shown is shown once.
func TestThreatPassive(t *testing.T) {
	w := newWorld(t, "passive", quiet)
	tp := w.watch()
	w.connect()
	g, c := w.one()
	granted := bytes.Clone(w.cl.ticket.Ticket)
	tokens := [][]byte{tokenOf(t, w.gw, g), tokenOf(t, w.cl, c)}
	w.run(time.Minute)
	for _, s := range tp.seen {
		for _, secret := range append([][]byte{[]byte("clients.test"), []byte("gw.test"), granted[21:53], g.keys.D(g.suite)}, tokens...) {
			if bytes.Contains(s.p.Data, secret) {
				t.Errorf("%v of %s shows %q", s.h.Exchange, s.from.name, secret)
			}
		}
	}
	if len(granted)%64 != 0 {
		t.Errorf("a ticket has %d octets", len(granted))
	}
	showings := make(map[string]int)
	for range 4 {
		tp.seen = nil
		w.again(31 * time.Second)
		for _, s := range tp.of(w.cl, wire.ExchangeSessionResume) {
			showings[string(s.notes(wire.NotifyTicketOpaque)[0].Data)]++
			if bytes.Contains(s.p.Data, []byte("clients.test")) || bytes.Contains(s.p.Data, []byte("gw.test")) {
				t.Error("a RESUME shows an identity")
			}
		}
	}
	for _, n := range showings {
		if n != 1 || len(showings) != 4 {
			t.Errorf("%d tickets in 4 resumes, one shown %d times", len(showings), n)
		}
	}
}

// TestThreatTicketWithoutItsSecret: who saw a ticket, on the wire or anywhere
// else, gets Nr for it and no further; the owner's resume goes on.
func TestThreatTicketWithoutItsSecret(t *testing.T) {
	w := newWorld(t, "seen", quiet)
	w.connect()
	old := w.gw.live()[0]
	session := w.opened(w.cl.ticket.Ticket)
	session.SKd = bytes.Repeat([]byte{1}, len(session.SKd)) // the thief's guess
	thief := w.newNode("thief", clAddr, w.cl.conn)
	w.start(thief)
	owner := w.cl
	w.cl = thief
	thief.ticket = &Record{Ticket: bytes.Clone(owner.ticket.Ticket), Session: session.Append(nil), Expires: owner.ticket.Expires}
	w.connect()
	w.run(3 * time.Second)
	if len(thief.live()) != 0 || w.gw.live()[0] != old || w.gw.e.Counters[DropICV] == 0 {
		t.Fatal("a ticket without SK_d resumes\n" + w.dump())
	}
	thief.e.Command(w.now, Command{Kind: CommandForget})
	w.flight = nil
	w.cl = owner
	w.start(owner)
	w.connect()
	w.run(5 * time.Second)
	if g, c := w.one(); !g.resumed || !sameKeys(g.keys, c.keys) {
		t.Error("the owner's resume was spoilt\n" + w.dump())
	}
}

// TestThreatChangedResume: every octet of both messages of the resume counts. A
// change makes the attempt fail, and spends nothing: the ticket resumes afterwards.
func TestThreatChangedResume(t *testing.T) {
	for _, side := range []string{"gw", "cl"} {
		for at := 8; at < 420; at += 11 {
			w := newWorld(t, "changed", quiet)
			w.connect()
			old, kept := w.gw.live()[0], *w.cl.ticket
			w.start(w.cl)
			changed := false
			w.lose = func(_ *node, p Packet) bool { return p.Data[18] == byte(wire.ExchangeIKESAInit) }
			w.tamper = func(from *node, p *Packet) {
				if p.Data[18] == byte(wire.ExchangeSessionResume) && from.name == side && at < len(p.Data) {
					p.Data[at] ^= 4
					changed = true
				}
			}
			w.connect()
			w.run(900 * time.Millisecond)
			if !changed {
				continue
			}
			if len(w.cl.live()) != 0 || side == "cl" && w.gw.live()[0] != old {
				t.Errorf("octet %d of the %s's message was changed, and the resume went through", at, side)
			}
			w.lose, w.tamper, w.flight = nil, nil, nil
			w.start(w.cl)
			w.cl.ticket = &kept
			w.run(11 * time.Second) // the half-open resume goes
			w.connect()
			w.run(5 * time.Second)
			if g, _ := w.one(); !g.resumed {
				t.Errorf("octet %d of the %s's message was changed, and the ticket was spent\n%s", at, side, w.dump())
			}
		}
	}
}

// TestThreatDowngrade: proposals that were cut down on the way are seen by AUTH.
func TestThreatDowngrade(t *testing.T) {
	w := newWorld(t, "downgrade")
	both := ikeOf(t, "aes256gcm16-sha512-x25519", "aes128gcm16-sha256-x25519")
	w.gw.conn.IKE, w.cl.conn.IKE = both, both
	w.start(w.gw)
	cut := false
	w.tamper = func(from *node, p *Packet) {
		if from != w.cl || p.Data[18] != byte(wire.ExchangeIKESAInit) {
			return
		}
		if at := bytes.Index(p.Data, []byte{0x80, 0x0e, 1, 0}); at > 0 { // 256 bits become 128, so that the first proposal is not ours any more
			p.Data[at+2], p.Data[at+3] = 0, 192
			cut = true
		}
	}
	w.connect()
	w.run(time.Second)
	if !cut || len(w.gw.live())+len(w.cl.live()) != 0 {
		t.Fatal("a handshake with cut proposals went through\n" + w.dump())
	}
	w.tamper = nil
	w.run(time.Minute)
	if g, _ := w.one(); g.suite.KeyBits != 256 {
		t.Error(g.suite)
	}
}

// TestThreatReplays: what was recorded does nothing a second time.
func TestThreatReplays(t *testing.T) {
	w := newWorld(t, "replays", quiet)
	tp := w.watch()
	w.connect()
	w.again(31 * time.Second)
	w.run(40 * time.Second) // the resume is confirmed
	g, c := w.one()
	was, wasClient := *g, *c
	kept := len(w.gw.kids) + len(w.cl.kids)
	recorded := tp.seen
	w.lose = nil
	for _, s := range recorded {
		to := w.gw
		if s.from == w.gw {
			to = w.cl
		}
		w.now = w.now.Add(100 * time.Millisecond)
		w.give(to, Packet{Local: s.p.Remote, Remote: netip.MustParseAddrPort("203.0.113.9:4500"), Data: s.p.Data})
		w.flight = nil
		to.e.Advance(w.now)
		w.drain(to)
		w.flight = nil
	}
	if g2, c2 := w.one(); g2 != g || c2 != c || g.recv != was.recv || g.sent != was.sent || c.recv != wasClient.recv || g.remote != was.remote || c.remote != wasClient.remote || !sameKeys(g.keys, was.keys) {
		t.Error("a recording changed a living SA\n" + w.dump())
	}
	if w.cl.count(EventDetected) != 1 || len(w.gw.kids)+len(w.cl.kids) != kept {
		t.Error("a recording ended or made an SA")
	}
}

// TestThreatRedirect: REDIRECT is not followed, from whoever it comes.
func TestThreatRedirect(t *testing.T) {
	to := wire.Notify{Type: wire.NotifyRedirect, Data: []byte{1, 4, 203, 0, 113, 99}}
	w := newWorld(t, "redirect", quiet)
	w.lose = func(from *node, p Packet) bool {
		h, _ := wire.ParseHeader(p.Data)
		if from == w.cl && (h.Exchange == wire.ExchangeIKESAInit || h.Exchange == wire.ExchangeSessionResume) {
			m := wire.NewWriter(nil, wire.Header{SPIi: h.SPIi, Version: wire.Version, Exchange: h.Exchange, Flags: wire.FlagResponse})
			m.Notify(to)
			w.give(w.cl, Packet{Local: p.Local, Remote: p.Remote, Data: m.Finish()})
		}
		if p.Remote.Addr() == netip.MustParseAddr("203.0.113.99") {
			t.Error("redirected")
		}
		return false
	}
	w.connect()
	w.again(31 * time.Second)
	g, _ := w.one()
	next, _ := g.sent.Next()
	w.say(w.gw, g, wire.ExchangeInformational, false, next, func(m *wire.Writer) { m.Notify(to) })
	w.run(5 * time.Second)
	if now, _ := w.one(); now != g || !g.resumed {
		t.Error("a REDIRECT changed something\n" + w.dump())
	}
}

// TestThreatInventedSPIs: nobody gets a token by guessing SPIs.
func TestThreatInventedSPIs(t *testing.T) {
	w := newWorld(t, "invented", quiet)
	w.connect()
	p := w.protectedRequest(w.cl)
	w.crash(w.gw)
	r := newStream("guesses")
	tp := w.watch()
	for i := range 20000 {
		w.now = w.now.Add(time.Millisecond)
		_, _ = r.Read(p.Data[:16])
		p.Data[15] &= 0xc0
		w.give(w.gw, Packet{Local: gwAddr, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 500), Data: p.Data})
	}
	for _, s := range tp.seen {
		if s.has(wire.NotifyQCDToken) {
			t.Fatal("a guessed SPI has a token")
		}
	}
	if len(tp.seen) > 100*21 {
		t.Errorf("%d answers to guesses in 20 s", len(tp.seen))
	}
}

// TestThreatAmplifier: before a return address is shown, no answer is larger than
// its cause, or for IKE_SA_INIT than three times that.
func TestThreatAmplifier(t *testing.T) {
	w := newWorld(t, "amplifier", func(gw, _ *Config) { gw.CertReq = make([]byte, 20*200) })
	w.connect()
	first, resume, live := w.initRequest(), w.resumeRequest(), w.protectedRequest(w.cl)
	w.flight = nil
	for name, c := range map[string]struct {
		data   []byte
		change func(w *world)
		most   int
	}{
		"IKE_SA_INIT, 200 authorities": {first, nil, 3 * len(first)},
		"RESUME":                       {resume, nil, len(resume)},
		"RESUME of a bad ticket":       {resume, func(w *world) { w.gw.cfg.Ring = sealsNothing(nil, w.now) }, len(resume)},
		"request for a lost SA":        {live.Data, func(w *world) { w.gw.cfg.Boot.Epoch++; w.gw.cfg.Boot.Base++ }, len(live.Data)},
	} {
		if c.change != nil {
			c.change(w)
		}
		w.start(w.gw)
		tp := w.watch()
		w.give(w.gw, Packet{Local: gwAddr, Remote: clAddr, Data: c.data})
		w.gw.e.Advance(w.now)
		w.drain(w.gw)
		out := 0
		for _, s := range tp.seen {
			out += len(s.p.Data)
		}
		if out > c.most || len(tp.seen) > 1 {
			t.Errorf("%s: %d octets answered by %d messages of %d, at most %d", name, len(c.data), len(tp.seen), out, c.most)
		}
		w.flight = nil
	}
}

// TestThreatHalfOpenFlood: strangers fill a fixed amount of memory, for seconds,
// and a client with a COOKIE comes through.
func TestThreatHalfOpenFlood(t *testing.T) {
	w := newWorld(t, "half-open", quiet, func(gw, _ *Config) { gw.Limits.HalfOpen, gw.Limits.CookieAt, gw.Limits.Queue = 64, 32, 64 })
	first := w.initRequest()
	for i := range 5000 {
		binary.BigEndian.PutUint64(first, uint64(i+1)<<20)
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 7}), 500)
		w.give(w.gw, Packet{Local: gwAddr, Remote: from, Data: first})
		w.gw.e.Advance(w.now)
		w.drain(w.gw)
		w.flight = nil
	}
	if n := w.gw.e.counts.half; n > 64 || n < 32 || w.gw.e.Counters[DropCookie] < 4900 || w.gw.e.first.at.Len() > 64 {
		t.Fatalf("%d half-open SAs, %d remembered\n%s", n, w.gw.e.first.at.Len(), w.dump())
	}
	w.connect()
	w.run(time.Second)
	w.one()
	w.run(31 * time.Second)
	if w.gw.e.counts.half != 0 || w.gw.e.first.at.Len() != 0 {
		t.Errorf("%d half-open SAs, %d remembered after 31 s", w.gw.e.counts.half, w.gw.e.first.at.Len())
	}
}

// TestThreatTokensUsedUp (rule A5): who saw the SPIs of a lost SA can have the
// eight tokens that there are for it. Its client hears nothing then, finds out by
// its timer or by the roll call, and resumes.
func TestThreatTokensUsedUp(t *testing.T) {
	for _, call := range []bool{false, true} {
		w := newWorld(t, "used up")
		w.connect()
		p := w.protectedRequest(w.cl)
		w.crash(w.gw)
		tp := w.watch()
		for range 20 {
			w.now = w.now.Add(time.Second)
			w.give(w.gw, Packet{Local: gwAddr, Remote: netip.MustParseAddrPort("203.0.113.9:500"), Data: p.Data})
			w.flight = nil
		}
		if n := len(tp.of(w.gw, wire.ExchangeInformational)); n != 8 {
			t.Errorf("%d tokens for one SPI, want 8", n)
		}
		w.lose = nil
		if call {
			w.callRoll(w.gw)
		}
		w.run(time.Minute)
		if g, _ := w.one(); !g.resumed || w.cl.last(EventDetected).By != map[bool]By{false: ByTimeout, true: ByRollCall}[call] {
			t.Errorf("roll call %v: detected by %v\n%s", call, w.cl.last(EventDetected).By, w.dump())
		}
	}
}
