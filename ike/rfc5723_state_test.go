package ike

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"blackswan/internal/suite"
	"blackswan/internal/window"
	"blackswan/ticket"
	"blackswan/wire"
)

// RFC 5723 from section 4.3.3 on, clause by clause: who proves what, the state
// after a resume, and the notifications. What strangers cannot do is in
// forged_test.go.

// honest is the beginning of a resumed IKE_AUTH request as it should be.
func honest(sa *SA) (idi wire.ID, auth wire.Auth) {
	return id("one.clients.test"), wire.Auth{Method: wire.AuthSharedKey, Data: bytes.Clone(sa.half.authI.bytes())}
}

// TestRFC5723_4_3_3_IdentitiesAreTheTickets: right AUTH values beside other
// names are refused by the gateway, and spend nothing.
func TestRFC5723_4_3_3_IdentitiesAreTheTickets(t *testing.T) {
	mail := wire.ID{Type: wire.IDRFC822Addr, Data: []byte("one.clients.test")}
	for name, c := range map[string]struct {
		idi, idr wire.ID
		ok       bool
	}{
		"as in the ticket":     {id("one.clients.test"), id("gw.test"), true},
		"without IDr":          {id("one.clients.test"), wire.ID{}, true},
		"another IDi":          {id("two.clients.test"), id("gw.test"), false},
		"IDi of another type":  {mail, id("gw.test"), false},
		"longer IDi":           {id("one.clients.test."), id("gw.test"), false},
		"another IDr":          {id("one.clients.test"), id("gw.tess"), false},
		"IDr of another type":  {id("one.clients.test"), wire.ID{Type: wire.IDKeyID, Data: []byte("gw.test")}, false},
		"both in wrong places": {id("gw.test"), id("one.clients.test"), false},
	} {
		w := newWorld(t, name, quiet)
		w.connect()
		old := w.gw.live()[0]
		tp, g, cl := w.resumeHeld()
		_, auth := honest(cl)
		tp.seen = nil
		w.say(w.cl, cl, wire.ExchangeIKEAuth, false, 1, func(m *wire.Writer) {
			m.ID(wire.PayloadIDi, c.idi)
			if c.idr.Type != 0 {
				m.ID(wire.PayloadIDr, c.idr)
			}
			m.Auth(auth)
		})
		answer := tp.only(w.gw, wire.ExchangeIKEAuth)
		if answer.has(wire.NotifyAuthenticationFailed) == c.ok || answer.at(wire.PayloadAUTH) >= 0 != c.ok {
			t.Errorf("%s: answered with %v", name, answer.kinds)
		}
		if now := w.gw.live()[0]; (now == g) != c.ok || !c.ok && now != old {
			t.Errorf("%s: the gateway's SA is %v", name, now)
		}
	}
	w := newWorld(t, "our own client", quiet)
	w.connect()
	w.again(31 * time.Second)
	if g, _ := w.one(); !g.resumed {
		t.Error("our own client does not send the identities of its ticket")
	}
}

// TestRFC5723_4_3_3_GatewayIsTheTickets: the client wants the ticket's IDr, and
// the AUTH of who has SK_d.
func TestRFC5723_4_3_3_GatewayIsTheTickets(t *testing.T) {
	for name, c := range map[string]struct {
		idr  wire.ID
		bit  byte
		cert bool
		ok   bool
	}{
		"as in the ticket": {id("gw.test"), 0, false, true},
		"another IDr":      {id("gw2.test"), 0, false, false},
		"another type":     {wire.ID{Type: wire.IDRFC822Addr, Data: []byte("gw.test")}, 0, false, false},
		"a bit of AUTH":    {id("gw.test"), 1, false, false},
		"a certificate":    {id("gw.test"), 0, true, false},
	} {
		w := newWorld(t, name, quiet)
		w.connect()
		_, g, cl := w.resumeHeld()
		auth := bytes.Clone(g.half.authR.bytes())
		auth[31] ^= c.bit
		w.say(w.gw, g, wire.ExchangeIKEAuth, true, 1, func(m *wire.Writer) {
			m.ID(wire.PayloadIDr, c.idr)
			if c.cert {
				m.Cert(wire.Cert{Encoding: wire.CertX509Signature, Data: make([]byte, 100)})
			}
			m.Auth(wire.Auth{Method: wire.AuthSharedKey, Data: auth})
		})
		if ok := cl.state == stateEstablished && len(w.cl.live()) == 1; ok != c.ok {
			t.Errorf("%s: taken=%v\n%s", name, ok, w.dump())
		}
	}
}

