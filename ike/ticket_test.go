package ike

import (
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/ticket"
	"blackswan/wire"
)

// again crashes the gateway and lets the client find out by its own check.
func (w *world) again(d time.Duration) {
	w.crash(w.gw)
	w.ladder = nil
	w.run(d)
}

// Every reason for a TICKET_NACK, and that the client then comes back by a full
// handshake (RFC 5723 4.3.2).
func TestRFC5723_4_3_2_RefusedTicketFallsBack(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"flipped bit": func(w *world) { w.cl.e.tunnels[0].ticket()[60] ^= 4 },
		"of another ring": func(w *world) {
			w.gw.cfg.Ring, _ = ticket.Rotate(nil, w.now.Unix()-100, time.Hour, time.Hour, newStream("x"))
		},
		"no connection": func(w *world) { c := *w.gw.conn; c.Name = "other"; w.gw.cfg.Connections = []*Connection{&c} },
		"algorithms": func(w *world) {
			c := *w.gw.conn
			c.IKE = append([]propose.IKE(nil), c.IKE...)
			c.IKE[0].PRF = []wire.TransformID{wire.PRFHMACSHA512}
			c.IKE = append(c.IKE, propose.DefaultIKE()...)[:1]
			w.gw.cfg.Connections = []*Connection{&c, w.gw.conn2()}
		},
		"too old": func(w *world) {
			c := *w.gw.conn
			c.Grant.SinceAuth = time.Second
			w.gw.cfg.Connections = []*Connection{&c}
		},
		"identity barred": func(w *world) {},
		"tickets off":     func(w *world) { c := *w.gw.conn; c.Tickets = false; w.gw.cfg.Connections = []*Connection{&c} },
	} {
		w := newWorld(t, "refused "+name, quiet)
		w.connect()
		w.run(2 * time.Second)
		spoil(w)
		w.crash(w.gw)
		if name == "identity barred" {
			g := append([]byte{byte(wire.IDFQDN)}, "one.clients.test"...)
			w.gw.e.Command(w.now, Command{Kind: CommandNotBefore, Identity: g, Until: w.now.Unix()})
			w.drain(w.gw)
		}
		w.run(40 * time.Second)
		g, c := w.one()
		if g.resumed || c.resumed || w.cl.count(EventFallback) != 1 || w.gw.e.Counters[DropTicket] == 0 {
			t.Errorf("%s:\n%s\n%s", name, w.text(), w.dump())
		}
	}
}

// conn2 is a second connection that accepts the client anew.
func (n *node) conn2() *Connection { c := *n.conn; c.Name = "second"; return &c }

func TestRFC5723_4_3_1_ExpiredTicketIsNotShown(t *testing.T) {
	w := newWorld(t, "expired", quiet)
	w.connect()
	w.cl.e.tunnels[0].expires = w.now.Unix() + 10
	w.again(time.Minute)
	if g, _ := w.one(); g.resumed {
		t.Fatal("an expired ticket was used")
	}
	for _, l := range w.ladder {
		if len(l) > 22 && l[3:21] == "IKE_SESSION_RESUME" {
			t.Fatal("an expired ticket was shown")
		}
	}
}

// Once a resume is confirmed, its ticket is refused for ever; unconfirmed, it
// may be shown again, and the newer SA replaces the older (rule D7).
func TestRFC5723_4_3_1_TicketIsUsedOnce(t *testing.T) {
	w := newWorld(t, "once", quiet)
	w.connect()
	first := *w.cl.ticket
	w.again(31 * time.Second)
	if g, _ := w.one(); !g.resumed || !g.confirm {
		t.Fatal("not resumed, or confirmed too early")
	}

	// The client lost everything but the first ticket, before it confirmed.
	w.start(w.cl)
	w.cl.ticket = &first
	w.ladder = nil
	w.connect()
	w.run(time.Second)
	if g, c := w.one(); !g.resumed || g.spi != c.spi || w.gw.count(EventConfirmed) != 0 {
		t.Fatal("an unconfirmed ticket must be taken again\n" + w.text() + w.dump())
	}
	w.run(35 * time.Second) // the confirmation
	if w.gw.count(EventConfirmed) != 1 {
		t.Fatal("not confirmed")
	}
	w.start(w.cl)
	w.cl.events = nil
	w.cl.ticket = &first
	w.connect()
	w.run(10 * time.Second)
	if g, c := w.one(); g.resumed || c.resumed || w.cl.count(EventFallback) != 1 {
		t.Fatal("a used ticket was taken\n" + w.dump())
	}
}

