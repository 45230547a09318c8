package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

// quiet turns the roll call off on both sides.
func quiet(gw, cl *Config) { gw.RollCall, cl.RollCall = RollCallOff, RollCallOff }

func TestRFC6290_4_5_TokenAnswersLivenessCheck(t *testing.T) {
	w := newWorld(t, "qcd", quiet)
	w.connect()
	w.run(5 * time.Second)
	w.crash(w.gw)
	w.ladder = nil
	w.run(31 * time.Second)
	g, c := w.one()
	if !g.resumed || !sameKeys(g.keys, c.keys) || w.cl.last(EventDetected).By != ByQCDReply {
		t.Fatal(w.text() + "\n" + w.dump())
	}
	want := []string{
		"-> INFORMATIONAL SK {...}",
		"<- INFORMATIONAL {N(INVALID_IKE_SPI), N(QCD_TOKEN)}",
		"-> IKE_SESSION_RESUME {Ni, N(TICKET_OPAQUE), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), N(IKEV2_FRAGMENTATION_SUPPORTED)}",
		"<- IKE_SESSION_RESUME {Nr, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), N(IKEV2_FRAGMENTATION_SUPPORTED)}",
		"-> IKE_AUTH SK {...}",
		"<- IKE_AUTH SK {...}",
	}
	for i, l := range want {
		if i >= len(w.ladder) || w.ladder[i] != l {
			t.Fatalf("ladder:\n%s", w.text())
		}
	}
}

func TestTimeoutDetectsWhenTokensAreOff(t *testing.T) {
	w := newWorld(t, "timeout", quiet, func(gw, cl *Config) { gw.Tokens, cl.Tokens = false, false })
	w.connect()
	w.crash(w.gw)
	w.run(2 * time.Minute)
	g, _ := w.one()
	if !g.resumed || w.cl.last(EventDetected).By != ByTimeout {
		t.Fatal(w.text() + "\n" + w.dump())
	}
}

// A token for a live SA would let anybody end it.
func TestRFC6290_9_2_NoTokenForALiveSA(t *testing.T) {
	w := newWorld(t, "live", quiet)
	w.connect()
	p := w.protectedRequest(w.cl)
	for _, change := range []func(*Packet){
		func(p *Packet) { p.Data[len(p.Data)-1] ^= 1 },                             // bad ICV
		func(p *Packet) { p.Remote = netip.MustParseAddrPort("203.0.113.9:4500") }, // from elsewhere
	} {
		q := p
		q.Data = append([]byte(nil), p.Data...)
		change(&q)
		w.gw.e.Packet(w.now, q)
		for {
			o, ok := w.gw.e.Next()
			if !ok {
				break
			}
			if o.Kind == OutputSend && o.Packet.Data[16] == byte(wire.PayloadNotify) {
				t.Fatal("something in clear for a live SA")
			}
		}
	}
	if len(w.gw.live()) != 1 {
		t.Fatal("the SA went")
	}
}

