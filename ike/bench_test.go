package ike

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/ticket"
	"blackswan/wire"
)

// A storm of the benchmark: so many clients, half of those that a node of two
// shards has in docs/performance.md, and so many of them under way at a time.
const (
	stormClients = 50000
	underWay     = 125
)

// storm is a gateway and clients that hold tickets of it, and lose their SA and
// resume in turn. Their side is made outside of the measured time.
type storm struct {
	w       *world
	e       *Endpoint
	now     time.Time
	clients []stormClient
	suite   suite.Suite
	prf     *suite.PRF
	box     suite.Box
	next    int            // of clients
	fresh   []*stormClient // have a RESUME to send
	begun   []*stormClient // have an IKE_AUTH to send
	coming  []Packet
	buf     [2048]byte
}

type stormClient struct {
	number  int
	lineage [16]byte
	serial  uint32
	from    netip.AddrPort
	resume  []byte
	answer  []byte // to it
	auth    []byte
	ni      []byte
	skd     []byte
	idi     wire.ID
	old     wire.SPIs
	spii    wire.SPI
}

func newStorm(b *testing.B) *storm {
	w := newWorld(b, "storm", func(gw, _ *Config) {
		p, err := propose.ParseIKE("chacha20poly1305-sha256-x25519")
		if err != nil {
			b.Fatal(err)
		}
		gw.Connections[0].IKE = []propose.IKE{p}
	})
	w.gw.conn.DPD = 0
	s := &storm{w: w, e: w.gw.e, now: w.now, suite: suite.Suite{Encr: wire.ENCRChaCha20Poly1305, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}}
	s.prf, _ = suite.NewPRF(wire.PRFHMACSHA256)
	for i := range stormClients {
		c := stormClient{number: i, idi: id(fmt.Sprintf("c%06d.clients.test", i)), skd: make([]byte, 32), ni: make([]byte, 32)}
		c.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 500)
		_, _ = w.rand.Read(c.lineage[:]) // as the gateway makes them
		s.clients = append(s.clients, c)
	}
	return s
}

// lose has c lose its SA: it makes a RESUME with a ticket of a new serial.
func (s *storm) lose(b *testing.B, c *stormClient) {
	_, _ = s.w.rand.Read(c.skd)
	_, _ = s.w.rand.Read(c.ni)
	c.serial++
	sess := ticket.Session{
		IDi: ticket.ID{Type: uint8(c.idi.Type), Data: c.idi.Data}, IDr: ticket.ID{Type: uint8(wire.IDFQDN), Data: []byte("gw.test")},
		MethodI: 2, MethodR: 2, SKd: c.skd, Serial: c.serial, Lineage: c.lineage, Connection: []byte("office"),
		Suite:  ticket.Suite{Encr: uint16(s.suite.Encr), PRF: uint16(s.suite.PRF), KE: uint16(s.suite.KE)},
		Issued: s.now.Unix(), FullAuth: s.now.Unix(), LastKE: s.now.Unix(), Expires: s.now.Unix() + 3600, SPIi: uint64(c.old.I), SPIr: uint64(c.old.R),
	}
	t, err := s.e.ring.Seal(nil, &sess, s.now.Unix(), s.w.rand)
	if err != nil {
		b.Fatal(err)
	}
	c.spii = wire.SPI(c.serial)<<32 | wire.SPI(c.number+1)<<8
	m := wire.NewWriter(c.resume[:0], wire.Header{SPIi: c.spii, Version: wire.Version, Exchange: wire.ExchangeSessionResume, Flags: wire.FlagInitiator})
	m.Nonce(c.ni)
	m.Notify(wire.Notify{Type: wire.NotifyTicketOpaque, Data: t})
	s.w.cl.e.addDetection(&m, &SA{spi: wire.SPIs{I: c.spii}}, Packet{Local: c.from, Remote: gwAddr})
	s.w.cl.e.addSupport(&m, nil, false)
	c.resume = m.Finish()
}

