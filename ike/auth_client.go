package ike

import "blackswan/wire"

// The initiator's side of IKE_AUTH.

// proveSelf makes our AUTH, or asks for the signature.
func (e *Endpoint) proveSelf(sa *SA) {
	// The peer's identity is not known yet; ours is what we sign.
	if sa.conn.Local.Auth == AuthCert {
		e.askSign(sa)
		return
	}
	sa.method[0] = uint8(wire.AuthSharedKey)
	e.sendAuth(sa, wire.Auth{Method: wire.AuthSharedKey, Data: e.pskAuth(sa, true)}, nil)
}

func (e *Endpoint) sendAuth(sa *SA, auth wire.Auth, certs [][]byte) {
	e.composeAuth(sa, auth, certs)
	e.openAuth(sa, append([]byte(nil), e.protect(sa, 0)...))
}

// composeAuth builds the IKE_AUTH request, RFC 7296 appendix C.2 with the
// order of RFC 6290 4.2: QCD_TOKEN after AUTH, before the Child SA's payloads.
func (e *Endpoint) composeAuth(sa *SA, auth wire.Auth, certs [][]byte) {
	resume := sa.half.resume
	w := e.compose(sa, wire.ExchangeIKEAuth, false, 1)
	w.ID(wire.PayloadIDi, sa.own()) //rfc:5723-4.3.3-3 5723-5-1
	// Beside the SA that it replaces this one is not the only one (RFC 7296 2.4).
	if !resume && sa.tun.old == 0 { //rfc:7296-2.4-1
		w.Notify(wire.Notify{Type: wire.NotifyInitialContact})
	}
	for _, c := range certs {
		w.Cert(wire.Cert{Encoding: wire.CertX509Signature, Data: c})
	}
	if !resume && len(sa.conn.CertReq) > 0 {
		w.CertReq(wire.CertReq{Encoding: wire.CertX509Signature, Hashes: sa.conn.CertReq})
	}
	switch r := &sa.conn.Remote; {
	case resume:
		w.ID(wire.PayloadIDr, wire.ID{Type: wire.IDType(sa.peer[0]), Data: sa.peer[1:]})
	case !r.Any && r.Tail == "":
		w.ID(wire.PayloadIDr, r.ID)
	}
	w.Auth(auth)
	e.addToken(w, sa) //rfc:6290-4.2-1 6290-4.2-3 6290-4.3-4
	if !sa.half.childless {
		e.offerChild(w, sa)
	}
	e.addMobike(w, sa)
	if sa.conn.Tickets {
		w.Notify(wire.Notify{Type: wire.NotifyTicketRequest}) //rfc:5723-4.1-1 5723-4.1-6 5723-4.2-2 5723-7-1
		sa.askedAt = e.now
	}
}

// openAuth sends the IKE_AUTH request and waits for its answer.
func (e *Endpoint) openAuth(sa *SA, msgs []byte) {
	c := e.chill(sa)
	if c.open.kind != requestAuth {
		sa.sent.Close()
		_, _ = sa.sent.Open() // Message ID 1
		c.open = exchange{kind: requestAuth, id: 1, msgs: msgs, at: e.now + int64(e.cfg.Timers.Retry.Delay(0, e.random()))}
	}
	e.sendSA(sa, msgs)
	e.schedule(sa)
}

// authResponse takes the answer to our IKE_AUTH.
func (e *Endpoint) authResponse(sa *SA, p Packet, first wire.PayloadType, plain []byte) {
	hf, m := sa.half, &e.msg
	r := authResponse
	if hf.resume {
		r = resumedAuthResponse
	}
	if err := m.sort(r, first, plain); err != nil {
		e.failed(sa, err)
		return
	}
	if m.auth == nil {
		n, ok := m.failure()
		if !ok {
			e.failed(sa, errMalformed)
			return
		}
		e.failed(sa, &PeerError{n})
		return
	}
	if hf.resume {
		if err := e.resumedAnswer(sa); err != nil {
			e.rejectPeer(sa, err)
			return
		}
		e.connected(sa)
		return
	}
	auth, err := e.identifyPeer(sa)
	switch {
	case err != nil:
		e.rejectPeer(sa, err)
	case sa.conn.Remote.Auth == AuthPSK:
		if auth.Method != wire.AuthSharedKey || !equal(auth.Data, e.pskAuth(sa, false)) { //rfc:5723-4.2-1 5685-6-2 7296-1.2-4
			e.rejectPeer(sa, errForged)
			return
		}
		e.connected(sa)
	default:
		hf.plain, hf.first = append([]byte(nil), plain...), first
		_ = m.sort(r, first, hf.plain)
		auth, _ = wire.ParseAuth(m.auth)
		e.melt(sa)
		e.askVerify(sa, auth)
	}
}

