package ike

import (
	"blackswan/qcd"
	"blackswan/ticket"
	"blackswan/wire"
)

// INFORMATIONAL, RFC 7296 1.4, in both directions, and the requests of an SA one
// after the other.

// requestKind is what a request of ours is about.
type requestKind uint8

const (
	requestNone     requestKind = iota
	requestFirst                // IKE_SA_INIT, IKE_SESSION_RESUME
	requestAuth                 // IKE_AUTH
	requestEmpty                // liveness, or the confirmation of rule D7
	requestDelete               // of the IKE SA
	requestTicket               // TICKET_REQUEST (RFC 5723 4.1)
	requestToken                // a new QCD_TOKEN for the peer (RFC 6290 4.4)
	requestRelease              // DELETE of Child SAs
	requestCreate               // CREATE_CHILD_SA
	requestMove                 // UPDATE_SA_ADDRESSES (RFC 4555 3.5)
	requestRedirect             // REDIRECT: a gateway that drains (RFC 5685 5)
	requestRoute                // return routability of the client's address (RFC 4555 3.7)
)

// paddedLiveness is the size to which an AEAD liveness request is padded, so
// that the answer with a token is never larger than its cause (rule A3).
const paddedLiveness = 80

// request sends a request of that kind, or queues it behind the open one.
func (e *Endpoint) request(sa *SA, kind requestKind) {
	if sa.state != stateEstablished && !(sa.state == stateDeleting && kind == requestDelete) {
		return
	}
	if kind == requestRedirect && len(e.drain.to) == 0 { // called off while it waited
		return
	}
	if sa.replaced() && kind != requestDelete && kind != requestMove { // nothing else is said any more (RFC 7296 2.8) //rfc:7296-2.8-3 7296-1.3.2-2
		return
	}
	c := e.chill(sa)
	if c.open.kind != requestNone || c.elder != 0 && kind != requestDelete {
		for _, k := range append(c.waiting, c.open.kind) {
			if k == kind {
				return
			}
		}
		c.waiting = append(c.waiting, kind)
		return
	}
	x := wire.ExchangeInformational
	if kind == requestCreate {
		if x = wire.ExchangeCreateChildSA; !sa.stands(c.ours) {
			e.forget(sa)
			return
		}
	}
	id, ok := sa.sent.Open()
	if !ok { // Message IDs are used up: RFC 7296 2.2
		e.ended(sa, "message ids used up", true)
		return
	}
	w := e.compose(sa, x, false, id)
	atLeast := 0
	switch kind {
	case requestEmpty:
		atLeast = paddedLiveness
	case requestDelete:
		w.Delete(wire.Delete{Protocol: wire.ProtocolIKE})
	case requestRelease:
		e.addRelease(w, sa)
	case requestCreate:
		e.addCreation(w, sa)
	case requestTicket:
		w.Notify(wire.Notify{Type: wire.NotifyTicketRequest}) //rfc:5723-4.1-4 5723-7-1
	case requestToken:
		e.addToken(w, sa)
	case requestRedirect:
		w.Notify(wire.Notify{Type: wire.NotifyRedirect, Data: e.drain.to}) //rfc:5685-5-1
	}
	cookie := e.addPath(w, sa, kind)
	c.open = exchange{kind: kind, id: id, msgs: append([]byte(nil), e.protect(sa, atLeast)...), began: e.now, cookie: cookie, hasty: kind == requestMove && !sa.replaced()}
	c.open.at = e.now + int64(e.backoff(kind).Delay(0, e.random()))
	e.sendSA(sa, c.open.msgs)
	e.schedule(sa)
}

