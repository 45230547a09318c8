package ike

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/ticket"
	"blackswan/wire"
)

// What strangers forge: tickets, answers to a RESUME, cookies, and messages in
// clear about SAs. More of it is in crash_test.go and rfc6290_test.go.

// TestRFC5723_9_2_ForgedTickets: each is answered with a NACK and nothing else,
// no state is made, and the living SA goes on.
func TestRFC5723_9_2_ForgedTickets(t *testing.T) {
	for name, spoil := range map[string]func(w *world, shown *Record){
		"flipped bit":      func(_ *world, r *Record) { r.Ticket[len(r.Ticket)/2] ^= 0x10 },
		"cut":              func(_ *world, r *Record) { r.Ticket = r.Ticket[:len(r.Ticket)-64] },
		"another's octets": func(_ *world, r *Record) { r.Ticket = bytes.Repeat([]byte{1}, 4000) },
		"of another ring":  func(w *world, r *Record) { r.Ticket = foreign(w.t, nil).Ticket },
		"of another gateway with our ring": func(w *world, r *Record) {
			r.Ticket = foreign(w.t, func(o *world) {
				o.gw.cfg.Ring = w.gw.cfg.Ring
				o.gw.conn.Local.ID, o.cl.conn.Remote.ID = id("gw9.test"), id("gw9.test")
			}).Ticket
		},
		"expired": func(w *world, _ *Record) { w.now = w.now.Add(25 * time.Hour) },
		"used": func(w *world, _ *Record) {
			w.start(w.cl)
			w.connect()
			w.run(40 * time.Second)
		},
		"revoked lineage": func(w *world, _ *Record) {
			w.gw.e.Command(w.now, Command{Kind: CommandFloor, Lineage: w.gw.live()[0].lineage, Floor: ticket.Revoked, Until: w.now.Unix() + 1e6})
		},
		"revoked identity": func(w *world, _ *Record) {
			w.gw.e.Command(w.now, Command{Kind: CommandNotBefore, Identity: w.gw.live()[0].peer, Until: w.now.Unix()})
		},
	} {
		w := newWorld(t, name, quiet)
		w.connect()
		r := *w.cl.ticket
		granted, shown := r.Ticket, w.firstOf(&r) // as the client would not show it: it knows better
		r.Ticket = bytes.Clone(granted)
		spoil(w, &r)
		living := w.gw.live()[0]
		at := bytes.Index(shown, granted)
		shown = append(append(bytes.Clone(shown[:at]), r.Ticket...), shown[at+len(granted):]...)
		binary.BigEndian.PutUint16(shown[at-6:], uint16(8+len(r.Ticket)))
		binary.BigEndian.PutUint32(shown[24:], uint32(len(shown)))
		w.flight = nil
		w.gw.hook = func(q *Question) { // the ring as the store has it: the same
			if q.Kind == AskRing {
				w.gw.e.Command(w.now, Command{Kind: CommandKeys, Ring: w.gw.cfg.Ring})
				w.drain(w.gw)
			}
		}
		tp := w.watch()
		for range 2 { // under an unknown key the ring is read again first
			w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: netip.MustParseAddrPort("203.0.113.66:500"), Data: bytes.Clone(shown)})
			w.drain(w.gw)
			w.gw.e.Advance(w.now)
			w.drain(w.gw)
			w.now = w.now.Add(2 * time.Second)
		}
		answers := tp.of(w.gw, wire.ExchangeSessionResume)
		if want := map[bool]int{true: 1, false: 2}[name == "of another ring"]; len(answers) != want || w.gw.e.Counters[DropTicket] != uint64(want) {
			t.Errorf("%s: %d answers, want %d\n%s", name, len(answers), want, w.dump())
		}
		for _, s := range answers {
			if !s.has(wire.NotifyTicketNACK) || len(s.kinds) != 1 || len(s.p.Data) > len(shown) {
				t.Errorf("%s: answered with %v", name, s.kinds)
			}
		}
		if w.gw.live()[0] != living || living.state != stateEstablished || w.gw.e.counts.halfResumes != 0 {
			t.Errorf("%s: state was made or lost", name)
		}
	}
}

// foreign is the ticket that another gateway grants.
func foreign(t testing.TB, change func(o *world)) *Record {
	o := newWorld(t, "foreign", quiet)
	if change != nil {
		change(o)
		o.start(o.gw)
	}
	o.connect()
	o.one()
	return o.cl.ticket
}

