package ike

import (
	"encoding/binary"
	"errors"

	"blackswan/internal/propose"
	"blackswan/wire"
)

// The peer's CREATE_CHILD_SA. A key agreement is a Question: the request waits,
// its copies are absorbed, and it is judged once more when the answer is there.

// A peer may ask for so many SAs in so many seconds: each costs a key agreement.
const (
	mostCreations = 20
	createPeriod  = 10
)

// createAsked answers the peer's CREATE_CHILD_SA, whose payloads are sorted. a
// is nil until the key agreement is done.
func (e *Endpoint) createAsked(sa *SA, first wire.PayloadType, plain []byte, a *Answer) {
	m := &e.msg
	proposals, err := wire.ParseSA(m.sa)
	ni, nerr := wire.ParseNonce(m.nonce)
	if err != nil || nerr != nil {
		e.refuseCreation(sa, wire.Notify{Type: wire.NotifyInvalidSyntax})
		return
	}
	if a == nil && !e.chill(sa).created.take(e.now/createPeriod, mostCreations) {
		e.drop(DropLimited)
		e.refuseCreation(sa, wire.Notify{Type: wire.NotifyTemporaryFailure})
		return
	}
	var x creation
	for p := range proposals.Proposals() {
		x.ike = x.ike || p.Protocol == wire.ProtocolIKE
	}
	var n wire.Notify
	if x.ike {
		n = e.rekeyAsked(sa, &x, proposals, ni, a)
	} else {
		n = e.childAsked(sa, &x, ni, a)
	}
	switch {
	case n.Type != 0:
		e.refuseCreation(sa, n)
	case x.group != wire.KENone && a == nil: // the request waits
		x.first, x.plain = first, append([]byte(nil), plain...)
		peer, _ := wire.ParseKE(m.ke)
		x.question = e.question(sa, Question{Kind: AskAgree, Group: x.group, Public: append([]byte(nil), peer.Data...)})
		sa.cold.theirs = &x
	}
}

// refuseCreation answers CREATE_CHILD_SA with an error; the SA stays as it is,
// but for an error that is fatal in both peers (RFC 7296 2.21.3).
func (e *Endpoint) refuseCreation(sa *SA, n wire.Notify) {
	switch n.Type {
	case wire.NotifyTemporaryFailure:
		e.drop(DropState)
	case wire.NotifyChildSANotFound:
		e.drop(DropStale)
	default:
		e.event(sa, Event{Kind: EventRefused, Err: &LocalError{n.Type, "CREATE_CHILD_SA"}})
	}
	w := e.compose(sa, wire.ExchangeCreateChildSA, true, sa.recv.Next())
	w.Notify(n)
	e.respond(sa, e.protect(sa, 0))
	if n.Type == wire.NotifyInvalidSyntax {
		e.ended(sa, "the peer cannot be read", true)
	}
}

// childAsked makes the Child SA that the peer asks for, or returns the error
// notify, or sets x.group and waits for the key agreement.
func (e *Endpoint) childAsked(sa *SA, x *creation, ni []byte, a *Answer) wire.Notify {
	m := &e.msg
	old, n := e.judgeChild(sa)
	if n.Type != 0 {
		return n
	}
	o, refusal := e.acceptChild(sa, old)
	switch {
	case refusal != 0:
		return wire.Notify{Type: refusal}
	case o.suite.KE != wire.KENone && o.suite.KE != m.group(): // RFC 7296 1.3 //rfc:7296-1.3-2
		return wire.Notify{Type: wire.NotifyInvalidKEPayload, Data: binary.BigEndian.AppendUint16(nil, uint16(o.suite.KE))}
	}
	if x.group = o.suite.KE; x.group != wire.KENone && a == nil {
		return wire.Notify{}
	}
	var shared, public []byte
	if a != nil {
		shared, public = a.Shared, a.Public
	}
	nr := e.nonce(e.scratch.nonce[:0])
	o.in, o.waits = e.newESPSPI(), true //rfc:7296-2.8-5
	e.keymat(sa, &o, shared, ni, nr)
	clear(shared)
	w := e.compose(sa, wire.ExchangeCreateChildSA, true, sa.recv.Next())
	own := spiBytes(o.in)
	addMode(w, o.straight)
	w.SA(propose.SpecOfESP(e.scratch.chosen[:0], o.suite, o.num, own[:]))
	w.Nonce(nr)
	if x.group != wire.KENone {
		w.KE(wire.KE{Group: x.group, Data: public})
	}
	e.addSelectors(w, o)
	msg := e.protect(sa, 0)
	if old != nil {
		e.replacedByPeer(sa, old.in, o.in, ni, nr)
	}
	k := e.install(sa, o) // we receive before the peer may send (RFC 7296 2.8) //rfc:7296-2.8-4
	e.event(sa, Event{Kind: EventChild, Child: sa.conn.policy(k.ts).Child})
	e.respond(sa, msg)
	return wire.Notify{}
}

// judgeChild says which Child SA the request at hand replaces, and whether it
// can be answered now (RFC 7296 2.25.1, 2.25.2).
func (e *Endpoint) judgeChild(sa *SA) (old *child, refusal wire.Notify) {
	n, rekey := e.msg.note(wire.NotifyRekeySA)
	if rekey {
		if n.Protocol == wire.ProtocolESP && len(n.SPI) == 4 {
			old = sa.childOut(binary.BigEndian.Uint32(n.SPI))
		}
		if old == nil {
			return nil, wire.Notify{Protocol: n.Protocol, Type: wire.NotifyChildSANotFound, SPI: n.SPI} //rfc:7296-2.25-3
		}
	}
	switch count := 1 + len(sa.more()); {
	case sa.state != stateEstablished, sa.rekeysIKE(), old != nil && old.phase == phaseClosing: //rfc:7296-2.25.1-1 7296-2.25.2-3
		return nil, wire.Notify{Type: wire.NotifyTemporaryFailure}
	case count >= maxChildren: //rfc:7296-1.3-4
		e.drop(DropFull)
		return nil, wire.Notify{Type: wire.NotifyNoAdditionalSAs}
	}
	return old, wire.Notify{}
}

// askedAnswer goes on when the key agreement of the peer's request is done.
func (e *Endpoint) askedAnswer(sa *SA, a *Answer) {
	x := sa.cold.theirs
	sa.cold.theirs = nil
	switch {
	case errors.Is(a.Err, ErrBusy): // as if the request had not come
		e.drop(DropFull)
	case a.Err != nil: // a public value that RFC 6989 refuses
		e.refuseCreation(sa, wire.Notify{Type: wire.NotifyInvalidSyntax})
	default:
		_ = e.msg.sort(createRequest, x.first, x.plain)
		e.createAsked(sa, x.first, x.plain, a)
	}
	e.thaw(sa)
}