// TestRFC5723_4_3_3_NoCertificates: a connection of certificates resumes without
// one, and a request that has one is refused.
func TestRFC5723_4_3_3_NoCertificates(t *testing.T) {
	w := newWorld(t, "certificates", quiet)
	certs(w, 300)
	w.start(w.gw)
	w.start(w.cl)
	tp := w.watch()
	w.connect()
	if s := tp.only(w.cl, wire.ExchangeIKEAuth); s.at(wire.PayloadCERT) < 0 {
		t.Fatal("the full handshake has no certificate")
	}
	tp.seen = nil
	w.again(31 * time.Second)
	for _, n := range []*node{w.cl, w.gw} {
		if s := tp.only(n, wire.ExchangeIKEAuth); s.at(wire.PayloadCERT) >= 0 || s.at(wire.PayloadCERTREQ) >= 0 {
			t.Errorf("%s sends %v after a resume", n.name, s.kinds)
		}
	}
	if g, _ := w.one(); !g.resumed {
		t.Fatal("not resumed")
	}
	tp, _, cl := w.resumeHeld()
	idi, auth := honest(cl)
	tp.seen = nil
	w.say(w.cl, cl, wire.ExchangeIKEAuth, false, 1, func(m *wire.Writer) {
		m.ID(wire.PayloadIDi, idi)
		m.Cert(wire.Cert{Encoding: wire.CertX509Signature, Data: make([]byte, 300)})
		m.Auth(auth)
	})
	if s := tp.only(w.gw, wire.ExchangeIKEAuth); !s.has(wire.NotifyInvalidSyntax) {
		t.Errorf("a certificate is answered with %v", s.kinds)
	}
}

func TestRFC5723_4_3_4_NewSAWithAChild(t *testing.T) {
	w := newWorld(t, "child", quiet)
	w.connect()
	before := w.gw.kids[0]
	w.again(31 * time.Second)
	g, c := w.one()
	if len(w.gw.kids) != 1 || len(w.cl.kids) != 2 || !g.resumed || !sameKeys(g.keys, c.keys) {
		t.Fatalf("%d and %d Child SAs", len(w.gw.kids), len(w.cl.kids))
	}
	in, out := w.gw.kids[0], w.cl.kids[1]
	if !bytes.Equal(in.EncrIn, out.EncrOut) || !bytes.Equal(in.EncrOut, out.EncrIn) || bytes.Equal(in.EncrIn, in.EncrOut) || bytes.Equal(in.EncrIn, before.EncrIn) {
		t.Error("the keys of the Child SA are not new, or not the same at both ends")
	}
	if in.SPIIn != out.SPIOut || in.SPIOut != out.SPIIn || in.SPIIn == before.SPIIn || in.LocalTS[0] != before.LocalTS[0] || !in.Resumed {
		t.Errorf("Child SA %+v, before the crash %+v", in, before)
	}
}

