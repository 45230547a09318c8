package ike

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// RFC 7296 2.8.1, 2.8.2, 2.25: whatever both sides begin at once, and whatever
// the network does to it, at the end both have the same SAs with the same keys,
// and nobody had to log in again.
func TestRFC7296_2_25_AnythingCollides(t *testing.T) {
	deeds := []string{"rekey child", "rekey ike", "close child", "new child", "delete"}
	for _, esp := range []string{"aes128gcm16", "aes128gcm16-x25519"} {
		for _, gw := range deeds {
			for _, cl := range deeds {
				t.Run(fmt.Sprintf("%s, %s and %s", esp, gw, cl), func(t *testing.T) {
					for seed := range uint64(20) {
						collide(t, seed, esp, gw, cl)
					}
				})
			}
		}
	}
}

// collide plays one such day.
func collide(t *testing.T, seed uint64, esp, gw, cl string) {
	w := rekeyWorld(t, fmt.Sprint(seed, esp, gw, cl), esp, esp)
	w.connect()
	w.run(time.Second)
	dice := rand.New(rand.NewPCG(seed, 7))
	loss := []float64{0, 0, 0.2, 0.5}[seed%4]
	var answers []func()
	if seed%3 != 0 {
		w.slow = func(f func()) { answers = append(answers, f) }
	}
	w.act(w.gw, gw)
	w.chaos(dice, loss, int(seed%5), &answers)
	w.act(w.cl, cl)
	w.chaos(dice, loss, 60, &answers)
	for w.slow = nil; len(answers) > 0; answers = answers[1:] {
		answers[0]()
	}
	w.run(20 * time.Minute)
	defer func() {
		if t.Failed() {
			t.Fatalf("seed %d: %s and %s", seed, gw, cl)
		}
	}()
	w.agreed(-1)
	if gw != "delete" && cl != "delete" {
		outcome(t, w, 1, 0)
	}
}

// RFC 7296 2.8.1, 2.8.2: both sides rekey the same SA at once, and the lowest of
// the four nonces loses: its exchange's initiator deletes the new SA, the
// other's the old one.
func TestRFC7296_2_8_1_LowestNonceLoses(t *testing.T) {
	for _, c := range []struct {
		what     string
		protocol wire.ProtocolID
	}{{"rekey child", wire.ProtocolESP}, {"rekey ike", wire.ProtocolIKE}} {
		for _, esp := range []string{"aes128gcm16", "aes128gcm16-x25519"} {
			lost := [2]int{}
			for seed := range 12 {
				w := rekeyWorld(t, fmt.Sprint("lowest", seed, c.what, esp), esp, esp)
				w.connect()
				w.run(time.Second)
				old, _ := w.agreed(1)
				before := old.child.in
				tp := w.watch()
				w.act(w.gw, c.what)
				w.act(w.cl, c.what)
				w.deliver()
				w.run(10 * time.Second)
				g, _ := w.agreed(1)
				byGw, byCl := tp.nonces(w.gw), tp.nonces(w.cl)
				if len(byGw) != 2 || len(byCl) != 2 {
					t.Fatalf("%d and %d nonces\n%s", len(byGw), len(byCl), w.text())
				}
				loser := 0 // the gateway's exchange
				if slices.Compare(slices.MinFunc(byCl, slices.Compare), slices.MinFunc(byGw, slices.Compare)) < 0 {
					loser = 1
				}
				lost[loser]++
				if c.protocol == wire.ProtocolIKE {
					if g == old || g.Original == (loser == 0) || g.child.in != before {
						t.Errorf("%s: the IKE SA of the lowest nonce stays\n%s", c.what, w.text())
					}
				} else if g != old || tp.asked(w.gw, g.child.in) == (loser == 0) {
					t.Errorf("%s: the Child SA of the lowest nonce stays\n%s", c.what, w.text())
				}
				if tp.deletes(w.gw, c.protocol) != 1 || tp.deletes(w.cl, c.protocol) != 1 {
					t.Errorf("%s: %d and %d SAs were deleted by those who made them\n%s", c.what, tp.deletes(w.gw, c.protocol), tp.deletes(w.cl, c.protocol), w.text())
				}
			}
			if lost[0] == 0 || lost[1] == 0 {
				t.Errorf("%s: the same side lost each time: %v", c.what, lost)
			}
		}
	}
}

