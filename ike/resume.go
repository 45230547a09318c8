package ike

import (
	"blackswan/internal/suite"
	"blackswan/ticket"
	"blackswan/wire"
)

// Session resumption, RFC 5723.
//
//	-> IKE_SESSION_RESUME {[N(COOKIE),] Ni, N(TICKET_OPAQUE) [, N+]}
//	<- IKE_SESSION_RESUME {Nr [, N+]}
//	-> IKE_AUTH SK {IDi, [IDr,] AUTH, [N(QCD_TOKEN),] SAi2, TSi, TSr, N(TICKET_REQUEST)}
//	<- IKE_AUTH SK {IDr, AUTH, [N(QCD_TOKEN),] SAr2, TSi, TSr, N(TICKET_LT_OPAQUE)}
//
// The gateway's side is here, in the order of rule E2; the client's side is in
// resume_client.go.

// resumeFast takes a RESUME whose ticket opens: class 2, answered at once. It
// reports false for the rest, which waits in the queue of its class.
func (e *Endpoint) resumeFast(p Packet, h wire.Header, key uint32, proved bool) bool {
	n, ok := e.msg.note(wire.NotifyTicketOpaque)
	if !ok {
		e.drop(DropMalformed)
		return true
	}
	s := &e.session
	if e.ring.Open(s, n.Data, e.wall) != nil {
		return false
	}
	if home := int(s.Lineage[0]&63) % max(e.cfg.Shards, 1); home != e.cfg.Shard {
		e.put(Output{Kind: OutputForward, Shard: home, Packet: p})
		return true
	}
	conn := e.named(s.Connection)
	if e.judge(s, conn) != nil {
		return false
	}
	over := e.counts.halfResumes >= e.cfg.Limits.ResumeCookieAt
	waiting := e.halfResumesOf(s.Lineage)
	switch {
	case conn.Libreswan && over: // it cannot answer a COOKIE (rule E2)
		return false
	case !conn.Libreswan && !proved && (over || waiting > 0): //rfc:5723-4.3.2-10
		e.sendCookie(p, h, e.msg.nonce)
		return true
	case waiting >= maxHalfResumes:
		e.dropOldestHalf(s.Lineage)
	case e.counts.halfResumes >= e.cfg.Limits.HalfResumes:
		e.drop(DropFull)
		return true
	}
	e.resumeAccept(p, h, key, conn, s)
	return true
}

// judge re-checks everything that time can rot in a ticket: its dates, its
// connection, its algorithms, its identity, its certificate, and whether it
// was used or revoked (rule D5).
func (e *Endpoint) judge(s *ticket.Session, conn *Connection) error {
	refused := func(why string) error { return &LocalError{wire.NotifyTicketNACK, why} }
	switch {
	case conn == nil:
		return refused(errNoConnection.Error())
	case !conn.Tickets:
		return refused("its connection grants no tickets")
	}
	if err := conn.Grant.Usable(s, e.wall); err != nil { //rfc:5723-4.3.2-4
		return refused(err.Error())
	}
	if err := unfit(s, conn, conn.Local.ID, false, e.wall); err != nil {
		return refused(err.Error())
	}
	switch {
	case e.barred.Refuses(e.identity(s), s.FullAuth):
		return refused("its identity was barred")
	case e.floors.Below(s.Lineage, s.Serial): //rfc:5723-4.3.1-4 5723-9.10-2
		return refused("it was used or revoked")
	}
	return nil
}

// identity is what policy looks up: the authenticated one where EAP made it
// differ from IDi (RFC 5723 5, note 1).
func (e *Endpoint) identity(s *ticket.Session) []byte {
	if len(s.Identity) > 0 {
		return s.Identity
	}
	e.scratch.key = append(append(e.scratch.key[:0], s.IDi.Type), s.IDi.Data...)
	return e.scratch.key
}

// resumeRefusal answers a RESUME that resumeFast did not take: with
// TICKET_NACK when the ticket is bad, with silence when we cannot tell (rule D10).
func (e *Endpoint) resumeRefusal(p Packet, h wire.Header) {
	n, _ := e.msg.note(wire.NotifyTicketOpaque)
	s := &e.session
	err := e.ring.Open(s, n.Data, e.wall)
	switch {
	case err == nil:
		if err = e.judge(s, e.named(s.Connection)); err == nil {
			err = &LocalError{wire.NotifyTicketNACK, "too many half-open resumes"}
		}
	case err == ticket.ErrUnknownKey && e.now-e.ringRead > 10e9:
		e.askRing() // silence until it was read: a retransmission is judged by what the store has
		return
	case err == ticket.ErrExpired && e.cfg.Doubt && e.now < 60e9:
		return // rule D11
	}
	e.drop(DropTicket)
	e.event(nil, Event{Kind: EventRefused, Remote: p.Remote, Err: err, SPIs: wire.SPIs{I: h.SPIi}})
	e.replyNotify(p, h, wire.Notify{Type: wire.NotifyTicketNACK}) //rfc:5723-4.3.2-3 5723-4.3.2-4 5723-7-1
}

