package ike

import (
	"encoding/binary"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// The rekey of an IKE SA, RFC 7296 1.3.2, 2.8.2 and 2.18. The new SA is the
// heir of the old one: Child SAs, lineage, tunnel, path and identity are its
// own from the moment that it exists. What is left of the old SA waits for its
// DELETE, which whoever began sends as its last request.
//
//	-> CREATE_CHILD_SA SK {SA, Ni, KEi [, N(TICKET_REQUEST)]}
//	<- CREATE_CHILD_SA SK {SA, Nr, KEr [, N(QCD_TOKEN)] [, N(TICKET_LT_OPAQUE)]}
//	-> INFORMATIONAL SK {D}              on the old SA
//	-> INFORMATIONAL SK {N(QCD_TOKEN)}   on the new one
//
// The tickets of the old SA die with it (RFC 5723 6.2, rule D5): at the gateway
// when it knows that its peer has the heir, at the client at once. The client
// asks for the next in the same exchange, or by INFORMATIONAL after a rekey that
// the gateway began (RFC 5723 4.1).

// heirOffer is what the peer has chosen for the heir.
type heirOffer struct {
	suite suite.Suite
	spi   wire.SPI // the peer's
}

// replaced reports whether sa has an heir.
func (sa *SA) replaced() bool { return sa.cold != nil && sa.cold.heir != 0 }

// addRekey adds what our request says.
func (e *Endpoint) addRekey(w *wire.Writer, sa *SA, x *creation) {
	w.SA(propose.Specs(sa.conn.IKE, binary.BigEndian.AppendUint64(nil, uint64(x.spi)))...)
	w.Nonce(x.ni)
	w.KE(wire.KE{Group: x.group, Data: x.pair.Public()}) //rfc:7296-1.3.2-1
	if sa.Client && sa.conn.Tickets {                    //rfc:5723-4.1-3
		w.Notify(wire.Notify{Type: wire.NotifyTicketRequest}) //rfc:5723-4.1-2
	}
}

// checkHeir takes the SA payload of the response at hand: one of our proposals.
func (e *Endpoint) checkHeir(sa *SA) (h heirOffer, err error) {
	choice, err := wire.ParseSA(e.msg.sa)
	if err != nil {
		return h, errMalformed
	}
	if h.suite, err = propose.CheckIKE(choice, sa.conn.IKE); err != nil {
		return h, err
	}
	for p := range choice.Proposals() {
		h.spi = heirSPI(p)
	}
	if h.spi == 0 || e.msg.nonce == nil {
		return h, errMalformed
	}
	return h, nil
}

// heirSPI is the SPI in a proposal for an IKE SA, 0 without one.
func heirSPI(p wire.Proposal) wire.SPI {
	if len(p.SPI) != 8 {
		return 0
	}
	return wire.SPI(binary.BigEndian.Uint64(p.SPI))
}

// rekeyed goes on when the peer has accepted our rekey. If it has begun one at
// the same time, the nonces choose between the two heirs.
func (e *Endpoint) rekeyed(sa *SA, x *creation, h heirOffer, shared []byte) {
	m := &e.msg
	heir := e.spawn(true, x.spi)
	heir.spi.R = h.spi
	e.deriveHeir(sa, heir, h.suite, shared, x.ni, m.nonce)
	rival := e.sa(x.rival.sa)
	lost := rival != nil && x.rival.beats(x.ni, m.nonce) //rfc:7296-2.8.2-1
	from := sa
	if rival != nil {
		from = rival
	}
	over := from.state != stateEstablished || rival == nil && x.rival.sa != 0 // deleted meanwhile
	e.forget(sa)
	if lost { // the peer deletes sa, and we what we have made
		e.copyTo(heir, sa)
		e.chill(heir).heir = rival.handle()
		e.deleteSA(heir)
		return
	}
	e.inherit(from, heir) //rfc:7296-2.8.2-2
	if rival != nil {     // its creator deletes it, or never hears that it is there
		e.leave(sa, heir)
		rival.endAt = e.now + int64(e.cfg.Timers.Linger)
		e.schedule(rival)
	}
	e.takeTokens(heir)
	e.request(heir, requestToken) //rfc:6290-4.3-2
	e.heirTicket(heir)
	e.raise(heir, heir.serial, false) //rfc:5723-6.2-3
	if over {
		e.deleteSA(heir)
	}
	if sa.state == stateDeleting { // its DELETE has waited for this answer
		e.request(sa, requestDelete)
	} else {
		e.deleteSA(sa)
	}
	e.nextRequest(heir)
}

// rekeyAsked makes the heir that the peer asks for, or returns the error
// notify, or sets x.group and waits for the key agreement.
func (e *Endpoint) rekeyAsked(sa *SA, x *creation, proposals wire.SA, ni []byte, a *Answer) wire.Notify {
	m := &e.msg
	if sa.state != stateEstablished || sa.replaced() || sa.touchesChildren() { //rfc:7296-2.8.2-3 7296-2.25.1-4 7296-2.25.2-1
		return wire.Notify{Type: wire.NotifyTemporaryFailure}
	}
	s, num, err := propose.SelectIKE(proposals, sa.conn.IKE, m.group())
	if err != nil {
		return wire.Notify{Type: wire.NotifyNoProposalChosen}
	}
	if s.KE != m.group() { //rfc:7296-2.18-1
		return wire.Notify{Type: wire.NotifyInvalidKEPayload, Data: binary.BigEndian.AppendUint16(nil, uint16(s.KE))}
	}
	peer := wire.SPI(0)
	for p := range proposals.Proposals() {
		if p.Num == num {
			peer = heirSPI(p)
		}
	}
	if peer == 0 {
		return wire.Notify{Type: wire.NotifyInvalidSyntax}
	}
	if x.group = s.KE; a == nil {
		return wire.Notify{}
	}
	own, ok := e.newSPI()
	if !ok {
		return wire.Notify{Type: wire.NotifyTemporaryFailure}
	}
	e.acceptRekey(sa, heirOffer{s, peer}, num, own, ni, a)
	return wire.Notify{}
}

// acceptRekey makes the heir, and answers.
func (e *Endpoint) acceptRekey(sa *SA, h heirOffer, num uint8, own wire.SPI, ni []byte, a *Answer) {
	nr := e.nonce(nil)
	heir := e.spawn(false, own)
	heir.spi.I = h.spi
	e.deriveHeir(sa, heir, h.suite, a.Shared, ni, nr)
	ours := e.oursToo(sa)
	asked := e.msg.has(wire.NotifyTicketRequest)
	e.inherit(sa, heir)
	e.chill(heir).elder = sa.handle()
	if ours != nil {
		ours.rival = rival{sa: heir.handle(), low: append([]byte(nil), lower(ni, nr)...)} //rfc:7296-2.25.2-2
	}
	w := e.compose(sa, wire.ExchangeCreateChildSA, true, sa.recv.Next())
	spec := propose.SpecOf(h.suite, num)
	spec.SPI = binary.BigEndian.AppendUint64(nil, uint64(own))
	w.SA(spec)
	w.Nonce(nr)
	w.KE(wire.KE{Group: h.suite.KE, Data: a.Public})
	e.addToken(w, heir) //rfc:6290-4.3-1
	switch {
	case asked && ours != nil: // it may lose: not now (rule D9)
		w.Notify(wire.Notify{Type: wire.NotifyTicketACK})
	case asked:
		e.addTicket(w, heir)
	}
	e.respond(sa, e.protect(sa, 0))
	sa.endAt = e.now + int64(e.cfg.Timers.EndGrace)
	e.schedule(sa)
	if heir.tun != nil {
		e.forgetTicket(heir.tun)
	}
}

// oursToo is our own rekey of sa if it is out; one that has not left never will.
func (e *Endpoint) oursToo(sa *SA) *creation {
	c := sa.cold
	if c == nil || c.ours == nil {
		return nil
	}
	if c.ours.sent {
		return c.ours
	}
	e.forget(sa)
	return nil
}

// deriveHeir makes the keys of the heir: SKEYSEED with the PRF of the old SA,
// the rest with its own (RFC 7296 2.18).
func (e *Endpoint) deriveHeir(sa, heir *SA, s suite.Suite, shared, ni, nr []byte) {
	heir.suite = s
	suite.DeriveRekey(e.prf(sa.suite), e.prf(s), s, &e.scratch.keys, sa.keys.D(sa.suite), shared, ni, nr, uint64(heir.spi.I), uint64(heir.spi.R)) //rfc:7296-2.18-2
	e.takeKeys(heir)
	clear(shared)
}

// copyTo gives to what it has in common with from.
func (e *Endpoint) copyTo(to, from *SA) {
	to.state, to.born, to.heard, to.lastKE = stateEstablished, e.wall, e.now, e.wall
	to.conn, to.peer, to.cert = from.conn, from.peer, from.cert
	to.Client, to.form, to.method = from.Client, from.form, from.method
	to.marker, to.frag, to.rollCall, to.behind, to.natted = from.marker, from.frag, from.rollCall, from.behind, from.natted
	to.redirects, to.mobike, to.local, to.remote = from.redirects, from.mobike, from.local, from.remote
	to.fullAuth, to.reauth = from.fullAuth, from.reauth //rfc:4478-2-4
	e.counts.established++
	if to.redirects {
		e.counts.redirects++
	}
	e.rememberPeer(to)
	e.keyLog(to)
	e.reload.again = e.reload.at != 0 && (e.reload.again || e.successor(to.conn).conn != to.conn)
}

// inherit makes to the heir of from.
func (e *Endpoint) inherit(from, to *SA) {
	if to.state != stateEstablished {
		e.copyTo(to, from)
	}
	to.lineage, to.claimed, to.serial = from.lineage, from.serial, from.serial+1
	if e.lineages.Get(to.lineage) == from.slot+1 {
		e.lineages.Put(to.lineage, to.slot+1)
	}
	to.confirm = !to.Original
	login := from.endAt
	if life := from.conn.Lifetime; from.reauth == 0 || life > 0 && login > e.now+e.until(from.born+int64(life/1e9)) {
		login = 0 // it was the lifetime of the keys that ended first
	}
	e.handDown(from, to)
	e.leave(from, to)
	if t := from.tun; t != nil {
		to.tun, from.tun = t, nil
		if t.sa == from.handle() {
			t.sa = to.handle()
		} else {
			t.old = to.handle()
		}
	}
	e.noteRollCall(to)
	e.noteChildren(to)
	e.planCheck(to)
	e.planEnd(to)
	to.endAt = sooner(login, to.endAt)
	e.planRekey(to)
	e.event(to, Event{Kind: EventRekeyed, Old: from.spi})
	if e.leaves(to) { // the client heeds no REDIRECT on the old one any more
		e.request(to, requestRedirect)
	}
}

// handDown moves the Child SAs, and what waits to be said about them.
func (e *Endpoint) handDown(from, to *SA) {
	for k := range from.installed {
		e.children.Put(k.in, to.slot+1)
		e.outbound.Put(k.out, to.slot+1)
	}
	e.pin(from, to.local, to.remote)
	to.child, from.child = from.child, child{}
	c := from.cold
	if c == nil {
		return
	}
	d := e.chill(to)
	d.more, d.waiting, d.wants = c.more, c.waiting, c.wants
	d.created = c.created
	c.more, c.waiting, c.wants = nil, nil, nil
	e.thaw(to)
}

// leave makes from an SA that only waits for its end.
func (e *Endpoint) leave(from, to *SA) {
	e.chill(from).heir = to.handle()
	from.rekeyAt, from.renewAt, from.checkAt, from.confirmAt, from.worn = 0, 0, 0, 0, false
	from.endAt = e.now + int64(e.cfg.Timers.EndGrace)
	if e.cfg.RollCall != RollCallOff {
		e.record(from, Record{Kind: RecordRollCallGone, Slot: int(from.slot)})
		e.record(from, Record{Kind: RecordChildGone, Slot: int(from.slot)})
	}
	e.schedule(from)
}

// heirTicket takes the ticket of the heir at the client; without one the old
// goes, and the next is asked for.
func (e *Endpoint) heirTicket(heir *SA) {
	t := heir.tun
	if t == nil {
		return
	}
	if _, ok := e.msg.granted(); !ok {
		e.forgetTicket(t)
	}
	e.takeTicket(heir)
	answered := e.msg.has(wire.NotifyTicketACK) || e.msg.has(wire.NotifyTicketNACK) || t.hasTicket()
	if heir.conn.Tickets && !answered {
		e.request(heir, requestTicket)
	}
}

// contested is the SA that heir replaces, while our own rekey of it is open and
// nobody knows yet which of the two stays; or nil.
func (e *Endpoint) contested(heir *SA) *SA {
	if heir.cold == nil {
		return nil
	}
	elder := e.sa(heir.cold.elder)
	if elder == nil || elder.cold.ours == nil || elder.cold.ours.rival.sa != heir.handle() {
		return nil
	}
	return elder
}

// undone moves everything back to the SA that the ending sa was to replace: the
// peer has compared the nonces before us, and has deleted what it made.
func (e *Endpoint) undone(sa *SA) (back *SA) {
	if back = e.contested(sa); back == nil {
		return nil
	}
	back.cold.ours.rival = rival{}
	e.inherit(sa, back)
	back.cold.heir = 0
	return back
}

// unknown is the heir of sa while its peer is not known to have it; or nil.
func (e *Endpoint) unknown(sa *SA) *SA {
	if sa.cold == nil {
		return nil
	}
	heir := e.sa(sa.cold.heir)
	if heir == nil || heir.cold == nil || heir.cold.elder != sa.handle() {
		return nil
	}
	return heir
}

// known ends the waiting of an heir: its peer has it, or the SA that it replaces
// is gone.
func (e *Endpoint) known(heir *SA) {
	if c := heir.cold; c != nil && c.elder != 0 && e.contested(heir) == nil {
		c.elder = 0
		e.nextRequest(heir)
	}
}

// end is why an SA is over: an SA that has an heir ends as it should.
func (sa *SA) end(why string) string {
	if sa.replaced() {
		return "rekeyed"
	}
	return why
}
