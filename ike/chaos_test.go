package ike

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// deed lets a node do something that act does not know.
func (w *world) deed(n *node, what string, dice *rand.Rand) {
	w.t.Helper()
	switch what {
	case "move":
		w.moveClient(netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + dice.IntN(250))}), 500))
	case "hint":
		n.e.Command(w.now, Command{Kind: CommandHint})
	case "sleep":
		n.e.Command(w.now, Command{Kind: CommandSuspended, For: time.Minute})
	case "ticket":
		for _, sa := range w.cl.live() {
			w.cl.e.at(w.now)
			w.cl.e.request(sa, requestTicket)
			w.drain(w.cl)
		}
	case "reauth":
		for _, sa := range w.cl.live() {
			if sa.tun != nil && sa.tun.sa == sa.handle() {
				sa.endAt = 1
				w.cl.e.at(w.now)
				w.cl.e.schedule(sa)
			}
		}
	case "drain":
		w.drainTo(w.gw, secondAddr.Addr().String())
	case "crash":
		w.crash(n)
		n.removed = nil
		if n == w.cl {
			w.connect()
		} else if dice.IntN(2) == 0 {
			w.callRoll(n)
		}
	default:
		w.act(n, what)
	}
	w.drain(n)
}

// Several things at once, on both sides, while packets are lost and overtake one
// another and key agreements take their time: whatever it was, some minutes later
// both have the same SAs with the same keys and a good ticket, and nothing of a
// rekey is left behind. Where nobody crashed or deleted anything nobody logs in.
func TestAnythingAtOnce(t *testing.T) {
	rekeys := []string{"rekey child", "rekey ike", "close child", "new child"}
	for _, c := range []struct {
		name  string
		deeds []string
		loss  float64
		login bool // it may cost one
	}{
		{"rekeys", rekeys, 0.3, false},
		{"rekeys and moves", append([]string{"move", "move", "hint", "ticket"}, rekeys[:2]...), 0.2, false},
		{"rekeys and deletions", append([]string{"delete"}, rekeys[:2]...), 0.3, true},
		{"rekeys and logins", append([]string{"reauth", "sleep", "move"}, rekeys[:2]...), 0.3, true},
		{"rekeys and crashes", append([]string{"crash", "ticket", "move"}, rekeys[:2]...), 0.3, true},
		{"rekeys and a drain", append([]string{"drain", "hint", "reauth"}, rekeys[:2]...), 0.3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(400) {
				atOnce(t, seed, c.deeds, c.loss, c.login)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func atOnce(t *testing.T, seed uint64, deeds []string, loss float64, login bool) {
	dice := rand.New(rand.NewPCG(seed, 11))
	esp := []string{"aes128gcm16", "aes128gcm16-x25519"}[seed%2]
	w := rekeyWorld(t, fmt.Sprint("at once ", seed), esp, esp)
	for _, n := range w.nodes() {
		n.conn.MOBIKE, n.conn.Redirects = true, true
	}
	gw2 := w.second()
	w.cl.conn.Gateways = []Gateway{{Addr: secondAddr}}
	w.connect()
	w.run(time.Second)
	var answers []func()
	if seed%3 != 0 {
		w.slow = func(f func()) { answers = append(answers, f) }
	}
	if seed%4 < 2 {
		loss = 0
	}
	drained := false
	for range 1 + dice.IntN(4) {
		what := deeds[dice.IntN(len(deeds))]
		drained = drained || what == "drain"
		w.deed([]*node{w.gw, w.cl}[dice.IntN(2)], what, dice)
		w.chaos(dice, loss, dice.IntN(12), &answers)
	}
	w.chaos(dice, loss, dice.IntN(60), &answers)
	for w.slow = nil; len(answers) > 0; answers = answers[1:] {
		answers[0]()
	}
	w.run(20 * time.Minute)
	if drained {
		w.with(gw2)
		if len(w.gw.live()) != 0 || w.gw.count(EventDrained) == 0 {
			t.Errorf("%d SAs at a gateway that drains\n%s", len(w.gw.live()), w.text())
		}
		return
	}
	w.more = nil
	w.agreed(-1)
	full := len(slices.DeleteFunc(w.gw.events, func(ev Event) bool { return ev.Kind != EventEstablished || ev.Resumed }))
	if !login && full != 1 {
		t.Errorf("%d logins\n%s\n%s", full, w.text(), w.dump())
	}
}
