package ike

import (
	"slices"
	"testing"
	"time"
)

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

// RFC 7296 1.4.1: of a Child SA that both peers have ended, itself or with its IKE
// SA, packets may be on their way; of one that ends because its peer is gone, none.
func TestRFC7296_1_4_1_WhatIsOnItsWay(t *testing.T) {
	does := func(what string) func(w *world, n *node) {
		return func(w *world, n *node) { w.act(n, what); w.run(time.Second) }
	}
	for _, c := range []struct {
		name    string
		end     func(w *world, n *node)
		client  bool // n is the client
		retired bool // what both had then
		removed int  // from the gateway's plane, in either way
	}{
		{"1.4.1 the client deletes the IKE SA", does("delete"), true, true, 1},
		{"1.4.1 the gateway deletes the IKE SA", does("delete"), false, true, 1},
		{"1.4.1 the client rekeys the Child SA", does("rekey child"), true, true, 1},
		{"1.4.1 the gateway rekeys the Child SA", does("rekey child"), false, true, 1},
		{"1.3.2 the client rekeys the IKE SA", does("rekey ike"), true, false, 0},
		{"2.4 the client is silent", func(w *world, cl *node) {
			w.lose = func(n *node, _ Packet) bool { return n == cl }
			w.run(10 * time.Minute)
		}, true, false, 1},
		{"2.4 the client begins anew", func(w *world, cl *node) { cl.ticket = nil; w.crash(cl); w.connect() }, true, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.name)
			w.connect()
			w.run(time.Second)
			had := [2]uint32{w.gw.kids[0].SPIIn, w.cl.kids[0].SPIIn}
			if c.client {
				c.end(w, w.cl)
			} else {
				c.end(w, w.gw)
			}
			if slices.Contains(w.gw.retired, had[0]) != c.retired || slices.Contains(w.cl.retired, had[1]) != c.retired || len(w.gw.removed) != c.removed {
				t.Errorf("retired %x and %x of %x, %d gone\n%s", w.gw.retired, w.cl.retired, had, len(w.gw.removed), w.text())
			}
		})
	}
}
