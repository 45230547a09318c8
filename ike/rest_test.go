package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/wire"
)

// What a peer may say after the first exchanges, and what it gets.

// RFC 6023: the gateway announces that it makes IKE SAs without Child SAs; a
// client that is told to asks for none in IKE_AUTH, and makes it afterwards,
// with a key exchange of its own.
func TestRFC6023_Childless(t *testing.T) {
	w := rekeyWorld(t, "childless", "aes128gcm16-x25519", "aes128gcm16-x25519")
	w.cl.conn.Childless = true
	tp := w.watch()
	w.connect()
	w.run(time.Second)
	if init := tp.only(w.gw, wire.ExchangeIKESAInit); !init.has(wire.NotifyChildlessIKEv2Supported) {
		t.Error("it is not announced")
	}
	req, resp := tp.only(w.cl, wire.ExchangeIKEAuth), tp.only(w.gw, wire.ExchangeIKEAuth)
	for _, k := range []wire.PayloadType{wire.PayloadSA, wire.PayloadTSi, wire.PayloadTSr} {
		if req.at(k) >= 0 || resp.at(k) >= 0 {
			t.Errorf("payload %d in IKE_AUTH", k)
		}
	}
	if _, c := w.agreed(1); c.child.suite.KE != wire.KEX25519 || w.cl.count(EventChildFailed)+w.gw.count(EventChildFailed) != 0 {
		t.Error("no Child SA with a key exchange of its own")
	}
}

// RFC 6023 3: no IKE_AUTH without a Child SA to a gateway that has not announced
// it.
func TestRFC6023_NotAnnounced(t *testing.T) {
	w := rekeyWorld(t, "not announced", "aes128gcm16", "aes128gcm16")
	w.cl.conn.Childless = true
	hidden := false
	w.tamper = func(from *node, p *Packet) {
		h, _ := wire.ParseHeader(p.Data)
		if from == w.gw && h.Exchange == wire.ExchangeIKESAInit {
			hidden = true
			p.Data[len(p.Data)-1] ^= 1 // another notify; AUTH covers the message, so it fails
		}
	}
	tp := w.watch()
	w.connect()
	if req := tp.of(w.cl, wire.ExchangeIKEAuth); !hidden || len(req) != 1 || req[0].at(wire.PayloadSA) < 0 {
		t.Error("no Child SA was asked for")
	}
}

// several is a CREATE_CHILD_SA request of the client for selectors.
func several(m *wire.Writer, c *SA, local, remote []wire.Selector, notes ...wire.Notify) {
	for _, n := range notes {
		m.Notify(n)
	}
	m.SA(propose.SpecsChild(c.conn.ESP, []byte{1, 2, 3, 4})...)
	m.Nonce(make([]byte, 32))
	m.TS(wire.PayloadTSi, local)
	m.TS(wire.PayloadTSr, remote)
}

