package ike

import (
	"slices"
	"testing"
	"time"

	"blackswan/ticket"
	"blackswan/wire"
)

// loginWorld has a gateway whose logins hold for so long.
func loginWorld(t *testing.T, seed string, hold time.Duration, change ...func(gw, cl *Config)) *world {
	return newWorld(t, seed, append(change, func(gw, cl *Config) { gw.Connections[0].Reauth = hold })...)
}

func outcome(t *testing.T, w *world, full, resumed int) {
	t.Helper()
	gotFull, gotResumed := 0, 0
	for _, ev := range w.cl.events {
		if ev.Kind == EventEstablished && ev.Resumed {
			gotResumed++
		} else if ev.Kind == EventEstablished {
			gotFull++
		}
	}
	if gotFull != full || gotResumed != resumed {
		t.Errorf("%d full handshakes and %d resumes, want %d and %d\n%s\n%s", gotFull, gotResumed, full, resumed, w.text(), w.dump())
	}
}

// RFC 4478 2: the initiator repeats the initial exchange within the time, the
// new SA stands before the old one goes, and the old one is deleted.
func TestRFC4478_2_MakeBeforeBreak(t *testing.T) {
	w := loginWorld(t, "make before break", 10*time.Minute)
	tp := w.watch()
	w.connect()
	old, _ := w.one()
	first := tp.only(w.cl, wire.ExchangeIKEAuth)
	if !first.has(wire.NotifyInitialContact) {
		t.Error("the first login does not say that it is the only one")
	}
	w.run(10 * time.Minute)
	outcome(t, w, 2, 0)
	g, c := w.one()
	if g.spi == old.spi || g.lineage == old.lineage {
		t.Error("the old SA is still there, or its lineage")
	}
	again := tp.of(w.cl, wire.ExchangeIKEAuth)[1]
	if again.has(wire.NotifyInitialContact) {
		t.Error("INITIAL_CONTACT beside a live SA (RFC 7296 2.4)")
	}
	if len(w.cl.kids) != 2 || len(w.cl.removed) != 1 || w.cl.removed[0].SPIIn != w.cl.kids[0].SPIIn || !c.carries() {
		t.Errorf("Child SAs: %d installed, %d removed", len(w.cl.kids), len(w.cl.removed))
	}
	if at := w.last(w.cl, EventDown); at < w.last(w.cl, EventEstablished) {
		t.Error("the old SA went before the new one stood")
	}
	// The ticket of the new login is alive although its predecessor was deleted.
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(time.Second)
	outcome(t, w, 2, 1)
}

// RFC 7296 2.8: who answers a login beside another SA of its peer sends by the
// old Child SA until the peer has used the new one, has asked for something on
// the new IKE SA, or has had time enough. The first login of a peer, which says
// that there is no other, needs none of that.
func TestRFC7296_2_8_ANewLoginLosesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		shows func(w *world, g *SA) // what the gateway learns at once
		after time.Duration         // until it sends by the new one
	}{
		{"a packet", func(w *world, g *SA) { w.report(w.gw, ReportUsed, g.child.in) }, 0},
		{"a request", func(w *world, _ *SA) {
			w.cl.e.Command(w.now, Command{Kind: CommandHint})
			w.drain(w.cl)
			w.deliver()
		}, 0},
		{"nothing", func(*world, *SA) {}, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := loginWorld(t, c.name, 10*time.Minute)
			w.connect()
			if w.gw.kids[0].Waits {
				t.Error("there is no other SA to send by")
			}
			old, _ := w.one()
			w.lose = func(n *node, p Packet) bool { // the DELETE of the old one
				h, _ := wire.ParseHeader(p.Data)
				return n == w.cl && h.SPIs() == old.spi && len(w.cl.kids) == 2
			}
			for len(w.gw.kids) < 2 {
				w.run(time.Second)
			}
			if !w.gw.kids[1].Waits || w.cl.kids[1].Waits || len(w.gw.preferred) != 0 {
				t.Fatalf("the gateway's Child SA waits: %v, the client's: %v", w.gw.kids[1].Waits, w.cl.kids[1].Waits)
			}
			c.shows(w, w.gw.live()[1])
			if c.after > 0 {
				w.run(c.after - 2*time.Second)
				if len(w.gw.preferred) != 0 {
					t.Error("the gateway sends by what nobody has used")
				}
				w.run(2 * time.Second)
			}
			if !slices.Equal(w.gw.preferred, []uint32{w.gw.kids[1].SPIIn}) || len(w.gw.removed) != 0 {
				t.Errorf("preferred %x, removed %d", w.gw.preferred, len(w.gw.removed))
			}
			w.lose = nil
			w.run(time.Minute)
			w.one()
		})
	}
}

