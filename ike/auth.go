package ike

import (
	"errors"

	"blackswan/internal/window"
	"blackswan/wire"
)

// IKE_AUTH, RFC 7296 1.2, 2.15 and 2.16, both roles. What a resume does
// differently is in resume.go.

// protected takes an SK or SKF message of sa.
func (e *Endpoint) protected(sa *SA, p Packet, h wire.Header) {
	response := h.Flags&wire.FlagResponse != 0
	switch {
	case sa.state == stateInit || sa.half != nil && sa.half.question != 0:
		e.drop(DropState) // the keys are not there yet, or an answer is awaited
	case sa.Original && sa.state == stateAuth && !e.choose(sa, h.SPIr), !sa.Original && h.SPIi != sa.spi.I, sa.Original && h.SPIr != sa.spi.R:
		e.drop(DropFlags)
	case response:
		e.response(sa, p, h)
	case sa.cold != nil && sa.cold.theirs != nil: // a request waits for its key agreement
		e.drop(DropRepeat)
	default:
		e.requestIn(sa, p, h)
	}
}

// requestIn takes a request of the peer: fresh, or a copy of the last one.
func (e *Endpoint) requestIn(sa *SA, p Packet, h wire.Header) {
	sum := e.hash(p.Data)
	switch sa.recv.Judge(h.MessageID) {
	case window.Fresh:
	case window.Repeat:
		if sum != sa.respSum || len(sa.resp) == 0 {
			e.drop(DropRepeat)
			return
		}
		if p.Remote != sa.remote.addrPort() { // a copy proves no source
			if sa.repeated != 0 && e.now-sa.repeated < repeatGap {
				e.drop(DropLimited)
				return
			}
			sa.repeated = e.now
		}
		e.sendBy(sa, Packet{Local: p.Local, Remote: p.Remote, Marker: p.Marker}, sa.resp)
		return
	default:
		e.drop(DropMessageID)
		return
	}
	auth := h.Exchange == wire.ExchangeIKEAuth
	if auth != (sa.state == stateHalf) || sa.state == stateAuth { //rfc:5723-4.3.2-1
		e.drop(DropState)
		return
	}
	first, plain, done := e.unprotect(sa, p.Data, h)
	if e.lastPiece == 1 {
		sa.reqSum = sum // a retransmission is judged by its first fragment (RFC 7383 2.6.1)
	}
	if !done {
		return
	}
	if auth {
		// RFC 7296 2.23: answer where the request came from, as it came. Where
		// message 1 met no NAT its source is the client's own, by a hash that AUTH
		// covers: a copy of IKE_AUTH from elsewhere does not change it.
		own := sa.remote.ip
		sa.local, sa.remote, sa.marker = pack(p.Local), pack(p.Remote), p.Marker //rfc:5723-4.3.2-8 5723-5-5 4555-3.3-1
		if sa.half.direct {
			sa.remote.ip = own
		}
		e.asker = Packet{Local: p.Local, Remote: p.Remote, Marker: p.Marker}
		e.authRequest(sa, first, plain)
		return
	}
	e.asker = Packet{Local: p.Local, Remote: p.Remote, Marker: p.Marker}
	if !sa.mobike { // RFC 4555 3.8 //rfc:4555-3.8-6
		e.follow(sa, p)
	}
	if p.Remote == sa.remote.addrPort() { //rfc:4555-3.12-1 4555-3.12-2
		e.hear(sa)
	} else { // it lives, but maybe not where our traffic goes (RFC 4555 3.12)
		e.confirmed(sa)
	}
	e.ready(sa)
	e.request37(sa, h, first, plain)
}

// authRequest takes the IKE_AUTH request of a half-open SA.
func (e *Endpoint) authRequest(sa *SA, first wire.PayloadType, plain []byte) {
	hf := sa.half
	r := authRequest
	if hf.resume {
		r = resumedAuthRequest
	}
	if err := e.msg.sort(r, first, plain); err != nil {
		e.refuseAuth(sa, syntaxError(err))
		return
	}
	if e.altered() {
		e.refuseAuth(sa, &LocalError{wire.NotifyUnexpectedNATDetected, "the peer allows no NAT, and there is one"})
		return
	}
	if hf.resume {
		if err := e.resumedAuth(sa); err != nil {
			e.refuseAuth(sa, err)
			return
		}
		e.claim(sa)
		e.acceptAuth(sa, wire.Auth{Method: wire.AuthSharedKey, Data: hf.authR.bytes()}, nil)
		return
	}
	auth, err := e.identify(sa)
	if err != nil {
		e.refuseAuth(sa, err)
		return
	}
	if sa.conn.Remote.Auth == AuthPSK {
		if auth.Method != wire.AuthSharedKey || !equal(auth.Data, e.pskAuth(sa, true)) { //rfc:5685-6-1 7296-1.2-4
			e.refuseAuth(sa, &LocalError{wire.NotifyAuthenticationFailed, "AUTH does not verify with the shared key"})
			return
		}
		e.verified(sa, first, plain)
		return
	}
	hf.plain, hf.first = append([]byte(nil), plain...), first
	_ = e.msg.sort(r, first, hf.plain) // the question keeps views of the copy
	auth, _ = wire.ParseAuth(e.msg.auth)
	e.askVerify(sa, auth)
	sa.state = stateProving
}

