// Package ike is the IKEv2 machine (RFC 7296) with session resumption
// (RFC 5723) and quick crash detection (RFC 6290). It is pure: bytes, time
// and answers go in; bytes, questions, records and events come out. It has no
// clock, no goroutine and no socket.
//
// Start reading at resume.go and crash.go. A packet's way: Endpoint.Packet,
// then SA.protected or Endpoint.first, then the file of its exchange (init.go,
// resume.go, auth.go, info.go).
package ike

import (
	"encoding/binary"
	"hash/maphash"
	"io"
	"net/netip"
	"time"

	"blackswan/internal/cookie"
	"blackswan/internal/hashtable"
	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/ticket"
	"blackswan/wire"
)

// An Endpoint is one shard of a node: its SAs, tickets' floors and limits. It
// is not for concurrent use. Every method but Next is an input; all outputs of
// an input must be drained with Next before the following one.
type Endpoint struct {
	cfg   Config
	rand  *blocks
	began time.Time
	start int64 // Unix seconds then
	now   int64 // ns since began
	wall  int64 // Unix seconds: the clock's, but never before cfg.Clock, and never back (rule D11)

	slots    []slot
	free     []uint32
	halfFrom map[netip.Prefix]int      // half-open SAs of IKE_SA_INIT by source
	ours     hashtable.Table[wire.SPI] // our SPI -> slot+1
	due      timeline[Handle]          // what time does to SAs
	counts   struct{ half, halfResumes, established, questions, mostQuestions, pieces, redirects, cached int }

	asked     map[uint64]Handle // open questions
	lastAsked uint64
	admit     admission

	ring      *ticket.Ring
	ringRead  int64 // when the ring was last read again
	ringAsked int64 // when that was last asked for in vain
	tokens    *qcd.Maker
	limiter   *qcd.Limiter // nil until an answer is due
	limitKey  [32]byte     // its randomness
	sealer    *spi.Sealer
	cookies   *cookie.Secret
	floors    *ticket.Floors
	barred    ticket.NotBefore
	prfs      [3]*suite.PRF
	box       suite.Box
	offers    []propose.IKE // what any connection accepts

	seed      maphash.Seed
	first     firsts
	lineages  hashtable.Table[[16]byte] // live SA of a lineage, slot+1
	claims    hashtable.Table[[16]byte] // half-open resumes of a lineage, slot+1 of the newest
	peers     hashtable.Table[uint32]   // SAs by hash of the peer's identity, slot+1 of the newest
	children  hashtable.Table[uint32]   // inbound ESP SPI -> slot+1
	outbound  hashtable.Table[uint32]   // outbound ESP SPI -> slot+1, for takers
	tombs     tombstones
	survivors map[uint32]Survivor
	notes     notes
	plainESP  bucket
	call      rollCall
	tunnels   []*tunnel
	drain     drain
	reload    reload
	closed    bool // to first messages
	attempts  timeline[*tunnel]
	silent    map[wire.SPIs]*tunnel // by the SA whose peer fell silent last
	sweep     int                   // slot of which boundCache forgot last
	spare     struct {
		sas    pool[SA]
		halves pool[half]
		colds  pool[cold]
	}

	outs      []Output
	drained   int
	events    []Event
	records   []Record
	childs    []Child
	arena     []byte // what Send points into
	msg       message
	w         wire.Writer
	composed  []byte // what compose builds in
	asker     Packet // where the request at hand came from; no data
	lastPiece uint16 // number of the fragment at hand, 1 for a whole message, 0 when it did not verify
	scratch   scratch
	expected  []expected
	touched   uint32 // what Expect read: nobody wants it, but it must be read
	session   ticket.Session
	Counters  Counters
	Answered  [2]uint64 // INVALID_IKE_SPI without and with a token
	Repeated  uint64    // requests of ours that were sent again
}