// last is the place of a node's last event of that kind.
func (w *world) last(n *node, k EventKind) int {
	for i := len(n.events) - 1; i >= 0; i-- {
		if n.events[i].Kind == k {
			return i
		}
	}
	return -1
}

// RFC 4478 2: the responder deletes an SA whose time is over, some time later;
// of a client that knows nothing of AUTH_LIFETIME (4), too.
func TestRFC4478_2_ResponderEndsTheSA(t *testing.T) {
	w := loginWorld(t, "responder ends", 10*time.Minute)
	w.connect()
	_, c := w.one()
	c.reauth, c.endAt = 0, 0 // it does not know
	w.run(10 * time.Minute)
	w.one()
	w.run(31 * time.Second)
	if w.gw.count(EventOutlived) != 1 || w.cl.last(EventDown).Reason != "deleted by the peer" {
		t.Error("the SA outlives its authentication\n" + w.dump())
	}
	w.run(10 * time.Second)
	outcome(t, w, 2, 0) // and its ticket is dead: rule D6
}

// The configured lifetime ends an SA that nobody rekeys, without a gap too.
func TestLifetimeEndsAnSA(t *testing.T) {
	w := newWorld(t, "lifetime", func(gw, cl *Config) {
		gw.Connections[0].Lifetime, cl.Connections[0].Lifetime = time.Hour, time.Hour
	})
	w.connect()
	g, c := w.one()
	g.rekeyAt, c.rekeyAt = 0, 0
	w.run(61 * time.Minute)
	outcome(t, w, 2, 0)
	w.one()
	if w.gw.count(EventOutlived) != 0 {
		t.Error("the gateway had to end it")
	}
}

// RFC 4478 2: the time limit survives a resume, which moves no deadline (rule E1).
func TestRFC4478_2_ResumeMovesNoDeadline(t *testing.T) {
	w := loginWorld(t, "no deadline moves", 10*time.Minute)
	w.connect()
	began := w.now
	for range 4 {
		w.run(90 * time.Second)
		w.crash(w.gw)
		w.callRoll(w.gw)
		w.run(time.Second)
	}
	outcome(t, w, 1, 4)
	w.run(began.Add(9*time.Minute + 40*time.Second).Sub(w.now))
	outcome(t, w, 2, 4)
}

// RFC 4478 2: AUTH_LIFETIME may come at any time, zero means now.
func TestRFC4478_2_LifetimeByInformational(t *testing.T) {
	for _, c := range []struct {
		name    string
		seconds byte
		within  time.Duration
	}{
		{"4478-2 zero: begin at once", 0, 2 * time.Second},
		{"4478-2 policy became stricter", 100, 95 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := loginWorld(t, c.name, time.Hour)
			w.connect()
			w.run(time.Minute)
			g, _ := w.one()
			id, _ := g.sent.Open()
			w.say(w.gw, g, wire.ExchangeInformational, false, id, func(m *wire.Writer) {
				m.Notify(wire.Notify{Type: wire.NotifyAuthLifetime, Data: []byte{0, 0, 0, c.seconds}})
			})
			g.sent.Close()
			w.run(c.within)
			outcome(t, w, 2, 0)
		})
	}
}

