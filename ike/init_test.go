package ike

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/ticket"
	"blackswan/wire"
)

func (w *world) has(t *testing.T, lines ...string) {
	t.Helper()
	at := 0
	for _, want := range lines {
		for at < len(w.ladder) && !strings.HasPrefix(w.ladder[at], want) {
			at++
		}
		if at == len(w.ladder) {
			t.Fatalf("no %q in\n%s\n%s", want, w.text(), w.dump())
		}
		at++
	}
}

func TestRFC7296_2_6_Cookie(t *testing.T) {
	w := newWorld(t, "cookie", func(gw, _ *Config) { gw.Limits.CookieAt = 0 })
	w.connect()
	w.one()
	w.has(t, "-> IKE_SA_INIT {SAi1", "<- IKE_SA_INIT {N(COOKIE)}", "-> IKE_SA_INIT {N(COOKIE), SAi1", "<- IKE_SA_INIT {SAr1", "-> IKE_AUTH", "<- IKE_AUTH")
}

func ikeOf(t *testing.T, texts ...string) (out []propose.IKE) {
	for _, x := range texts {
		p, err := propose.ParseIKE(x)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestRFC7296_1_2_InvalidKEPayload(t *testing.T) {
	w := newWorld(t, "group")
	w.cl.conn.IKE = ikeOf(t, "aes128gcm16-sha256-x25519-ecp256")
	w.gw.conn.IKE = ikeOf(t, "aes128gcm16-sha256-ecp256")
	w.start(w.gw)
	w.connect()
	g, _ := w.one()
	if g.suite.KE != wire.KEECP256 {
		t.Fatal(g.suite)
	}
	w.has(t, "-> IKE_SA_INIT", "<- IKE_SA_INIT {N(INVALID_KE_PAYLOAD)}", "-> IKE_SA_INIT", "<- IKE_SA_INIT {SAr1")
}

func TestRFC7296_2_7_NoProposalChosen(t *testing.T) {
	w := newWorld(t, "none")
	w.gw.conn.IKE = ikeOf(t, "aes256gcm16-sha512-ecp384")
	w.start(w.gw)
	w.connect()
	w.run(2 * time.Second)
	w.has(t, "-> IKE_SA_INIT", "<- IKE_SA_INIT {N(NO_PROPOSAL_CHOSEN)}")
	var refused *PeerError
	if !errors.As(w.cl.last(EventFailed).Err, &refused) || refused.Notify != wire.NotifyNoProposalChosen || len(w.gw.live()) != 0 {
		t.Fatal(w.dump())
	}
}

func TestEverySuiteConnectsAndResumes(t *testing.T) {
	for _, s := range []string{
		"aes128gcm16-sha256-x25519", "aes256gcm16-sha384-ecp256", "chacha20poly1305-sha512-ecp384", "aes128-sha256-x25519",
		"aes256-sha384-ecp521", "aes256-sha512-modp2048", "aes128gcm16-sha256-modp3072",
	} {
		w := newWorld(t, s)
		w.cl.conn.IKE, w.gw.conn.IKE = ikeOf(t, s), ikeOf(t, s)
		w.start(w.gw)
		w.connect()
		w.one()
		w.crash(w.gw)
		w.callRoll(w.gw)
		w.run(40 * time.Second)
		if g, c := w.one(); !g.resumed || !sameKeys(g.keys, c.keys) {
			t.Error(s + "\n" + w.dump())
		}
	}
}

func TestWrongPSK(t *testing.T) {
	w := newWorld(t, "wrong")
	w.cl.conn.PSK = Secret("another")
	w.connect()
	w.run(time.Second)
	var refused *PeerError
	if !errors.As(w.cl.last(EventFailed).Err, &refused) || refused.Notify != wire.NotifyAuthenticationFailed || len(w.gw.live()) != 0 || w.gw.e.counts.half != 0 {
		t.Fatal(w.dump())
	}
}

func TestUnknownIdentity(t *testing.T) {
	w := newWorld(t, "who")
	w.cl.conn.Local.ID = id("one.elsewhere.test")
	w.connect()
	w.run(time.Second)
	if len(w.gw.live()) != 0 || w.gw.count(EventRefused) == 0 {
		t.Fatal(w.dump())
	}
}

// The Child SA fails, the IKE SA and the ticket stay.
func TestRFC7296_1_2_ChildFails(t *testing.T) {
	for name, change := range map[string]func(c *Connection){
		"TS_UNACCEPTABLE":    func(c *Connection) { c.LocalTS = prefixes("172.16.0.0/24") },
		"NO_PROPOSAL_CHOSEN": func(c *Connection) { e, _ := propose.ParseESP("aes256-sha512"); c.ESP = []propose.ESP{e} },
	} {
		w := newWorld(t, name)
		change(w.cl.conn)
		w.connect()
		w.one()
		ev := w.cl.last(EventChildFailed)
		if ev.Err == nil || !strings.Contains(ev.Err.Error(), name) || w.cl.ticket == nil || len(w.cl.kids)+len(w.gw.kids) != 0 {
			t.Fatal(name + "\n" + w.dump())
		}
	}
}

func TestRFC7296_2_9_Narrowing(t *testing.T) {
	w := newWorld(t, "narrow")
	w.connect()
	w.one()
	k := w.cl.kids[0]
	if k.LocalTS[0].String() != "10.2.3.0/24" || len(k.RemoteTS) != 1 || k.RemoteTS[0].String() != "10.1.0.0/16" {
		t.Fatal(k.LocalTS, k.RemoteTS)
	}
	if g := w.gw.kids[0]; g.LocalTS[0] != k.RemoteTS[0] || g.RemoteTS[0] != k.LocalTS[0] {
		t.Fatal(g.LocalTS, g.RemoteTS)
	}
}

func certs(w *world, size int) {
	for _, n := range []*node{w.gw, w.cl} {
		n.conn.Local.Auth, n.conn.Remote.Auth = AuthCert, AuthCert
		me := n.name
		n.answer = func(q *Question) *Answer {
			switch q.Kind {
			case AskSign:
				return &Answer{Auth: wire.Auth{Method: wire.AuthSignature, Data: append([]byte("signed by "+me+" "), q.Octets...)}, Certs: [][]byte{bytes.Repeat([]byte{7}, size)}}
			case AskVerify:
				peer := map[string]string{"gw": "cl", "cl": "gw"}[me]
				if string(q.Auth.Data) != "signed by "+peer+" "+string(q.Octets) || len(q.Certs) != 1 || len(q.Certs[0]) != size {
					return &Answer{Err: errors.New("the signature is not of these octets")}
				}
				return &Answer{Cert: &ticket.PeerCert{Issuer: []byte("ca"), Serial: []byte{9}, NotAfter: w.now.Unix() + 90000}, Until: w.now.Unix() + 90000}
			}
			return nil
		}
	}
}

func TestCertificatesAndFragments(t *testing.T) {
	for _, size := range []int{600, 9000} {
		w := newWorld(t, "certs")
		certs(w, size)
		w.start(w.gw)
		w.start(w.cl)
		for _, lossy := range []bool{false, true} {
			if lossy {
				dice := rand.New(rand.NewPCG(4, uint64(size)))
				w.lose = func(*node, Packet) bool { return dice.IntN(6) == 0 }
			}
			w.connect()
			w.run(time.Minute)
			if g, c := w.one(); g.spi != c.spi || g.cert == nil || c.cert == nil {
				t.Fatal(w.dump())
			}
			if size > 2000 && !strings.Contains(w.text(), "SKF") {
				t.Fatal("not fragmented")
			}
			w.lose = nil
			w.crash(w.gw)
			w.callRoll(w.gw)
			w.run(2 * time.Minute)
			if g, _ := w.one(); !g.resumed || g.cert == nil {
				t.Fatal("the ticket did not bring the certificate's data back\n" + w.dump())
			}
			w.start(w.cl)
			w.cl.ticket = nil
		}
		if w.gw.e.counts.pieces != 0 {
			t.Fatal("reassemblies left over")
		}
	}
}

// Revoked since: the ticket is refused, and so is the certificate.
func TestRFC5723_5_CertificateIsJudgedAgain(t *testing.T) {
	w := newWorld(t, "revoked", quiet)
	certs(w, 500)
	bad := errors.New("revoked")
	var gone bool
	w.gw.conn.Recheck = func(c *ticket.PeerCert, _ int64) error {
		if gone && string(c.Issuer) == "ca" && c.Serial[0] == 9 {
			return bad
		}
		return nil
	}
	w.start(w.gw)
	w.connect()
	w.one()
	gone = true
	w.crash(w.gw)
	w.run(31 * time.Second)
	w.has(t, "-> IKE_SESSION_RESUME", "<- IKE_SESSION_RESUME {N(TICKET_NACK)}")
}

// A NAT between: the client moves to port 4500, and follows nothing else; the
// gateway follows a new mapping only by an authenticated packet.
func TestRFC7296_2_23_NAT(t *testing.T) {
	w := newWorld(t, "nat")
	outside := netip.MustParseAddr("203.0.113.5")
	mapped := map[uint16]uint16{500: 61000, 4500: 61001}
	w.tamper = func(from *node, p *Packet) {
		if from == w.cl {
			p.Local = netip.AddrPortFrom(outside, mapped[p.Local.Port()])
		} else {
			for in, out := range mapped {
				if p.Remote.Port() == out {
					p.Remote = netip.AddrPortFrom(w.cl.addr.Addr(), in)
				}
			}
		}
	}
	w.connect()
	g, c := w.one()
	if !g.marker || !c.marker || c.local.port != 4500 || g.remote.port != 61001 || !g.behind {
		t.Fatalf("gateway %v %v, client %v", g.remote.addrPort(), g.marker, c.local.addrPort())
	}
	if !w.gw.kids[0].Encap || !w.cl.kids[0].Encap {
		t.Fatal("ESP is not encapsulated")
	}
	mapped[4500] = 62002 // the NAT forgot
	w.run(31 * time.Second)
	if g.remote.port != 62002 {
		t.Fatal("the gateway did not follow", g.remote.addrPort())
	}
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.ladder = nil
	w.run(2 * time.Second)
	if g, _ := w.one(); !g.resumed || !g.marker || g.remote.port != 62002 {
		t.Fatal("not resumed on the mapped port\n" + w.text() + w.dump())
	}
}

func TestRFC7296_2_4_InitialContact(t *testing.T) {
	w := newWorld(t, "contact")
	w.connect()
	w.start(w.cl)
	w.cl.ticket = nil
	w.connect()
	w.one()
}

// Messages that no peer sends: each is dropped, the SA stays as it was.
func TestNoiseAroundAnSA(t *testing.T) {
	w := newWorld(t, "noise")
	w.connect()
	good := w.protectedRequest(w.cl)
	g, _ := w.one()
	before := *g
	for i := range good.Data {
		b := append([]byte(nil), good.Data...)
		b[i] ^= 0x40
		w.gw.e.Packet(w.now, Packet{Local: good.Local, Remote: good.Remote, Data: b})
		w.drain(w.gw)
		w.gw.e.Packet(w.now, Packet{Local: good.Local, Remote: good.Remote, Data: append([]byte(nil), good.Data[:i]...)})
		w.drain(w.gw)
	}
	g2, _ := w.one()
	if g2 != g || g.recv != before.recv || !sameKeys(g.keys, before.keys) || g.remote != before.remote || g.state != before.state {
		t.Fatal("noise changed the SA")
	}
	w.flight = nil
	w.gw.e.Packet(w.now, good)
	w.drain(w.gw)
	if g.recv == before.recv || len(w.flight) != 1 {
		t.Fatal("the good one was not taken after the noise")
	}
}

// A repeated request gets the same answer, and does nothing twice.
func TestRFC7296_2_1_RepeatedRequest(t *testing.T) {
	w := newWorld(t, "repeat")
	w.connect()
	p := w.protectedRequest(w.cl)
	var answers [][]byte
	for range 3 {
		w.gw.e.Packet(w.now, Packet{Local: p.Local, Remote: p.Remote, Data: append([]byte(nil), p.Data...)})
		o, _ := w.gw.e.Next()
		answers = append(answers, append([]byte(nil), o.Packet.Data...))
	}
	if !bytes.Equal(answers[0], answers[1]) || !bytes.Equal(answers[0], answers[2]) || len(answers[0]) == 0 {
		t.Fatal("answers differ")
	}
}

// While all workers are busy, time has nothing to do: a shard that was due all
// the same would turn in circles until the first answer.
func TestRuleE7_BusyWorkersAreNotDue(t *testing.T) {
	w := newWorld(t, "busy")
	w.gw.cfg.Limits.Questions = 1
	w.start(w.gw)
	var asked []Question
	w.gw.hook = func(q *Question) { asked = append(asked, *q); q.Kind = 0 } // nobody answers
	conn := *w.cl.conn
	w.connect()
	w.cl.e.Command(w.now, Command{Kind: CommandConnect, Conn: &conn, Local: w.cl.addr, Remote: w.gw.addr})
	w.drain(w.cl)
	w.deliver()
	if len(asked) != 1 || !w.gw.e.first.waiting() {
		t.Fatalf("%d questions, waiting %v", len(asked), w.gw.e.first.waiting())
	}
	if at, ok := w.gw.e.Deadline(); ok && !at.After(w.now) {
		t.Error("due while all workers are busy")
	}
	w.gw.hook = nil
	w.reply(w.gw, &asked[0])
	if at, ok := w.gw.e.Deadline(); !ok || at.After(w.now) {
		t.Error("not due after the answer")
	}
}
