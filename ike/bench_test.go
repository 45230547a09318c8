package ike

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"blackswan/internal/suite"
	"blackswan/ticket"
	"blackswan/wire"
)

// resumeClients is how many distinct clients the benchmark goes through.
const resumeClients = 20000

// storm is a gateway of which resumeClients clients hold tickets, and the
// messages that they resume with, made beforehand.
type storm struct {
	e       *Endpoint
	now     time.Time
	clients []stormClient
	suite   suite.Suite
	prf     *suite.PRF
	box     suite.Box
}

type stormClient struct {
	from   netip.AddrPort
	resume []byte
	ni     []byte
	skd    []byte
	idi    wire.ID
	spii   wire.SPI
}

func newStorm(b *testing.B) *storm {
	w := newWorld(b, "storm")
	w.gw.conn.DPD = 0
	s := &storm{e: w.gw.e, now: w.now, suite: suite.Suite{Encr: wire.ENCRAESGCM16, KeyBits: 128, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}}
	s.prf, _ = suite.NewPRF(wire.PRFHMACSHA256)
	for i := range resumeClients {
		s.clients = append(s.clients, s.newClient(b, w, i))
	}
	return s
}

func (s *storm) newClient(b *testing.B, w *world, i int) stormClient {
	c := stormClient{idi: id(fmt.Sprintf("c%06d.clients.test", i)), skd: make([]byte, 32), ni: make([]byte, 32), spii: wire.SPI(i+1) << 8}
	c.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 500)
	_, _ = w.rand.Read(c.skd)
	_, _ = w.rand.Read(c.ni)
	sess := ticket.Session{
		IDi: ticket.ID{Type: uint8(c.idi.Type), Data: c.idi.Data}, IDr: ticket.ID{Type: uint8(wire.IDFQDN), Data: []byte("gw.test")},
		MethodI: 2, MethodR: 2, SKd: c.skd, Serial: 1, Connection: []byte("office"),
		Suite:  ticket.Suite{Encr: uint16(s.suite.Encr), KeyBits: 128, PRF: uint16(s.suite.PRF), KE: uint16(s.suite.KE)},
		Issued: s.now.Unix(), FullAuth: s.now.Unix(), LastKE: s.now.Unix(), Expires: s.now.Unix() + 3600, SPIi: uint64(i + 7), SPIr: uint64(i + 9),
	}
	binary.BigEndian.PutUint64(sess.Lineage[8:], uint64(i))
	t, err := s.e.ring.Seal(nil, &sess, s.now.Unix(), w.rand)
	if err != nil {
		b.Fatal(err)
	}
	m := wire.NewWriter(nil, wire.Header{SPIi: c.spii, Version: wire.Version, Exchange: wire.ExchangeSessionResume, Flags: wire.FlagInitiator})
	m.Nonce(c.ni)
	m.Notify(wire.Notify{Type: wire.NotifyTicketOpaque, Data: t})
	w.cl.e.addDetection(&m, &SA{spi: wire.SPIs{I: c.spii}}, Packet{Local: c.from, Remote: gwAddr})
	w.cl.e.addSupport(&m, nil, false)
	c.resume = append([]byte(nil), m.Finish()...)
	return c
}

// auth builds the client's IKE_AUTH for the gateway's answer.
func (s *storm) auth(c *stormClient, answer []byte, dst []byte) []byte {
	h, _ := wire.ParseHeader(answer)
	var m message
	_ = m.sort(resumeResponse, h.NextPayload, answer[wire.HeaderLen:])
	var k suite.Keys
	suite.DeriveResume(s.prf, s.suite, &k, c.skd, c.ni, m.nonce, uint64(c.spii), uint64(h.SPIr))
	body := c.idi.Append(nil)
	in := suite.AuthInput{Message: c.resume, Nonce: m.nonce, MACedID: suite.MACedID(s.prf, nil, k.PI(s.suite), body)}
	w := wire.NewWriter(dst[:0], wire.Header{SPIi: c.spii, SPIr: h.SPIr, Version: wire.Version, Exchange: wire.ExchangeIKEAuth, Flags: wire.FlagInitiator, MessageID: 1})
	w.StartSK(8)
	w.ID(wire.PayloadIDi, c.idi)
	w.ID(wire.PayloadIDr, id("gw.test"))
	w.Auth(wire.Auth{Method: wire.AuthSharedKey, Data: suite.AuthResume(s.prf, nil, k.PI(s.suite), in)})
	w.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
	w.SA(wire.ProposalSpec{Num: 1, Protocol: wire.ProtocolESP, SPI: []byte{1, 2, byte(c.spii >> 16), byte(c.spii >> 8)}, Transforms: []wire.Transform{
		{Type: wire.TransformENCR, ID: wire.ENCRAESGCM16, KeyBits: 128}, {Type: wire.TransformESN, ID: wire.ESNNo}, {Type: wire.TransformESN, ID: wire.ESNYes}}})
	w.TS(wire.PayloadTSi, prefixes("10.2.3.0/24"))
	w.TS(wire.PayloadTSr, prefixes("10.0.0.0/8"))
	w.Notify(wire.Notify{Type: wire.NotifyTicketRequest})
	end := len(w.Buf)
	w.CloseSK(s.suite.Trailer(end - 40))
	msg := w.Finish()
	if err := s.box.Seal(s.suite, k.EI(s.suite), nil, msg, 32, 40, end, make([]byte, 8)); err != nil {
		panic(err)
	}
	return msg
}