// identifyPeer checks the responder's identity against the connection's.
func (e *Endpoint) identifyPeer(sa *SA) (wire.Auth, error) {
	id, err := wire.ParseID(e.msg.idr)
	if err != nil || !sa.conn.Remote.Matches(id) {
		return wire.Auth{}, errIdentity
	}
	sa.peer = append([]byte{byte(id.Type)}, id.Data...)
	auth, err := wire.ParseAuth(e.msg.auth)
	if err == nil && auth.Method == wire.AuthRSA {
		err = &LocalError{wire.NotifyAuthenticationFailed, "RSA signatures with SHA-1 are refused"} // rule G1
	}
	sa.method[1] = uint8(auth.Method)
	return auth, err
}

// authAnswer goes on when our signature was made or the peer's was checked.
func (e *Endpoint) authAnswer(sa *SA, a *Answer) {
	hf := sa.half
	switch {
	case a.Err != nil && hf.plain != nil:
		e.rejectPeer(sa, a.Err)
	case a.Err != nil:
		e.failed(sa, a.Err)
	case hf.plain == nil:
		sa.method[0] = uint8(a.Auth.Method)
		e.sendAuth(sa, a.Auth, a.Certs)
	default:
		e.learnCert(sa, a)
		_ = e.msg.sort(authResponse, hf.first, hf.plain)
		e.connected(sa)
	}
}

// rejectPeer ends the attempt with a responder that did not prove itself, and
// tells it once (RFC 7296 2.21.2). After a resume it says nothing: an
// authenticated packet would confirm the SA and spend the ticket (rules D7, F1),
// and whoever changes one bit of the RESUME's answer can bring this about.
func (e *Endpoint) rejectPeer(sa *SA, err error) {
	if !sa.resumed {
		w := e.compose(sa, wire.ExchangeInformational, false, 2)
		w.Notify(wire.Notify{Type: wire.NotifyAuthenticationFailed}) //rfc:7296-2.21-3
		e.sendSA(sa, e.protect(sa, 0))
	}
	e.failed(sa, err)
}

// connected is reached when both sides have proved themselves.
func (e *Endpoint) connected(sa *SA) {
	m, t := &e.msg, sa.tun
	if !sa.resumed {
		sa.fullAuth, sa.serial = e.wall, 1
	}
	e.takeLifetime(sa) // no resume moves a deadline: the gateway says what is left //rfc:4478-2-8
	to, away := e.redirectOf(sa, nil)
	var child offer
	var refusal error
	childless := sa.half.childless
	if !childless {
		child, refusal = e.checkChild(sa, sa.child.in, nil)
	}
	if refusal == nil && !childless {
		e.keymat(sa, &child, nil, sa.half.ni, sa.half.nr)
	}
	e.takeTokens(sa)
	e.learnMobike(sa)
	fresh := sa.resumed
	e.melt(sa)
	sa.sent.Close()
	e.establish(sa)
	if refusal != nil {
		e.removeChild(sa, &sa.child, OutputRemove) // the SPI that we offered
	}
	switch {
	case childless:
	case refusal == nil:
		e.install(sa, child)
		e.wantRest(sa, child, nil)
		if declined(sa, &child) {
			e.close(sa, child.in)
			refusal = errTunnel
		}
	}
	if refusal != nil && !away {
		e.event(sa, Event{Kind: EventChildFailed, Child: sa.conn.Child, Err: refusal})
	}
	if t != nil {
		if _, ok := m.granted(); !ok { // a used ticket is never shown again (RFC 5723 4.3.1)
			e.forgetTicket(t) //rfc:5723-4.3.1-3
		}
		t.rounds, t.silent, t.unheard, t.found, t.tries, t.full, t.by = 0, 0, 0, false, 0, false, ByNothing
		t.arrived()
	}
	e.takeTicket(sa)
	if t != nil {
		e.retire(sa)
	}
	if away {
		e.sentAway(sa, to)
		return
	}
	e.wantFurther(sa, childless, refusal)
	if fresh { // rule D7
		sa.confirmAt = e.now + 1e9 + e.within(29e9)
		e.schedule(sa)
	}
}