// New makes an Endpoint. Reading from rand must not fail; its octets are used
// for SPIs, nonces, IVs and salts.
func New(cfg *Config, rand io.Reader, now time.Time) (*Endpoint, error) {
	e := &Endpoint{
		cfg: *cfg, rand: &blocks{from: rand}, began: now, start: now.Unix(), seed: maphash.MakeSeed(),
		asked: map[uint64]Handle{}, halfFrom: map[netip.Prefix]int{},
	}
	e.makeTables()
	e.tombs.max = cfg.Limits.Tombstones
	e.spare.sas.most, e.spare.halves.most, e.spare.colds.most = 256, 1024, 256
	e.call.byShown, e.silent = map[wire.SPIs]int{}, map[wire.SPIs]*tunnel{}
	e.at(now)
	e.ringRead, e.ringAsked = -int64(time.Hour), -int64(time.Hour)
	var err error
	if e.ring, err = ticket.NewRing(cfg.Ring); err != nil {
		return nil, err
	}
	if e.sealer, err = spi.New(cfg.SPIKeys, cfg.SPICurrent, cfg.Boot.Node, cfg.Boot.Epoch, uint8(cfg.Shard)); err != nil {
		return nil, err
	}
	if cfg.Tokens { //rfc:6290-8.1-4
		e.tokens = qcd.NewMaker(cfg.QCD)
	}
	_, _ = e.rand.Read(e.limitKey[:])
	e.cookies = cookie.New(e.rand, e.now)
	e.floors = ticket.NewFloors(cfg.Limits.Floors)
	for i, id := range [...]wire.TransformID{wire.PRFHMACSHA256, wire.PRFHMACSHA384, wire.PRFHMACSHA512} {
		if e.prfs[i], err = suite.NewPRF(id); err != nil {
			return nil, err
		}
	}
	e.setConnections(cfg.Connections)
	e.admit.limit = cfg.Limits.Questions
	return e, nil
}

// makeTables makes the tables that find an SA. Peers choose some of the keys.
func (e *Endpoint) makeTables() {
	var n byte
	seed := func() uint64 { n++; return e.hash([]byte{n}) }
	spi := func(s wire.SPI) uint64 { return uint64(s) }
	word := func(k uint32) uint64 { return uint64(k) }
	lineage := func(l [16]byte) uint64 { return binary.BigEndian.Uint64(l[:]) } // it is random
	e.ours, e.tombs.at = hashtable.New(seed(), spi), hashtable.New(seed(), spi)
	e.lineages, e.claims = hashtable.New(seed(), lineage), hashtable.New(seed(), lineage)
	e.children, e.outbound = hashtable.New(seed(), word), hashtable.New(seed(), word)
	e.peers, e.first.at = hashtable.New(seed(), word), hashtable.New(seed(), word)
}

func (e *Endpoint) setConnections(conns []*Connection) {
	e.cfg.Connections = conns
	e.offers = e.offers[:0]
	for _, c := range conns {
		e.offers = append(e.offers, c.IKE...)
	}
}

// at begins an input: the outputs of the last one end here.
func (e *Endpoint) at(now time.Time) {
	e.now = int64(now.Sub(e.began)) + 1 // 0 is never
	e.wall = max(now.Unix(), e.start+e.now/1e9, e.cfg.Clock.Unix())
	e.outs, e.drained = e.outs[:0], 0
	e.events, e.records, e.childs = e.events[:0], e.records[:0], e.childs[:0]
	e.arena, e.asker = e.arena[:0], Packet{}
	e.spare.sas.settle()
	e.spare.halves.settle()
	e.spare.colds.settle()
}

// Packet takes one IKE datagram. p.Data is borrowed for the call, and is
// decrypted in place.
func (e *Endpoint) Packet(now time.Time, p Packet) {
	e.at(now)
	e.call.hold(e.now, p.Waited)
	h, ok := e.header(p)
	if !ok {
		return
	}
	if n, ok := e.espNotice(p, h); ok {
		e.takeESPNotice(n)
		return
	}
	if h.SPIi == 0 {
		e.drop(DropFlags)
		return
	}
	if h.SPIr == 0 && h.Flags&wire.FlagInitiator != 0 && h.Flags&wire.FlagResponse == 0 {
		if e.closed {
			e.drop(DropShut)
		} else {
			e.firstMessage(p, h)
		}
		return
	}
	ours := ourSPI(h)
	if shard := e.shardOf(ours); shard != e.cfg.Shard {
		e.put(Output{Kind: OutputForward, Shard: shard, Packet: p})
		return
	}
	sa := e.bySPI(ours)
	switch {
	case sa == nil: //rfc:6290-9.2-1
		e.noSA(p, h)
	case h.Flags&wire.FlagInitiator != 0 == sa.Original:
		e.drop(DropFlags)
	case h.NextPayload == wire.PayloadSK || h.NextPayload == wire.PayloadSKF:
		e.protected(sa, p, h)
	case sa.half != nil && sa.Original && h.Flags&wire.FlagResponse != 0 && (h.Exchange == wire.ExchangeIKESAInit || h.Exchange == wire.ExchangeSessionResume):
		e.firstAnswer(sa, p, h)
	default:
		e.clear(sa, p, h)
	}
}