// RFC 7296 2.8.1, 2.8.2: one side finishes before the request of the other
// reaches it. It answers with an error that the other one ignores.
func TestRFC7296_2_8_2_OnlyOneNotices(t *testing.T) {
	for _, c := range []struct {
		what   string
		answer wire.NotifyType // to a request that comes late
		later  bool            // the DELETE of the old SA comes later still
	}{
		{"rekey child", wire.NotifyChildSANotFound, false},
		{"rekey child", wire.NotifyTemporaryFailure, true},
		{"rekey ike", 0, false}, // it is forgotten when the DELETE comes
	} {
		for _, late := range []string{"gw", "cl"} {
			w := rekeyWorld(t, "one notices "+c.what+late, "aes128gcm16", "aes128gcm16")
			w.connect()
			w.run(time.Second)
			slow, quick := w.gw, w.cl
			if late == "cl" {
				slow, quick = quick, slow
			}
			tp, began := w.watch(), w.now
			asked := map[uint32]bool{}
			tp.lose = func(s sight) bool {
				switch passed := w.now.Sub(began); {
				case s.h.Response():
					return false
				case s.from == slow && s.h.Exchange == wire.ExchangeCreateChildSA:
					asked[s.h.MessageID] = true
					return passed < 1500*time.Millisecond
				default:
					return c.later && s.from == quick && s.at(wire.PayloadDelete) >= 0 && passed < 12*time.Second
				}
			}
			w.act(slow, c.what)
			w.act(quick, c.what)
			w.deliver()
			w.run(25 * time.Second)
			w.agreed(1)
			if len(asked) != 1 {
				t.Errorf("%s, %s is late, and asks %d times", c.what, late, len(asked))
			}
			found := false
			for _, s := range tp.of(quick, wire.ExchangeCreateChildSA) {
				found = found || s.h.Response() && s.has(c.answer)
			}
			if found != (c.answer != 0) || slow.count(EventChildFailed) != 0 {
				t.Errorf("%s, %s is late: %v\n%s", c.what, late, found, w.text())
			}
			if n := len(w.gw.kids); c.what == "rekey child" && n != 2 {
				t.Errorf("%d Child SAs were made", n)
			}
		}
	}
}

