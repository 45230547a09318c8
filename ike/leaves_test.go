package ike

import (
	"slices"
	"testing"
	"time"
)

// leave has the traffic that fits several Child SAs leave by this one, unless it
// waits.
func (n *node) leave(spi uint32, waits bool) {
	n.leaves = slices.DeleteFunc(n.leaves, func(s uint32) bool { return s == spi })
	if waits {
		n.leaves = slices.Insert(n.leaves, 0, spi)
	} else {
		n.leaves = append(n.leaves, spi)
	}
}

// leavesByLive checks after each step of every world that no traffic leaves by a
// Child SA that its peer has deleted, while there is another one (RFC 7296 1.4.1).
func (w *world) leavesByLive(n *node) {
	w.t.Helper()
	for _, slot := range n.e.slots {
		if slot.sa == nil {
			continue
		}
		var by *child
		others := false
		for k := range slot.sa.installed {
			others = others || k.phase == phaseUp && !k.waits
			if by == nil || slices.Index(n.leaves, k.in) > slices.Index(n.leaves, by.in) {
				by = k
			}
		}
		if by != nil && by.phase == phaseLate && others {
			w.t.Errorf("%s: traffic leaves by %08x, which is deleted\n%s", n.name, by.in, w.text())
		}
	}
}

// RFC 7296 2.8.1: both have rekeyed the same Child SA, ours stays, and the peer
// deletes its own. That request shows that the peer has both, and yet no
// traffic may leave by the one that it deletes, not even before that.
func TestRFC7296_2_8_1_NoTrafficByTheLoser(t *testing.T) {
	lost := 0
	for seed := range byte(12) {
		w := rekeyWorld(t, "loser"+string('a'+rune(seed)), "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		tp := w.watch()
		began := w.now
		tp.lose = func(s sight) bool { // the client's answers, and what the gateway is answered
			return s.from == w.gw && s.h.Response() && w.now.Sub(began) < 800*time.Millisecond
		}
		w.act(w.gw, "rekey child")
		w.act(w.cl, "rekey child")
		w.deliver()
		w.run(10 * time.Second)
		g, _ := w.agreed(1)
		for _, n := range []*node{w.gw, w.cl} {
			for _, k := range n.kids[1:] {
				if slices.Contains(n.preferred, k.SPIIn) && k.SPIIn != g.child.in && k.SPIIn != g.child.out {
					t.Errorf("%s: traffic left by the loser %08x\n%s", n.name, k.SPIIn, w.text())
				}
			}
		}
		if w.gw.kids[1].SPIIn != g.child.in {
			lost++
		}
	}
	if lost == 0 || lost == 12 {
		t.Errorf("the same side lost each time: %d", lost)
	}
}