// prove has c make its IKE_AUTH for the gateway's answer.
func (s *storm) prove(c *stormClient) {
	h, _ := wire.ParseHeader(c.answer)
	var m message
	_ = m.sort(resumeResponse, h.NextPayload, c.answer[wire.HeaderLen:])
	c.old = h.SPIs()
	var k suite.Keys
	suite.DeriveResume(s.prf, s.suite, &k, c.skd, c.ni, m.nonce, uint64(c.spii), uint64(h.SPIr))
	in := suite.AuthInput{Message: c.resume, Nonce: m.nonce, MACedID: suite.MACedID(s.prf, nil, k.PI(s.suite), c.idi.Append(nil))}
	w := wire.NewWriter(c.auth[:0], wire.Header{SPIi: c.spii, SPIr: h.SPIr, Version: wire.Version, Exchange: wire.ExchangeIKEAuth, Flags: wire.FlagInitiator, MessageID: 1})
	w.StartSK(8)
	w.ID(wire.PayloadIDi, c.idi)
	w.ID(wire.PayloadIDr, id("gw.test"))
	w.Auth(wire.Auth{Method: wire.AuthSharedKey, Data: suite.AuthResume(s.prf, nil, k.PI(s.suite), in)})
	w.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
	w.SA(wire.ProposalSpec{Num: 1, Protocol: wire.ProtocolESP, SPI: m.nonce[:4], Transforms: []wire.Transform{ // random, as most peers' are
		{Type: wire.TransformENCR, ID: wire.ENCRAESGCM16, KeyBits: 128}, {Type: wire.TransformESN, ID: wire.ESNNo}, {Type: wire.TransformESN, ID: wire.ESNYes}}})
	w.TS(wire.PayloadTSi, prefixes("10.2.3.0/24"))
	w.TS(wire.PayloadTSr, prefixes("10.0.0.0/8"))
	w.Notify(wire.Notify{Type: wire.NotifyTicketRequest})
	end := len(w.Buf)
	w.CloseSK(s.suite.Trailer(end - 40))
	c.auth = w.Finish()
	if err := s.box.Seal(s.suite, k.EI(s.suite), nil, c.auth, 32, 40, end, make([]byte, 8)); err != nil {
		panic(err)
	}
}

// turn has who has sent a RESUME prove itself, and others lose their SA.
func (s *storm) turn(b *testing.B) {
	s.fresh, s.begun = s.begun[:0], s.fresh
	for _, c := range s.begun {
		s.prove(c)
	}
	for range underWay {
		c := &s.clients[s.next]
		s.lose(b, c)
		s.fresh, s.next = append(s.fresh, c), (s.next+1)%len(s.clients)
	}
	s.now = s.now.Add(3 * time.Millisecond)
	s.e.Advance(s.now)
}

// expect tells the gateway of what comes next, as the roof does.
func (s *storm) expect() {
	s.coming = s.coming[:0]
	for _, c := range s.begun {
		s.coming = append(s.coming, Packet{Data: c.auth})
	}
	s.e.Expect(s.coming)
}

// both is what the gateway does for a resume: the IKE_AUTH of one client and the
// RESUME of another.
func (s *storm) both(i int) {
	if i < len(s.begun) {
		c := s.begun[i]
		s.e.Packet(s.now, Packet{Local: gwAddr, Remote: c.from, Data: append(s.buf[:0], c.auth...)})
		s.sent()
	}
	c := s.fresh[i]
	s.e.Packet(s.now, Packet{Local: gwAddr, Remote: c.from, Data: append(s.buf[:0], c.resume...)})
	c.answer = append(c.answer[:0], s.sent()...)
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
// messages, opened ticket, keys, AUTH both ways, Child SA keys, new ticket, and
// the end of the SA that it replaces, among as many as no cache holds.
func BenchmarkGatewayResume(b *testing.B) {
	s := newStorm(b)
	for range 2*stormClients/underWay + 1 {
		s.turn(b)
		for i := range underWay {
			s.both(i)
		}
	}
	if got := s.e.counts.established; got < stormClients-underWay {
		b.Fatalf("%d of %d clients have an SA: %v", got, stormClients, s.e.Counters)
	}
	b.ReportAllocs()
	at := underWay
	for b.Loop() {
		if at == underWay {
			b.StopTimer()
			s.turn(b)
			at = 0
			b.StartTimer()
			s.expect()
		}
		s.both(at)
		at++
	}
	if got := s.e.counts.established; got < stormClients-underWay {
		b.Fatalf("%d of %d clients have an SA: %v", got, stormClients, s.e.Counters)
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
	s.lose(b, c)
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