// TestRFC5723_5_FromTheTicket: what the table takes from the ticket, is the
// ticket's, though both ends would agree on something else today.
func TestRFC5723_5_FromTheTicket(t *testing.T) {
	w := newWorld(t, "ticket", quiet)
	certs(w, 300)
	w.gw.conn.IKE, w.cl.conn.IKE = ikeOf(t, "aes256gcm16-sha384-ecp256"), ikeOf(t, "aes256gcm16-sha384-ecp256")
	w.start(w.gw)
	w.start(w.cl)
	w.connect()
	old, _ := w.one()
	was, skd := *old, bytes.Clone(old.keys.D(old.suite))
	today := ikeOf(t, "aes128gcm16-sha256-x25519", "aes256gcm16-sha384-ecp256")
	w.gw.conn.IKE, w.cl.conn.IKE = today, today
	tp := w.watch()
	w.again(31 * time.Second)
	g, c := w.one()
	if !g.resumed || g.suite != was.suite || c.suite != was.suite {
		t.Fatalf("suites %v and %v, the ticket's is %v", g.suite, c.suite, was.suite)
	}
	if g.method != was.method || c.method != was.method || g.method[0] != uint8(wire.AuthSignature) {
		t.Errorf("methods %v and %v, the ticket's are %v", g.method, c.method, was.method)
	}
	if g.cert == nil || !bytes.Equal(g.cert.Serial, was.cert.Serial) || g.cert.NotAfter != was.cert.NotAfter {
		t.Errorf("certificate %+v, the ticket's is %+v", g.cert, was.cert)
	}
	if !bytes.Equal(g.peer, was.peer) || g.Original || !c.Original || g.Client || !c.Client {
		t.Errorf("peer %q, original %v and %v", g.peer, g.Original, c.Original)
	}
	var keys suite.Keys
	prf, err := suite.NewPRF(was.suite.PRF)
	if err != nil {
		t.Fatal(err)
	}
	ask, answer := tp.only(w.cl, wire.ExchangeSessionResume), tp.only(w.gw, wire.ExchangeSessionResume)
	suite.DeriveResume(prf, was.suite, &keys, skd, ask.bodies[ask.at(wire.PayloadNonce)], answer.bodies[answer.at(wire.PayloadNonce)], uint64(g.spi.I), uint64(g.spi.R))
	if held := keys.Held(g.suite); !sameKeys(g.keys, held) || !sameKeys(c.keys, held) || bytes.Equal(g.keys.D(g.suite), skd) {
		t.Error("the keys are not those of the ticket's SK_d with the new nonces and SPIs")
	}
}

// TestRFC5723_5_MessageIDsAndWindow: they begin at 0 again, and the window is 1,
// however far the old SA had come.
func TestRFC5723_5_MessageIDsAndWindow(t *testing.T) {
	w := newWorld(t, "ids", quiet)
	w.connect()
	for range 5 {
		w.ask(requestEmpty)
	}
	tp := w.watch()
	w.again(31 * time.Second)
	g, c := w.one()
	for _, n := range []*node{w.cl, w.gw} {
		if a, b := tp.only(n, wire.ExchangeSessionResume), tp.only(n, wire.ExchangeIKEAuth); a.h.MessageID != 0 || b.h.MessageID != 1 {
			t.Errorf("%s: Message IDs %d and %d", n.name, a.h.MessageID, b.h.MessageID)
		}
	}
	if id, ok := c.sent.Next(); !ok || id != 2 || g.recv.Judge(2) != window.Fresh || g.sent != (SA{}.sent) {
		t.Errorf("next Message ID %d at the client, at the gateway 2 is %v", id, g.recv.Judge(2))
	}
	w.say(w.cl, c, wire.ExchangeInformational, false, 3, func(*wire.Writer) {})
	if w.gw.e.Counters[DropMessageID] != 1 || g.recv.Judge(2) != window.Fresh {
		t.Error("a request beyond a window of 1 was taken")
	}
	w.say(w.cl, c, wire.ExchangeInformational, false, 2, func(*wire.Writer) {})
	if g.recv.Judge(3) != window.Fresh {
		t.Error("the next request was not taken")
	}
}

func TestRFC5723_5_VendorIDsAgain(t *testing.T) {
	w := newWorld(t, "vendor")
	w.connect()
	tp := w.watch()
	w.start(w.cl)
	w.connect()
	for _, n := range []*node{w.cl, w.gw} {
		s := tp.only(n, wire.ExchangeSessionResume)
		if at := s.at(wire.PayloadVendorID); at < 0 || !bytes.Equal(s.bodies[at], rollCallVendor[:]) {
			t.Errorf("%s does not say again who it is: %v", n.name, s.kinds)
		}
	}
	if g, c := w.one(); !g.resumed || !g.rollCall || !c.rollCall {
		t.Error("what the Vendor ID tells was not learned anew")
	}
}

