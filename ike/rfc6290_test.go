package ike

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"blackswan/qcd"
	"blackswan/wire"
)

// RFC 6290, clause by clause. What else there is of it stands in crash_test.go.

// tokenOf is the token that a node makes for an SA of its.
func tokenOf(t testing.TB, n *node, sa *SA) []byte {
	t.Helper()
	tok, ok := n.e.tokens.Token(nil, sa.gen, uint64(sa.spi.I), uint64(sa.spi.R))
	if !ok {
		t.Fatal("no token")
	}
	return tok
}

// holds tells whether a taker's SA stores that token.
func holdsToken(sa *SA, tok []byte) bool {
	return sa.told != nil && (sa.told.token.Verify(tok) || sa.told.before != nil && sa.told.before.Verify(tok))
}

// shown is a message in clear with a token, as a maker sends it after a crash.
func shown(s wire.SPIs, tokens ...[]byte) Packet {
	m := wire.NewWriter(nil, wire.Header{SPIi: s.I, SPIr: s.R, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagResponse})
	m.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI})
	for _, tok := range tokens {
		m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: tok})
	}
	return Packet{Local: clAddr, Remote: gwAddr, Data: m.Finish()}
}

func TestRFC6290_3_TakersKeepTheToken(t *testing.T) {
	w := newWorld(t, "keep", quiet)
	w.connect()
	g, c := w.one()
	ofGW, ofCL := tokenOf(t, w.gw, g), tokenOf(t, w.cl, c)
	if !holdsToken(c, ofGW) || !holdsToken(g, ofCL) {
		t.Error("a taker has not stored the token that came with the SA")
	}
	if holdsToken(c, ofCL) || holdsToken(g, ofGW) || bytes.Equal(ofGW, ofCL) {
		t.Error("a taker stores its own token")
	}
}

// TestRFC6290_3_WhatFailsIsCounted: a token that does not hold, and one for an
// SA that is not ours, each under its reason.
func TestRFC6290_3_WhatFailsIsCounted(t *testing.T) {
	w := newWorld(t, "counted", quiet)
	w.connect()
	_, c := w.one()
	w.give(w.cl, shown(c.spi, make([]byte, 32)))
	if n := w.cl.e.Counters[DropToken]; n != 1 {
		t.Errorf("a wrong token is counted %d times", n)
	}
	w.give(w.cl, shown(wire.SPIs{I: c.spi.I ^ 0x100, R: c.spi.R}, make([]byte, 32)))
	if n := w.cl.e.Counters[DropUnknownSPI]; n != 1 {
		t.Errorf("a token for no SA is counted %d times", n)
	}
}

// TestRFC6290_4_5_SAGoesInSilence: a token that holds ends the IKE SA and its
// Child SA, that is told, nothing is sent about them, and a resume begins.
func TestRFC6290_4_5_SAGoesInSilence(t *testing.T) {
	w := newWorld(t, "silence", quiet)
	w.connect()
	g, c := w.one()
	spis, child, tok := c.spi, c.child.in, tokenOf(t, w.gw, g)
	tp := w.watch()
	w.give(w.cl, shown(spis, tok))
	if len(w.cl.live()) != 0 || len(w.cl.removed) != 1 || w.cl.removed[0].SPIIn != child || w.cl.e.bySPI(spis.I) != nil {
		t.Error("the SA or its Child SA is still there\n" + w.dump())
	}
	if w.cl.last(EventDetected).SPIs != spis || w.cl.count(EventDetected) != 1 {
		t.Error("nobody is told")
	}
	if s := tp.only(w.cl, wire.ExchangeSessionResume); len(tp.seen) != 1 || s.h.SPIi == spis.I {
		t.Errorf("%d messages, want one RESUME\n%s", len(tp.seen), w.text())
	}
	w.give(w.cl, shown(spis, tok)) // once more: the token went with its SA
	if w.cl.count(EventDetected) != 1 || w.cl.e.Counters[DropUnknownSPI] != 1 {
		t.Error("the token outlived its SA")
	}
	w.deliver()
	if now, _ := w.one(); !now.resumed || w.gw.live()[0].spi == spis {
		t.Error("not resumed")
	}
}

// TestRFC6290_4_1_Format: protocol 1, SPI size 0, type 16419, wherever a token
// of ours is.
func TestRFC6290_4_1_Format(t *testing.T) {
	w := newWorld(t, "format")
	tp := w.watch()
	check := func(where string, s sight) {
		t.Helper()
		for i, k := range s.kinds {
			if b := s.bodies[i]; k == wire.PayloadNotify && binary.BigEndian.Uint16(b[2:]) == 16419 {
				if b[0] != 1 || b[1] != 0 || len(b) != 4+qcd.TokenSize {
					t.Errorf("%s: protocol %d, SPI size %d, %d octets", where, b[0], b[1], len(b)-4)
				}
				return
			}
		}
		t.Errorf("%s: no token in %v", where, s.kinds)
	}
	w.connect()
	_, c := w.one()
	out := c.child.out
	check("IKE_AUTH request", tp.only(w.cl, wire.ExchangeIKEAuth))
	check("IKE_AUTH response", tp.only(w.gw, wire.ExchangeIKEAuth))
	p := w.protectedRequest(w.cl)
	w.crash(w.gw)
	tp.seen = nil
	w.gw.e.Packet(w.now, p)
	w.drain(w.gw)
	check("reply", tp.only(w.gw, wire.ExchangeInformational))
	w.now = w.now.Add(2 * time.Second)
	tp.seen = nil
	w.survivors()
	w.gw.e.Plane(w.now, Report{Kind: ReportUnknownSPI, SPI: out, Local: gwAddr, Remote: clAddr, Length: 120})
	w.drain(w.gw)
	check("reply to ESP", tp.only(w.gw, wire.ExchangeInformational))
}