// askRing asks for the ring as the store has it; CommandKeys is the answer. It
// asks again after ten seconds without one.
func (e *Endpoint) askRing() {
	if e.now-e.ringAsked < 10e9 {
		return
	}
	e.ringAsked = e.now
	e.lastAsked++
	e.put(Output{Kind: OutputAsk, Question: &Question{Kind: AskRing, ID: e.lastAsked}})
}

// resumeAccept makes the half-open SA and answers (RFC 5723 4.3.2). Nothing of
// the ticket is consumed yet (rule D7).
func (e *Endpoint) resumeAccept(p Packet, h wire.Header, key uint32, conn *Connection, s *ticket.Session) {
	sa := e.newSA(false) // SPIr is new, never the old SA's: RFC 5723 5, note 4 //rfc:5723-4.3.2-7 5723-5-7 5723-5-25
	if sa == nil {
		e.drop(DropFull)
		return
	}
	sa.spi.I, sa.state, sa.conn, sa.resumed = h.SPIi, stateHalf, conn, true
	sa.local, sa.remote, sa.marker = pack(p.Local), pack(p.Remote), p.Marker
	sa.expires = e.now + int64(e.cfg.Timers.HalfResume)
	e.restore(sa, s)
	hf := e.spare.halves.take()
	sa.half = hf
	hf.resume = true
	hf.old = wire.SPIs{I: wire.SPI(s.SPIi), R: wire.SPI(s.SPIr)}
	hf.ni = append(hf.ni[:0], e.msg.nonce...)
	hf.nr = e.nonce(hf.nr)
	e.learnFirst(sa) //rfc:5723-4.3.2-11 5723-4.3.2-12 5723-5-6

	prf := e.prf(sa.suite)
	suite.DeriveResume(prf, sa.suite, &e.scratch.keys, s.SKd, hf.ni, hf.nr, uint64(sa.spi.I), uint64(sa.spi.R)) //rfc:5723-5-11
	at := len(e.arena)
	w := wire.NewWriter(e.arena, wire.Header{SPIi: h.SPIi, SPIr: sa.spi.R, Version: wire.Version, Exchange: wire.ExchangeSessionResume, Flags: wire.FlagResponse})
	w.Nonce(hf.nr) //rfc:5723-4.3.2-3
	if !conn.Libreswan {
		e.addDetection(&w, sa, p)   // NAT status is found anew: RFC 5723 4.3.2 //rfc:5723-4.3.2-11 5723-4.3.2-12
		e.addSupport(&w, sa, false) //rfc:5723-5-16
	}
	w.Finish()
	e.arena = w.Buf
	msg := e.arena[at:]
	hf.msg2 = append(hf.msg2[:0], msg...)

	e.authValues(sa, prf, suite.AuthInput{Message: p.Data, Nonce: hf.nr}, suite.AuthInput{Message: msg, Nonce: hf.ni}, conn.Libreswan)
	e.takeKeys(sa)
	sa.recv.Done() // Message ID 0 was the RESUME's //rfc:5723-4.3.2-14 5723-5-9 5723-5-12
	e.link(sa)
	e.counts.halfResumes++
	e.first.remember(duplicate{e.hash(p.Data), sa.handle(), sa.expires, key}, e.cfg.Limits.Duplicates)
	e.keyLog(sa)
	e.reply(p, msg)
	e.schedule(sa)
}

// restore gives sa what RFC 5723 5 marks "from the ticket".
func (e *Endpoint) restore(sa *SA, s *ticket.Session) {
	sa.suite = suiteOf(s) //rfc:5723-5-10 5723-5.1-3
	sa.peer = append(append(make([]byte, 0, 1+len(s.IDi.Data)), s.IDi.Type), s.IDi.Data...)
	sa.lineage, sa.claimed, sa.serial = s.Lineage, s.Serial, s.Serial+1
	sa.fullAuth, sa.lastKE, sa.reauth = s.FullAuth, s.LastKE, s.Reauth //rfc:5723-5-19
	sa.method = [2]uint8{s.MethodI, s.MethodR}                         //rfc:5723-5-3
	sa.form = s.AuthForm
	if len(s.PeerCert.Serial) > 0 {
		c := s.PeerCert
		c.Issuer, c.Serial = append([]byte(nil), c.Issuer...), append([]byte(nil), c.Serial...)
		sa.cert = &c //rfc:5723-5-4
	}
}