func syntaxError(err error) error {
	if err == errCritical {
		return &LocalError{wire.NotifyUnsupportedCriticalPayload, "a critical payload of unknown type"}
	}
	return &LocalError{wire.NotifyInvalidSyntax, err.Error()}
}

// identify finds the connection by the peer's identity, by the identity it
// wants of us, and by the algorithms already chosen.
func (e *Endpoint) identify(sa *SA) (wire.Auth, error) {
	m := &e.msg
	refused := func(why string) error { return &LocalError{wire.NotifyAuthenticationFailed, why} }
	idi, err := wire.ParseID(m.idi)
	if err != nil {
		return wire.Auth{}, syntaxError(err)
	}
	sa.conn = e.connectionFor(sa, idi)
	if sa.conn == nil {
		return wire.Auth{}, refused("no connection fits identity " + idi.String() + " and its algorithms")
	}
	sa.peer = append([]byte{byte(idi.Type)}, idi.Data...)
	if m.auth == nil {
		return wire.Auth{}, refused("the peer wants EAP, which connection " + sa.conn.Name + " does not allow")
	}
	auth, err := wire.ParseAuth(m.auth)
	if err != nil {
		return auth, syntaxError(err)
	}
	if e.barred.Refuses(sa.peer, e.wall) {
		return auth, refused("the identity is barred")
	}
	if auth.Method == wire.AuthRSA {
		return auth, refused("RSA signatures with SHA-1 are refused") // rule G1
	}
	return auth, nil
}

// connectionFor is the first connection that fits; one that wants what the peer
// sends, a shared key or a certificate, before one that does not.
func (e *Endpoint) connectionFor(sa *SA, idi wire.ID) (first *Connection) {
	m := &e.msg
	auth, _ := wire.ParseAuth(m.auth)
	for _, c := range e.cfg.Connections {
		if !c.Remote.Matches(idi) || m.idr != nil && !isID(m.idr, c.Local.ID) || !permits(c.IKE, sa.suite) {
			continue
		}
		if (c.Remote.Auth == AuthPSK) == (auth.Method == wire.AuthSharedKey) {
			return c
		}
		if first == nil {
			first = c
		}
	}
	return first
}

// provingAnswer goes on when a signature was checked or made.
func (e *Endpoint) provingAnswer(sa *SA, a *Answer) {
	e.counts.questions--
	hf := sa.half
	_ = e.msg.sort(authRequest, hf.first, hf.plain)
	switch {
	case errors.Is(a.Err, ErrBusy): // as if the request had not come
		e.drop(DropFull)
		e.unheard(sa)
	case a.Err != nil:
		e.refuseAuth(sa, &LocalError{wire.NotifyAuthenticationFailed, a.Err.Error()})
	case !hf.verified:
		e.learnCert(sa, a)
		e.verified(sa, hf.first, hf.plain)
	default:
		sa.method[1] = uint8(a.Auth.Method)
		e.acceptAuth(sa, a.Auth, a.Certs)
	}
}

func (e *Endpoint) learnCert(sa *SA, a *Answer) {
	sa.cert = a.Cert
	if a.Until != 0 {
		sa.reauth = sooner(sa.reauth, a.Until)
	}
}

// verified goes on after the initiator has proved itself: now we do.
func (e *Endpoint) verified(sa *SA, first wire.PayloadType, plain []byte) {
	hf := sa.half
	hf.verified = true
	auth, _ := wire.ParseAuth(e.msg.auth)
	sa.method[0] = uint8(auth.Method)
	for _, r := range e.msg.certReqs[:e.msg.nCertReqs] {
		if c, err := wire.ParseCertReq(r); err == nil && c.Encoding == wire.CertX509Signature {
			hf.certReq = append(hf.certReq, c.Hashes...)
		}
	}
	if sa.conn.Local.Auth == AuthPSK {
		sa.method[1] = uint8(wire.AuthSharedKey)
		e.acceptAuth(sa, wire.Auth{Method: wire.AuthSharedKey, Data: e.pskAuth(sa, false)}, nil)
		return
	}
	if hf.plain == nil {
		hf.plain, hf.first = append([]byte(nil), plain...), first
	}
	sa.state = stateProving
	e.askSign(sa)
}

