package ike

import (
	"cmp"
	"encoding/binary"
	"slices"

	"blackswan/internal/propose"
	"blackswan/wire"
)

// The initiator's side of IKE_SA_INIT, RFC 7296 1.2.

// startInit begins a full handshake; its key pair is a question.
func (e *Endpoint) startInit(t *tunnel) {
	sa := e.newSA(true)
	if sa == nil {
		e.later(t, e.now+int64(e.cfg.Timers.CrowdStep))
		return
	}
	t.sa, t.mapped = sa.handle(), false
	sa.tun, sa.conn, sa.state = t, t.conn, stateInit //rfc:5685-3-10 5685-3-11
	e.path(sa, t)
	sa.half = e.spare.halves.take()
	sa.half.ni = e.nonce(sa.half.ni)
	sa.half.group = t.conn.IKE[0].KE[0]
	e.ask(sa, Question{Kind: AskKeyPair, Group: sa.half.group})
}

// initiatorAnswer takes the key pair, or the shared secret.
func (e *Endpoint) initiatorAnswer(sa *SA, a *Answer) {
	hf := sa.half
	switch {
	case a.Err != nil:
		e.failed(sa, a.Err)
	case a.Pair != nil:
		hf.pair = a.Pair
		e.sendFirst(sa, e.initMessage(sa))
	default:
		e.deriveInit(sa, a.Shared)
		hf.pair = nil
		e.keyLog(sa)
		sa.state = stateAuth
		e.proveSelf(sa)
	}
}

// initMessage is IKE_SA_INIT: [N(COOKIE)], SAi1, KEi, Ni, notifies.
func (e *Endpoint) initMessage(sa *SA) []byte {
	hf := sa.half
	at := len(e.arena)
	w := wire.NewWriter(e.arena, wire.Header{SPIi: sa.spi.I, Version: wire.Version, Exchange: wire.ExchangeIKESAInit, Flags: wire.FlagInitiator})
	if len(hf.cookie) > 0 {
		w.Notify(wire.Notify{Type: wire.NotifyCookie, Data: hf.cookie})
	}
	w.SA(propose.Specs(sa.conn.IKE, nil)...) //rfc:7296-1.2-3
	w.KE(wire.KE{Group: hf.group, Data: hf.pair.Public()})
	w.Nonce(hf.ni)
	e.addDetection(&w, sa, Packet{Local: sa.local.addrPort(), Remote: sa.remote.addrPort()})
	e.addSupport(&w, sa, true)
	e.addRedirect(&w, sa.tun)
	w.Finish()
	e.arena = w.Buf
	return e.arena[at:]
}

// sendFirst sends message 1 and keeps it: AUTH covers it.
func (e *Endpoint) sendFirst(sa *SA, msg []byte) {
	sa.half.msg1 = append(sa.half.msg1[:0], msg...)
	if sa.sent.Idle() {
		_, _ = sa.sent.Open() // Message ID 0; a COOKIE or another group repeats it
	}
	c := e.chill(sa)
	c.open = exchange{kind: requestFirst, msgs: sa.half.msg1, at: e.now + int64(e.cfg.Timers.Retry.Delay(sa.weary(), e.random()))}
	e.sendSA(sa, sa.half.msg1)
	e.schedule(sa)
}

// firstAnswer takes an answer to our IKE_SA_INIT or IKE_SESSION_RESUME.
func (e *Endpoint) firstAnswer(sa *SA, p Packet, h wire.Header) {
	switch {
	case h.MessageID != 0 || sa.half == nil:
		e.drop(DropState)
	case sa.half.resume && h.Exchange == wire.ExchangeSessionResume:
		e.resumeAnswer(sa, p, h)
	case !sa.half.resume && sa.state == stateInit && h.Exchange == wire.ExchangeIKESAInit && sa.half.question == 0:
		e.initAnswer(sa, p, h)
	default:
		e.drop(DropState)
	}
}