func (s *storm) sent() []byte {
	var data []byte
	for {
		o, ok := s.e.Next()
		if !ok {
			return data
		}
		if o.Kind == OutputSend {
			data = o.Packet.Data
		}
	}
}

// BenchmarkGatewayResume is the gateway's whole machine for one resume: both
// messages, opened ticket, keys, AUTH both ways, Child SA keys, new ticket. The
// client's side is made outside of the measured time.
func BenchmarkGatewayResume(b *testing.B) {
	s := newStorm(b)
	b.ReportAllocs()
	b.ResetTimer()
	const batch = 500
	answers, auths := make([][]byte, batch), make([][]byte, batch)
	buf := make([]byte, 2048)
	for done := 0; done < b.N; {
		n := min(batch, b.N-done)
		at := done % resumeClients
		n = min(n, resumeClients-at)
		if at == 0 && done > 0 {
			b.StopTimer()
			s = newStorm(b)
			b.StartTimer()
		}
		for i := range n {
			c := &s.clients[at+i]
			s.e.Packet(s.now, Packet{Local: gwAddr, Remote: c.from, Data: append(buf[:0], c.resume...)})
			answers[i] = append(answers[i][:0], s.sent()...)
		}
		b.StopTimer()
		for i := range n {
			auths[i] = s.auth(&s.clients[at+i], answers[i], auths[i])
		}
		b.StartTimer()
		for i := range n {
			c := &s.clients[at+i]
			s.e.Packet(s.now, Packet{Local: gwAddr, Remote: c.from, Data: auths[i]})
			if len(s.sent()) == 0 {
				b.Fatal("no answer to IKE_AUTH", s.e.Counters)
			}
		}
		done += n
	}
	b.StopTimer()
	if s.e.counts.established == 0 {
		b.Fatal("nobody came back")
	}
}

// BenchmarkResumeFloor is the crypto of a resume alone.
func BenchmarkResumeFloor(b *testing.B) {
	s := newStorm(b)
	var sess ticket.Session
	msg := make([]byte, 400)
	var k suite.Keys
	keymat := make([]byte, 40)
	var out, mac [64]byte
	ring := s.e.ring
	c := &s.clients[0]
	var m message
	h, _ := wire.ParseHeader(c.resume)
	_ = m.sort(resumeRequest, h.NextPayload, c.resume[wire.HeaderLen:])
	n, _ := m.note(wire.NotifyTicketOpaque)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if err := ring.Open(&sess, n.Data, s.now.Unix()); err != nil {
			b.Fatal(err)
		}
		suite.DeriveResume(s.prf, s.suite, &k, sess.SKd, c.ni, c.ni, 1, 2)
		for _, key := range [][]byte{k.PI(s.suite), k.PR(s.suite)} {
			in := suite.AuthInput{Message: msg, Nonce: c.ni, MACedID: suite.MACedID(s.prf, mac[:0], key, msg[:24])}
			suite.AuthResume(s.prf, out[:0], key, in)
		}
		_ = s.box.Seal(s.suite, k.EI(s.suite), nil, msg, 32, 40, 360, out[:8])
		_, _ = s.box.Open(s.suite, k.EI(s.suite), nil, msg, 32)
		suite.DeriveChild(s.prf, keymat, k.D(s.suite), nil, c.ni, c.ni)
		dst, _ = ring.Seal(dst[:0], &sess, s.now.Unix(), s.e.rand)
	}
}

// BenchmarkUnknownSPI is the answer with a token to a request for a lost SA.
func BenchmarkUnknownSPI(b *testing.B) {
	w := newWorld(b, "unknown")
	w.connect()
	sa, _ := w.one()
	p := w.protectedRequest(w.cl)
	w.crash(w.gw)
	e := w.gw.e
	e.limiter = nil
	_ = sa
	b.ReportAllocs()
	for b.Loop() {
		h, _ := e.header(p)
		e.at(w.now)
		made, ok := e.sealer.Open(uint64(ourSPI(h)))
		if !ok || !e.answerable(p, h) || !e.over(ourSPI(h), made) || !e.showToken(p, h, made.Generation) {
			b.Fatal("no token")
		}
	}
}

// protectedRequest is a liveness request of n's, not sent.
func (w *world) protectedRequest(n *node) Packet {
	sa := n.live()[0]
	n.e.request(sa, requestEmpty)
	p := Packet{Local: w.gw.addr, Remote: n.addr, Data: append([]byte(nil), sa.cold.open.msgs...)}
	for {
		if _, ok := n.e.Next(); !ok {
			return p
		}
	}
}