func TestRFC5723_6_1_ExpiryAgreesWithTheLifetime(t *testing.T) {
	w := newWorld(t, "lifetime")
	w.gw.conn.Grant = ticket.Limits{Life: 1000 * time.Second}
	tp := w.watch()
	w.connect()
	n := tp.only(w.gw, wire.ExchangeIKEAuth).notes(wire.NotifyTicketLTOpaque)[0]
	life := int64(binary.BigEndian.Uint32(n.Data))
	if s := w.opened(n.Data[4:]); life != 1000 || s.Expires != w.now.Unix()+life {
		t.Errorf("lifetime %d s, the ticket expires in %d s", life, s.Expires-w.now.Unix())
	}
}

// TestRFC5723_6_2_EitherDeleteEndsTheClientsTicket: a log-out, an order to the
// client, a DELETE of the gateway's.
func TestRFC5723_6_2_EitherDeleteEndsTheClientsTicket(t *testing.T) {
	for name, end := range map[string]func(w *world, g, c *SA){
		"log-out":        func(w *world, _, _ *SA) { w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn}) },
		"order":          func(w *world, _, c *SA) { w.cl.e.Command(w.now, Command{Kind: CommandDelete, SA: c.handle()}) },
		"of the gateway": func(w *world, g, _ *SA) { w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()}) },
	} {
		w := newWorld(t, name)
		w.connect()
		g, c := w.one()
		tun := w.cl.e.tunnels[0]
		end(w, g, c)
		w.drain(w.gw)
		w.drain(w.cl)
		w.deliver()
		if w.cl.ticket != nil || len(tun.kept) != 0 || len(w.gw.live())+len(w.cl.live()) != 0 {
			t.Errorf("%s: the ticket or the SA is still there", name)
		}
	}
}

// TestRFC5723_7_Notifications: each of the five on the wire, octet by octet.
func TestRFC5723_7_Notifications(t *testing.T) {
	head := func(s sight, typ uint16) (data []byte) {
		t.Helper()
		for i, k := range s.kinds {
			if b := s.bodies[i]; k == wire.PayloadNotify && binary.BigEndian.Uint16(b[2:]) == typ {
				if b[0] != 0 || b[1] != 0 {
					t.Errorf("%d has protocol %d and SPI size %d", typ, b[0], b[1])
				}
				return b[4:]
			}
		}
		t.Errorf("no notification %d in %v", typ, s.h.Exchange)
		return nil
	}
	w := newWorld(t, "octets", quiet)
	tp := w.watch()
	w.connect()
	if data := head(tp.only(w.cl, wire.ExchangeIKEAuth), 16410); len(data) != 0 {
		t.Errorf("TICKET_REQUEST has data %x", data)
	}
	granted := head(tp.only(w.gw, wire.ExchangeIKEAuth), 16409)
	if len(granted) < 5 || !bytes.Equal(granted[:4], []byte{0, 1, 0x51, 0x80}) { // a day
		t.Fatalf("TICKET_LT_OPAQUE begins with %x", granted[:min(4, len(granted))])
	}
	w.run(11 * time.Second)
	w.gw.conn.Fragment, w.gw.live()[0].frag = 200, false
	tp.seen = nil
	w.ask(requestTicket)
	head(tp.only(w.cl, wire.ExchangeInformational), 16410)
	head(tp.only(w.gw, wire.ExchangeInformational), 16411)
	w.gw.conn.Tickets = false
	tp.seen = nil
	w.ask(requestTicket)
	head(tp.only(w.gw, wire.ExchangeInformational), 16412)

	w.start(w.cl) // and what is in clear, with a gateway that grants none now
	tp.seen = nil
	w.connect()
	if shown := head(tp.only(w.cl, wire.ExchangeSessionResume), 16413); !bytes.Equal(shown, granted[4:]) {
		t.Error("TICKET_OPAQUE is not the ticket, and nothing else")
	}
	head(tp.only(w.gw, wire.ExchangeSessionResume), 16412)
}
