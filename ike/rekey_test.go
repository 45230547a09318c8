package ike

import (
	"slices"
	"strings"
	"testing"
	"time"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// RFC 7296 1.3.3 and 2.17: a Child SA is rekeyed by either side, with and
// without a key exchange of its own, and the other group where the peer wants it.
func TestRFC7296_1_3_3_ChildRekey(t *testing.T) {
	for _, c := range []struct {
		name, gw, cl string
		group        wire.TransformID
	}{
		{"1.3.3 without a key exchange", "aes128gcm16", "aes128gcm16", wire.KENone},
		{"1.3.3 with a key exchange", "aes128gcm16-x25519", "aes128gcm16-x25519", wire.KEX25519},
		{"1.3 INVALID_KE_PAYLOAD names the other group", "aes128gcm16-ecp256", "aes128gcm16-x25519-ecp256", wire.KEECP256},
		{"3.3.6 a key exchange that one side does without", "aes128gcm16", "aes128gcm16-x25519-none", wire.KENone},
	} {
		for _, who := range []string{"gw", "cl"} {
			t.Run(c.name+", by "+who, func(t *testing.T) {
				w := rekeyWorld(t, c.name+who, c.gw, c.cl)
				w.connect()
				w.run(time.Second)
				g, old := w.agreed(1)
				before := old.child
				n, own := w.cl, spiBytes(before.in)
				if who == "gw" {
					n, own = w.gw, spiBytes(before.out)
				}
				tp := w.watch()
				w.wear(n, ReportWorn)
				w.deliver()
				for _, s := range tp.of(n, wire.ExchangeCreateChildSA) {
					x := s.notes(wire.NotifyRekeySA)
					if len(x) != 1 || x[0].Protocol != wire.ProtocolESP || string(x[0].SPI) != string(own[:]) || len(x[0].Data) != 0 {
						t.Errorf("REKEY_SA is %+v, want %x", x, own)
					}
				}
				w.lose = nil
				w.run(10 * time.Second)
				g2, c2 := w.agreed(1)
				if g2 != g || c2 != old || c2.child.in == before.in || c2.child.out == before.out {
					t.Fatal("not the same IKE SA with another Child SA\n" + w.text())
				}
				if got := c2.child.suite.KE; got != c.group || g2.child.suite != c2.child.suite {
					t.Errorf("key exchange %d, want %d", got, c.group)
				}
			})
		}
	}
}

// RFC 7296 2.8: who answered a rekey sends by the old Child SA until the new
// one is known to be there, who began it sends by the new one at once; the old
// takes late packets for a moment.
func TestRFC7296_2_8_NoPacketIsLost(t *testing.T) {
	w := rekeyWorld(t, "no loss", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	first := w.gw.kids[0].SPIIn
	w.lose = func(from *node, p Packet) bool { return from == w.cl && len(w.cl.kids) == 2 } // D of the client
	w.wear(w.cl, ReportWorn)
	w.deliver()
	kids := w.gw.kids
	if len(kids) != 2 || !kids[1].Waits || w.cl.kids[1].Waits || len(w.gw.preferred) != 0 {
		t.Fatalf("%d Child SAs at the gateway\n%s", len(kids), w.text())
	}
	w.report(w.gw, ReportUsed, kids[1].SPIIn)
	if !slices.Equal(w.gw.preferred, []uint32{kids[1].SPIIn}) {
		t.Error("the new one is used, and not preferred")
	}
	w.report(w.gw, ReportUsed, kids[1].SPIIn)
	if len(w.gw.preferred) != 1 || len(w.gw.removed) != 0 {
		t.Error("preferred twice, or the old one went early")
	}
	w.lose = nil
	w.run(2 * time.Second)
	if !slices.Equal(w.gw.retired, []uint32{first}) || !slices.Equal(w.cl.retired, []uint32{w.cl.kids[0].SPIIn}) {
		t.Errorf("the old one takes no late packets: %x and %x were retired", w.gw.retired, w.cl.retired)
	}
	w.agreed(1)
}

// RFC 7296 2.8 (2): the request that closes the old Child SA shows that the new
// one is known.
func TestRFC7296_2_8_DeleteShowsTheNewOneIsThere(t *testing.T) {
	w := rekeyWorld(t, "delete shows", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	w.wear(w.cl, ReportWorn)
	w.deliver()
	if !slices.Equal(w.gw.preferred, []uint32{w.gw.kids[1].SPIIn}) || !slices.Equal(w.gw.retired, []uint32{w.gw.kids[0].SPIIn}) {
		t.Errorf("preferred %x, retired %x", w.gw.preferred, w.gw.retired)
	}
}

// RFC 7296 2.8: each end has limits of its own, and rekeys before them; the
// client before the gateway, so that they seldom collide.
func TestRFC7296_2_8_LifetimesOfChildSAs(t *testing.T) {
	for _, c := range []struct {
		name   string
		gw, cl time.Duration
		rekeys [2]int // begun by the gateway, by the client, in three hours
	}{
		{"equal limits: the client begins", time.Hour, time.Hour, [2]int{0, 3}},
		{"the gateway's is shorter", 30 * time.Minute, time.Hour, [2]int{6, 0}},
		{"the client's is shorter", time.Hour, 30 * time.Minute, [2]int{0, 6}},
		{"none", 0, 0, [2]int{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := rekeyWorld(t, c.name, "aes128gcm16", "aes128gcm16")
			w.gw.conn.ChildLifetime, w.cl.conn.ChildLifetime = c.gw, c.cl
			w.connect()
			began := [2]int{}
			w.lose = func(from *node, p Packet) bool {
				if h, _ := wire.ParseHeader(p.Data); h.Exchange == wire.ExchangeCreateChildSA && h.Flags&wire.FlagResponse == 0 {
					began[slices.Index([]*node{w.gw, w.cl}, from)]++
				}
				return false
			}
			w.run(3 * time.Hour)
			w.run(10 * time.Second)
			w.agreed(1)
			if began != c.rekeys {
				t.Errorf("%v rekeys, want %v", began, c.rekeys)
			}
		})
	}
}

// RFC 7296 2.8: a machine that slept over the rekey of a Child SA and its end
// does the former: nobody has used it meanwhile, and nobody lacks it afterwards.
func TestRFC7296_2_8_RekeyThatIsLate(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		w := rekeyWorld(t, "late "+who, "aes128gcm16", "aes128gcm16")
		n, other := w.gw, w.cl
		if who == "cl" {
			n, other = w.cl, w.gw
		}
		other.conn.ChildLifetime = 0
		w.connect()
		w.run(time.Second)
		tp := w.watch()
		w.now = w.now.Add(2 * time.Hour)
		w.run(10 * time.Second)
		w.agreed(1)
		asked := tp.of(n, wire.ExchangeCreateChildSA)
		if len(asked) != 1 || !asked[0].has(wire.NotifyRekeySA) || len(n.kids) != 2 || len(tp.of(other, wire.ExchangeCreateChildSA)) != 1 {
			t.Errorf("%s: no rekey, but\n%s", who, w.text())
		}
		outcome(t, w, 1, 0)
	}
}

// The data plane gets limits of volume, and reports that bring about a rekey.
func TestRFC7296_2_8_Volumes(t *testing.T) {
	w := rekeyWorld(t, "volumes", "aes128gcm16", "aes128gcm16")
	hard := Volume{Packets: 1 << 30, Octets: 1 << 40}
	w.gw.conn.ChildVolume, w.cl.conn.ChildVolume = hard, hard
	w.connect()
	w.run(time.Second)
	g, c := w.gw.kids[0], w.cl.kids[0]
	for _, k := range []Child{g, c} {
		if k.Hard != hard || k.Soft.Packets >= hard.Packets || k.Soft.Octets >= hard.Octets || k.Soft.Octets < hard.Octets/10*8 {
			t.Errorf("%+v of %+v", k.Soft, k.Hard)
		}
	}
	if c.Soft.Octets >= g.Soft.Octets || c.Soft.Packets >= g.Soft.Packets {
		t.Error("the gateway would begin before the client")
	}
	w.wear(w.gw, ReportSpent)
	w.wear(w.gw, ReportSpent)
	w.deliver()
	w.run(10 * time.Second)
	w.agreed(1)
	w.report(w.gw, ReportWorn, g.SPIIn) // late
	w.report(w.gw, ReportWorn, 4711)
	w.run(10 * time.Second)
	if w.gw.e.Counters[DropStale] != 2 || len(w.gw.kids) != 2 {
		t.Errorf("%d stale reports, %d Child SAs", w.gw.e.Counters[DropStale], len(w.gw.kids))
	}
}

// RFC 7296 2.8: a Child SA that is over and could not be rekeyed ends its IKE
// SA; the client begins anew.
func TestRFC7296_2_8_WhatCannotBeRekeyedEnds(t *testing.T) {
	for _, kind := range []ReportKind{ReportWorn, ReportSpent} {
		w := rekeyWorld(t, "cannot", "aes128gcm16-ecp256", "aes128gcm16-x25519") // NO_PROPOSAL_CHOSEN
		w.connect()
		w.run(time.Second)
		w.wear(w.cl, kind)
		w.deliver()
		if kind == ReportWorn {
			w.run(58 * time.Minute)
			outcome(t, w, 1, 0)
			w.agreed(1)
			if n := w.cl.count(EventChildFailed); n < 4 || n > 16 {
				t.Errorf("%d attempts in an hour", n)
			}
			w.run(3 * time.Minute)
		} else {
			w.run(5 * time.Second)
		}
		outcome(t, w, 2, 0)
		w.agreed(1)
	}
}

// RFC 7296 1.4.1: the peer deletes the last Child SA: the client has another
// one made, but never in a loop.
func TestRFC7296_1_4_1_ClientReplacesADeletedChild(t *testing.T) {
	w := rekeyWorld(t, "deleted child", "aes128gcm16", "aes128gcm16-x25519-none")
	w.connect()
	w.run(time.Second)
	g, _ := w.agreed(1)
	g.child.phase = phaseClosing
	w.gw.e.at(w.now)
	w.gw.e.pursue(g)
	w.drain(w.gw)
	w.deliver()
	w.agreed(0)
	w.run(2 * time.Second)
	w.agreed(1)
	outcome(t, w, 1, 0)
	end := w.now.Add(time.Minute)
	for w.now.Before(end) {
		if g.child.phase == phaseUp {
			g.child.phase = phaseClosing
			w.gw.e.at(w.now)
			w.gw.e.pursue(g)
			w.drain(w.gw)
		}
		w.run(50 * time.Millisecond)
	}
	if n := len(w.gw.kids); n > 122 {
		t.Errorf("%d Child SAs in a minute", n)
	}
}

// RFC 7296 2.17: KEYMAT = prf+(SK_d, [g^ir] | Ni | Nr); the keys of the
// exchange's initiator come first, encryption before integrity.
func TestRFC7296_2_17_Keymat(t *testing.T) {
	for _, esp := range []string{"aes256-sha384", "aes256-sha384-x25519"} {
		for _, who := range []string{"gw", "cl"} {
			w := rekeyWorld(t, "keymat "+esp+who, esp, esp)
			w.connect()
			w.run(time.Second)
			n, other := w.gw, w.cl
			if who == "cl" {
				n, other = other, n
			}
			var shared []byte
			n.hook = func(q *Question) {
				if q.Kind == AskAgree {
					shared, _ = q.Pair.Shared(q.Public)
				}
			}
			tp := w.watch()
			w.act(n, "rekey child")
			w.deliver()
			req, resp := tp.only(n, wire.ExchangeCreateChildSA), tp.only(other, wire.ExchangeCreateChildSA)
			g, _ := w.one()
			keymat := make([]byte, 2*(32+48))
			suite.DeriveChild(w.gw.e.prf(g.suite), keymat, g.keys.D(g.suite), shared, req.bodies[req.at(wire.PayloadNonce)], resp.bodies[resp.at(wire.PayloadNonce)])
			k := n.kids[len(n.kids)-1]
			got := slices.Concat(k.EncrOut, k.IntegOut, k.EncrIn, k.IntegIn)
			if string(got) != string(keymat) || (shared == nil) != (esp == "aes256-sha384") {
				t.Errorf("%s, %s begins: the keys are not in order", esp, who)
			}
		}
	}
}

// RFC 7296 2.25: after TEMPORARY_FAILURE nothing is tried again at once; later
// it is, for several minutes; then the two are out of step, and begin anew.
func TestRFC7296_2_25_TemporaryFailure(t *testing.T) {
	for _, what := range []string{"rekey child", "rekey ike"} {
		w := rekeyWorld(t, "temporary "+what, "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		g, _ := w.agreed(1)
		busy := func() {
			w.gw.e.chill(g).created = bucket{second: int64(w.now.Sub(w.gw.e.began)) / createPeriod / 1e9, n: mostCreations}
		}
		tp := w.watch()
		tp.lose = func(sight) bool { busy(); return false }
		busy()
		w.act(w.cl, what)
		w.deliver()
		w.run(4 * time.Second)
		if n := len(tp.of(w.cl, wire.ExchangeCreateChildSA)); n != 1 {
			t.Errorf("%s: %d requests within four seconds", what, n)
		}
		w.run(2 * time.Minute)
		if n := len(tp.of(w.cl, wire.ExchangeCreateChildSA)); n < 3 || n > 8 {
			t.Errorf("%s: %d requests in two minutes", what, n)
		}
		w.agreed(1)
		outcome(t, w, 1, 0)
		w.run(10 * time.Minute)
		outcome(t, w, 2, 0)
	}
}

// RFC 7296 2.8, 2.25: what lives for seconds is tried again before its end,
// however busy the peer is when its rekey is due.
func TestRFC7296_2_25_TemporaryFailureInAShortLife(t *testing.T) {
	for _, who := range []string{"gw ike", "gw child", "cl ike", "cl child"} {
		w := rekeyWorld(t, "short life "+who, "aes128gcm16", "aes128gcm16")
		n, other := w.gw, w.cl
		if strings.HasPrefix(who, "cl") {
			n, other = w.cl, w.gw
		}
		if strings.HasSuffix(who, "ike") {
			n.conn.Lifetime = 20 * time.Second
		} else {
			n.conn.ChildLifetime = 20 * time.Second
		}
		w.connect()
		w.run(time.Second)
		tp := w.watch()
		tp.lose = func(s sight) bool { // one in two finds the peer busy
			if sas := other.live(); s.from == n && !s.h.Response() && s.h.Exchange == wire.ExchangeCreateChildSA && len(sas) > 0 {
				asked := len(tp.of(n, wire.ExchangeCreateChildSA))
				other.e.chill(sas[len(sas)-1]).created = bucket{second: int64(w.now.Sub(other.e.began)) / createPeriod / 1e9, n: mostCreations * (asked % 2)}
			}
			return false
		}
		w.run(3 * time.Minute)
		made, refused := 0, 0
		for _, s := range tp.of(other, wire.ExchangeCreateChildSA) {
			switch {
			case s.has(wire.NotifyTemporaryFailure):
				refused++
			case s.h.Response():
				made++
			}
		}
		if w.agreed(1); made < 6 || refused < 6 {
			t.Errorf("%s: made %d, refused %d times", who, made, refused)
		}
		outcome(t, w, 1, 0)
	}
}

// RFC 7296 2.25: who is told CHILD_SA_NOT_FOUND drops the Child SA in silence
// and has a new one made.
func TestRFC7296_2_25_ChildSANotFound(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		w := rekeyWorld(t, "not found "+who, "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		g, c := w.agreed(1)
		n, other, lost := w.gw, w.cl, c
		if who == "cl" {
			n, other, lost = w.cl, w.gw, g
		}
		other.e.at(w.now)
		other.e.removeChild(lost, &lost.child, OutputRemove)
		w.drain(other)
		tp := w.watch()
		w.act(n, "rekey child")
		w.deliver()
		w.run(3 * time.Second)
		w.agreed(1)
		if tp.deletes(n, wire.ProtocolESP) != 0 {
			t.Errorf("%s deletes what its peer has not", who)
		}
		outcome(t, w, 1, 0)
	}
}