func TestRFC5723_6_2_DeleteEndsTheTicket(t *testing.T) {
	for _, by := range []string{"client", "gateway"} {
		w := newWorld(t, "delete "+by, quiet)
		w.connect()
		kept := *w.cl.ticket
		g, _ := w.one()
		if by == "client" {
			w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn})
			w.drain(w.cl)
		} else {
			w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()})
			w.drain(w.gw)
		}
		w.deliver()
		if w.cl.ticket != nil {
			t.Fatal(by + ": the client still has its ticket")
		}
		var durable bool
		for _, r := range w.gw.records {
			durable = durable || r.Kind == RecordFloor && r.Floor == ticket.Revoked && r.Durable
		}
		if !durable {
			t.Fatal(by + ": the gateway has no durable floor")
		}
		// A client that does not follow the rules shows it all the same (9.8).
		w.start(w.cl)
		w.cl.events, w.cl.ticket = nil, &kept
		w.connect()
		w.run(10 * time.Second)
		if g, _ := w.one(); g.resumed {
			t.Fatal(by + ": a deleted SA's ticket was taken")
		}
	}
}

func TestRFC5723_4_3_4_OldSAGoesInSilence(t *testing.T) {
	w := newWorld(t, "old", quiet)
	w.connect()
	old, _ := w.one()
	w.start(w.cl) // the client restarts; the gateway's SA lives
	w.ladder = nil
	w.connect()
	w.run(100 * time.Millisecond)
	g, _ := w.one()
	if g == old || !g.resumed || len(w.gw.removed) != 1 {
		t.Fatal("the old SA was not replaced")
	}
	if len(w.ladder) != 4 {
		t.Fatal("not silently:\n" + w.text())
	}
}

// A failed IKE_AUTH spends nothing and touches nothing.
func TestRFC5723_4_3_4_OldSAStaysUntilProof(t *testing.T) {
	w := newWorld(t, "proof", quiet)
	w.connect()
	old, _ := w.one()
	w.start(w.cl)
	w.tamper = func(from *node, p *Packet) {
		if from == w.cl && p.Data[18] == byte(wire.ExchangeIKEAuth) {
			p.Data[len(p.Data)-1] ^= 1
		}
	}
	w.connect()
	w.run(3 * time.Second)
	if w.gw.e.sa(old.handle()) != old || old.state != stateEstablished {
		t.Fatal("an unproved resume ended the old SA")
	}
	w.tamper = nil
	w.run(10 * time.Second)
	if g, _ := w.one(); !g.resumed {
		t.Fatal("not resumed after the noise\n" + w.text() + w.dump())
	}
}

func TestRFC5723_4_3_2_CookieOnASecondHalfOpenResume(t *testing.T) {
	w := newWorld(t, "cookie", quiet, func(gw, _ *Config) { gw.Limits.ResumeCookieAt = 0 })
	w.connect()
	w.again(31 * time.Second)
	if g, _ := w.one(); !g.resumed || w.gw.e.Counters[DropCookie] != 1 {
		t.Fatal(w.text())
	}
}

// An attacker answers the RESUME first, with a nonce of its own and with a
// NACK: the right answer still wins (rule E6).
func TestRuleE6_ForgedAnswers(t *testing.T) {
	w := newWorld(t, "forged answers", quiet)
	w.connect()
	w.tamper = func(from *node, p *Packet) {
		if from != w.gw || p.Data[18] != byte(wire.ExchangeSessionResume) {
			return
		}
		h, _ := wire.ParseHeader(p.Data)
		nack := wire.NewWriter(nil, wire.Header{SPIi: h.SPIi, Version: wire.Version, Exchange: h.Exchange, Flags: wire.FlagResponse})
		nack.Notify(wire.Notify{Type: wire.NotifyTicketNACK})
		forged := append([]byte(nil), p.Data...)
		forged[15] ^= 1
		forged[40] ^= 1
		w.flight = append(w.flight, Packet{Local: p.Local, Remote: p.Remote, Data: nack.Finish()}, Packet{Local: p.Local, Remote: p.Remote, Data: forged})
	}
	w.again(40 * time.Second)
	g, c := w.one()
	if !g.resumed || !sameKeys(g.keys, c.keys) || w.cl.count(EventFallback) != 0 {
		t.Fatal(w.text() + "\n" + w.dump())
	}
}