// survivors hands the gateway the ESP SPIs of before its crash.
func (w *world) survivors() {
	var list []Survivor
	for _, s := range w.gw.kidmap {
		list = append(list, s)
	}
	w.gw.e.Command(w.now, Command{Kind: CommandSurvivors, Survivors: list})
	w.drain(w.gw)
}

// TestRFC6290_4_2_TokenStandsAfterAUTH: in the first request and the last
// response, after AUTH and before all that is about the Child SA.
func TestRFC6290_4_2_TokenStandsAfterAUTH(t *testing.T) {
	w := newWorld(t, "order", quiet)
	tp := w.watch()
	w.connect()
	for range 2 { // the full handshake, then the resume
		for _, n := range []*node{w.cl, w.gw} {
			s := tp.only(n, wire.ExchangeIKEAuth)
			at := -1
			for i, k := range s.kinds {
				if k == wire.PayloadNotify && binary.BigEndian.Uint16(s.bodies[i][2:]) == uint16(wire.NotifyQCDToken) {
					at = i
				}
			}
			if at != s.at(wire.PayloadAUTH)+1 || at > s.at(wire.PayloadSA) || at > s.at(wire.PayloadTSi) {
				t.Errorf("%s: the token is number %d of %v", n.name, at, s.kinds)
			}
		}
		tp.seen = nil
		w.again(31 * time.Second)
	}
}

// TestRFC6290_4_2_MakerThatGetsNone: a client that makes no tokens takes them
// all the same.
func TestRFC6290_4_2_MakerThatGetsNone(t *testing.T) {
	w := newWorld(t, "none", quiet, func(_, cl *Config) { cl.Tokens = false })
	tp := w.watch()
	w.connect()
	g, c := w.one()
	if tp.only(w.cl, wire.ExchangeIKEAuth).has(wire.NotifyQCDToken) || g.told != nil {
		t.Fatal("the client makes tokens")
	}
	if !holdsToken(c, tokenOf(t, w.gw, g)) {
		t.Error("the gateway gave its client no token")
	}
	w.again(31 * time.Second)
	if w.cl.last(EventDetected).By != ByQCDReply {
		t.Error("not detected by the token\n" + w.dump())
	}
}

// TestRFC6290_4_3_NewTokensAfterAResume: both give one, over the new SPIs.
func TestRFC6290_4_3_NewTokensAfterAResume(t *testing.T) {
	w := newWorld(t, "new", quiet)
	w.connect()
	g, c := w.one()
	old := [2][]byte{tokenOf(t, w.gw, g), tokenOf(t, w.cl, c)}
	w.again(31 * time.Second)
	g, c = w.one()
	if !g.resumed || !holdsToken(c, tokenOf(t, w.gw, g)) || !holdsToken(g, tokenOf(t, w.cl, c)) {
		t.Error("a side has no token of the resumed SA")
	}
	if holdsToken(c, old[0]) || holdsToken(g, old[1]) {
		t.Error("a token of the old SA holds for the new one")
	}
}

// TestRFC6290_4_4_NewTokenForALivingSA: only when the secret of the old one is
// gone, in a protected message, and it is the one that holds after a crash.
func TestRFC6290_4_4_NewTokenForALivingSA(t *testing.T) {
	w := newWorld(t, "revoked", quiet)
	w.connect()
	g, c := w.one()
	old := tokenOf(t, w.gw, g)
	tp := w.watch()
	keys := func() {
		w.gw.e.Command(w.now, Command{Kind: CommandKeys, Ring: w.gw.cfg.Ring, QCD: &w.gw.cfg.QCD})
		w.drain(w.gw)
		w.deliver()
	}
	if err := w.gw.cfg.QCD.Rotate(w.rand, func(uint8) bool { return false }); err != nil {
		t.Fatal(err)
	}
	keys()
	if len(tp.seen) != 0 {
		t.Error("a new token though the old one can be made\n" + w.text())
	}
	if err := w.gw.cfg.QCD.Revoke(g.gen); err != nil {
		t.Fatal(err)
	}
	keys()
	given := tp.only(w.gw, wire.ExchangeInformational)
	fresh := tokenOf(t, w.gw, g)
	if n := given.notes(wire.NotifyQCDToken); !given.sealed || given.h.Response() || len(n) != 1 || !bytes.Equal(n[0].Data, fresh) || bytes.Equal(fresh, old) {
		t.Fatalf("the gateway says %v", given.kinds)
	}
	if !holdsToken(c, fresh) || !holdsToken(c, old) {
		t.Error("the client has not both tokens, the new and the earlier one")
	}
	w.again(31 * time.Second)
	if w.cl.last(EventDetected).By != ByQCDReply {
		t.Error("the new token does not hold\n" + w.dump())
	}
}