// response takes a response to our open request.
func (e *Endpoint) response(sa *SA, p Packet, h wire.Header) {
	c := sa.cold
	if c == nil || c.open.kind == requestNone || c.open.kind == requestFirst || c.open.id != h.MessageID {
		e.drop(DropMessageID)
		return
	}
	auth := c.open.kind == requestAuth
	if auth != (h.Exchange == wire.ExchangeIKEAuth) || auth != (sa.state == stateAuth) {
		e.drop(DropState)
		return
	}
	if (c.open.kind == requestCreate) != (h.Exchange == wire.ExchangeCreateChildSA) {
		e.drop(DropState)
		return
	}
	first, plain, done := e.unprotect(sa, p.Data, h)
	if !done {
		return
	}
	if auth {
		e.authResponse(sa, p, first, plain)
		return
	}
	e.hear(sa)
	if c.open.kind == requestCreate {
		e.created(sa, first, plain, nil)
		return
	}
	answered := c.open
	kind := answered.kind
	c.open = exchange{}
	sa.sent.Close()
	err := e.msg.sort(informational, first, plain)
	if err != nil {
		e.drop(DropMalformed) // answered it is all the same
	} else if sa.state == stateEstablished && e.pathAnswered(sa, &answered) {
		return
	}
	switch {
	case kind == requestRedirect:
		e.sent(sa) //rfc:5685-5-3
	case kind == requestDelete:
		e.removeChildren(sa, OutputRetire)
		e.ended(sa, sa.end("deleted by us"), false)
		return
	case e.msg.has(wire.NotifyInvalidSyntax): // fatal in both peers: RFC 7296 2.21.3
		e.ended(sa, "the peer could not read us", true)
		return
	case kind == requestRelease:
		e.releaseAnswered(sa)
	case kind != requestTicket || err != nil || sa.state != stateEstablished:
	case e.msg.has(wire.NotifyTicketACK): // again not now: not faster than rule D9 grants
		sa.renewAt = e.now + 10e9
	default:
		e.takeTicket(sa)
	}
	e.nextRequest(sa)
}

// nextRequest opens what waited behind the answered request, or what sa is due
// for by now.
func (e *Endpoint) nextRequest(sa *SA) {
	for c := sa.cold; c != nil && len(c.waiting) > 0 && c.open.kind == requestNone && c.elder == 0; {
		kind := c.waiting[0]
		c.waiting = c.waiting[1:]
		e.request(sa, kind)
	}
	e.pursue(sa)
	e.thaw(sa)
	e.schedule(sa)
}

// request37 takes a fresh INFORMATIONAL or CREATE_CHILD_SA request.
func (e *Endpoint) request37(sa *SA, h wire.Header, first wire.PayloadType, plain []byte) {
	r := informational
	if h.Exchange == wire.ExchangeCreateChildSA {
		r = createRequest
	}
	err := e.msg.sort(r, first, plain)
	switch {
	case err != nil:
		n := syntaxNotify(err, &e.msg)
		e.respondNotify(sa, h, n)
		if n.Type == wire.NotifyInvalidSyntax { // fatal in both peers: RFC 7296 2.21.3 //rfc:7296-2.21-4
			e.ended(sa, "the peer cannot be read", true)
		}
	case h.Exchange == wire.ExchangeCreateChildSA:
		e.createAsked(sa, first, plain, nil)
	case h.Exchange == wire.ExchangeInformational:
		e.informed(sa, h)
	default:
		e.respondNotify(sa, h, wire.Notify{Type: wire.NotifyInvalidSyntax})
	}
}

func syntaxNotify(err error, m *message) wire.Notify {
	if err == errCritical {
		return wire.Notify{Type: wire.NotifyUnsupportedCriticalPayload, Data: []byte{byte(m.critical)}}
	}
	return wire.Notify{Type: wire.NotifyInvalidSyntax}
}

// informed answers an INFORMATIONAL request.
func (e *Endpoint) informed(sa *SA, h wire.Header) {
	m := &e.msg
	if e.deleted(sa, h) {
		return
	}
	if n, ok := m.failure(); ok && n == wire.NotifyAuthenticationFailed { // RFC 7296 2.21.2
		e.ended(sa, "the peer refused us", true)
		return
	}
	e.takeTokens(sa)        //rfc:6290-4.4-2
	if e.takeLifetime(sa) { //rfc:4478-2-9
		e.planEnd(sa)
	}
	refusal, moved := e.relocate(sa)
	to, away := e.redirectOf(sa, nil)
	w := e.compose(sa, wire.ExchangeInformational, true, h.MessageID)
	e.addMobility(w, sa, refusal)
	e.releaseChildren(w, sa)
	if m.has(wire.NotifyTicketRequest) {
		e.addTicket(w, sa)
	}
	e.respond(sa, e.protect(sa, 0)) //rfc:5723-4.1-11 7296-1.4-1
	if moved {
		e.move(sa)
	}
	if away {
		e.redirected(sa.tun, to, true)
	}
}

