package ike

import (
	"encoding/binary"
	"slices"

	"blackswan/internal/suite"
	"blackswan/ticket"
	"blackswan/wire"
)

// The client's side of RFC 5723. The order of resume.go, from the other end.

// mayResume re-checks what the client can check before it shows a ticket: its
// expiry, and the gateway's certificate (RFC 5723 4.3.1, rule E8). It leaves
// the parsed session in e.session.
func (e *Endpoint) mayResume(t *tunnel) bool {
	if !t.hasTicket() || !t.conn.Tickets || e.wall >= t.expires { //rfc:5723-4.3.1-2
		return false
	}
	s := &e.session
	if ticket.ParseSession(t.session(), s) != nil || unfit(s, t.conn, t.own, true, e.wall) != nil {
		return false
	}
	return int(t.size)+resumeOverhead <= 1280-40-8 // RESUME cannot be fragmented (rule D12)
}

// resumeOverhead is a RESUME without its ticket: header, COOKIE, Ni, the
// notify's header, NAT detection, support notifies, Vendor ID, REDIRECTED_FROM.
const resumeOverhead = wire.HeaderLen + 8 + 64 + 4 + nonceLen + 8 + 2*28 + 8 + 20 + 4 + 8 + 2 + 16

// startResume sends IKE_SESSION_RESUME: from the path that the dead SA used at
// first, because a NAT may know no other (rule C4).
func (e *Endpoint) startResume(t *tunnel) {
	s := &e.session
	sa := e.newSA(true) // SPIi is new: RFC 5723 4.3.2 //rfc:5723-4.3.2-6 5723-5-7 5723-5-25
	if sa == nil {
		e.later(t, e.now+int64(e.cfg.Timers.CrowdStep))
		return
	}
	t.sa = sa.handle()
	sa.tun, sa.conn, sa.state, sa.resumed = t, t.conn, stateInit, true
	e.path(sa, t)
	e.restore(sa, s)
	sa.peer = append([]byte{s.IDr.Type}, s.IDr.Data...)
	hf := e.spare.halves.take()
	sa.half = hf
	hf.resume = true
	hf.ni = e.nonce(hf.ni)
	hf.anew = t.mapped
	e.sendFirst(sa, e.resumeRequestMessage(sa))
	e.event(sa, Event{Kind: EventResuming, By: t.by})
}

// resumeRequestMessage builds message 1 anew, with the COOKIE if one is known:
// AUTH covers the last message 1 (rule E1).
func (e *Endpoint) resumeRequestMessage(sa *SA) []byte {
	hf, t := sa.half, sa.tun
	at := len(e.arena)
	w := wire.NewWriter(e.arena, wire.Header{SPIi: sa.spi.I, Version: wire.Version, Exchange: wire.ExchangeSessionResume, Flags: wire.FlagInitiator})
	if len(hf.cookie) > 0 {
		w.Notify(wire.Notify{Type: wire.NotifyCookie, Data: hf.cookie})
	}
	w.Nonce(hf.ni)
	w.Notify(wire.Notify{Type: wire.NotifyTicketOpaque, Data: t.ticket()}) //rfc:5723-7-1 5723-7.2-1
	if !sa.conn.Libreswan {
		e.addDetection(&w, sa, Packet{Local: sa.local.addrPort(), Remote: sa.remote.addrPort()}) //rfc:5723-4.3.2-11 5723-4.3.2-12
		e.addSupport(&w, sa, false)                                                              //rfc:5723-5-16
	}
	e.addRedirect(&w, t)
	w.Finish()
	e.arena = w.Buf
	return e.arena[at:]
}

// resumeAnswer takes an answer to our RESUME: nothing in it is authenticated,
// so each different one is a candidate that must prove itself in IKE_AUTH
// (rule E6).
func (e *Endpoint) resumeAnswer(sa *SA, p Packet, h wire.Header) {
	hf := sa.half
	if err := e.msg.sort(resumeResponse, h.NextPayload, p.Data[wire.HeaderLen:]); err != nil {
		e.drop(DropMalformed)
		return
	}
	nr, err := wire.ParseNonce(e.msg.nonce)
	switch {
	case e.msg.nonce != nil && err == nil && h.SPIr != 0:
		e.resumeCandidate(sa, p, h, nr)
	case e.msg.has(wire.NotifyCookie):
		e.cookieAsked(sa)
	case e.msg.has(wire.NotifyRedirect) && len(hf.candidates) == 0:
		e.redirectedFirst(sa)
	case e.msg.has(wire.NotifyTicketNACK): //rfc:5723-4.3.2-5
		if !hf.nacked && len(hf.candidates) == 0 {
			hf.nacked = true // forgeable: a valid Nr still wins
			hf.nackAt = e.now + int64(e.cfg.Timers.NackWait)
			e.schedule(sa)
		}
	default:
		e.drop(DropState)
	}
}

