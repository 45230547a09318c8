package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

// checks counts the liveness checks that leave.
func (w *world) checks() *int {
	n := new(int)
	w.lose = func(_ *node, p Packet) bool {
		h, _ := wire.ParseHeader(p.Data)
		if h.Exchange == wire.ExchangeInformational && h.Flags&wire.FlagResponse == 0 {
			*n++
		}
		return false
	}
	return n
}

// RFC 7296 2.4: of two idle sides one asks, and whoever is heard is not asked.
func TestRFC7296_2_4_OneCheckIsEnough(t *testing.T) {
	w := newWorld(t, "one check", quiet)
	w.connect()
	n := w.checks()
	w.run(5*time.Minute + 10*time.Second)
	if *n != 10 {
		t.Errorf("%d checks in five minutes, one every half is enough", *n)
	}
	*n = 0
	g, c := w.one()
	for range 30 { // traffic in both directions
		w.run(10 * time.Second)
		w.gw.e.Plane(w.now, Report{Kind: ReportUsed, SPI: g.child.in})
		w.cl.e.Plane(w.now, Report{Kind: ReportUsed, SPI: c.child.in})
	}
	if *n != 0 {
		t.Errorf("%d checks of a peer that is heard", *n)
	}
}

// On demand a silent peer is asked only when traffic to it brought nothing back.
func TestLivenessOnDemand(t *testing.T) {
	w := newWorld(t, "on demand", quiet, func(gw, cl *Config) {
		gw.Connections[0].DPD, cl.Connections[0].Liveness = 0, LivenessOnDemand
	})
	w.connect()
	n := w.checks()
	_, c := w.one()
	w.run(time.Hour)
	if *n != 0 {
		t.Fatalf("%d checks of an idle tunnel", *n)
	}
	sent := func() { w.cl.e.Plane(w.now, Report{Kind: ReportSent, SPI: c.child.in}) }
	sent()
	w.run(20 * time.Second)
	sent()
	w.cl.e.Plane(w.now, Report{Kind: ReportUsed, SPI: c.child.in}) // an answer
	w.run(time.Minute)
	if *n != 0 {
		t.Fatalf("%d checks although traffic came back", *n)
	}
	sent()
	w.run(31 * time.Second)
	if *n != 1 {
		t.Fatalf("%d checks, want one: traffic went out and none came back", *n)
	}
	w.run(time.Minute)
	if *n != 1 {
		t.Errorf("%d checks after one that was answered", *n)
	}
	w.crash(w.gw) // and a dead gateway is found so
	sent()
	w.run(31 * time.Second)
	if _, c := w.one(); !c.resumed {
		t.Error("not resumed")
	}
}

// Rule A7: whatever hints there are, one check in ten seconds, and no SA ends
// of them. With a silent network it ends of the check's silence.
func TestRuleA7_HintsStartACheck(t *testing.T) {
	w := newWorld(t, "hints", quiet)
	w.connect()
	g, c := w.one()
	n := w.checks()
	for range 100 {
		w.cl.e.Command(w.now, Command{Kind: CommandHint})
		w.drain(w.cl)
		w.run(100 * time.Millisecond)
	}
	if *n != 1 {
		t.Errorf("%d checks for a hundred hints within ten seconds", *n)
	}
	w.same(g, c)
}

// Rule A7: ICMP about a packet to our gateway starts a check, that about others
// none, and none ends an SA.
func TestRuleA7_Unreachable(t *testing.T) {
	for _, c := range []struct {
		name   string
		remote netip.AddrPort
		checks int
	}{
		{"to the gateway", gwAddr, 1},
		{"bare ESP to it", netip.AddrPortFrom(gwAddr.Addr(), 0), 1},
		{"another port", netip.AddrPortFrom(gwAddr.Addr(), gwAddr.Port()+1), 0},
		{"another host", netip.AddrPortFrom(gwAddr.Addr().Next(), gwAddr.Port()), 0},
	} {
		w := newWorld(t, "icmp", quiet)
		w.connect()
		g, sa := w.one()
		n := w.checks()
		for range 10 {
			w.cl.e.Command(w.now, Command{Kind: CommandUnreachable, Remote: c.remote})
			w.drain(w.cl)
			w.run(100 * time.Millisecond)
		}
		if *n != c.checks {
			t.Errorf("%s: %d checks, want %d", c.name, *n, c.checks)
		}
		w.same(g, sa)
	}
}

// A network that is gone for hours costs little, and its return is used at once
// when somebody tells, within a quarter of a minute when nobody does.
func TestGoneForHours(t *testing.T) {
	for _, told := range []*Command{nil, {Kind: CommandHint}, {Kind: CommandMoved, Local: clAddr}, {Kind: CommandMoved, Local: elsewhere}} {
		w := newWorld(t, "hours", quiet)
		w.connect()
		w.run(time.Second)
		sent := 0
		w.lose = func(from *node, p Packet) bool {
			if from == w.cl {
				sent++
			}
			return true
		}
		w.run(time.Hour)
		sent = 0
		w.run(time.Hour)
		if sent > 3600/13 || sent < 3600/19 {
			t.Errorf("%d packets in the second hour", sent)
		}
		w.lose = nil
		within := 19 * time.Second
		if told != nil {
			within = time.Second
			w.cl.e.Command(w.now, *told)
			w.drain(w.cl)
		}
		w.run(within)
		outcome(t, w, 1, 1)
		w.one()
	}
}

