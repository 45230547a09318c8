package ike

import (
	"encoding/binary"
	"errors"
	"slices"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// CREATE_CHILD_SA, RFC 7296 1.3 and 2.8, both roles. What it makes is a Child
// SA, a Child SA in the place of another, or an IKE SA in the place of this one:
//
//	-> CREATE_CHILD_SA SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}
//	<- CREATE_CHILD_SA SK {SA, Nr, [KEr,] TSi, TSr}
//	-> INFORMATIONAL SK {D}        the old one, by whoever has begun
//	<- INFORMATIONAL SK {D}
//
// What we begin is here, what the peer begins in rekey_peer.go. The rekey of an
// IKE SA is in heir.go, when one is due in lifetime.go, and what happens when
// both sides begin at once in collide.go.

// creation is one CREATE_CHILD_SA under way, ours or the peer's.
type creation struct {
	ike      bool   // an IKE SA is made
	old      uint32 // inbound SPI of the Child SA that is replaced; 0: none is
	ts       *selectors
	in       uint32   // our SPI of the new Child SA
	spi      wire.SPI // our SPI of the new IKE SA
	ni       []byte
	group    wire.TransformID // KENone: no key exchange
	pair     *suite.KeyPair
	again    bool // the peer named that group
	sent     bool
	question uint64
	first    wire.PayloadType
	plain    []byte // the message that waits for an answer
	rival    rival  // of the peer, for the same
}

// pursue begins what sa is due for, unless something is under way.
func (e *Endpoint) pursue(sa *SA) {
	if sa.state != stateEstablished || sa.replaced() || sa.tun != nil && sa.tun.sa != sa.handle() {
		return
	}
	if !sa.lacks() {
		e.part(sa)
	}
	for k := range sa.installed {
		if k.toBeReleased() {
			e.request(sa, requestRelease)
			break
		}
	}
	c := sa.cold
	if c != nil && c.ours != nil {
		return
	}
	for k := range sa.installed {
		if k.worn && k.phase == phaseUp && !k.waits {
			e.create(sa, &creation{old: k.in, ts: k.ts, group: firstGroup(sa.conn.policy(k.ts).ESP)})
			return
		}
	}
	if sa.worn {
		e.create(sa, &creation{ike: true, group: sa.suite.KE})
	} else if w := sa.firstWanted(); w != nil {
		e.create(sa, &creation{ts: w.ts, group: firstGroup(sa.conn.policy(w.ts).ESP)})
	}
}

// firstGroup is the key exchange that a Child SA of ours begins with.
func firstGroup(list []propose.ESP) wire.TransformID {
	if len(list) == 0 || len(list[0].KE) == 0 {
		return wire.KENone
	}
	return list[0].KE[0]
}

// create begins a creation of ours: with a key pair, if it needs one.
func (e *Endpoint) create(sa *SA, x *creation) {
	e.chill(sa).ours = x
	x.ni = e.nonce(nil)
	if x.ike {
		x.spi, _ = e.newSPI()
	}
	switch {
	case x.ike && x.spi == 0: // until the next epoch (rule B1)
		e.createRefused(sa, x, &PeerError{wire.NotifyTemporaryFailure})
		return
	case x.group == wire.KENone:
		e.request(sa, requestCreate)
		return
	}
	x.question = e.question(sa, Question{Kind: AskKeyPair, Group: x.group})
}

// stands reports whether our creation is still of use when its turn has come.
func (sa *SA) stands(x *creation) bool {
	if x == nil || sa.replaced() {
		return false
	}
	k := sa.childIn(x.old)
	return x.old == 0 || k != nil && k.phase == phaseUp
}

// addCreation adds what our CREATE_CHILD_SA request says (RFC 7296 1.3).
func (e *Endpoint) addCreation(w *wire.Writer, sa *SA) {
	x := sa.cold.ours
	x.sent = true
	if x.ike {
		e.addRekey(w, sa, x)
		return
	}
	x.in = e.newESPSPI()
	e.children.Put(x.in, sa.slot+1)
	if x.old != 0 {
		old := spiBytes(x.old)
		w.Notify(wire.Notify{Protocol: wire.ProtocolESP, Type: wire.NotifyRekeySA, SPI: old[:]}) //rfc:7296-1.3.3-1
	}
	own := spiBytes(x.in)
	addMode(w, e.mayBeTransport(sa, sa.conn.policy(x.ts)))
	w.SA(propose.SpecsChild(sa.conn.policy(x.ts).ESP, own[:])...)
	w.Nonce(x.ni)
	if x.pair != nil {
		w.KE(wire.KE{Group: x.group, Data: x.pair.Public()}) //rfc:7296-1.3-1
	}
	e.offerSelectors(w, sa, x.ts) //rfc:7296-2.9.2-2
}

// forget ends our creation, whatever became of it.
func (e *Endpoint) forget(sa *SA) {
	x := sa.cold.ours
	if x == nil {
		return
	}
	delete(e.asked, x.question)
	if x.in != 0 && sa.childIn(x.in) == nil {
		e.children.Delete(x.in, sa.slot+1)
	}
	sa.cold.ours = nil
	// Its turn is not that of the next creation, whose key pair may not be made yet.
	sa.cold.waiting = slices.DeleteFunc(sa.cold.waiting, func(k requestKind) bool { return k == requestCreate })
	if r := e.sa(x.rival.sa); r != nil {
		e.known(r)
	}
}

// created takes the response to our CREATE_CHILD_SA. shared is nil until the
// key agreement is done; until then the exchange stays open.
func (e *Endpoint) created(sa *SA, first wire.PayloadType, plain, shared []byte) {
	m, x := &e.msg, sa.cold.ours
	if x == nil || x.question != 0 {
		e.drop(DropRepeat)
		return
	}
	if err := m.sort(createResponse, first, plain); err != nil {
		e.astray(sa, err)
		return
	}
	if m.sa == nil {
		n, ok := m.failure()
		if !ok {
			n = wire.NotifyInvalidSyntax
		}
		e.closeExchange(sa)
		e.createRefused(sa, x, &PeerError{n})
		e.nextRequest(sa)
		return
	}
	var o offer
	var h heirOffer
	var err error
	if x.ike {
		h, err = e.checkHeir(sa)
	} else {
		o, err = e.checkChild(sa, x.in, x.ts)
	}
	ke := o.suite.KE | h.suite.KE
	switch {
	case sa.state == stateDeleting && !x.ike: // and with it what the peer has made
		e.closeExchange(sa)
		e.forget(sa)
		e.nextRequest(sa)
	case err != nil:
		e.astray(sa, err)
	case ke != wire.KENone && (ke != x.group || m.group() != ke):
		e.astray(sa, errMalformed)
	case ke != wire.KENone && shared == nil:
		x.first, x.plain = first, append([]byte(nil), plain...)
		peer, _ := wire.ParseKE(m.ke)
		x.question = e.question(sa, Question{Kind: AskAgree, Pair: x.pair, Group: ke, Public: append([]byte(nil), peer.Data...)})
		sa.cold.open.at = 0
	case x.ike:
		e.closeExchange(sa)
		e.rekeyed(sa, x, h, shared)
	default:
		e.closeExchange(sa)
		e.childMade(sa, x, o, shared)
		e.nextRequest(sa)
	}
}

// closeExchange ends our open exchange.
func (e *Endpoint) closeExchange(sa *SA) {
	sa.cold.open = exchange{}
	sa.sent.Close()
}

// astray closes an IKE SA after an answer that we cannot take: the peer has an
// SA now that we have not (RFC 7296 2.25, RFC 6989 2.5).
func (e *Endpoint) astray(sa *SA, err error) {
	e.closeExchange(sa)
	e.forget(sa)
	e.event(sa, Event{Kind: EventRefused, Err: err})
	e.deleteSA(sa)
	e.nextRequest(sa)
}

// childMade takes the Child SA that we asked for. The old one goes, or, if the
// peer has rekeyed it at the same time, what the nonces say (RFC 7296 2.8.1).
func (e *Endpoint) childMade(sa *SA, x *creation, o offer, shared []byte) {
	nr := e.msg.nonce
	e.keymat(sa, &o, shared, x.ni, nr)
	clear(shared)
	lost := x.rival.beats(x.ni, nr) //rfc:7296-2.8.1-3
	o.waits = lost
	o.own = o.own || x.old == 0 && sa.carriesOf(o.of)
	e.install(sa, o).waits = false // the peer has it, even if we do not send by it //rfc:7296-2.8.1-2
	if declined(sa, &o) {
		e.close(sa, x.in) //rfc:7296-1.3.1-2
		e.createRefused(sa, x, errTunnel)
		return
	}
	if x.old == 0 {
		sa.wantsNoMore(x.ts)
		e.wantRest(sa, o, x.ts)
	}
	e.event(sa, Event{Kind: EventChild, Child: sa.conn.policy(x.ts).Child})
	e.forget(sa)
	if lost {
		e.close(sa, x.in)
		e.replaced(sa, x.old)
	} else {
		e.close(sa, x.old) //rfc:7296-2.8.1-4
		e.replaced(sa, x.rival.in)
	}
}

// close lets a Child SA be deleted by us, when the window allows it.
func (e *Endpoint) close(sa *SA, in uint32) {
	if k := sa.childIn(in); k != nil && k.phase < phaseClosing {
		k.phase, k.rekeyAt, k.endAt = phaseClosing, 0, 0
	}
}

// replaced leaves a Child SA to the peer, who has begun what stands in its
// place: it deletes it, or we do some time later.
func (e *Endpoint) replaced(sa *SA, in uint32) {
	if k := sa.childIn(in); k != nil && k.phase == phaseUp {
		k.phase, k.rekeyAt, k.endAt = phaseReplaced, 0, e.now+int64(e.cfg.Timers.EndGrace)
	}
}

// creationAnswer goes on when a key pair was made, or a secret agreed on.
func (e *Endpoint) creationAnswer(sa *SA, a *Answer) {
	c := sa.cold
	if c.theirs != nil && c.theirs.question == a.ID {
		e.askedAnswer(sa, a)
		return
	}
	x := c.ours
	x.question = 0
	switch {
	case a.Err == nil && a.Pair != nil:
		x.pair = a.Pair
		e.request(sa, requestCreate)
	case a.Err == nil:
		plain := x.plain
		x.plain = nil
		e.created(sa, x.first, plain, a.Shared)
	case x.pair == nil: // no pair: later
		e.createRefused(sa, x, &PeerError{wire.NotifyTemporaryFailure})
	case errors.Is(a.Err, ErrBusy): // the peer repeats its answer
		x.plain = nil
		c.open.at = e.now + int64(e.backoff(requestCreate).Delay(0, e.random()))
		e.schedule(sa)
	default:
		e.astray(sa, a.Err)
	}
}

// createRefused goes on after our CREATE_CHILD_SA came to nothing.
func (e *Endpoint) createRefused(sa *SA, x *creation, err error) {
	e.forget(sa)
	k, n := sa.childIn(x.old), notifyOf(err)
	switch {
	case x.rival.is(): // what the peer has made of it stands: RFC 7296 2.8.1, 2.8.2 //rfc:7296-2.8.1-5
		e.replaced(sa, x.old)
		return
	case n == wire.NotifyInvalidSyntax: // fatal in both peers: RFC 7296 2.21.3
		e.ended(sa, "the peer could not read us", true)
		return
	case n == wire.NotifyInvalidKEPayload && !x.again && e.otherChildGroup(sa, x):
		return
	case x.old != 0 && k == nil: // it is gone meanwhile
		return
	case x.old == 0 && !x.ts.whole() && n != wire.NotifyTemporaryFailure && sa.carriesOf(x.ts.of): // what was left out, which the peer does not want
		sa.wantsNoMore(x.ts)
		return
	case x.old != 0 && n == wire.NotifyChildSANotFound: // RFC 7296 2.25: drop it, and begin from scratch //rfc:7296-2.25-4
		e.removeChild(sa, k, OutputRemove)
		e.wantChild(sa, x.ts)
		return
	}
	if n != wire.NotifyTemporaryFailure {
		e.event(sa, Event{Kind: EventChildFailed, Child: sa.conn.policy(x.ts).Child, Err: err})
	}
	e.retry(sa, x, k, err)
}

// otherChildGroup begins x anew with the group that the peer named, if we have
// offered it.
func (e *Endpoint) otherChildGroup(sa *SA, x *creation) bool {
	n, _ := e.msg.note(wire.NotifyInvalidKEPayload)
	if len(n.Data) != 2 {
		return false
	}
	g := wire.TransformID(binary.BigEndian.Uint16(n.Data))
	offered := g != wire.KENone && slices.ContainsFunc(sa.conn.policy(x.ts).ESP, func(p propose.ESP) bool { return slices.Contains(p.KE, g) })
	if x.ike {
		offered = slices.ContainsFunc(sa.conn.IKE, func(p propose.IKE) bool { return slices.Contains(p.KE, g) })
	}
	if offered {
		e.create(sa, &creation{ike: x.ike, old: x.old, ts: x.ts, group: g, again: true}) //rfc:7296-1.3-3
	}
	return offered
}

// group is that of the KE payload, KENone without one.
func (m *message) group() wire.TransformID {
	if k, err := wire.ParseKE(m.ke); err == nil {
		return k.Group
	}
	return wire.KENone
}