// A responder does not take AUTH_LIFETIME: only the original responder sends it.
func TestRFC4478_2_OnlyTheResponderSaysHowLong(t *testing.T) {
	w := loginWorld(t, "only the responder", time.Hour)
	w.connect()
	w.run(time.Minute)
	g, c := w.one()
	before := g.reauth
	id, _ := c.sent.Next()
	w.say(w.cl, c, wire.ExchangeInformational, false, id, func(m *wire.Writer) {
		m.Notify(wire.Notify{Type: wire.NotifyAuthLifetime, Data: []byte{0xff, 0, 0, 0}})
	})
	if g.reauth != before {
		t.Error("the client has lengthened its own login")
	}
}

// RFC 4478 5: a gateway that always says "at once" gets a login every ten
// seconds, not a flood.
func TestRFC4478_5_UnreasonableLifetime(t *testing.T) {
	w := loginWorld(t, "unreasonable", time.Second)
	w.connect()
	w.run(time.Minute)
	if n := w.cl.count(EventEstablished); n < 4 || n > 7 {
		t.Errorf("%d logins in a minute", n)
	}
	w.one()
}

// What happens to the old SA, or to the attempt, while both are there.
func TestReauthMeetsTrouble(t *testing.T) {
	for _, c := range []struct {
		name          string
		trouble       func(w *world)
		full, resumed int
	}{
		{"the attempt is lost, the old SA lives on", func(w *world) {
			w.lose = func(_ *node, p Packet) bool {
				h, _ := wire.ParseHeader(p.Data)
				return h.Exchange == wire.ExchangeIKESAInit
			}
			w.run(9 * time.Minute)
			w.one()
			w.lose = nil
			w.run(time.Minute)
		}, 2, 0},
		{"the gateway crashes meanwhile", func(w *world) {
			w.lose = func(_ *node, p Packet) bool {
				h, _ := wire.ParseHeader(p.Data)
				return h.Exchange == wire.ExchangeIKESAInit
			}
			for w.cl.count(EventReauth) == 0 {
				w.run(time.Second)
			}
			w.crash(w.gw)
			w.callRoll(w.gw)
			w.lose = nil
			w.run(time.Minute)
		}, 2, 0},
		{"the gateway deletes the old SA meanwhile", func(w *world) {
			g, _ := w.one()
			w.lose = func(_ *node, p Packet) bool {
				h, _ := wire.ParseHeader(p.Data)
				return h.Exchange == wire.ExchangeIKESAInit
			}
			for w.cl.count(EventReauth) == 0 {
				w.run(time.Second)
			}
			w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()})
			w.drain(w.gw)
			w.run(time.Second)
			w.lose = nil
			w.run(time.Minute)
		}, 2, 0},
		{"the DELETE of the old SA is lost", func(w *world) {
			old, _ := w.one()
			w.lose = func(n *node, p Packet) bool {
				h, _ := wire.ParseHeader(p.Data)
				return n == w.cl && h.SPIs() == old.spi && w.cl.count(EventReauth) == 1
			}
			w.run(9*time.Minute + 30*time.Second)
			w.lose = nil
			w.run(time.Minute)
		}, 2, 0},
		{"nothing ever gets through: the SA ends, and the network returns", func(w *world) {
			w.lose = func(_ *node, p Packet) bool {
				h, _ := wire.ParseHeader(p.Data)
				return h.Exchange == wire.ExchangeIKESAInit
			}
			w.run(15 * time.Minute)
			if len(w.cl.live()) != 0 || len(w.gw.live()) != 0 {
				w.t.Error("an SA outlives its authentication")
			}
			w.lose = nil
			w.run(2 * time.Minute)
		}, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := loginWorld(t, c.name, 10*time.Minute)
			w.connect()
			w.run(time.Minute)
			c.trouble(w)
			outcome(t, w, c.full, c.resumed)
			w.one()
		})
	}
}