const (
	formRFC   = 0 // AUTH = prf(SK_px, message | nonce | prf(SK_px, IDx'))
	formShort = 1 // libreswan: prf(SK_px, message) (rule F1)
)

// authValues computes, with the keys just derived, both AUTH values of a resume
// (RFC 5723 4.3.3) from the signed octets of RFC 7296 2.15, and the short forms
// where they may be needed.
func (e *Endpoint) authValues(sa *SA, prf *suite.PRF, i, r suite.AuthInput, short bool) {
	hf := sa.half
	pi, pr := e.scratch.keys.PI(sa.suite), e.scratch.keys.PR(sa.suite)
	own, peer := e.idBody(sa.own(), 0), e.idBody(sa.peerID(), 1)
	idi, idr := peer, own
	if sa.Original {
		idi, idr = own, peer
	}
	i.MACedID = suite.MACedID(prf, e.scratch.macs[0][:0], pi, idi)
	hf.authI.set(suite.AuthResume(prf, hf.authI.b[:0], pi, i))
	r.MACedID = suite.MACedID(prf, e.scratch.macs[1][:0], pr, idr)
	hf.authR.set(suite.AuthResume(prf, hf.authR.b[:0], pr, r))
	if short {
		hf.short = new([2]mac)
		hf.short[0].set(suite.AuthResumeShort(prf, hf.short[0].b[:0], pi, i.Message))
		hf.short[1].set(suite.AuthResumeShort(prf, hf.short[1].b[:0], pr, r.Message))
	}
}

// resumedAuth verifies the IKE_AUTH request that follows an accepted RESUME.
// A failure spends nothing: neither the ticket nor the old SA (rule F1).
func (e *Endpoint) resumedAuth(sa *SA) error {
	m, hf := &e.msg, sa.half
	failed := func(why string) error { return &LocalError{wire.NotifyAuthenticationFailed, why} }
	if !sameID(m.idi, sa.peer) { //rfc:5723-4.3.3-3 5723-5-1
		return failed("IDi is not that of the ticket")
	}
	if own := sa.conn.Local.ID; m.idr != nil && !isID(m.idr, own) { //rfc:5723-4.3.3-5 5723-5-2
		return failed("IDr is not that of the ticket")
	}
	auth, err := wire.ParseAuth(m.auth)
	if err != nil || auth.Method != wire.AuthSharedKey {
		return failed("AUTH method is not the shared key's")
	}
	form := uint8(formRFC)
	if !equal(auth.Data, hf.authI.bytes()) {
		// Who once used the RFC form is never accepted in the short one.
		if hf.short == nil || sa.form == formRFC && sa.claimed > 1 || !equal(auth.Data, hf.short[0].bytes()) {
			return failed("AUTH does not verify")
		}
		form = formShort
	}
	if e.floors.Below(sa.lineage, sa.claimed) {
		return failed("the ticket was used meanwhile")
	}
	sa.form = form
	if form == formShort {
		hf.authR = hf.short[1]
	}
	return nil
}

// claim makes sa the live SA of its lineage. The old SA, or a claim of the
// same ticket that was never confirmed, goes in silence: after proof, not
// before (RFC 5723 4.3.4, rule D7).
func (e *Endpoint) claim(sa *SA) {
	if old := e.in(e.lineages.Put(sa.lineage, sa.slot+1)); old != nil && old != sa {
		var elder *SA // whose rekey the client has not seen
		if old.cold != nil {
			elder = e.sa(old.cold.elder)
		}
		e.down(old, "replaced by a resume", true) //rfc:5723-4.3.4-2
		if elder != nil {
			e.down(elder, "replaced by a resume", true)
		}
	}
	sa.confirm = sa.resumed
	e.stopRollCall(sa.half.old)
}