// what a forged message does to a live SA: nothing.
func TestRFC6290_3_WrongTokensAreIgnored(t *testing.T) {
	w := newWorld(t, "forged", quiet)
	w.connect()
	_, c := w.one()
	other := newWorld(t, "other", quiet)
	other.connect()
	_, o := other.one()
	right, _ := w.gw.e.tokens.Token(nil, w.gw.live()[0].gen, uint64(c.spi.I), uint64(c.spi.R))
	wrong := append([]byte(nil), right...)
	wrong[31] ^= 1
	foreign, _ := other.gw.e.tokens.Token(nil, 0, uint64(o.spi.I), uint64(o.spi.R))
	clear := func(spi wire.SPIs, toks ...[]byte) Packet {
		m := wire.NewWriter(nil, wire.Header{SPIi: spi.I, SPIr: spi.R, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagResponse})
		m.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI})
		for _, tok := range toks {
			m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: tok})
		}
		return Packet{Local: w.cl.addr, Remote: w.gw.addr, Data: m.Finish()}
	}
	for name, p := range map[string]Packet{
		"one bit wrong":      clear(c.spi, wrong),
		"of another SA":      clear(c.spi, foreign),
		"short":              clear(c.spi, right[:15]),
		"for another pair":   clear(wire.SPIs{I: c.spi.I, R: c.spi.R ^ 1}, right),
		"none":               clear(c.spi),
		"ninth of nine":      clear(c.spi, wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong, right),
		"over a hundred oct": clear(c.spi, make([]byte, 129)),
	} {
		before := len(w.ladder)
		w.now = w.now.Add(11 * time.Second)
		w.cl.e.Packet(w.now, p)
		w.drain(w.cl)
		w.deliver()
		if len(w.cl.live()) != 1 || w.cl.count(EventDetected) != 0 {
			t.Fatal(name + ": the SA went")
		}
		if name != "none" && len(w.ladder) != before {
			t.Fatal(name + ": answered: " + w.text())
		}
	}
	w.now = w.now.Add(11 * time.Second)
	p := clear(c.spi, wrong, wrong, wrong, right)
	p.Remote = netip.MustParseAddrPort("203.0.113.77:9999") // from any address and port
	w.cl.e.Packet(w.now, p)
	w.drain(w.cl)
	if w.cl.count(EventDetected) != 1 {
		t.Fatal("the fourth of four tokens is right and was not taken")
	}
}

func TestRuleA6_TenComparisonsASecond(t *testing.T) {
	w := newWorld(t, "flood", quiet)
	w.connect()
	_, c := w.one()
	for range 1000 {
		m := wire.NewWriter(nil, wire.Header{SPIi: c.spi.I, SPIr: c.spi.R, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagResponse})
		m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
		w.cl.e.Packet(w.now, Packet{Local: w.cl.addr, Remote: w.gw.addr, Data: m.Finish()})
		w.drain(w.cl)
	}
	if n := w.cl.e.Counters[DropTokenRate]; n < 980 || len(w.cl.live()) != 1 {
		t.Fatalf("%d comparisons refused of 1000", n)
	}
}

func TestRuleA1_WhatIsNeverAnswered(t *testing.T) {
	w := newWorld(t, "a1")
	w.connect()
	good := w.protectedRequest(w.cl)
	w.crash(w.gw)
	answers := func(p Packet) int {
		before := w.packets
		w.gw.e.Packet(w.now, p)
		w.drain(w.gw)
		w.flight = nil
		return w.packets - before
	}
	if answers(good) != 1 {
		t.Fatal("a protected request for a lost SA gets no answer")
	}
	for name, change := range map[string]func(b []byte) []byte{
		"response":      func(b []byte) []byte { b[19] |= byte(wire.FlagResponse); return b },
		"version 1":     func(b []byte) []byte { b[17] = 0x10; return b },
		"too short":     func(b []byte) []byte { return b[:40] },
		"length field":  func(b []byte) []byte { b[27]++; return b },
		"SPIi zero":     func(b []byte) []byte { clear(b[:8]); return b },
		"clear payload": func(b []byte) []byte { b[16] = byte(wire.PayloadNotify); return b },
		"exchange 34":   func(b []byte) []byte { b[18] = byte(wire.ExchangeIKESAInit); return b },
		"exchange 38":   func(b []byte) []byte { b[18] = byte(wire.ExchangeSessionResume); return b },
		"tiny SK": func(b []byte) []byte {
			b = b[:28+4+24]
			b[31], b[27] = 28, byte(len(b))
			return b
		},
	} {
		w.now = w.now.Add(10 * time.Second)
		b := change(append([]byte(nil), good.Data...))
		if answers(Packet{Local: good.Local, Remote: good.Remote, Data: b}) != 0 {
			t.Error(name + " was answered")
		}
	}
}