// TestRFC6290_5_EarlierTokenHolds: the taker keeps the one before the newest.
func TestRFC6290_5_EarlierTokenHolds(t *testing.T) {
	w := newWorld(t, "earlier", quiet)
	w.connect()
	g, c := w.one()
	old := tokenOf(t, w.gw, g)
	w.say(w.gw, g, wire.ExchangeInformational, false, 0, func(m *wire.Writer) {
		m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: bytes.Repeat([]byte{7}, 100)})
	})
	if !holdsToken(c, bytes.Repeat([]byte{7}, 100)) {
		t.Fatal("the new token was not taken")
	}
	w.give(w.cl, shown(c.spi, old))
	if w.cl.count(EventDetected) != 1 {
		t.Error("the earlier token does not hold")
	}
}

// TestRFC6290_8_1_OnAndOff: off, no message has a token, and a crash is answered
// without one.
func TestRFC6290_8_1_OnAndOff(t *testing.T) {
	for _, on := range []bool{true, false} {
		w := newWorld(t, "switch", quiet, func(gw, cl *Config) { gw.Tokens, cl.Tokens = on, on })
		tp := w.watch()
		w.connect()
		p := w.protectedRequest(w.cl)
		w.crash(w.gw)
		w.gw.e.Packet(w.now, p)
		w.drain(w.gw)
		var with int
		for _, s := range tp.seen {
			with += len(s.notes(wire.NotifyQCDToken))
		}
		if want := map[bool]int{true: 3}[on]; with != want {
			t.Errorf("on=%v: %d tokens, want %d", on, with, want)
		}
		if s := tp.only(w.gw, wire.ExchangeInformational); !s.has(wire.NotifyInvalidIKESPI) {
			t.Errorf("on=%v: the request is answered with %v", on, s.kinds)
		}
	}
}

// TestRFC6290_8_2_WrongTokenProvesNothing: nor does the right one beside an ESP
// SPI that we do not send to.
func TestRFC6290_8_2_WrongTokenProvesNothing(t *testing.T) {
	w := newWorld(t, "esp", quiet)
	w.connect()
	g, c := w.one()
	tok := tokenOf(t, w.gw, g)
	notice := func(esp uint32, tok []byte) {
		m := wire.NewWriter(nil, wire.Header{SPIi: c.spi.I, SPIr: c.spi.R, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagInitiator})
		m.Notify(wire.Notify{Type: wire.NotifyInvalidSPI, Data: binary.BigEndian.AppendUint32(nil, esp)})
		m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: tok})
		w.give(w.cl, Packet{Local: clAddr, Remote: gwAddr, Data: m.Finish()})
	}
	tp := w.watch()
	wrong := bytes.Clone(tok)
	wrong[0] ^= 0x80
	notice(c.child.out, wrong)
	notice(c.child.in, tok)
	notice(c.child.out+1, tok)
	if len(w.cl.live()) != 1 || len(tp.seen) != 0 || w.cl.e.Counters[DropToken] != 1 || w.cl.e.Counters[DropUnknownSPI] != 2 {
		t.Fatal("a wrong notice changed something\n" + w.text() + w.dump())
	}
	notice(c.child.out, tok)
	if len(w.cl.live()) != 0 || w.cl.last(EventDetected).By != ByESPReply {
		t.Error("the right token beside the right SPI was not taken\n" + w.dump())
	}
}

// TestRFC6290_9_1_TakerKeepsTokensToItself: what verifies a token is stored with
// the SA, and the token itself nowhere: not in a record, not in print.
func TestRFC6290_9_1_TakerKeepsTokensToItself(t *testing.T) {
	w := newWorld(t, "itself")
	w.connect()
	g, c := w.one()
	tok := tokenOf(t, w.gw, g)
	if !holdsToken(c, tok) {
		t.Fatal("no token is stored")
	}
	var text strings.Builder
	for _, r := range w.cl.records {
		fmt.Fprintf(&text, "%x %x %x %+v\n", r.Ticket, r.Session, r.Lineage, r)
	}
	for _, ev := range w.cl.events {
		fmt.Fprintf(&text, "%+v\n", ev)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		fmt.Fprintf(&text, verb+verb+verb, c, c.told.token, w.cl.e)
	}
	for what, b := range map[string][]byte{"the token": tok, "its digest": c.told.token[:]} {
		for _, form := range []string{fmt.Sprintf("%x", b[:8]), fmt.Sprintf("%d", b[:8])[1:20], string(b[:8])} {
			if strings.Contains(text.String(), form) {
				t.Errorf("%s is told", what)
			}
		}
	}
}