// resumeCandidate derives the keys of one answer and sends its IKE_AUTH.
func (e *Endpoint) resumeCandidate(sa *SA, p Packet, h wire.Header, nr []byte) {
	hf := sa.half
	for i := range hf.candidates {
		if hf.candidates[i].spir == h.SPIr {
			return // a repeated answer
		}
	}
	s := &e.session
	if len(hf.candidates) == maxCandidates || ticket.ParseSession(sa.tun.session(), s) != nil {
		e.drop(DropFull)
		return
	}
	sa.spi.R = h.SPIr
	e.learnFirst(sa)
	c := hf.another()
	c.spir, c.frag, c.ours, c.nat = h.SPIr, sa.frag, sa.rollCall, sa.behind
	c.nr = append(c.nr, nr...)
	prf := e.prf(sa.suite)
	suite.DeriveResume(prf, sa.suite, &e.scratch.keys, s.SKd, hf.ni, c.nr, uint64(sa.spi.I), uint64(sa.spi.R)) //rfc:5723-5-11
	e.authValues(sa, prf, suite.AuthInput{Message: hf.msg1, Nonce: c.nr}, suite.AuthInput{Message: p.Data, Nonce: hf.ni}, sa.conn.Libreswan)
	e.takeKeys(sa)
	own, want := hf.authI, hf.authR
	if sa.conn.Libreswan {
		own, want = hf.short[0], hf.short[1] // the client takes the form from its configuration (rule F1)
	}
	c.keys, c.want = sa.keys, want
	e.keyLog(sa)
	if e.floats(sa) { //rfc:5723-4.3.2-13
		e.float(sa)
	}
	sa.state = stateAuth
	e.composeAuth(sa, wire.Auth{Method: wire.AuthSharedKey, Data: own.bytes()}, nil) //rfc:5723-4.3.2-1 5723-4.3.3-1
	c.req = append(c.req, e.protect(sa, 0)...)
	e.openAuth(sa, c.req)
	if hf.silentAt == 0 {
		hf.silentAt = e.now + int64(e.cfg.Timers.AuthSilence)
	}
	hf.nacked, hf.nackAt = false, 0
	e.schedule(sa)
}

// another is one more candidate, with the room that one of an earlier half had.
func (h *half) another() *candidate {
	n := len(h.candidates)
	h.candidates = slices.Grow(h.candidates, 1)[:n+1]
	return &h.candidates[n]
}

// choose makes the candidate that answered IKE_AUTH the SA's. It reports
// false for an SPIr that is none of them.
func (e *Endpoint) choose(sa *SA, spir wire.SPI) bool {
	hf := sa.half
	if !hf.resume {
		return sa.spi.R == spir
	}
	for i := range hf.candidates {
		if c := &hf.candidates[i]; c.spir == spir {
			sa.spi.R, sa.keys, sa.frag, sa.rollCall, sa.behind = spir, c.keys, c.frag, c.ours, c.nat
			hf.nr = append(hf.nr[:0], c.nr...)
			hf.authR = c.want
			return true
		}
	}
	return false
}

// resumedAnswer verifies the gateway's IKE_AUTH after a resume.
func (e *Endpoint) resumedAnswer(sa *SA) error {
	m, hf := &e.msg, sa.half
	if !sameID(m.idr, sa.peer) { //rfc:5723-4.3.3-5 5723-5-2
		return errIdentity
	}
	auth, err := wire.ParseAuth(m.auth)
	if err != nil || auth.Method != wire.AuthSharedKey {
		return errForged
	}
	if !equal(auth.Data, hf.authR.bytes()) {
		return errForged
	}
	if sa.conn.Libreswan {
		sa.form = formShort
	}
	return nil
}

// takeTicket stores a ticket and everything that the client needs beside it
// (RFC 5723 4.2): only when the exchange was successful.
func (e *Endpoint) takeTicket(sa *SA) {
	d, ok := e.msg.granted()
	t := sa.tun
	if !ok || t == nil {
		if e.msg.has(wire.NotifyTicketACK) && t != nil { // not now: ask by INFORMATIONAL (RFC 5723 4.1)
			e.request(sa, requestTicket) //rfc:5723-4.1-10
		}
		return
	}
	life := int64(binary.BigEndian.Uint32(d))
	s := &e.session
	e.remember(sa, s)
	s.Expires = e.wall + life
	if sa.reauth != 0 {
		s.Expires = min(s.Expires, sa.reauth)
	}
	e.scratch.session = s.Append(e.scratch.session[:0])
	t.keep(d[4:], e.scratch.session, s.Expires) //rfc:5723-4.2-4
	clear(e.scratch.session)
	t.mapped = true
	t.local, t.remote, t.marker = sa.local, sa.remote, sa.marker
	if sa.conn.Renewal == RenewalAsk {
		sa.renewAt = e.now + (s.Expires-e.wall)*75e7 // at three quarters of its life
	}
	e.record(sa, Record{Kind: RecordTicket, Durable: true, Connection: sa.conn, Ticket: t.ticket(), Session: t.session(), Expires: t.expires})
	e.event(sa, Event{Kind: EventTicket})
	e.schedule(sa)
}

// granted is what TICKET_LT_OPAQUE holds, if it is a ticket that the client
// takes: 4 octets of lifetime, and the ticket.
func (m *message) granted() ([]byte, bool) {
	n, ok := m.note(wire.NotifyTicketLTOpaque)
	return n.Data, ok && len(n.Data) > 4 && len(n.Data)-4 <= maxForeignTicket && binary.BigEndian.Uint32(n.Data) != 0
}

// maxForeignTicket is the largest ticket that the jar keeps (rule D12).
const maxForeignTicket = 4096

// forgetTicket wipes t's ticket, in memory and in the jar (RFC 5723 6.2).
func (e *Endpoint) forgetTicket(t *tunnel) {
	if !t.hasTicket() {
		return
	}
	clear(t.kept)
	t.kept, t.size, t.expires = nil, 0, 0
	e.record(nil, Record{Kind: RecordTicketGone, Durable: true, Connection: t.conn})
}