func TestRuleA3_ReplyIsNotLargerThanItsCause(t *testing.T) {
	w := newWorld(t, "a3")
	w.connect()
	p := w.protectedRequest(w.cl)
	if len(p.Data) != paddedLiveness {
		t.Fatalf("liveness request has %d octets", len(p.Data))
	}
	w.crash(w.gw)
	w.gw.e.Packet(w.now, p)
	o, ok := w.gw.e.Next()
	if !ok || o.Kind != OutputSend || len(o.Packet.Data) != 76 {
		t.Fatalf("the reply: %v %d", ok, len(o.Packet.Data))
	}
	h, _ := wire.ParseHeader(o.Packet.Data)
	q, _ := wire.ParseHeader(p.Data)
	if h.SPIi != q.SPIi || h.SPIr != q.SPIr || h.MessageID != q.MessageID || h.Exchange != q.Exchange || h.Flags != wire.FlagResponse {
		t.Fatalf("header %+v for %+v", h, q)
	}
}

// Doubt is silence or INVALID_IKE_SPI alone: an SPI of this boot, of the
// future, of another machine, or made by a stranger.
func TestRuleB3_OnlyOverShowsAToken(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"this boot":       func(w *world) { w.start(w.gw) },
		"future":          func(w *world) { w.gw.cfg.Boot.Epoch, w.gw.cfg.Boot.Base = 50, 50; w.start(w.gw) },
		"another machine": func(w *world) { w.gw.cfg.Boot.Earlier = false; w.crash(w.gw) },
		"other node":      func(w *world) { w.gw.cfg.Boot.Node = 9; w.crash(w.gw) },
	} {
		w := newWorld(t, "b3", quiet)
		w.connect()
		w.ladder = nil
		change(w)
		w.cl.e.Command(w.now, Command{Kind: CommandHint})
		w.drain(w.cl)
		w.deliver()
		for _, l := range w.ladder {
			if l == "<- INFORMATIONAL {N(INVALID_IKE_SPI), N(QCD_TOKEN)}" {
				t.Errorf("%s: a token was shown", name)
			}
		}
		if len(w.cl.live()) != 1 {
			t.Errorf("%s: the client's SA went", name)
		}
	}
}

// Tombstones: an SA that this process dropped without telling may be answered
// with its token, though its epoch is this boot's (rule A4).
func TestRuleA4_TombstoneShowsToken(t *testing.T) {
	w := newWorld(t, "tomb", quiet)
	w.connect()
	w.gw.e.Command(w.now, Command{Kind: CommandForget})
	w.drain(w.gw)
	w.run(31 * time.Second)
	if g, _ := w.one(); !g.resumed || w.cl.last(EventDetected).By != ByQCDReply {
		t.Fatal(w.text())
	}
}

func TestRuleA7_HintsStartACheckOnly(t *testing.T) {
	w := newWorld(t, "hint", quiet)
	w.connect()
	_, c := w.one()
	m := wire.NewWriter(nil, wire.Header{SPIi: c.spi.I, SPIr: c.spi.R, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagResponse, MessageID: 2})
	m.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI})
	w.ladder = nil
	for range 50 {
		w.cl.e.Packet(w.now, Packet{Local: w.cl.addr, Remote: w.gw.addr, Data: append([]byte(nil), m.Finish()...)})
		w.drain(w.cl)
		w.deliver()
	}
	if len(w.ladder) != 2 || len(w.cl.live()) != 1 || w.cl.count(EventResuming) != 0 {
		t.Fatal("50 hints in a moment made:\n" + w.text())
	}
}

func TestRFC6290_8_2_UnknownESPSPI(t *testing.T) {
	for _, known := range []bool{true, false} {
		w := newWorld(t, "esp", quiet)
		w.gw.cfg.RollCall = RollCallOurs // the map is written with the roll call
		w.cl.cfg.RollCall = RollCallOurs
		w.start(w.gw)
		w.start(w.cl)
		w.connect()
		_, c := w.one()
		out := c.child.out
		w.crash(w.gw)
		if known {
			var list []Survivor
			for _, s := range w.gw.kidmap {
				list = append(list, s)
			}
			w.gw.e.Command(w.now, Command{Kind: CommandSurvivors, Survivors: list})
			w.drain(w.gw)
		}
		w.gw.e.Plane(w.now, Report{Kind: ReportUnknownSPI, SPI: out, Local: w.gw.addr, Remote: w.cl.addr, Length: 120})
		w.drain(w.gw)
		w.deliver()
		if by := w.cl.last(EventDetected).By; known && by != ByESPReply {
			t.Fatalf("detected by %v\n%s\n%s", by, w.text(), w.dump())
		}
		w.run(5 * time.Second)
		if g, _ := w.one(); !g.resumed {
			t.Fatalf("known=%v: not resumed\n%s", known, w.text()) // without the map: a hint, a check, a token
		}
	}
}