// header checks what can be checked without an SA: length, version, flags.
func (e *Endpoint) header(p Packet) (wire.Header, bool) {
	h, err := wire.ParseHeader(p.Data)
	switch {
	case err != nil || !h.Fits(len(p.Data)):
		e.drop(DropShort)
	case h.Version>>4 != wire.Version>>4: //rfc:7296-2.5-1 7296-2.5-3
		// RFC 7296 2.5: a notice of the highest version would be answered
		// outside an SA; rule A1 does not name it, so silence.
		e.drop(DropVersion)
	default:
		return h, true
	}
	return h, false
}

// ourSPI is the SPI of ours in a message from a peer: the initiator's, unless
// the peer is the original initiator.
func ourSPI(h wire.Header) wire.SPI {
	if h.Flags&wire.FlagInitiator != 0 {
		return h.SPIr
	}
	return h.SPIi
}

// drop counts an input that changed nothing.
func (e *Endpoint) drop(r Reason) { e.Counters[r]++ }

// Answer takes the reply to a Question.
func (e *Endpoint) Answer(now time.Time, a Answer) {
	e.at(now)
	h, ok := e.asked[a.ID]
	if !ok {
		e.drop(DropStale)
		return
	}
	delete(e.asked, a.ID)
	sa := e.sa(h)
	switch {
	case sa == nil:
		e.drop(DropStale)
		return
	case sa.half == nil:
		e.creationAnswer(sa, &a)
		return
	case sa.half.question != a.ID:
		e.drop(DropStale)
		return
	}
	sa.half.question = 0
	switch sa.state {
	case stateHalf:
		e.initAgreed(sa, &a)
	case stateProving:
		e.provingAnswer(sa, &a)
	case stateInit:
		e.initiatorAnswer(sa, &a)
	case stateAuth:
		e.authAnswer(sa, &a)
	}
}

// ask puts a Question that the half-open sa waits for.
func (e *Endpoint) ask(sa *SA, q Question) { sa.half.question = e.question(sa, q) }

// question puts a Question whose answer belongs to sa, and returns its ID.
func (e *Endpoint) question(sa *SA, q Question) uint64 {
	e.lastAsked++
	q.ID, q.Conn, q.Asked = e.lastAsked, sa.conn, time.Duration(e.now)
	if sa.tun != nil {
		q.Owner = sa.tun.owner
	}
	e.asked[q.ID] = sa.handle()
	e.put(Output{Kind: OutputAsk, SA: sa.handle(), Question: &q})
	return q.ID
}

// Deadline is when Advance must be called at the latest.
func (e *Endpoint) Deadline() (time.Time, bool) {
	if e.served() || e.call.due(e.now) {
		return e.time(e.now), true
	}
	at := sooner(sooner(e.call.next(), e.attempts.next()), sooner(e.due.next(), sooner(e.drain.at, e.reload.at)))
	if at == 0 {
		return time.Time{}, false
	}
	return e.time(at), true
}

// time is the time that at() made ns of.
func (e *Endpoint) time(ns int64) time.Time { return e.began.Add(time.Duration(ns - 1)) }

// Advance does what is due: at most 64 SAs, 64 attempts, 64 first messages and
// 64 lines of the roll call a call; Deadline stays due when there is more.
func (e *Endpoint) Advance(now time.Time) {
	e.at(now)
	for n := 0; n < 64 && due(e.due.next(), e.now); n++ {
		d := e.due.take()
		if sa := e.sa(d.what); sa != nil && sa.due == d.at {
			sa.due = 0
			e.tick(sa)
			e.schedule(sa)
		}
	}
	e.attemptDue(64)
	if due(e.drain.at, e.now) {
		e.drainSome()
	}
	if due(e.reload.at, e.now) {
		e.reloadSome()
	}
	e.first.expire(e.now)
	e.serveQueues(64)
	e.showRollCall(64)
	e.floors.Expire(e.wall, 64)
}