// RFC 4555 3.12: a request from where our traffic does not go shows that the
// peer lives, and not that it hears us; so the gateway asks, and gives up.
func TestRFC4555_3_12_HeardFromElsewhere(t *testing.T) {
	w := newWorld(t, "from elsewhere", quiet)
	w.connect()
	g, _ := w.one()
	g.remote = pack(elsewhere)
	w.lose = func(_ *node, p Packet) bool { return p.Remote == elsewhere }
	w.run(2 * time.Minute)
	outcome(t, w, 1, 1)
	if g, _ := w.one(); g.remote.addrPort() != clAddr {
		t.Error("the gateway sends to", g.remote.addrPort())
	}
}

// RFC 7296 2.23: AUTH covers the hash of the client's address in message 1; a
// copy of IKE_AUTH that comes from elsewhere, and sooner, does not change it.
func TestCopiedAuthMovesNothing(t *testing.T) {
	for _, resume := range []bool{false, true} {
		w := newWorld(t, "copied", quiet)
		if resume {
			w.connect()
			w.start(w.cl)
		}
		w.tamper = func(from *node, p *Packet) {
			if h, _ := wire.ParseHeader(p.Data); from == w.cl && h.Exchange == wire.ExchangeIKEAuth {
				copied := *p
				copied.Data, copied.Local = append([]byte(nil), p.Data...), elsewhere
				w.flight = append(w.flight, copied)
			}
		}
		w.connect()
		w.run(time.Second)
		if g, _ := w.one(); g.remote.addrPort() != clAddr || w.gw.kids[len(w.gw.kids)-1].Remote != clAddr {
			t.Error("the SA is at", g.remote.addrPort())
		}
	}
}

// After a sleep of the host the times of the wall clock are what they were:
// an authentication that ended meanwhile is repeated at once (rule D11).
func TestRuleD11_SleepCounts(t *testing.T) {
	w := loginWorld(t, "sleep counts", 2*time.Hour, quiet, func(gw, _ *Config) { gw.Connections[0].DPD = 0 })
	w.connect()
	w.run(time.Second)
	_, c := w.one()
	before := c.endAt
	w.cl.e.Command(w.now, Command{Kind: CommandSuspended, For: time.Hour})
	w.drain(w.cl)
	if got := time.Duration(before - c.endAt); got != time.Hour {
		t.Errorf("an hour of sleep counts as %v", got)
	}
	w.cl.e.Command(w.now, Command{Kind: CommandSuspended, For: time.Hour})
	w.drain(w.cl)
	w.run(time.Second)
	outcome(t, w, 2, 0)
}

// A clock that is put back while we run moves no deadline and keeps no ticket
// alive: what has passed since the start has passed (rule D11).
func TestRuleD11_ClockIsPutBack(t *testing.T) {
	for _, c := range []struct {
		after   time.Duration
		resumed bool
	}{{50 * time.Minute, true}, {70 * time.Minute, false}} {
		w := loginWorld(t, "put back", 2*time.Hour, quiet, func(gw, cl *Config) {
			gw.Connections[0].Grant.Life, cl.Connections[0].Renewal = time.Hour, RenewalNone
		})
		w.connect()
		w.run(c.after)
		w.now = w.now.Add(-24 * time.Hour)
		for _, n := range w.nodes() { // the monotonic clock is not put back
			n.e.began = n.e.began.Add(-24 * time.Hour)
		}
		w.start(w.cl) // with its ticket
		w.connect()
		w.run(10 * time.Second)
		g, x := w.one()
		if g.resumed != c.resumed {
			t.Errorf("resumed after %v: %v", c.after, g.resumed)
		}
		left := time.Duration(x.reauth-x.born) * time.Second
		if want := 2*time.Hour - c.after; c.resumed && (left < want-time.Minute || left > want+time.Minute) {
			t.Errorf("after %v the login is good for %v more", c.after, left)
		}
	}
}

// A gateway that slept asks its clients, not all in the same instant.
func TestGatewayWakesUp(t *testing.T) {
	w := newWorld(t, "gateway wakes", quiet)
	w.connect()
	g, c := w.one()
	n := w.checks()
	w.gw.e.Command(w.now, Command{Kind: CommandSuspended, For: time.Hour})
	w.drain(w.gw)
	w.deliver()
	if *n != 0 || g.checkAt == 0 {
		t.Errorf("%d checks at once", *n)
	}
	w.run(6 * time.Second)
	if *n != 1 {
		t.Errorf("%d checks", *n)
	}
	w.same(g, c)
}
