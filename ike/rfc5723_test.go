package ike

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"blackswan/ticket"
	"blackswan/wire"
)

// RFC 5723 section 4, clause by clause. What else there is of it stands in
// ticket_test.go; sections 5 to 9 are in rfc5723_state_test.go.

// verdicts are the three answers to a TICKET_REQUEST.
var verdicts = []wire.NotifyType{wire.NotifyTicketLTOpaque, wire.NotifyTicketNACK, wire.NotifyTicketACK}

// answersIn counts the answers to a TICKET_REQUEST in a message.
func answersIn(s sight) (n int) {
	for _, v := range verdicts {
		n += len(s.notes(v))
	}
	return n
}

func TestRFC5723_4_1_ClientAsksInItsFirstIKE_AUTH(t *testing.T) {
	w := newWorld(t, "asks", quiet)
	tp := w.watch()
	w.connect()
	for range 2 { // the full handshake, then the resume
		if ask := tp.only(w.cl, wire.ExchangeIKEAuth); len(ask.notes(wire.NotifyTicketRequest)) != 1 {
			t.Error("no TICKET_REQUEST in the first IKE_AUTH request\n" + w.text())
		}
		g, _ := w.one()
		s := w.opened(w.cl.ticket.Ticket)
		if s.SPIi != uint64(g.spi.I) || s.SPIr != uint64(g.spi.R) || !bytes.Equal(s.SKd, g.keys.D(g.suite)) {
			t.Error("the ticket is not of this SA")
		}
		tp.seen = nil
		w.again(31 * time.Second)
		tp.seen = slices.DeleteFunc(tp.seen, func(s sight) bool { return s.h.Exchange == wire.ExchangeInformational })
	}
	if g, _ := w.one(); !g.resumed {
		t.Error("not resumed")
	}
}

// TestRFC5723_4_1_ExactlyOneAnswer: each of the three, in both exchanges, and
// the exchange itself goes on whatever the answer is.
func TestRFC5723_4_1_ExactlyOneAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(w *world) // the handshake
		auth, inform  wire.NotifyType
	}{
		"granted": {nil, nil, wire.NotifyTicketLTOpaque, wire.NotifyTicketLTOpaque},
		"refused": {func(w *world) { w.gw.cfg.Ring = sealsNothing(w.gw.cfg.Ring, w.now); w.start(w.gw) }, nil, wire.NotifyTicketNACK, wire.NotifyTicketNACK},
		"not now": {nil, func(w *world) { w.gw.conn.Fragment = 200; w.gw.live()[0].frag = false }, wire.NotifyTicketLTOpaque, wire.NotifyTicketACK},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name)
			if c.before != nil {
				c.before(w)
			}
			tp := w.watch()
			w.connect()
			g, cl := w.one()
			if s := tp.only(w.gw, wire.ExchangeIKEAuth); answersIn(s) != 1 || !s.has(c.auth) || s.at(wire.PayloadAUTH) < 0 {
				t.Errorf("IKE_AUTH is answered with %v", s.kinds)
			}
			if c.after != nil {
				c.after(w)
			}
			w.run(11 * time.Second)
			tp.seen = nil
			w.ask(requestTicket)
			if s := tp.only(w.gw, wire.ExchangeInformational); answersIn(s) != 1 || !s.has(c.inform) || !s.h.Response() {
				t.Errorf("INFORMATIONAL is answered with %v", s.kinds)
			}
			if g.state != stateEstablished || cl.state != stateEstablished || !cl.sent.Idle() {
				t.Error("the SA did not go on")
			}
		})
	}
}

// TestRFC5723_4_1_OnlyTheClientAsks: a gateway never does, and one that did would
// be refused.
func TestRFC5723_4_1_OnlyTheClientAsks(t *testing.T) {
	w := newWorld(t, "only", quiet)
	w.gw.conn.Grant = ticket.Limits{Life: 10 * time.Minute}
	w.start(w.gw)
	tp := w.watch()
	w.connect()
	if s := tp.only(w.gw, wire.ExchangeIKEAuth); !s.has(wire.NotifyTicketLTOpaque) {
		t.Error("the client is refused")
	}
	w.run(time.Hour)
	asked := 0
	for _, s := range tp.seen {
		if s.has(wire.NotifyTicketRequest) {
			if asked++; s.from != w.cl {
				t.Error("the gateway asks")
			}
		}
	}
	if asked < 5 {
		t.Errorf("the client asked %d times in an hour of short tickets", asked)
	}
	g, _ := w.one()
	tp.seen = nil
	w.gw.e.at(w.now)
	w.gw.e.request(g, requestTicket)
	w.drain(w.gw)
	w.deliver()
	if s := tp.only(w.cl, wire.ExchangeInformational); !s.has(wire.NotifyTicketNACK) || answersIn(s) != 1 {
		t.Errorf("the client answers the gateway's request with %v", s.kinds)
	}
}