// acceptAuth answers IKE_AUTH: the IKE SA is established, whatever becomes of
// its Child SA (RFC 7296 1.2).
func (e *Endpoint) acceptAuth(sa *SA, auth wire.Auth, certs [][]byte) {
	m := &e.msg
	if !sa.resumed {
		e.newLineage(sa)
		if m.has(wire.NotifyInitialContact) { //rfc:7296-2.4-2
			e.initialContact(sa, sa.peer)
		}
	}
	e.boundPeer(sa.peer)
	ni, nr := sa.half.ni, sa.half.nr
	away := e.leaves(sa)
	child, refusal := offer{}, wire.NotifyType(0)
	childless := away || m.sa == nil && m.tsi == nil && m.tsr == nil // RFC 6023 3
	if !childless {
		child, refusal = e.acceptChild(sa, nil)
	}
	if !childless && refusal == 0 {
		child.in = e.newESPSPI()
		child.waits = !sa.resumed && !m.has(wire.NotifyInitialContact) // it may be beside another one, on any shard
		e.keymat(sa, &child, nil, ni, nr)
	}
	asked := m.has(wire.NotifyTicketRequest)
	e.takeTokens(sa)
	e.learnMobike(sa)

	w := e.compose(sa, wire.ExchangeIKEAuth, true, 1)
	w.ID(wire.PayloadIDr, sa.conn.Local.ID)
	for _, c := range certs {
		w.Cert(wire.Cert{Encoding: wire.CertX509Signature, Data: c})
	}
	w.Auth(auth)
	e.addToken(w, sa) //rfc:6290-4.2-1 6290-4.2-2 6290-4.2-3 6290-4.3-3
	e.addLifetime(w, sa)
	switch {
	case away: //rfc:5685-6-3
		w.Notify(wire.Notify{Type: wire.NotifyRedirect, Data: e.drain.to})
	case refusal != 0: //rfc:7296-1.2-5
		w.Notify(wire.Notify{Type: refusal})
	case !childless:
		e.addChild(w, child)
	}
	e.addMobike(w, sa)
	if asked { //rfc:5723-4.2-3
		e.addTicket(w, sa)
	}
	msg := e.protect(sa, 0)
	e.establish(sa)
	switch {
	case away:
		e.sent(sa)
	case childless:
	case refusal == 0:
		k := e.install(sa, child) //rfc:5723-4.3.4-1 5723-5-13
		if k.waits {
			k.readyAt = e.now + firstUse //rfc:7296-2.8-7
		}
	default:
		e.event(sa, Event{Kind: EventChildFailed, Err: &LocalError{refusal, "no Child SA"}})
	}
	e.respond(sa, msg) //rfc:5723-4.1-11
}

// addTicket answers a TICKET_REQUEST with one of the three (RFC 5723 4.1):
// the ticket, not now, or no.
func (e *Endpoint) addTicket(w *wire.Writer, sa *SA) {
	switch t := e.grant(sa); {
	case t == nil:
		w.Notify(wire.Notify{Type: wire.NotifyTicketNACK}) //rfc:5723-4.1-7 5723-4.1-8 5723-7-1
	case !sa.frag && len(w.Buf)+len(t) > sa.fragmentLimit():
		sa.askedAt = 0
		w.Notify(wire.Notify{Type: wire.NotifyTicketACK}) //rfc:5723-4.1-7 5723-4.1-9 5723-7-1
	default:
		w.Notify(wire.Notify{Type: wire.NotifyTicketLTOpaque, Data: t}) //rfc:5723-4.1-7 5723-7-1
		e.event(sa, Event{Kind: EventTicket})
	}
}

// addLifetime says until when the authentication holds: RFC 4478, rule E1.
func (e *Endpoint) addLifetime(w *wire.Writer, sa *SA) {
	if sa.conn.Reauth > 0 && !sa.resumed {
		sa.reauth = sooner(sa.reauth, e.wall+int64(sa.conn.Reauth/1e9)) //rfc:4478-2-1
	}
	if sa.reauth == 0 {
		return
	}
	left := uint32(min(max(sa.reauth-e.wall, 1), 1<<31))
	w.Notify(wire.Notify{Type: wire.NotifyAuthLifetime, Data: []byte{byte(left >> 24), byte(left >> 16), byte(left >> 8), byte(left)}}) //rfc:4478-2-2 4478-3-1
}

func (e *Endpoint) newLineage(sa *SA) {
	_, _ = e.rand.Read(sa.lineage[:])
	sa.lineage[0] = sa.lineage[0]&^63 | byte(e.cfg.Shard)&63 // its home shard
	sa.serial, sa.fullAuth = 1, e.wall
	e.lineages.Put(sa.lineage, sa.slot+1)
}

// refuseAuth answers IKE_AUTH with an error inside SK and forgets the SA. The
// ticket of a resume is not spent by it (rule F1).
func (e *Endpoint) refuseAuth(sa *SA, err error) {
	n := wire.Notify{Type: wire.NotifyAuthenticationFailed}
	if l, ok := err.(*LocalError); ok {
		n.Type = l.Notify
		if n.Type == wire.NotifyUnsupportedCriticalPayload {
			n.Data = []byte{byte(e.msg.critical)}
		}
	}
	e.event(sa, Event{Kind: EventRefused, Err: err})
	w := e.compose(sa, wire.ExchangeIKEAuth, true, 1)
	w.Notify(n) //rfc:7296-2.21-2
	e.sendSA(sa, e.protect(sa, 0))
	e.discard(sa)
}