// RFC 6290 8.2, rule A8: each Child SA that carries traffic earns a token after
// a crash, after a rekey of its IKE SA too, and none that is gone is remembered.
func TestRuleA8_EachChildSAIsRemembered(t *testing.T) {
	for which := range 3 {
		for _, rekey := range []bool{false, true} {
			w := rekeyWorld(t, "each child", "aes128gcm16", "aes128gcm16")
			w.gw.conn.DPD, w.cl.conn.DPD = 0, 0
			w.connect()
			for range 2 {
				w.act(w.cl, "new child")
				w.deliver()
			}
			if rekey {
				w.act(w.cl, "rekey ike")
				w.deliver()
			}
			w.run(10 * time.Second)
			g, _ := w.agreed(3)
			if len(w.gw.kidmap) != 3 {
				t.Fatalf("%d records", len(w.gw.kidmap))
			}
			for _, s := range w.gw.kidmap {
				if s.SPIs != g.spi {
					t.Errorf("a record of %s, the SA is %s", s.SPIs, g.spi)
				}
			}
			in := w.gw.kids[which].SPIIn
			w.crash(w.gw)
			w.survivors()
			w.gw.e.Plane(w.now, Report{Kind: ReportUnknownSPI, SPI: in, Local: gwAddr, Remote: clAddr, Length: 120})
			w.drain(w.gw)
			w.deliver()
			if by := w.cl.last(EventDetected).By; by != ByESPReply {
				t.Errorf("Child SA %d, rekeyed %v: detected by %v", which, rekey, by)
			}
		}
	}
	w := rekeyWorld(t, "children go", "aes128gcm16", "aes128gcm16")
	w.connect()
	for range 3 {
		w.act(w.cl, "new child")
		w.deliver()
		w.act(w.gw, "close child")
		w.deliver()
		w.act(w.cl, "rekey child")
		w.deliver()
		w.run(time.Minute)
	}
	if g, _ := w.agreed(-1); len(w.gw.kidmap) != 1+len(g.more()) || len(w.gw.e.notes.at) != len(g.more()) {
		t.Errorf("%d records of %d Child SAs", len(w.gw.kidmap), 1+len(g.more()))
	}
	w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn})
	w.drain(w.cl)
	w.deliver()
	if len(w.gw.kidmap) != 0 || len(w.gw.e.notes.at) != 0 {
		t.Errorf("%v is left", w.gw.kidmap)
	}
}

func TestRuleC3_ThreeShowingsAndTheirEnd(t *testing.T) {
	w := newWorld(t, "three")
	w.connect()
	w.crash(w.gw)
	w.ladder = nil
	w.lose = func(from *node, p Packet) bool { return from == w.gw }
	w.callRoll(w.gw)
	w.run(20 * time.Second)
	shown := 0
	for _, l := range w.ladder {
		if l == "<- INFORMATIONAL {N(INVALID_IKE_SPI), N(QCD_TOKEN)} lost" {
			shown++
		}
	}
	if shown != 3 {
		t.Fatalf("shown %d times\n%s", shown, w.text())
	}
	// An entry that was heard too long ago, or is not Over, is not shown.
	w2 := newWorld(t, "old")
	w2.connect()
	w2.crash(w2.gw)
	w2.now = w2.now.Add(11 * time.Minute)
	w2.callRoll(w2.gw)
	if len(w2.gw.e.call.lines) != 0 {
		t.Fatal("an entry of eleven minutes ago would be shown")
	}
}