// TestRFC5723_9_4_NothingUntrustedBeginsAResume: whatever comes in clear for a
// living SA, the client asks whether its gateway lives, and that is all.
func TestRFC5723_9_4_NothingUntrustedBeginsAResume(t *testing.T) {
	wrong := make([]byte, qcd.TokenSize)
	for name, c := range map[string]struct {
		x      wire.ExchangeType
		flags  wire.Flags
		notes  []wire.Notify
		checks int
	}{
		"INVALID_IKE_SPI":            {wire.ExchangeInformational, wire.FlagResponse, []wire.Notify{{Type: wire.NotifyInvalidIKESPI}}, 1},
		"INVALID_IKE_SPI, a request": {wire.ExchangeInformational, 0, []wire.Notify{{Type: wire.NotifyInvalidIKESPI}}, 1},
		"INVALID_IKE_SPI, wrong token": {wire.ExchangeInformational, wire.FlagResponse, []wire.Notify{{Type: wire.NotifyInvalidIKESPI},
			{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: wrong}}, 0},
		"INVALID_SPI": {wire.ExchangeInformational, wire.FlagInitiator, []wire.Notify{{Type: wire.NotifyInvalidSPI, Data: []byte("out.")}}, 1},
		"INVALID_SPI, wrong token": {wire.ExchangeInformational, wire.FlagInitiator, []wire.Notify{{Type: wire.NotifyInvalidSPI, Data: []byte("out.")},
			{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: wrong}}, 0},
		"INVALID_SYNTAX":        {wire.ExchangeInformational, wire.FlagResponse, []wire.Notify{{Type: wire.NotifyInvalidSyntax}}, 0},
		"AUTHENTICATION_FAILED": {wire.ExchangeInformational, 0, []wire.Notify{{Type: wire.NotifyAuthenticationFailed}}, 0},
		"TICKET_NACK":           {wire.ExchangeSessionResume, wire.FlagResponse, []wire.Notify{{Type: wire.NotifyTicketNACK}}, 0},
		"TICKET_REQUEST":        {wire.ExchangeInformational, 0, []wire.Notify{{Type: wire.NotifyTicketRequest}}, 0},
	} {
		w := newWorld(t, name, quiet)
		w.connect()
		_, sa := w.one()
		m := wire.NewWriter(nil, wire.Header{SPIi: sa.spi.I, SPIr: sa.spi.R, Version: wire.Version, Exchange: c.x, Flags: c.flags, MessageID: 2})
		for _, n := range c.notes {
			if string(n.Data) == "out." {
				n.Data = binary.BigEndian.AppendUint32(nil, sa.child.out)
			}
			m.Notify(n)
		}
		tp := w.watch()
		w.cl.e.Packet(w.now, Packet{Local: clAddr, Remote: gwAddr, Data: m.Finish()})
		w.drain(w.cl)
		w.deliver()
		asked := tp.of(w.cl, wire.ExchangeInformational)
		if len(asked) != c.checks || len(tp.seen) != 2*c.checks || w.cl.count(EventDetected)+w.cl.count(EventResuming) != 0 || w.cl.live()[0] != sa {
			t.Errorf("%s: %d checks, want %d\n%s\n%s", name, len(asked), c.checks, w.text(), w.dump())
		}
	}
}

// TestRFC6290_8_2_HowManyIsLimited: for the taker ten a second, for the maker a
// hundred answers a second without an entry in its map.
func TestRFC6290_8_2_HowManyIsLimited(t *testing.T) {
	w := newWorld(t, "limited", quiet)
	w.connect()
	_, c := w.one()
	m := wire.NewWriter(nil, wire.Header{Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagInitiator})
	m.Notify(wire.Notify{Type: wire.NotifyInvalidSPI, Data: binary.BigEndian.AppendUint32(nil, c.child.out)})
	m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
	for range 1000 {
		w.give(w.cl, Packet{Local: clAddr, Remote: gwAddr, Data: m.Finish()})
	}
	if n := w.cl.e.Counters[DropTokenRate]; n < 985 || len(w.cl.live()) != 1 {
		t.Errorf("%d of 1000 were not compared", n)
	}
	tp := w.watch()
	for i := range 1000 {
		w.gw.e.Plane(w.now, Report{Kind: ReportUnknownSPI, SPI: uint32(0x7000 + i), Local: gwAddr, Remote: clAddr, Length: 120})
		w.drain(w.gw)
	}
	if n := len(tp.of(w.gw, wire.ExchangeInformational)); n != 100 {
		t.Errorf("%d answers to 1000 unknown ESP SPIs, want 100", n)
	}
}