// deleted ends sa when the request deletes the IKE SA (RFC 7296 1.4.1): the
// floor is durable before the answer leaves, and the client's ticket dies.
func (e *Endpoint) deleted(sa *SA, h wire.Header) bool {
	for _, b := range e.msg.deletes[:e.msg.nDeletes] {
		d, err := wire.ParseDelete(b)
		if err != nil || d.Protocol != wire.ProtocolIKE {
			continue
		}
		e.compose(sa, wire.ExchangeInformational, true, h.MessageID)
		msg := e.protect(sa, 0)
		back := e.undone(sa)
		e.revoke(sa)
		e.sendBack(sa, msg)
		if c := sa.cold; back == nil && c != nil && e.sa(c.heir) != nil {
			e.confirmed(e.sa(c.heir)) // the peer has it
		}
		e.removeChildren(sa, OutputRetire)
		e.ended(sa, sa.end("deleted by the peer"), false)
		if back != nil {
			e.nextRequest(back)
		}
		return true
	}
	return false
}

func (e *Endpoint) respondNotify(sa *SA, h wire.Header, n wire.Notify) {
	w := e.compose(sa, h.Exchange, true, h.MessageID)
	w.Notify(n)
	e.respond(sa, e.protect(sa, 0))
}

// respond sends a response and keeps it for copies of the request.
func (e *Endpoint) respond(sa *SA, msgs []byte) {
	e.cache(sa, msgs)
	sa.respSum = sa.reqSum
	sa.recv.Done()
	e.sendBack(sa, msgs)
	e.thaw(sa)
	e.schedule(sa)
}

// deleteSA says DELETE; the SA ends when it is answered, or when nobody does.
func (e *Endpoint) deleteSA(sa *SA) {
	if sa.state != stateEstablished {
		e.ended(sa, "", false)
		return
	}
	e.revoke(sa)
	if sa.cold != nil {
		sa.cold.waiting = nil // nothing of it is worth a message now
	}
	e.request(sa, requestDelete)
	sa.state = stateDeleting
}

// deleteSeries is deleteSA of sa and of the heir that it may have already: who
// wants the one to end means its peer, and that peer may not know the heir yet.
func (e *Endpoint) deleteSeries(sa *SA) {
	if c := sa.cold; c != nil && e.sa(c.heir) != nil {
		e.deleteSeries(e.sa(c.heir))
		if sa.state == stateDeleting { // it goes already
			return
		}
	}
	if sa.tun == nil { // who is sent away carries nothing while it does not answer
		e.removeChildren(sa, OutputRemove)
	}
	e.deleteSA(sa)
}

// revoke ends the tickets of sa, whose DELETE leaves or has come; those of an SA
// that has an heir are the heir's.
func (e *Endpoint) revoke(sa *SA) {
	switch {
	case sa.replaced():
		return
	case !sa.Client:
		e.raise(sa, ticket.Revoked, true) //rfc:5723-9.8-1
	}
	if sa.tun != nil {
		e.forgetTicket(sa.tun) //rfc:5723-6.2-1
	}
}

// addToken gives the peer the token of this SA (RFC 6290 4.1).
func (e *Endpoint) addToken(w *wire.Writer, sa *SA) {
	if e.tokens == nil {
		return
	}
	if tok, ok := e.tokens.Token(e.scratch.token[:0], sa.gen, uint64(sa.spi.I), uint64(sa.spi.R)); ok {
		w.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: tok}) //rfc:6290-4.1-1 6290-4.1-2 6290-4.1-3
	}
}

// takeTokens stores the peer's token with the SA: at most two, the newest
// first (RFC 6290 3, rule A6).
func (e *Endpoint) takeTokens(sa *SA) {
	for _, n := range e.msg.notes[:e.msg.nNotes] {
		if n.Type != wire.NotifyQCDToken {
			continue
		}
		if d, ok := qcd.DigestOf(n.Data); ok {
			sa.hold(d) //rfc:6290-3-1 6290-5-6 6290-9.1-4
		}
	}
}

func (sa *SA) hold(d qcd.Digest) {
	switch t := sa.told; {
	case t == nil:
		sa.told = &told{token: d}
	case d != t.token:
		before := t.token
		t.before, t.token = &before, d
	}
}