// RFC 7296 2.8.2: the loser gives up its rekey when it is told that the old IKE SA
// is gone, and never hears what its request has made: that is not there for long.
func TestRFC7296_2_8_2_LoserGivesUp(t *testing.T) {
	seen := 0
	for seed := range 12 {
		w := rekeyWorld(t, fmt.Sprint("gives up", seed), "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		tp := w.watch()
		tp.lose = func(s sight) bool { // the client does not hear what it has made
			return s.from == w.gw && s.h.Exchange == wire.ExchangeCreateChildSA && s.h.Response()
		}
		w.act(w.cl, "rekey ike")
		w.act(w.gw, "rekey ike")
		w.deliver()
		w.run(time.Second)
		if w.gw.e.ours.Len() == 1 {
			continue
		}
		seen++
		w.run(40 * time.Second)
		if w.agreed(1); w.gw.e.ours.Len() != 1 {
			t.Errorf("%d SAs are left\n%s", w.gw.e.ours.Len(), w.text())
		}
	}
	if seen == 0 {
		t.Error("the client never lost")
	}
}

// addChildRequest is CREATE_CHILD_SA for a Child SA in the place of the gateway's
// SA to whose outbound SPI is old, or of none.
func addChildRequest(m *wire.Writer, c *SA, old []byte) {
	if old != nil {
		m.Notify(wire.Notify{Protocol: wire.ProtocolESP, Type: wire.NotifyRekeySA, SPI: old})
	}
	m.SA(propose.SpecsChild(c.conn.ESP, []byte{1, 2, 3, 4})...)
	m.Nonce(make([]byte, 32))
	m.TS(wire.PayloadTSi, c.conn.LocalTS)
	m.TS(wire.PayloadTSr, c.conn.RemoteTS)
}

func addRekeyRequest(t testing.TB, m *wire.Writer, c *SA) {
	pair, err := suite.NewKeyPair(c.suite.KE, newStream("pair"))
	if err != nil {
		t.Fatal(err)
	}
	m.SA(propose.Specs(c.conn.IKE, []byte{1, 2, 3, 4, 5, 6, 7, 8})...)
	m.Nonce(make([]byte, 32))
	m.KE(wire.KE{Group: c.suite.KE, Data: pair.Public()})
}

// RFC 7296 2.25: what a peer is told whose request touches what we are doing.
func TestRFC7296_2_25_Answers(t *testing.T) {
	rekeyChild := func(m *wire.Writer, g, c *SA) { own := spiBytes(g.child.out); addChildRequest(m, c, own[:]) }
	closeChild := func(m *wire.Writer, g, c *SA) {
		own := spiBytes(g.child.out)
		m.Delete(wire.Delete{Protocol: wire.ProtocolESP, SPISize: 4, SPIs: own[:]})
	}
	rekeyIKE := func(m *wire.Writer, _, c *SA) { addRekeyRequest(t, m, c) }
	closeIKE := func(m *wire.Writer, _, _ *SA) { m.Delete(wire.Delete{Protocol: wire.ProtocolIKE}) }
	create, inform := wire.ExchangeCreateChildSA, wire.ExchangeInformational
	for _, c := range []struct {
		name   string
		ours   string // what we are doing; "": nothing
		x      wire.ExchangeType
		asks   func(m *wire.Writer, g, c *SA)
		notify wire.NotifyType // in the answer; 0: none
		kind   wire.PayloadType
		not    wire.PayloadType
	}{
		{"2.25.1 rekey of a Child SA that we close", "close child", create, rekeyChild, wire.NotifyTemporaryFailure, 0, wire.PayloadSA},
		{"2.25.1 rekey of a Child SA that we rekey", "rekey child", create, rekeyChild, 0, wire.PayloadSA, 0},
		{"2.25.1 close of a Child SA that we close", "close child", inform, closeChild, 0, 0, wire.PayloadDelete},
		{"2.25.1 close of a Child SA that we rekey", "rekey child", inform, closeChild, 0, wire.PayloadDelete, 0},
		{"2.25.1 close of a Child SA that we have", "", inform, closeChild, 0, wire.PayloadDelete, 0},
		{"2.25.1 rekey of the IKE SA while we rekey a Child SA", "rekey child", create, rekeyIKE, wire.NotifyTemporaryFailure, 0, wire.PayloadSA},
		{"2.25.1 rekey of the IKE SA while we close a Child SA", "close child", create, rekeyIKE, wire.NotifyTemporaryFailure, 0, wire.PayloadSA},
		{"2.25.1 rekey of the IKE SA while we make a Child SA", "new child", create, rekeyIKE, wire.NotifyTemporaryFailure, 0, wire.PayloadSA},
		{"2.25.2 rekey of the IKE SA that we rekey", "rekey ike", create, rekeyIKE, 0, wire.PayloadSA, 0},
		{"2.25.2 rekey of the IKE SA that we close", "delete", create, rekeyIKE, wire.NotifyTemporaryFailure, 0, wire.PayloadSA},
		{"2.25.2 close of the IKE SA that we rekey", "rekey ike", inform, closeIKE, 0, 0, wire.PayloadNotify},
		{"2.25.2 close of the IKE SA that we close", "delete", inform, closeIKE, 0, 0, wire.PayloadNotify},
		{"2.25.2 rekey of a Child SA while we rekey the IKE SA", "rekey ike", create, rekeyChild, wire.NotifyTemporaryFailure, 0, wire.PayloadSA},
		{"2.25.2 rekey of a Child SA while we close the IKE SA", "delete", create, rekeyChild, wire.NotifyTemporaryFailure, 0, wire.PayloadSA},
		{"2.25.2 close of a Child SA while we rekey the IKE SA", "rekey ike", inform, closeChild, 0, wire.PayloadDelete, 0},
		{"2.25.1 close of a Child SA that is not there", "", inform, func(m *wire.Writer, _, _ *SA) {
			m.Delete(wire.Delete{Protocol: wire.ProtocolESP, SPISize: 4, SPIs: []byte{9, 9, 9, 9}})
		}, 0, 0, wire.PayloadDelete},
		{"2.25 rekey of a Child SA that is not there", "", create, func(m *wire.Writer, _, c *SA) { addChildRequest(m, c, []byte{9, 8, 7, 6}) }, wire.NotifyChildSANotFound, 0, wire.PayloadSA},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := rekeyWorld(t, c.name, "aes128gcm16", "aes128gcm16")
			w.connect()
			w.run(time.Second)
			tp := w.watch()
			tp.lose = func(s sight) bool { return s.from == w.gw && !s.h.Response() }
			if c.ours != "" {
				w.act(w.gw, c.ours)
			}
			s := w.asked(tp, c.x, c.asks)
			if c.notify != 0 && !s.has(c.notify) || c.notify == 0 && s.at(wire.PayloadNotify) >= 0 && !s.has(wire.NotifyQCDToken) {
				t.Errorf("answered %v", s.kinds)
			}
			if c.kind != 0 && s.at(c.kind) < 0 || c.not != 0 && s.at(c.not) >= 0 {
				t.Errorf("answered %v, want %v and not %v", s.kinds, c.kind, c.not)
			}
			if c.notify == wire.NotifyChildSANotFound {
				n := s.notes(c.notify)[0]
				if n.Protocol != wire.ProtocolESP || string(n.SPI) != "\x09\x08\x07\x06" {
					t.Errorf("CHILD_SA_NOT_FOUND of %v %x", n.Protocol, n.SPI)
				}
			}
		})
	}
}

// A request that waits for its turn goes with the creation that it is about:
// the turn is not that of the next creation, whose key pair is still being made.
func TestTurnOfAForgottenCreation(t *testing.T) {
	w := rekeyWorld(t, "turn", "aes128gcm16-x25519", "aes128gcm16-x25519")
	w.connect()
	w.run(time.Second)
	var late []func()
	w.cl.e.Command(w.now, Command{Kind: CommandHint})
	w.drain(w.cl)
	check := w.flight // it is on its way while the following happens
	w.flight = nil
	w.act(w.cl, "rekey child") // waits behind the check
	w.act(w.gw, "rekey child") // and is forgotten
	w.deliver()
	w.slow = func(f func()) { late = append(late, f) }
	w.act(w.cl, "rekey ike")
	w.flight = check
	w.deliver()
	w.slow = nil
	for _, f := range late {
		f()
	}
	w.run(time.Minute)
	w.agreed(1)
	if n := w.cl.count(EventRekeyed); n != 1 || len(w.cl.kids) != 2 {
		t.Errorf("%d rekeys of the IKE SA, %d Child SAs", n, len(w.cl.kids))
	}
	outcome(t, w, 1, 0)
}