// confirmed is the first authenticated packet of the peer's under a resumed
// SA, other than a copy of its IKE_AUTH: now the ticket is spent (rule D7). Under
// an SA that the peer has rekeyed it ends the tickets of the old one (rule D5).
func (e *Endpoint) confirmed(sa *SA) {
	if !sa.confirm {
		return
	}
	sa.confirm = false
	e.raise(sa, sa.claimed+1, false) //rfc:5723-4.3.1-5
	if sa.resumed {
		e.event(sa, Event{Kind: EventConfirmed})
	}
	e.known(sa)
	if t := sa.tun; t != nil && !t.hasTicket() && sa.conn.Tickets { // RFC 5723 4.1: after a rekey that the gateway began //rfc:5723-6.2-4
		e.request(sa, requestTicket)
	}
}

// raise lifts the floor of sa's lineage: tickets below it are refused. Raises
// to the maximum are durable before the answer leaves (rule D5).
func (e *Endpoint) raise(sa *SA, floor uint32, durable bool) {
	if sa.lineage == ([16]byte{}) {
		return
	}
	until := e.wall + ticketYears
	if e.floors.Raise(sa.lineage, floor, until) {
		e.record(sa, Record{Kind: RecordFloor, Durable: durable, Lineage: sa.lineage, Floor: floor, Until: until})
	}
}

// ticketYears bounds how long a floor is kept: no ticket of rule D8 is older.
const ticketYears = 8 * 24 * 3600

// grant makes a ticket for sa (RFC 5723 4.1): its SK_d, its algorithms, its
// identities. It returns what TICKET_LT_OPAQUE holds in the arena; empty: NACK.
func (e *Endpoint) grant(sa *SA) []byte {
	switch {
	case sa.Client, sa.replaced(), sa.state == stateDeleting: // RFC 5723 4.1: the gateway's side does not ask //rfc:5723-4.1-5
		return nil
	case !sa.conn.Tickets, sa.askedAt != 0 && e.now-sa.askedAt < 10e9: // rule D9
		return nil
	}
	s := &e.session
	e.remember(sa, s)
	life, ok := sa.conn.Grant.Lifetime(s, e.wall)
	if !ok {
		return nil
	}
	s.Expires = e.wall + int64(life) //rfc:5723-6.1-7
	at := len(e.arena)
	out := append(e.arena, byte(life>>24), byte(life>>16), byte(life>>8), byte(life)) //rfc:5723-7.1-1
	out, err := e.ring.Seal(out, s, e.wall, e.rand)
	if err != nil {
		e.event(sa, Event{Kind: EventRefused, Err: err})
		return nil
	}
	sa.askedAt = e.now
	if sa.conn.Renewal == RenewalRekey {
		sa.rekeyAt = sooner(sa.rekeyAt, e.now+int64(life)*75e7)
		e.schedule(sa)
	}
	e.arena = out
	return out[at:]
}

// remember fills s with what both ends keep of sa (RFC 5723 5, rule D4). Its
// slices view sa and its connection.
func (e *Endpoint) remember(sa *SA, s *ticket.Session) {
	own := ticket.ID{Type: uint8(sa.own().Type), Data: sa.own().Data}
	peer := ticket.ID{Type: sa.peer[0], Data: sa.peer[1:]}
	*s = ticket.Session{IDi: peer, IDr: own}
	if sa.Client {
		s.IDi, s.IDr = own, peer
	}
	s.MethodI, s.MethodR = sa.method[0], sa.method[1]
	s.Suite = ticket.Suite{Encr: uint16(sa.suite.Encr), KeyBits: sa.suite.KeyBits, Integ: uint16(sa.suite.Integ), PRF: uint16(sa.suite.PRF), KE: uint16(sa.suite.KE)}
	s.SKd = sa.keys.D(sa.suite) //rfc:5723-4.3.3-6
	s.SPIi, s.SPIr = uint64(sa.spi.I), uint64(sa.spi.R)
	s.Lineage, s.Serial = sa.lineage, sa.serial
	s.Issued, s.FullAuth, s.LastKE, s.Reauth = e.wall, sa.fullAuth, sa.lastKE, sa.reauth
	s.Connection = append(e.scratch.name[:0], sa.conn.Name...)
	e.scratch.name = s.Connection
	s.AuthForm = sa.form
	switch {
	case sa.cert != nil:
		s.PeerCert = *sa.cert
	case !sa.Client: // what its peer is trusted for
		s.PeerCert.Anchor = sa.conn.KeyPrint
	}
}

func suiteOf(s *ticket.Session) suite.Suite {
	t := s.Suite
	return suite.Suite{Encr: wire.TransformID(t.Encr), KeyBits: t.KeyBits, Integ: wire.TransformID(t.Integ), PRF: wire.TransformID(t.PRF), KE: wire.TransformID(t.KE)}
}