// TestRFC5723_4_1_NotNowIsAskedLater: a gateway that says ACK for ever does not
// keep the exchange going.
func TestRFC5723_4_1_NotNowIsAskedLater(t *testing.T) {
	w := newWorld(t, "for ever", quiet)
	w.connect()
	w.run(11 * time.Second)
	w.gw.conn.Fragment = 200
	w.gw.live()[0].frag = false
	tp := w.watch()
	w.ask(requestTicket)
	w.run(time.Minute)
	acks := 0
	for _, s := range tp.of(w.gw, wire.ExchangeInformational) {
		acks += len(s.notes(wire.NotifyTicketACK))
	}
	if acks < 6 || acks > 7 {
		t.Errorf("%d ACKs in a minute, want one in ten seconds", acks)
	}
	w.gw.conn.Fragment = 1252
	had := len(w.cl.records)
	w.run(11 * time.Second)
	if !slices.ContainsFunc(w.cl.records[had:], func(r Record) bool { return r.Kind == RecordTicket }) {
		t.Error("no ticket when there was one to be had")
	}
}

// TestRFC5723_4_2_TicketOfAFailedExchange: nobody's ticket is kept who did not
// prove itself.
func TestRFC5723_4_2_TicketOfAFailedExchange(t *testing.T) {
	grant := wire.Notify{Type: wire.NotifyTicketLTOpaque, Data: append([]byte{0, 0, 14, 16}, make([]byte, 256)...)}
	for name, build := range map[string]func(m *wire.Writer){
		"AUTH is wrong": func(m *wire.Writer) {
			m.ID(wire.PayloadIDr, id("gw.test"))
			m.Auth(wire.Auth{Method: wire.AuthSharedKey, Data: make([]byte, 32)})
			m.Notify(grant)
		},
		"an error": func(m *wire.Writer) {
			m.Notify(wire.Notify{Type: wire.NotifyAuthenticationFailed})
			m.Notify(grant)
		},
	} {
		w := newWorld(t, name)
		tp := w.watch()
		tp.lose = func(s sight) bool { return s.h.Exchange == wire.ExchangeIKEAuth && s.from == w.cl }
		w.connect()
		g := w.gw.half()
		w.say(w.gw, g, wire.ExchangeIKEAuth, true, 1, build)
		if w.cl.ticket != nil || len(w.cl.live()) != 0 || w.cl.count(EventFailed) != 1 {
			t.Errorf("%s: a ticket is kept\n%s", name, w.dump())
		}
		tp.lose = nil
		w.run(time.Minute)
		if w.one(); w.cl.ticket == nil {
			t.Errorf("%s: the next exchange has no ticket", name)
		}
	}
}

func TestRFC5723_4_2_AnswerIsInTheLastResponse(t *testing.T) {
	w := newWorld(t, "last")
	tp := w.watch()
	w.connect()
	for _, s := range tp.seen {
		last := s.from == w.gw && s.at(wire.PayloadAUTH) >= 0
		if want := map[bool]int{true: 1}[last]; answersIn(s) != want {
			t.Errorf("%d answers in %v", answersIn(s), s.h.Exchange)
		}
	}
	w = newWorld(t, "failed")
	w.cl.conn.PSK = Secret("another")
	tp = w.watch()
	w.connect()
	if s := tp.only(w.gw, wire.ExchangeIKEAuth); !s.has(wire.NotifyAuthenticationFailed) || answersIn(s) != 0 {
		t.Errorf("a failed IKE_AUTH is answered with %v", s.kinds)
	}
}