// TestRFC6290_9_2_NoTokenWhileInDoubt: for a living SA nothing is said in clear,
// whoever asks; for an SPI of this start, of another node or of the future no
// token is.
func TestRFC6290_9_2_NoTokenWhileInDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w *world)
		boot   func(b *spi.Boot)
		clear  int // answers in clear, none with a token
	}{
		"living":     {func(*world) {}, func(*spi.Boot) {}, 0},
		"this start": {func(w *world) { w.start(w.gw) }, func(*spi.Boot) {}, 3},
		"the future": {func(w *world) { w.start(w.gw) }, func(b *spi.Boot) { b.Epoch, b.Base = 60, 60 }, 3},
		"other node": {func(w *world) { w.start(w.gw) }, func(b *spi.Boot) { b.Node, b.Epoch, b.Base = 5, 200, 200 }, 3},
		"copy":       {func(w *world) { w.start(w.gw) }, func(b *spi.Boot) { b.Earlier, b.Epoch, b.Base = false, 200, 200 }, 3},
	} {
		w := newWorld(t, name, quiet)
		w.connect()
		living := w.gw.live()[0]
		p := w.protectedRequest(w.cl)
		c.boot(&w.gw.cfg.Boot)
		c.before(w)
		tp := w.watch()
		for i := range 3 {
			q := Packet{Local: gwAddr, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 4500), Data: bytes.Clone(p.Data)}
			q.Data[len(q.Data)-1-i] ^= 1
			w.gw.e.Packet(w.now, q)
			w.drain(w.gw)
			w.now = w.now.Add(2 * time.Second)
		}
		answers := tp.of(w.gw, wire.ExchangeInformational)
		for _, s := range answers {
			if s.has(wire.NotifyQCDToken) {
				t.Errorf("%s: a token is shown", name)
			}
		}
		if len(answers) != c.clear || name == "living" && w.gw.live()[0] != living {
			t.Errorf("%s: %d answers in clear, want %d", name, len(answers), c.clear)
		}
	}
}

// TestRFC5723_4_3_2_ForgedAnswers: who sees a RESUME answers it first. The right
// answer wins while there is one, and no forgery costs the client its ticket.
func TestRFC5723_4_3_2_ForgedAnswers(t *testing.T) {
	clear := func(h wire.Header, spir wire.SPI, add func(m *wire.Writer)) []byte {
		m := wire.NewWriter(nil, wire.Header{SPIi: h.SPIi, SPIr: spir, Version: wire.Version, Exchange: h.Exchange, Flags: wire.FlagResponse})
		add(&m)
		return m.Finish()
	}
	nack := func(h wire.Header) []byte {
		return clear(h, 0, func(m *wire.Writer) { m.Notify(wire.Notify{Type: wire.NotifyTicketNACK}) })
	}
	nr := func(n byte) func(h wire.Header) []byte {
		return func(h wire.Header) []byte {
			return clear(h, wire.SPI(n), func(m *wire.Writer) { m.Nonce(bytes.Repeat([]byte{n}, 32)) })
		}
	}
	for name, c := range map[string]struct {
		forged []func(h wire.Header) []byte
		mute   bool // the gateway's own answer is lost
		resume bool
	}{
		"NACK":           {[]func(wire.Header) []byte{nack}, false, true},
		"Nr":             {[]func(wire.Header) []byte{nr(1)}, false, true},
		"NACK, three Nr": {[]func(wire.Header) []byte{nack, nr(1), nr(2), nr(3)}, false, true},
		"empty, COOKIE of no octets": {[]func(wire.Header) []byte{func(h wire.Header) []byte { return clear(h, 7, func(m *wire.Writer) {}) }, func(h wire.Header) []byte {
			return clear(h, 0, func(m *wire.Writer) { m.Notify(wire.Notify{Type: wire.NotifyCookie}) })
		}}, false, true},
		"NACK for another SPIi": {[]func(wire.Header) []byte{func(h wire.Header) []byte { h.SPIi ^= 1; return nack(h) }}, false, true},
		"four Nr, each time":    {[]func(wire.Header) []byte{nr(1), nr(2), nr(3), nr(4)}, false, false},
		"NACK alone":            {[]func(wire.Header) []byte{nack}, true, false},
	} {
		w := newWorld(t, name, quiet)
		w.connect()
		kept := w.cl.ticket
		w.start(w.cl)
		w.lose = func(from *node, p Packet) bool {
			resume := p.Data[18] == byte(wire.ExchangeSessionResume)
			if resume && from == w.cl {
				h, _ := wire.ParseHeader(p.Data)
				for _, f := range c.forged {
					w.give(w.cl, Packet{Local: p.Local, Remote: p.Remote, Data: f(h)})
				}
			}
			return c.mute && (resume || p.Data[18] == byte(wire.ExchangeIKESAInit))
		}
		w.connect()
		w.run(20 * time.Second)
		if c.mute {
			if w.cl.ticket != kept || w.cl.count(EventFallback) == 0 {
				t.Errorf("%s: the ticket went before a full handshake succeeded\n%s", name, w.dump())
			}
			w.lose = nil
			w.run(3 * time.Minute)
		}
		g, cl := w.one()
		if g.resumed != c.resume || !sameKeys(g.keys, cl.keys) || w.cl.ticket == nil {
			t.Errorf("%s: resumed=%v\n%s\n%s", name, g.resumed, w.text(), w.dump())
		}
	}
}

