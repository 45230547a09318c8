package ike

import (
	"slices"
	"testing"
	"time"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// FuzzPeer is a peer that has the keys and says what it likes, in CREATE_CHILD_SA
// and INFORMATIONAL, request and response, to either side. Whatever comes: no
// panic, bounded memory, and an SA that lives on or is gone as a whole.
func FuzzPeer(f *testing.F) {
	w := rekeyWorld(f, "fuzz peer", "aes128gcm16-x25519-none", "aes128gcm16-x25519-none")
	w.connect()
	w.run(time.Second)
	tp := w.watch()
	for i, what := range []string{"rekey child", "rekey ike", "close child", "new child"} {
		w.act(w.cl, what)
		w.deliver()
		for _, s := range tp.seen {
			if first, plain := w.inside(s.h, s.p.Data); plain != nil {
				f.Add(byte(i), byte(s.h.Exchange), byte(first), plain)
			}
		}
		tp.seen = nil
		w.run(time.Second)
	}
	f.Fuzz(func(t *testing.T, how, exchange, first byte, plain []byte) {
		hostile(t, how, exchange, first, plain)
	})
}

// hostile lets a peer say plain, in an exchange, as request or response.
func hostile(t *testing.T, how, exchange, first byte, plain []byte) {
	if len(plain) > 4000 {
		return
	}
	w := rekeyWorld(t, "fuzzed", "aes128gcm16-x25519-none", "aes128gcm16-x25519-none")
	w.connect()
	w.run(time.Second)
	from, to := w.cl, w.gw
	if how&1 != 0 {
		from, to = to, from
	}
	peer, sa := from.live()[0], to.live()[0]
	response := how&2 != 0
	if response { // it answers what we have asked
		w.lose = func(n *node, _ Packet) bool { return n == to }
		w.act(to, []string{"rekey child", "rekey ike", "close child", "new child"}[how>>2&3])
	}
	id := sa.recv.Next()
	if c := sa.cold; response && c != nil {
		id = c.open.id
	}
	from.e.at(w.now)
	m := from.e.compose(peer, wire.ExchangeType(exchange), response, id)
	m.Buf[m.SKOffset()] = first
	m.Buf = append(m.Buf, plain...)
	from.e.sendSA(peer, from.e.protect(peer, 0))
	w.lose = nil
	w.drain(from)
	w.run(100 * time.Millisecond)
	w.lose = func(n *node, _ Packet) bool { return n == from }
	w.run(2 * time.Minute)
	whole(t, w, to)
}

// Every payload that either side sends in the exchanges of a rekey, with
// octets turned, and cut short.
func TestWhateverAPeerSays(t *testing.T) {
	plain := wire.NewWriter(nil, wire.Header{})
	addRekeyRequest(t, &plain, &SA{conn: rekeyWorld(t, "says", "aes128gcm16", "aes128gcm16").cl.conn, suite: suite.Suite{KE: wire.KEX25519}})
	said := plain.Buf[wire.HeaderLen:]
	for how := range byte(16) {
		for at := int(how) % 5; at < len(said); at += 5 {
			changed := slices.Clone(said)
			changed[at] ^= 0x55
			hostile(t, how, byte(wire.ExchangeCreateChildSA), byte(wire.PayloadSA), changed)
		}
		hostile(t, how, byte(wire.ExchangeInformational), byte(wire.PayloadDelete), said[:how])
	}
}

// whole fails when something of an SA is left without the rest.
func whole(t *testing.T, w *world, n *node) {
	t.Helper()
	var in, out []uint32
	for _, s := range n.e.slots {
		if s.sa == nil {
			continue
		}
		for k := range s.sa.installed {
			in, out = append(in, k.in), append(out, k.out)
			if n.e.children.Get(k.in) != s.sa.slot+1 || n.e.outbound.Get(k.out) != s.sa.slot+1 {
				t.Errorf("Child SA %08x belongs to another SA", k.in)
			}
		}
		if c := s.sa.cold; c != nil && (len(c.more) >= maxChildren || len(c.waiting) > 20) {
			t.Errorf("%d Child SAs, %d requests wait", len(c.more), len(c.waiting))
		}
	}
	plane := n.plane()
	if len(plane) != len(in) {
		t.Errorf("%d Child SAs in the data plane, %d in the machine\n%s", len(plane), len(in), w.dump())
	}
	for _, spi := range in {
		if _, ok := plane[spi]; !ok {
			t.Errorf("the data plane has no %08x", spi)
		}
	}
	slices.Sort(out)
	if n.e.outbound.Len() != len(slices.Compact(out)) || n.e.children.Len() < len(in) || n.e.children.Len() > len(in)+2 {
		t.Errorf("%d and %d SPIs of %d Child SAs", n.e.children.Len(), n.e.outbound.Len(), len(in))
	}
}
