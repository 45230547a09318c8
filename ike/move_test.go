package ike

import (
	"testing"
	"time"

	"blackswan/wire"
)

// What a client does that moved or slept: the cheapest that works.
func TestCheapestWayBack(t *testing.T) {
	off := func(gw, cl *Config) { gw.Connections[0].MOBIKE, cl.Connections[0].MOBIKE = false, false }
	lost := func(w *world) { // the gateway gave the SA up meanwhile
		w.gw.e.at(w.now)
		w.gw.e.down(w.gw.live()[0], "silence", true)
		w.drain(w.gw)
	}
	sleep := func(w *world) {
		w.cl.e.Command(w.now, Command{Kind: CommandSuspended, For: time.Hour})
		w.drain(w.cl)
	}
	move := func(w *world) { w.moveClient(elsewhere) }
	for _, c := range []struct {
		name          string
		change        func(gw, cl *Config)
		meanwhile     func(w *world)
		then          func(w *world)
		within        time.Duration
		full, resumed int
	}{
		{"moved", quiet, nil, move, time.Second, 1, 0},
		{"slept, the SA is there", quiet, nil, sleep, time.Second, 1, 0},
		{"slept, the gateway forgot the SA and says so", quiet, lost, sleep, time.Second, 1, 1},
		{"slept and moved, the gateway forgot the SA", quiet, lost, func(w *world) { move(w); sleep(w) }, time.Second, 1, 1},
		{"slept, the gateway forgot the SA and is mute", func(gw, _ *Config) { gw.Tokens = false }, lost, sleep, 8 * time.Second, 1, 1},
		{"moved, no MOBIKE", off, nil, move, time.Second, 1, 1},
		{"slept, no MOBIKE", off, nil, sleep, time.Second, 1, 0},
		{"moved, no MOBIKE, no ticket", func(gw, cl *Config) { off(gw, cl); gw.Connections[0].Tickets = false }, nil, move, time.Second, 2, 0},
		{"moved, a crash meanwhile", quiet, func(w *world) { w.crash(w.gw) }, move, time.Second, 1, 1},
		{"moved, keys are lost", quiet, func(w *world) {
			w.gw.cfg = w.newNode("gw", gwAddr, w.gw.conn).cfg
			w.crash(w.gw)
		}, move, 30 * time.Second, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := mobileWorld(t, c.name, c.change)
			if c.meanwhile != nil {
				c.meanwhile(w)
			}
			c.then(w)
			w.run(c.within)
			outcome(t, w, c.full, c.resumed)
			w.one()
		})
	}
}

// A client that moves in the middle of an attempt begins it anew.
func TestMovesDuringAnAttempt(t *testing.T) {
	for messages := range 4 {
		w := newWorld(t, "attempt", quiet, func(gw, cl *Config) { gw.Connections[0].MOBIKE, cl.Connections[0].MOBIKE = true, true })
		sent := 0
		w.lose = func(*node, Packet) bool { sent++; return sent > messages }
		w.connect()
		w.lose = dead(clAddr.Addr())
		w.moveClient(elsewhere)
		w.run(10 * time.Second)
		if _, c := w.one(); c.local.addrPort().Addr() != elsewhere.Addr() || c.natted {
			t.Errorf("after %d messages: at %v, behind a NAT %v", messages, c.local.addrPort(), c.natted)
		}
	}
}

// A client that moves while it logs in anew moves its old SA, and logs in again.
func TestMovesDuringReauth(t *testing.T) {
	w := mobileWorld(t, "moves during reauth", func(gw, _ *Config) { gw.Connections[0].Reauth = 10 * time.Minute })
	w.lose = func(_ *node, p Packet) bool {
		h, _ := wire.ParseHeader(p.Data)
		return h.Exchange == wire.ExchangeIKESAInit
	}
	for w.cl.count(EventReauth) == 0 {
		w.run(time.Second)
	}
	w.lose = dead(clAddr.Addr())
	w.moveClient(elsewhere)
	w.run(10 * time.Second)
	outcome(t, w, 2, 0)
	if _, c := w.one(); c.local.addrPort().Addr() != elsewhere.Addr() {
		t.Error("at", c.local.addrPort())
	}
}

// A client that moves at any step of a rekey, whoever began it, moves all the
// same: the gateway's traffic follows at once, and nobody logs in again. When
// the gateway has the heir not yet, or its client does not know that it has, the
// update is asked for on the old SA, too.
func TestMovesDuringARekey(t *testing.T) {
	for _, what := range []string{"rekey ike", "rekey child"} {
		for _, who := range []string{"gw", "cl"} {
			for step := range 8 {
				w := mobileWorld(t, "moves during "+who+what)
				n := w.gw
				if who == "cl" {
					n = w.cl
				}
				w.act(n, what)
				w.carry(step)
				w.lose = dead(clAddr.Addr())
				w.moveClient(elsewhere)
				w.run(2 * time.Second)
				if to := w.gw.lastMove().Addr(); to != elsewhere.Addr() {
					t.Errorf("%s by %s, step %d: traffic goes to %v\n%s", what, who, step, to, w.text())
				}
				w.run(2 * time.Minute)
				outcome(t, w, 1, 0)
				w.agreed(1)
			}
		}
	}
}

// Haste costs no login: a client without a ticket asks from its new address as
// often as ever before it gives up, one with a ticket resumes soon.
func TestMovesWithoutATicket(t *testing.T) {
	for _, tickets := range []bool{false, true} {
		w := mobileWorld(t, "no haste", func(gw, cl *Config) { gw.Connections[0].Tickets, cl.Connections[0].Tickets = tickets, tickets })
		began := w.now
		w.lose = func(*node, Packet) bool { return w.now.Sub(began) < 10*time.Second }
		w.moveClient(elsewhere)
		w.run(2 * time.Minute)
		resumed := 0
		if tickets {
			resumed = 1
		}
		outcome(t, w, 1, resumed)
		w.agreed(1)
	}
}