// TestRFC5723_4_2_ClientKeepsTheState: what the client stores beside its ticket
// is what the ticket holds, item by item.
func TestRFC5723_4_2_ClientKeepsTheState(t *testing.T) {
	w := newWorld(t, "keeps")
	w.gw.conn.Reauth = time.Hour
	w.connect()
	got := ticket.Session{}
	if err := ticket.ParseSession(w.cl.ticket.Session, &got); err != nil {
		t.Fatal(err)
	}
	want := w.opened(w.cl.ticket.Ticket)
	for what, same := range map[string]bool{
		"IDi":       got.IDi.Type == want.IDi.Type && bytes.Equal(got.IDi.Data, want.IDi.Data) && len(got.IDi.Data) > 0,
		"IDr":       got.IDr.Type == want.IDr.Type && bytes.Equal(got.IDr.Data, want.IDr.Data) && len(got.IDr.Data) > 0,
		"methods":   got.MethodI == want.MethodI && got.MethodR == want.MethodR && got.MethodI != 0 && got.MethodR != 0,
		"SAr":       got.Suite == want.Suite,
		"SK_d":      bytes.Equal(got.SKd, want.SKd) && len(got.SKd) > 0,
		"SPIs":      got.SPIi == want.SPIi && got.SPIr == want.SPIr && got.SPIi != 0 && got.SPIr != 0,
		"AUTH form": got.AuthForm == want.AuthForm,
		"deadline":  got.Reauth == want.Reauth && got.Reauth != 0,
		"KE":        got.LastKE == want.LastKE && got.LastKE != 0,
		"expiry":    got.Expires == want.Expires && got.Expires == w.cl.ticket.Expires,
	} {
		if !same {
			t.Errorf("%s: the client keeps %v, the ticket %v", what, got, want)
		}
	}
}

// TestRFC5723_4_3_1_ClientUsesATicketOnce: a gateway that resumes and grants no
// new ticket leaves the client without one, not with the used one.
func TestRFC5723_4_3_1_ClientUsesATicketOnce(t *testing.T) {
	w := newWorld(t, "once", quiet)
	w.connect()
	w.gw.cfg.Ring = sealsNothing(w.gw.cfg.Ring, w.now)
	w.again(31 * time.Second)
	if g, _ := w.one(); !g.resumed || w.cl.ticket != nil {
		t.Fatal("want a resume, and no ticket after it\n" + w.dump())
	}
	tp := w.watch()
	w.again(40 * time.Second)
	if g, _ := w.one(); g.resumed || len(tp.of(w.cl, wire.ExchangeSessionResume)) != 0 {
		t.Error("the used ticket was shown again\n" + w.text())
	}
}

// TestRFC5723_4_3_2_IKE_AUTHFollows: the client sends nothing else after Nr, and
// the gateway takes nothing else.
func TestRFC5723_4_3_2_IKE_AUTHFollows(t *testing.T) {
	w := newWorld(t, "follows", quiet)
	w.connect()
	tp, g, c := w.resumeHeld()
	var from []string
	for _, s := range tp.seen {
		from = append(from, s.from.name+" "+s.h.Exchange.String())
	}
	if got := strings.Join(from, ", "); got != "cl IKE_SESSION_RESUME, gw IKE_SESSION_RESUME, cl IKE_AUTH" {
		t.Fatal(got)
	}
	tp.seen = nil
	w.say(w.cl, c, wire.ExchangeInformational, false, 1, func(m *wire.Writer) {})
	w.say(w.cl, c, wire.ExchangeCreateChildSA, false, 1, func(m *wire.Writer) {})
	if g.state != stateHalf || w.gw.e.Counters[DropState] != 2 || len(tp.seen) != 2 {
		t.Fatal("something else than IKE_AUTH was taken\n" + w.text() + w.dump())
	}
	w.run(3 * time.Second)
	if now, _ := w.one(); now != g {
		t.Error("the resume did not go on with its IKE_AUTH")
	}
}

// TestRFC5723_4_3_2_NoTicketNoResume: RESUME goes to who granted a ticket, and
// to nobody else.
func TestRFC5723_4_3_2_NoTicketNoResume(t *testing.T) {
	for _, supports := range []bool{true, false} {
		w := newWorld(t, "supports", quiet)
		w.gw.conn.Tickets = supports
		w.connect()
		tp := w.watch()
		w.again(40 * time.Second)
		if g, _ := w.one(); g.resumed != supports || len(tp.of(w.cl, wire.ExchangeSessionResume)) > 0 != supports {
			t.Errorf("tickets %v:\n%s", supports, w.text())
		}
	}
}

func TestRFC5723_4_3_2_NrOrNACK(t *testing.T) {
	for _, good := range []bool{true, false} {
		w := newWorld(t, "either", quiet)
		w.connect()
		if !good {
			w.cl.ticket.Ticket[100] ^= 1
		}
		w.start(w.cl)
		tp := w.watch()
		w.connect()
		s := tp.only(w.gw, wire.ExchangeSessionResume)
		nacks := len(s.notes(wire.NotifyTicketNACK))
		if s.sealed || good && (nacks != 0 || s.at(wire.PayloadNonce) != 0 || s.h.SPIr == 0) || !good && (nacks != 1 || len(s.kinds) != 1 || s.h.SPIr != 0) {
			t.Errorf("a ticket that is good=%v is answered with %v, SPIr %v", good, s.kinds, s.h.SPIr)
		}
	}
}

