package ike

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"blackswan/wire"
)

// RFC 7296 2.5: a message of a higher major version is dropped and counted, of a
// higher minor version it is as any other.
func TestRFC7296_2_5_Versions(t *testing.T) {
	for _, c := range []struct {
		version uint8
		taken   bool
	}{{0x20, true}, {0x2f, true}, {0x30, false}, {0x10, false}} {
		w := newWorld(t, "version")
		tp := w.watch()
		tp.lose = func(sight) bool { return true }
		w.connect()
		p := tp.only(w.cl, wire.ExchangeIKESAInit).p
		p.Local, p.Remote = p.Remote, p.Local
		p.Data[17] = c.version
		w.give(w.gw, p)
		w.advanceNodes()
		if taken := len(tp.of(w.gw, wire.ExchangeIKESAInit)) == 1; taken != c.taken || w.gw.e.Counters[DropVersion] == 0 != c.taken {
			t.Errorf("version %#x is taken: %v, dropped %d", c.version, taken, w.gw.e.Counters[DropVersion])
		}
	}
}

// RFC 7296 2.21.2: an initiator that does not believe its responder says so in an
// INFORMATIONAL of its own, and the responder has no SA any more.
func TestRFC7296_2_21_2_ResponderIsTold(t *testing.T) {
	w := newWorld(t, "not believed")
	tp := w.watch()
	tp.lose = func(s sight) bool { return s.from == w.gw && s.h.Exchange == wire.ExchangeIKEAuth }
	w.connect()
	g := w.gw.live()[0]
	tp.lose = nil
	w.give(w.cl, w.craft(w.gw, g, wire.ExchangeIKEAuth, true, 1, func(m *wire.Writer) {
		m.ID(wire.PayloadIDr, w.gw.conn.Local.ID)
		m.Auth(wire.Auth{Method: wire.AuthSharedKey, Data: make([]byte, 32)})
	}))
	w.deliver()
	if len(w.gw.live()) != 0 || w.gw.last(EventDown).Reason != "the peer refused us" {
		t.Error("the responder was not told\n" + w.text() + w.dump())
	}
	w.run(10 * time.Second)
	w.one() // and the next attempt is as good as any
}

// RFC 7296 2.10 and rule B6: whatever has a nonce has 32 octets that nobody has
// seen before, though handshakes and requests use the memory of earlier ones.
func TestRuleB6_NoncesAreFresh(t *testing.T) {
	w := rekeyWorld(t, "nonces", "aes128gcm16-x25519", "aes128gcm16-x25519")
	tp := w.watch()
	w.connect()
	for range 3 {
		for _, n := range w.nodes() {
			for _, what := range []string{"rekey child", "rekey ike"} {
				w.act(n, what)
				w.run(10 * time.Second)
			}
		}
		w.start(w.cl) // and resumes
		w.connect()
		w.run(time.Minute)
	}
	seen := map[string]bool{}
	met := map[wire.ExchangeType]int{}
	for _, s := range tp.seen {
		if s.at(wire.PayloadNonce) < 0 {
			continue
		}
		nonce := s.bodies[s.at(wire.PayloadNonce)]
		if len(nonce) != nonceLen || seen[string(nonce)] || slices.Max(nonce) == 0 {
			t.Fatalf("%s: the nonce %x of %v", s.from.name, nonce, s.h.Exchange)
		}
		seen[string(nonce)] = true
		met[s.h.Exchange]++
	}
	want := map[wire.ExchangeType]int{wire.ExchangeIKESAInit: 2, wire.ExchangeSessionResume: 6, wire.ExchangeCreateChildSA: 24}
	if fmt.Sprint(met) != fmt.Sprint(want) {
		t.Errorf("nonces of %v, want %v", met, want)
	}
}