func (e *Endpoint) initAnswer(sa *SA, p Packet, h wire.Header) {
	if err := e.msg.sort(initResponse, h.NextPayload, p.Data[wire.HeaderLen:]); err != nil {
		e.drop(DropMalformed)
		return
	}
	m, hf := &e.msg, sa.half
	switch {
	case m.sa != nil && m.ke != nil && m.nonce != nil && h.SPIr != 0:
		e.initAccepted(sa, p, h)
	case m.has(wire.NotifyCookie):
		e.cookieAsked(sa)
	case m.has(wire.NotifyRedirect):
		e.redirectedFirst(sa)
	case m.has(wire.NotifyInvalidKEPayload):
		n, _ := m.note(wire.NotifyInvalidKEPayload)
		if len(n.Data) != 2 || !e.otherGroup(sa, wire.TransformID(binary.BigEndian.Uint16(n.Data))) {
			e.drop(DropState)
		}
	default: // a refusal can be forged: a valid answer still wins for a while (RFC 7296 2.21.1)
		if n, ok := m.failure(); ok && !hf.nacked {
			hf.nacked, hf.refusal = true, n
			hf.nackAt = e.now + int64(e.cfg.Timers.NackWait) //rfc:7296-2.21-1
			e.schedule(sa)
		}
	}
}

// otherGroup begins anew with the group that the responder named, if it is one
// that we offered and have not tried (RFC 7296 1.2).
func (e *Endpoint) otherGroup(sa *SA, g wire.TransformID) bool {
	hf := sa.half
	offered := slices.ContainsFunc(sa.conn.IKE, func(p propose.IKE) bool { return slices.Contains(p.KE, g) })
	if !offered || g == hf.group || hf.cookies >= 8 {
		return false
	}
	hf.cookies++
	hf.group = g //rfc:7296-1.2-2
	e.melt(sa)
	e.ask(sa, Question{Kind: AskKeyPair, Group: g})
	return true
}

// cookieAsked sends message 1 again with the COOKIE before it (RFC 7296 2.6).
func (e *Endpoint) cookieAsked(sa *SA) {
	hf := sa.half
	n, _ := e.msg.note(wire.NotifyCookie)
	if len(n.Data) == 0 || len(n.Data) > 64 || hf.cookies >= 8 || len(hf.candidates) > 0 {
		e.drop(DropState)
		return
	}
	hf.cookies++
	hf.cookie = append(hf.cookie[:0], n.Data...) //rfc:7296-2.6-1
	if hf.resume {
		e.sendFirst(sa, e.resumeRequestMessage(sa))
	} else {
		e.sendFirst(sa, e.initMessage(sa))
	}
}

// initAccepted takes the responder's choice and asks for the shared secret.
func (e *Endpoint) initAccepted(sa *SA, p Packet, h wire.Header) {
	hf := sa.half
	choice, err := wire.ParseSA(e.msg.sa)
	ke, kerr := wire.ParseKE(e.msg.ke)
	nr, nerr := wire.ParseNonce(e.msg.nonce)
	if err != nil || kerr != nil || nerr != nil {
		e.drop(DropMalformed)
		return
	}
	s, err := propose.CheckIKE(choice, sa.conn.IKE)
	if err != nil || s.KE != hf.group || ke.Group != hf.group {
		e.drop(DropMalformed)
		return
	}
	if sa.tun.probing() {
		if !sa.tun.found {
			e.answered(sa)
			return
		}
		e.event(nil, Event{Kind: EventFallback, Connection: sa.conn, Owner: sa.tun.owner})
	}
	sa.suite, sa.spi.R = s, h.SPIr
	e.learnFirst(sa)
	hf.childless = sa.conn.Childless && e.msg.has(wire.NotifyChildlessIKEv2Supported)
	hf.nr = append(hf.nr[:0], nr...)
	hf.msg2 = append(hf.msg2[:0], p.Data...)
	hf.nacked, hf.nackAt = false, 0
	e.melt(sa)
	if e.floats(sa) {
		e.float(sa) //rfc:7296-2.23-3
	}
	e.ask(sa, Question{Kind: AskAgree, Pair: hf.pair, Group: hf.group, Public: append([]byte(nil), ke.Data...)})
}

// answered ends a probe: somebody is there, so the ticket is shown once more.
func (e *Endpoint) answered(sa *SA) {
	t := sa.tun
	e.discard(sa)
	t.found, t.unheard, t.silent = true, 0, 0
	e.attempt(t)
}

// float moves to UDP encapsulation's port (RFC 7296 2.23).
func (e *Endpoint) float(sa *SA) {
	if sa.marker {
		return
	}
	sa.marker = true
	sa.local.port, sa.remote.port = cmp.Or(sa.tun.nat, e.cfg.NATPort), sa.conn.GatewayNAT
}
