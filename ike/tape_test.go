package ike

import (
	"slices"
	"testing"
	"time"

	"blackswan/ticket"
	"blackswan/wire"
)

// tape is what an observer of the network sees who also has all keys.
type tape struct {
	w    *world
	seen []sight
	lose func(s sight) bool
}

// sight is one datagram. What was inside SK is read.
type sight struct {
	from   *node
	p      Packet
	h      wire.Header
	sealed bool
	kinds  []wire.PayloadType
	bodies [][]byte
}

// watch begins a tape; it takes the place of w.lose.
func (w *world) watch() *tape {
	tp := &tape{w: w}
	w.lose = func(from *node, p Packet) bool {
		s := w.see(from, p)
		tp.seen = append(tp.seen, s)
		return tp.lose != nil && tp.lose(s)
	}
	return tp
}

func (w *world) see(from *node, p Packet) sight {
	p.Data = slices.Clone(p.Data) // the receiver decrypts in place
	s := sight{from: from, p: p}
	s.h, _ = wire.ParseHeader(p.Data)
	first, body := s.h.NextPayload, p.Data[wire.HeaderLen:]
	if first == wire.PayloadSK {
		s.sealed = true
		if first, body = w.inside(s.h, p.Data); body == nil {
			w.t.Fatalf("nobody has the keys of this: %x", p.Data)
		}
	}
	walk := wire.Walk(first, body)
	for x, ok := walk.Next(); ok; x, ok = walk.Next() {
		s.kinds, s.bodies = append(s.kinds, x.Type), append(s.bodies, x.Body)
	}
	return s
}

// inside decrypts a message under the keys that one of the two ends has. The
// Endpoints notice nothing of it.
func (w *world) inside(h wire.Header, data []byte) (wire.PayloadType, []byte) {
	var eye Endpoint
	for _, n := range w.nodes() {
		for _, s := range n.e.slots {
			if s.sa == nil || s.sa.spi != h.SPIs() {
				continue
			}
			ek, ak := keysOf(&s.sa.keys, s.sa.suite, h.Initiator())
			if first, plain, _, ok := eye.decrypt(s.sa.suite, ek, ak, slices.Clone(data), h); ok {
				return first, append([]byte{}, plain...)
			}
		}
	}
	return 0, nil
}

// notes are the notifications of that type.
func (s sight) notes(t wire.NotifyType) (all []wire.Notify) {
	for i, k := range s.kinds {
		if k != wire.PayloadNotify {
			continue
		}
		if n, err := wire.ParseNotify(s.bodies[i]); err == nil && n.Type == t {
			all = append(all, n)
		}
	}
	return all
}

func (s sight) has(t wire.NotifyType) bool { return len(s.notes(t)) > 0 }

// at is where a payload of that kind stands, -1 if nowhere.
func (s sight) at(k wire.PayloadType) int { return slices.Index(s.kinds, k) }

// of are the datagrams of an exchange that a node sent.
func (tp *tape) of(from *node, x wire.ExchangeType) (all []sight) {
	for _, s := range tp.seen {
		if s.from == from && s.h.Exchange == x {
			all = append(all, s)
		}
	}
	return all
}

// only is the one datagram of an exchange that a node sent.
func (tp *tape) only(from *node, x wire.ExchangeType) sight {
	tp.w.t.Helper()
	all := tp.of(from, x)
	if len(all) != 1 {
		tp.w.t.Fatalf("%s sent %d messages of %v, want one\n%s\n%s", from.name, len(all), x, tp.w.text(), tp.w.dump())
	}
	return all[0]
}

// resumeHeld lets the client begin a resume and holds back its IKE_AUTH: the
// gateway has a half-open SA, the client waits for its answer.
func (w *world) resumeHeld() (tp *tape, gw, cl *SA) {
	w.t.Helper()
	tp = w.watch()
	tp.lose = func(s sight) bool { return s.h.Exchange == wire.ExchangeIKEAuth }
	w.start(w.cl)
	w.connect()
	gw, cl = w.gw.half(), w.cl.half()
	if gw == nil || cl == nil || !gw.resumed || gw.state != stateHalf || cl.state != stateAuth {
		w.t.Fatal("no half-open resume\n" + w.text() + w.dump())
	}
	tp.lose = nil
	return tp, gw, cl
}

// half is the first SA of a node that is not established.
func (n *node) half() *SA {
	for _, s := range n.e.slots {
		if s.sa != nil && s.sa.half != nil {
			return s.sa
		}
	}
	return nil
}

// say sends one protected message of sa, an SA of n's, with what build adds.
func (w *world) say(n *node, sa *SA, x wire.ExchangeType, response bool, id uint32, build func(m *wire.Writer)) {
	n.e.at(w.now)
	m := n.e.compose(sa, x, response, id)
	build(m)
	n.e.sendSA(sa, n.e.protect(sa, 0))
	w.drain(n)
	w.deliver()
}

// opened is the session that a ticket of the gateway's holds.
func (w *world) opened(b []byte) ticket.Session {
	w.t.Helper()
	ring, err := ticket.NewRing(w.gw.cfg.Ring)
	if err != nil {
		w.t.Fatal(err)
	}
	var s ticket.Session
	if err := ring.Open(&s, b, w.now.Unix()); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// sealsNothing are the same keys, none of which seals any more.
func sealsNothing(keys []ticket.Key, now time.Time) (old []ticket.Key) {
	for _, k := range keys {
		k.SealUntil = now.Unix() - 1
		old = append(old, k)
	}
	return old
}

// TestTape: the observer reads what is sealed, and disturbs nothing.
func TestTape(t *testing.T) {
	w := newWorld(t, "tape")
	tp := w.watch()
	w.connect()
	w.one()
	s := tp.only(w.cl, wire.ExchangeIKEAuth)
	if !s.sealed || s.at(wire.PayloadIDi) != 0 || s.at(wire.PayloadAUTH) < 0 || len(tp.seen) != 4 {
		t.Errorf("%d datagrams, IKE_AUTH holds %v", len(tp.seen), s.kinds)
	}
	if w.gw.e.Counters != (Counters{}) || w.cl.e.Counters != (Counters{}) {
		t.Error("the observer was noticed\n" + w.dump())
	}
}