// A connection that is closed while its SA is being replaced leaves nothing.
func TestCloseDuringReauth(t *testing.T) {
	w := loginWorld(t, "close", 10*time.Minute)
	w.connect()
	w.lose = func(_ *node, p Packet) bool {
		h, _ := wire.ParseHeader(p.Data)
		return h.Exchange == wire.ExchangeIKESAInit
	}
	for w.cl.count(EventReauth) == 0 {
		w.run(time.Second)
	}
	w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn})
	w.drain(w.cl)
	w.run(2 * time.Minute)
	if !w.cl.e.Empty() || !w.gw.e.Empty() || w.cl.ticket != nil {
		t.Error("something is left\n" + w.text() + w.dump())
	}
}

// RFC 4478 2: AUTH_LIFETIME counts inside SK alone. Outside of it anybody could
// send one.
func TestRFC4478_2_OnlyProtected(t *testing.T) {
	w := loginWorld(t, "protected", time.Hour)
	w.connect()
	_, c := w.one()
	if c.reauth != w.now.Unix()+3600 {
		t.Error("the client knows no end of its login")
	}
	before := c.endAt
	m := wire.NewWriter(nil, wire.Header{SPIi: c.spi.I, SPIr: c.spi.R, Version: wire.Version, Exchange: wire.ExchangeInformational, MessageID: 0})
	m.Notify(wire.Notify{Type: wire.NotifyAuthLifetime, Data: make([]byte, 4)})
	w.give(w.cl, Packet{Local: clAddr, Remote: gwAddr, Data: m.Finish()})
	if c.endAt != before || c.reauth != w.now.Unix()+3600 {
		t.Error("somebody without keys ends logins")
	}
}

// RFC 4478 3: protocol 0, no SPI, four octets of seconds.
func TestRFC4478_3_Notification(t *testing.T) {
	w := loginWorld(t, "notification", time.Hour)
	tp := w.watch()
	w.connect()
	n := tp.only(w.gw, wire.ExchangeIKEAuth).notes(wire.NotifyAuthLifetime)
	if len(n) != 1 || n[0].Protocol != 0 || len(n[0].SPI) != 0 || string(n[0].Data) != "\x00\x00\x0e\x10" {
		t.Errorf("AUTH_LIFETIME is %v", n)
	}
}

// An SA that lives for months always has a ticket: the client logs in anew, beside
// the old SA, before its login is too old for the gateway to grant one (rule D8).
func TestRuleD8_MonthsWithATicket(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { monthsWithATicket(t, 0, 4, 6) })
	t.Run("as told", func(t *testing.T) { monthsWithATicket(t, 48*time.Hour, 14, 18) })
}

// monthsWithATicket lets a month pass in which a login is good for tickets for so long.
func monthsWithATicket(t *testing.T, sinceAuth time.Duration, least, most int) {
	w := newWorld(t, "months", func(gw, cl *Config) {
		for _, c := range []*Connection{gw.Connections[0], cl.Connections[0]} {
			c.Lifetime, c.DPD, c.Grant.SinceAuth = 24*time.Hour, time.Hour, sinceAuth
		}
	})
	w.connect()
	for hours := 6; hours <= 30*24; hours += 6 {
		w.run(6 * time.Hour)
		keys, err := ticket.Rotate(w.gw.cfg.Ring, w.now.Unix(), 24*time.Hour, 7*24*time.Hour, w.rand)
		if err != nil {
			t.Fatal(err)
		}
		w.gw.cfg.Ring = keys
		w.gw.e.Command(w.now, Command{Kind: CommandKeys, Ring: keys})
		w.drain(w.gw)
		if w.cl.ticket == nil || w.cl.ticket.Expires <= w.now.Unix() {
			t.Fatalf("after %d hours there is no ticket", hours)
		}
	}
	if n := w.cl.count(EventReauth); n < least || n > most {
		t.Errorf("%d logins in a month", n)
	}
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(2 * time.Hour) // the roll call is for who was heard in the last minutes, all others have their own check
	if w.one(); w.gw.count(EventConfirmed) != 1 || w.cl.count(EventFallback) != 0 {
		t.Error("not resumed after a month")
	}
}
