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
// The rekey of an IKE SA is in heir.go, when one is due in lifetime.go, and
// what happens when both sides begin at once in collide.go.

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
			e.create(sa, &creation{old: k.in, ts: k.ts, group: firstGroup(sa.conn.ESP)})
			return
		}
	}
	switch {
	case sa.worn:
		e.create(sa, &creation{ike: true, group: sa.suite.KE})
	case c != nil && c.makes:
		e.create(sa, &creation{ts: c.wants, group: firstGroup(sa.conn.ESP)})
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
		e.createRefused(sa, x, wire.NotifyTemporaryFailure)
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
	e.children[x.in] = sa.slot
	if x.old != 0 {
		old := spiBytes(x.old)
		w.Notify(wire.Notify{Protocol: wire.ProtocolESP, Type: wire.NotifyRekeySA, SPI: old[:]})
	}
	own := spiBytes(x.in)
	w.SA(propose.SpecsChild(sa.conn.ESP, own[:])...)
	w.Nonce(x.ni)
	if x.pair != nil {
		w.KE(wire.KE{Group: x.group, Data: x.pair.Public()})
	}
	e.offerSelectors(w, sa, x.ts)
}

// forget ends our creation, whatever became of it.
func (e *Endpoint) forget(sa *SA) {
	x := sa.cold.ours
	if x == nil {
		return
	}
	delete(e.asked, x.question)
	if x.in != 0 && sa.childIn(x.in) == nil {
		delete(e.children, x.in)
	}
	sa.cold.ours = nil
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
		e.createRefused(sa, x, n)
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
	lost := x.rival.beats(x.ni, nr)
	o.waits = lost
	o.own = o.own || x.old == 0 && sa.child.phase != phaseNone
	if x.old == 0 {
		sa.cold.makes, sa.cold.wants, sa.cold.tries = false, nil, 0
	}
	e.install(sa, o).waits = false // the peer has it, even if we do not send by it
	if x.old == 0 {
		e.wantRest(sa, o, x.ts)
	}
	e.event(sa, Event{Kind: EventChild})
	e.forget(sa)
	if lost {
		e.close(sa, x.in)
		e.replaced(sa, x.old)
	} else {
		e.close(sa, x.old)
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

// A peer may ask for so many SAs in so many seconds: each costs a key agreement.
const (
	mostCreations = 20
	createPeriod  = 10
)

// refuseCreation answers CREATE_CHILD_SA with an error; the SA stays as it is,
// but for an error that is fatal in both peers (RFC 7296 2.21.3).
func (e *Endpoint) refuseCreation(sa *SA, n wire.Notify) {
	e.event(sa, Event{Kind: EventRefused, Err: &LocalError{n.Type, "CREATE_CHILD_SA"}})
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
	case o.suite.KE != wire.KENone && o.suite.KE != m.group(): // RFC 7296 1.3
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
	o.in, o.waits = e.newESPSPI(), true
	e.keymat(sa, &o, shared, ni, nr)
	clear(shared)
	w := e.compose(sa, wire.ExchangeCreateChildSA, true, sa.recv.Next())
	own := spiBytes(o.in)
	w.SA(propose.SpecOfESP(o.suite, o.num, own[:]))
	w.Nonce(nr)
	if x.group != wire.KENone {
		w.KE(wire.KE{Group: x.group, Data: public})
	}
	e.addSelectors(w, o)
	msg := e.protect(sa, 0)
	if old != nil {
		e.replacedByPeer(sa, old.in, o.in, ni, nr)
	}
	e.install(sa, o) // we receive before the peer may send (RFC 7296 2.8)
	e.event(sa, Event{Kind: EventChild})
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
			return nil, wire.Notify{Protocol: n.Protocol, Type: wire.NotifyChildSANotFound, SPI: n.SPI}
		}
	}
	switch count := 1 + len(sa.more()); {
	case sa.rekeysIKE(), old != nil && old.phase == phaseClosing:
		return nil, wire.Notify{Type: wire.NotifyTemporaryFailure}
	case count >= maxChildren:
		e.drop(DropFull)
		return nil, wire.Notify{Type: wire.NotifyNoAdditionalSAs}
	}
	return old, wire.Notify{}
}

// creationAnswer goes on when a key pair was made, or a secret agreed on.
func (e *Endpoint) creationAnswer(sa *SA, a *Answer) {
	c := sa.cold
	if x := c.theirs; x != nil && x.question == a.ID {
		c.theirs = nil
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
		e.createRefused(sa, x, wire.NotifyTemporaryFailure)
	case errors.Is(a.Err, ErrBusy): // the peer repeats its answer
		x.plain = nil
		c.open.at = e.now + int64(e.backoff(requestCreate).Delay(0, e.random()))
		e.schedule(sa)
	default:
		e.astray(sa, a.Err)
	}
}

// createRefused goes on after our CREATE_CHILD_SA came to nothing.
func (e *Endpoint) createRefused(sa *SA, x *creation, n wire.NotifyType) {
	e.forget(sa)
	k := sa.childIn(x.old)
	switch {
	case x.rival.is(): // what the peer has made of it stands: RFC 7296 2.8.1, 2.8.2
		e.replaced(sa, x.old)
		return
	case n == wire.NotifyInvalidSyntax: // fatal in both peers: RFC 7296 2.21.3
		e.ended(sa, "the peer could not read us", true)
		return
	case n == wire.NotifyInvalidKEPayload && !x.again && e.otherChildGroup(sa, x):
		return
	case x.old != 0 && k == nil: // it is gone meanwhile
		return
	case x.old == 0 && x.ts != nil && n != wire.NotifyTemporaryFailure && sa.carries(): // another one, which the peer does not want
		sa.cold.makes, sa.cold.wants = false, nil
		return
	case x.old != 0 && n == wire.NotifyChildSANotFound: // RFC 7296 2.25: drop it, and begin from scratch
		e.removeChild(sa, k)
		e.wantChild(sa, x.ts)
		return
	}
	e.event(sa, Event{Kind: EventChildFailed, Err: &PeerError{n}})
	e.retry(sa, x, k, n == wire.NotifyTemporaryFailure)
}

// otherChildGroup begins x anew with the group that the peer named, if we have
// offered it.
func (e *Endpoint) otherChildGroup(sa *SA, x *creation) bool {
	n, _ := e.msg.note(wire.NotifyInvalidKEPayload)
	if len(n.Data) != 2 {
		return false
	}
	g := wire.TransformID(binary.BigEndian.Uint16(n.Data))
	offered := g != wire.KENone && slices.ContainsFunc(sa.conn.ESP, func(p propose.ESP) bool { return slices.Contains(p.KE, g) })
	if x.ike {
		offered = slices.ContainsFunc(sa.conn.IKE, func(p propose.IKE) bool { return slices.Contains(p.KE, g) })
	}
	if offered {
		e.create(sa, &creation{ike: x.ike, old: x.old, ts: x.ts, group: g, again: true})
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