func TestRuleE3_AtMostEightHalfResumesOfATicket(t *testing.T) {
	w := newWorld(t, "eight", quiet)
	w.connect()
	w.crash(w.gw)
	w.lose = func(from *node, p Packet) bool { return from == w.cl && p.Data[18] == byte(wire.ExchangeIKEAuth) }
	for range 12 {
		w.start(w.cl)
		w.connect()
		w.run(time.Second)
	}
	if n := w.gw.e.counts.halfResumes; n > maxHalfResumes || n < 6 {
		t.Fatalf("%d half-open resumes", n)
	}
	w.lose = nil
	w.run(30 * time.Second)
	if n := w.gw.e.counts.halfResumes; n != 0 || w.gw.e.claims.Len() != 0 {
		t.Fatalf("%d half-open resumes stay, %d claims", n, w.gw.e.claims.Len())
	}
	w.one()
}

func TestRuleE4_DuplicatesAreAnsweredFromMemory(t *testing.T) {
	w := newWorld(t, "dups", quiet)
	w.connect()
	w.crash(w.gw)
	var first []byte
	w.lose = func(from *node, p Packet) bool {
		if from == w.cl && p.Data[18] == byte(wire.ExchangeSessionResume) {
			first = p.Data
		}
		return from == w.gw && p.Data[18] == byte(wire.ExchangeSessionResume)
	}
	w.run(31 * time.Second)
	made := w.gw.e.counts.halfResumes
	for range 100 {
		w.gw.e.Packet(w.now, Packet{Local: w.gw.addr, Remote: w.cl.addr, Data: append([]byte(nil), first...)})
		w.drain(w.gw)
		w.now = w.now.Add(10 * time.Millisecond)
	}
	if w.gw.e.counts.halfResumes != made {
		t.Fatal("a copy made a second half-open SA")
	}
	if w.gw.e.Counters[DropLimited] < 90 {
		t.Fatal("copies are not limited")
	}
}

func TestLossyNetworkComesBack(t *testing.T) {
	for _, seed := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		w := newWorld(t, "loss "+seed)
		r := newStream("dice " + seed)
		w.lose = func(*node, Packet) bool {
			var b [1]byte
			_, _ = r.Read(b[:])
			return b[0] < 77 // three in ten
		}
		w.connect()
		w.run(3 * time.Minute)
		w.crash(w.gw)
		w.callRoll(w.gw)
		w.run(3 * time.Minute)
		w.lose = nil
		w.run(3 * time.Minute)
		g, c := w.one()
		if g.spi != c.spi {
			t.Fatalf("seed %q: two SAs\n%s", seed, w.dump())
		}
	}
}

// A gateway that is away for an hour gets resumes when it is back, not logins:
// silence is no refusal.
func TestRFC5723_9_4_LongOutageKeepsTheTicket(t *testing.T) {
	for _, away := range []time.Duration{3 * time.Minute, 10*time.Minute + 7*time.Second, time.Hour} {
		w := newWorld(t, "away", quiet)
		w.connect()
		w.lose = func(*node, Packet) bool { return true }
		w.run(away)
		w.crash(w.gw)
		w.lose = nil
		w.run(2 * time.Minute)
		if g, _ := w.one(); !g.resumed {
			t.Fatalf("away for %v: not resumed\n%s", away, w.dump())
		}
	}
}

// A gateway that knows no RESUME any more is reached all the same.
func TestRFC5723_4_3_2_GatewayWithoutResumption(t *testing.T) {
	w := newWorld(t, "mute", quiet)
	w.connect()
	w.crash(w.gw)
	w.lose = func(from *node, p Packet) bool { return p.Data[18] == byte(wire.ExchangeSessionResume) }
	w.run(6 * time.Minute)
	if g, _ := w.one(); g.resumed {
		t.Fatal("resumed without RESUME")
	}
}
