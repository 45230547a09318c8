package ike

import (
	"strings"
	"testing"
	"time"

	"blackswan/wire"
)

func TestConnectPSK(t *testing.T) {
	w := newWorld(t, "connect")
	w.connect()
	g, c := w.one()
	if g.spi != c.spi || !sameKeys(g.keys, c.keys) {
		t.Fatal("the two ends disagree")
	}
	if len(w.gw.kids) != 1 || len(w.cl.kids) != 1 {
		t.Fatalf("children: %d and %d", len(w.gw.kids), len(w.cl.kids))
	}
	if string(w.gw.kids[0].EncrIn) != string(w.cl.kids[0].EncrOut) || string(w.gw.kids[0].EncrOut) != string(w.cl.kids[0].EncrIn) {
		t.Fatal("child keys disagree")
	}
	if w.cl.ticket == nil {
		t.Fatal("no ticket\n" + w.dump())
	}
	want := []string{"-> IKE_SA_INIT", "<- IKE_SA_INIT", "-> IKE_AUTH", "<- IKE_AUTH"}
	for i, l := range want {
		if i >= len(w.ladder) || !strings.HasPrefix(w.ladder[i], l) {
			t.Fatalf("ladder:\n%s", w.text())
		}
	}
}

func TestCrashRollCallResume(t *testing.T) {
	w := newWorld(t, "crash")
	w.connect()
	w.one()
	w.run(5 * time.Second)
	w.crash(w.gw)
	w.ladder = nil
	w.callRoll(w.gw)
	w.run(time.Second)
	g, c := w.one()
	if !g.resumed || !c.resumed || !sameKeys(g.keys, c.keys) {
		t.Fatal("not resumed\n" + w.text() + "\n" + w.dump())
	}
	if by := w.cl.last(EventDetected).By; by != ByRollCall {
		t.Fatalf("detected by %v", by)
	}
	w.run(40 * time.Second)
	if w.gw.count(EventConfirmed) != 1 {
		t.Fatal("not confirmed\n" + w.text())
	}
}

// A gateway that comes back just when the client probes with IKE_SA_INIT is
// shown the ticket all the same: only one that answers IKE_SA_INIT and twice
// not RESUME gets a full handshake (rule E6).
func TestRuleE6_ProbeIsNoFallback(t *testing.T) {
	for _, mute := range []bool{false, true} {
		w := newWorld(t, "probe")
		w.connect()
		w.crash(w.gw)
		back := false
		w.lose = func(from *node, p Packet) bool {
			back = back || p.Data[18] == byte(wire.ExchangeIKESAInit)
			return !back || mute && p.Data[18] == byte(wire.ExchangeSessionResume)
		}
		w.run(10 * time.Minute)
		w.one()
		resumed := w.cl.last(EventEstablished).Resumed
		if resumed == mute || w.cl.count(EventFallback) != map[bool]int{true: 1}[mute] {
			t.Errorf("mute %v: resumed %v, %d fallbacks\n%s", mute, resumed, w.cl.count(EventFallback), w.text())
		}
	}
}

// Who knows that the gateway has lost an SA says so, and its client resumes at
// once, without a look at the old SA.
func TestOwnerKnowsOfTheLoss(t *testing.T) {
	w := newWorld(t, "told", quiet)
	w.connect()
	w.crash(w.gw)
	c := w.cl.live()[0]
	old, gone := c.spi, c.handle()
	w.ladder = nil
	w.cl.e.Command(w.now, Command{Kind: CommandLost, SA: gone})
	w.drain(w.cl)
	w.run(time.Second)
	g, c := w.one()
	if !g.resumed || c.spi == old || w.cl.count(EventFallback) != 0 || w.cl.e.Repeated != 0 {
		t.Fatal(w.text() + "\n" + w.dump())
	}
	if d := w.cl.last(EventDetected); d.By != ByNothing || d.SPIs != old {
		t.Errorf("detected %+v", d)
	}
	for _, h := range []Handle{0, gone} {
		w.cl.e.Command(w.now, Command{Kind: CommandLost, SA: h})
	}
	w.gw.e.Command(w.now, Command{Kind: CommandLost, SA: g.handle()}) // serves no connection of ours
	w.drain(w.gw)
	w.one()
}

// Requests that are sent again are counted, whatever they are.
func TestRepeatedIsCounted(t *testing.T) {
	w := newWorld(t, "repeated", quiet)
	w.connect()
	w.lose = func(*node, Packet) bool { return true }
	w.run(31 * time.Second) // a liveness check that nobody answers
	if w.cl.e.Repeated == 0 {
		t.Fatal(w.text())
	}
}

// TestRollCallForWhoHasGivenUp: the outage is so long that the client has found
// out by itself and waits for its next try. The roll call, for an SA that it no
// longer has, makes it try at once. While the gateway is away, a stranger who
// repeats it gets no more than that, once a second.
func TestRollCallForWhoHasGivenUp(t *testing.T) {
	for _, outage := range []time.Duration{50 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 9 * time.Minute} {
		w := newWorld(t, "given up "+outage.String())
		w.connect()
		_, old := w.one()
		h := wire.Header{SPIi: old.spi.I, SPIr: old.spi.R, Exchange: wire.ExchangeInformational, Flags: wire.FlagInitiator}
		w.run(5 * time.Second)
		w.crash(w.gw)
		asked := 0
		w.lose = func(from *node, _ Packet) bool {
			if from == w.cl {
				asked++
			}
			return true
		}
		w.run(outage)
		if by := w.cl.last(EventDetected).By; by != ByTimeout {
			t.Fatalf("%v: detected by %v, want a client that has given up\n%s", outage, by, w.text())
		}
		notice := Packet{Local: clAddr, Remote: gwAddr, Data: w.gw.e.invalidSPI(h, make([]byte, 32))}
		asked = 0
		for range 100 {
			w.give(w.cl, notice)
		}
		if w.deliver(); asked > 1 {
			t.Errorf("%v: a hundred copies made the client send %d times", outage, asked)
		}
		w.run(2 * time.Second)
		w.lose = nil
		w.callRoll(w.gw)
		w.run(50 * time.Millisecond)
		if g, c := w.gw.live(), w.cl.live(); len(g) != 1 || len(c) != 1 || !c[0].resumed {
			t.Errorf("%v: not resumed at once\n%s", outage, w.text())
		}
	}
}