// RFC 7296 2.9, 1.3.1: several Child SAs of one IKE SA, each with selectors of
// its own, which a rekey keeps; and one too many.
func TestRFC7296_2_9_SeveralChildSAs(t *testing.T) {
	w := rekeyWorld(t, "several", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	_, c := w.agreed(1)
	narrow := &selectors{0, false, prefixes("10.2.3.0/25"), prefixes("10.1.7.0/24")}
	w.cl.e.at(w.now)
	w.cl.e.want(c, want{ts: narrow})
	w.cl.e.pursue(c)
	w.drain(w.cl)
	w.deliver()
	g, _ := w.agreed(2)
	in := w.gw.kids[1].SPIIn
	w.report(w.gw, ReportUsed, in)
	w.report(w.gw, ReportWorn, in)
	w.deliver()
	w.run(10 * time.Second)
	w.agreed(2)
	newest := w.gw.kids[2]
	if len(w.gw.kids) != 3 || newest.LocalTS[0] != narrow.remote[0] || newest.RemoteTS[0] != narrow.local[0] {
		t.Errorf("rekeyed for %v and %v", newest.LocalTS, newest.RemoteTS)
	}
	w.run(2 * time.Hour)
	w.agreed(2)
	outcome(t, w, 1, 0)
	tp := w.watch()
	refused := 0
	for range maxChildren + 4 {
		s := w.asked(tp, wire.ExchangeCreateChildSA, func(m *wire.Writer, g, c *SA) { several(m, c, narrow.local, narrow.remote) })
		if s.has(wire.NotifyNoAdditionalSAs) {
			refused++
		}
		w.run(time.Second)
	}
	if n := 1 + len(g.more()); n != maxChildren || refused != 6 {
		t.Errorf("%d Child SAs, %d refused", n, refused)
	}
	if v := w.gw.e.view(w.now, g); v.Child.In != g.child.in || len(v.More) != maxChildren-1 || v.More[1] != (ChildView{In: g.more()[1].in, Out: g.more()[1].out}) {
		t.Errorf("shown are %+v and %+v", v.Child, v.More)
	}
}

// RFC 7296 2.9: a responder that narrows to one of several subsets says so, and
// the rest gets a Child SA of its own.
func TestRFC7296_2_9_AdditionalTSPossible(t *testing.T) {
	w := rekeyWorld(t, "additional", "aes128gcm16", "aes128gcm16")
	var many []string
	for i := range 20 {
		many = append(many, wire.Prefix(prefixOf(10, 1, byte(i), 0, 24)).Start.String()+"/24")
	}
	w.gw.conn.LocalTS, w.cl.conn.RemoteTS = prefixes(many...), prefixes(many...)
	tp := w.watch()
	w.connect()
	if !tp.only(w.gw, wire.ExchangeIKEAuth).has(wire.NotifyAdditionalTSPossible) {
		t.Error("nobody says that there is more")
	}
	w.run(3 * time.Second)
	w.agreed(2)
	if n := len(w.gw.kids[0].LocalTS) + len(w.gw.kids[1].LocalTS); n != len(many) {
		t.Errorf("%d of %d selectors are carried", n, len(many))
	}
	w.run(3 * time.Hour)
	w.agreed(2)
}

// RFC 7296 1.3.1, 2.3, 2.5, 2.19, 3.6, 3.10, 3.12: what we do not do is answered
// as if it had not been said, and the SA lives on.
func TestRFC7296_2_5_WhatIsNotDone(t *testing.T) {
	note := func(t wire.NotifyType, data ...byte) wire.Notify { return wire.Notify{Type: t, Data: data} }
	create := func(notes ...wire.Notify) func(m *wire.Writer, _, c *SA) {
		return func(m *wire.Writer, _, c *SA) { several(m, c, c.conn.LocalTS, c.conn.RemoteTS, notes...) }
	}
	for _, c := range []struct {
		name     string
		x        wire.ExchangeType
		asks     func(m *wire.Writer, g, c *SA)
		notify   wire.NotifyType // in the answer; 0: no notify at all
		children int             // of the gateway
	}{
		{"1.3.1 USE_TRANSPORT_MODE: tunnel mode, without the notify", wire.ExchangeCreateChildSA, create(note(wire.NotifyUseTransportMode)), 0, 2},
		{"1.3.1 several notifies", wire.ExchangeCreateChildSA, create(note(wire.NotifyESPTFCPaddingNotSupported), note(wire.NotifyNonFirstFragmentsAlso), note(40999), note(wire.NotifyIPCOMPSupported, 0, 1, 2)), 0, 2},
		{"2.3 SET_WINDOW_SIZE: ours stays one", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { m.Notify(note(wire.NotifySetWindowSize, 0, 0, 0, 8)) }, 0, 1},
		{"2.4 INITIAL_CONTACT after the fact", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { m.Notify(note(wire.NotifyInitialContact)) }, 0, 1},
		{"2.5 an unknown payload that is not critical", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { m.Raw(200, []byte{1}) }, 0, 1},
		{"2.5 an unknown critical payload", wire.ExchangeCreateChildSA, func(m *wire.Writer, g, c *SA) { critical(m); create()(m, g, c) }, wire.NotifyUnsupportedCriticalPayload, 1},
		{"2.5 an unknown critical payload of INFORMATIONAL", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { critical(m) }, wire.NotifyUnsupportedCriticalPayload, 1},
		{"2.19 CP after the fact", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) {
			m.CP(wire.CFGRequest, []wire.CPAttribute{{Type: wire.CPInternalIP4Address}})
		}, 0, 1},
		{"2.19 CP of CREATE_CHILD_SA", wire.ExchangeCreateChildSA, func(m *wire.Writer, g, c *SA) { m.CP(wire.CFGRequest, nil); create()(m, g, c) }, 0, 2},
		{"3.6 HTTP_CERT_LOOKUP_SUPPORTED", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { m.Notify(note(wire.NotifyHTTPCertLookupSupported)) }, 0, 1},
		{"3.10.1 an unknown status", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { m.Notify(note(40961, 1, 2, 3)) }, 0, 1},
		{"3.10.1 an unknown error", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { m.Notify(note(8191)) }, 0, 1},
		{"3.12 a Vendor ID", wire.ExchangeInformational, func(m *wire.Writer, _, _ *SA) { m.VendorID([]byte("somebody")) }, 0, 1},
		{"1.3 no proposal of ours", wire.ExchangeCreateChildSA, func(m *wire.Writer, _, c *SA) {
			p, _ := propose.ParseESP("aes256-sha512")
			m.SA(propose.SpecsChild([]propose.ESP{p}, []byte{1, 2, 3, 4})...)
			m.Nonce(make([]byte, 32))
			m.TS(wire.PayloadTSi, c.conn.LocalTS)
			m.TS(wire.PayloadTSr, c.conn.RemoteTS)
		}, wire.NotifyNoProposalChosen, 1},
		{"2.9 no selector of ours", wire.ExchangeCreateChildSA, func(m *wire.Writer, _, c *SA) { several(m, c, prefixes("10.2.3.0/24"), prefixes("192.168.0.0/16")) }, wire.NotifyTSUnacceptable, 1},
		{"1.3 a Child SA without selectors", wire.ExchangeCreateChildSA, func(m *wire.Writer, _, c *SA) {
			m.SA(propose.SpecsChild(c.conn.ESP, []byte{1, 2, 3, 4})...)
			m.Nonce(make([]byte, 32))
		}, wire.NotifyNoProposalChosen, 1},
		{"1.3 REKEY_SA of AH", wire.ExchangeCreateChildSA, create(wire.Notify{Protocol: wire.ProtocolAH, Type: wire.NotifyRekeySA, SPI: []byte{1, 2, 3, 4}}), wire.NotifyChildSANotFound, 1},
		{"2.18 a rekey of the IKE SA without a key exchange", wire.ExchangeCreateChildSA, func(m *wire.Writer, _, c *SA) {
			m.SA(propose.Specs(c.conn.IKE, []byte{1, 2, 3, 4, 5, 6, 7, 8})...)
			m.Nonce(make([]byte, 32))
		}, wire.NotifyInvalidKEPayload, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := rekeyWorld(t, c.name, "aes128gcm16", "aes128gcm16")
			w.connect()
			w.run(time.Second)
			g, _ := w.agreed(1)
			tp := w.watch()
			s := w.asked(tp, c.x, c.asks)
			if c.notify != 0 && !s.has(c.notify) || c.notify == 0 && s.at(wire.PayloadNotify) >= 0 {
				t.Errorf("answered %v", s.kinds)
			}
			if c.notify == wire.NotifyUnsupportedCriticalPayload && string(s.notes(c.notify)[0].Data) != "\xc8" {
				t.Error("the answer does not name the payload")
			}
			if live := w.gw.live(); len(live) != 1 || live[0] != g || len(w.gw.plane()) != c.children {
				t.Errorf("%d SAs, %d Child SAs", len(w.gw.live()), len(w.gw.plane()))
			}
		})
	}
}