// TestRFC5723_4_3_2_SPIs: both are new in both roles, and nobody else has them.
func TestRFC5723_4_3_2_SPIs(t *testing.T) {
	w := newWorld(t, "spis", quiet)
	w.connect()
	seen := make(map[wire.SPI]bool)
	for range 4 {
		g, _ := w.one()
		for _, s := range []wire.SPI{g.spi.I, g.spi.R} {
			if s == 0 || seen[s] {
				t.Errorf("SPI %v is not new", s)
			}
			seen[s] = true
		}
		tp := w.watch()
		w.again(31 * time.Second)
		g, c := w.one()
		ask, answer := tp.only(w.cl, wire.ExchangeSessionResume), tp.only(w.gw, wire.ExchangeSessionResume)
		if ask.h.SPIr != 0 || ask.h.SPIi != c.spi.I || answer.h.SPIi != ask.h.SPIi || answer.h.SPIr != g.spi.R || !g.resumed {
			t.Errorf("asked %v, answered %v", ask.h.SPIs(), answer.h.SPIs())
		}
		if !ask.h.Initiator() || ask.h.Response() || answer.h.Initiator() || !answer.h.Response() {
			t.Errorf("flags %v and %v", ask.h.Flags, answer.h.Flags)
		}
	}
}

// TestRFC5723_4_3_2_AnyAddress: another address and port than the old SA's, and
// IKE_AUTH from yet another port: the gateway answers where it came from.
func TestRFC5723_4_3_2_AnyAddress(t *testing.T) {
	w := newWorld(t, "moved", quiet)
	w.connect()
	old, _ := w.one()
	w.start(w.cl)
	w.cl.addr = netip.MustParseAddrPort("203.0.113.80:41000")
	last := netip.MustParseAddrPort("203.0.113.80:41001")
	w.tamper = func(from *node, p *Packet) {
		if from == w.cl && p.Data[18] == byte(wire.ExchangeIKEAuth) {
			p.Local = last
		}
	}
	var answered netip.AddrPort
	w.lose = func(from *node, p Packet) bool {
		if from == w.gw && p.Data[18] == byte(wire.ExchangeIKEAuth) {
			answered = p.Remote
		}
		return false
	}
	w.connect()
	g, _ := w.one()
	if !g.resumed || old.remote.addrPort() != clAddr || g.remote.addrPort() != last || answered != last || w.gw.kids[1].Remote != last {
		t.Errorf("resumed=%v at %v, answered to %v, child at %v", g.resumed, g.remote.addrPort(), answered, w.gw.kids[1].Remote)
	}
}

// TestRFC5723_4_3_2_NATIsFoundAnew: the first SA knew of no NAT. Both messages
// of the resume tell of addresses, and the client moves to port 4500.
func TestRFC5723_4_3_2_NATIsFoundAnew(t *testing.T) {
	w := newWorld(t, "nat", quiet)
	w.connect()
	if g, c := w.one(); g.behind || g.marker || c.marker {
		t.Fatal("a NAT where there is none")
	}
	w.start(w.cl)
	mapped := map[uint16]uint16{500: 61000, 4500: 61001}
	w.tamper = func(from *node, p *Packet) {
		if from == w.cl {
			p.Local = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.5"), mapped[p.Local.Port()])
			return
		}
		for in, out := range mapped {
			if p.Remote.Port() == out {
				p.Remote = netip.AddrPortFrom(w.cl.addr.Addr(), in)
			}
		}
	}
	tp := w.watch()
	w.connect()
	g, c := w.one()
	for _, s := range []sight{tp.only(w.cl, wire.ExchangeSessionResume), tp.only(w.gw, wire.ExchangeSessionResume)} {
		if len(s.notes(wire.NotifyNATDetectionSourceIP)) != 1 || len(s.notes(wire.NotifyNATDetectionDestinationIP)) != 1 {
			t.Errorf("%s tells nothing of its addresses: %v", s.from.name, s.kinds)
		}
	}
	if !g.resumed || !g.behind || !g.marker || !c.marker || c.local.port != 4500 || c.remote.port != 4500 || g.remote.port != 61001 || !w.gw.kids[1].Encap {
		t.Errorf("gateway: behind=%v %v, client: %v to %v\n%s", g.behind, g.remote.addrPort(), c.local.addrPort(), c.remote.addrPort(), w.dump())
	}
}