// TestRFC7296_2_6_ForgedCookie: a wrong one and another's count as none, in both
// exchanges.
func TestRFC7296_2_6_ForgedCookie(t *testing.T) {
	w := newWorld(t, "cookies", quiet, func(gw, _ *Config) { gw.Limits.CookieAt, gw.Limits.ResumeCookieAt = 0, 0 })
	w.connect()
	for _, first := range [][]byte{w.initRequest(), w.resumeRequest()} {
		h, _ := wire.ParseHeader(first)
		with := func(cookie []byte, change func(b []byte)) []byte {
			rest := bytes.Clone(first[wire.HeaderLen:])
			if change != nil {
				change(rest)
			}
			m := wire.NewWriter(nil, h)
			m.Notify(wire.Notify{Type: wire.NotifyCookie, Data: cookie})
			b := m.Finish()
			b[wire.HeaderLen] = byte(h.NextPayload)
			b = append(b, rest...)
			binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
			return b
		}
		ask := func(from netip.AddrPort, b []byte) sight {
			w.now = w.now.Add(time.Millisecond)
			w.flight = nil
			tp := w.watch()
			w.give(w.gw, Packet{Local: gwAddr, Remote: from, Data: b})
			w.gw.e.Advance(w.now)
			w.drain(w.gw)
			return tp.only(w.gw, h.Exchange)
		}
		here, there := netip.MustParseAddrPort("203.0.113.5:500"), netip.MustParseAddrPort("203.0.113.6:500")
		cookie := ask(here, first).notes(wire.NotifyCookie)[0].Data
		wrong := bytes.Clone(cookie)
		wrong[len(wrong)-1] ^= 1
		for name, s := range map[string]sight{
			"a bit":           ask(here, with(wrong, nil)),
			"none":            ask(here, with(nil, nil)),
			"zeros":           ask(here, with(make([]byte, 64), nil)),
			"cut":             ask(here, with(cookie[:len(cookie)-1], nil)),
			"another address": ask(there, with(cookie, nil)),
		} {
			if len(s.kinds) != 1 || !s.has(wire.NotifyCookie) {
				t.Errorf("%v, %s: answered with %v", h.Exchange, name, s.kinds)
			}
		}
		if w.gw.e.counts.half+w.gw.e.counts.halfResumes != 0 {
			t.Errorf("%v: a forged cookie made state", h.Exchange)
		}
		if s := ask(here, with(cookie, nil)); s.has(wire.NotifyCookie) || s.h.SPIr == 0 {
			t.Errorf("%v: the right cookie is answered with %v", h.Exchange, s.kinds)
		}
		w.start(w.gw)
	}
}

// TestRFC6290_8_1_RightTokenInAFlood: wrong ones use up ten comparisons, and the
// right one is taken a moment later.
func TestRFC6290_8_1_RightTokenInAFlood(t *testing.T) {
	w := newWorld(t, "flood", quiet)
	w.connect()
	g, c := w.one()
	right := shown(c.spi, tokenOf(t, w.gw, g))
	for range 500 {
		w.give(w.cl, shown(c.spi, make([]byte, 32)))
	}
	w.give(w.cl, right)
	if w.cl.count(EventDetected) != 0 || len(w.cl.live()) != 1 {
		t.Fatal("compared beyond the budget")
	}
	w.now = w.now.Add(101 * time.Millisecond)
	w.give(w.cl, right)
	if w.cl.count(EventDetected) != 1 {
		t.Error("the right token is not taken after a flood\n" + w.dump())
	}

	w = newWorld(t, "flood without end", quiet)
	w.connect()
	_, c = w.one()
	wrong := shown(c.spi, make([]byte, 32))
	w.tamper = func(*node, *Packet) {
		for range 20 {
			w.give(w.cl, wrong)
		}
	}
	w.again(2 * time.Minute)
	if g, _ := w.one(); !g.resumed || w.cl.last(EventDetected).By != ByTimeout {
		t.Errorf("detected by %v\n%s", w.cl.last(EventDetected).By, w.dump())
	}
}