// critical adds a payload of unknown type with the critical bit.
func critical(m *wire.Writer) {
	at := len(m.Buf)
	m.Raw(200, []byte{1})
	m.Buf[at+1] |= 0x80
}

// A peer that rekeys in a loop is told to wait; what it has is untouched.
func TestRekeyLoop(t *testing.T) {
	for _, what := range []string{"rekey child", "rekey ike"} {
		w := rekeyWorld(t, "loop "+what, "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		n := 0
		for range 100 {
			if live := w.cl.live(); len(live) == 1 {
				live[0].tries, live[0].child.tries = 0, 0 // it is not patient
				w.act(w.cl, what)
				n++
			}
			w.deliver()
			w.run(20 * time.Millisecond)
		}
		if most := mostCreations + 2; len(w.gw.kids) > most || w.gw.count(EventRekeyed) > most {
			t.Errorf("%s: %d Child SAs and %d IKE SAs in two seconds", what, len(w.gw.kids), w.gw.count(EventRekeyed))
		}
		if n > mostCreations+1 && w.gw.e.Counters[DropLimited]+w.gw.e.Counters[DropFull] == 0 {
			t.Errorf("%s: nothing counts it", what)
		}
		w.run(10 * time.Minute)
		w.agreed(1)
		outcome(t, w, 1, 0)
	}
}

// A rekey that its peer leaves half done: the old Child SA goes some time later,
// the old IKE SA too.
func TestHalfDoneRekey(t *testing.T) {
	for _, what := range []string{"rekey child", "rekey ike"} {
		w := rekeyWorld(t, "half done "+what, "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		w.agreed(1)
		tp := w.watch()
		tp.lose = func(s sight) bool { // the client never says DELETE
			return s.from == w.cl && !s.h.Response() && s.at(wire.PayloadDelete) >= 0
		}
		w.act(w.cl, what)
		w.deliver()
		w.cl.e.slots[0].sa.cold.open.at = 0 // nor again
		w.run(15 * time.Second)
		if n := len(w.gw.plane()); what == "rekey child" && n != 2 {
			t.Errorf("%d Child SAs", n)
		}
		w.run(20 * time.Second)
		if tp.deletes(w.gw, wire.ProtocolESP)+tp.deletes(w.gw, wire.ProtocolIKE) == 0 || len(w.gw.plane()) != 1 || w.gw.e.ours.Len() != 1 {
			t.Errorf("%s: %d Child SAs, %d IKE SAs\n%s", what, len(w.gw.plane()), w.gw.e.ours.Len(), w.text())
		}
	}
}

func prefixOf(a, b, c, d byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits)
}
