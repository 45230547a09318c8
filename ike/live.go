package ike

import (
	"blackswan/internal/window"
	"blackswan/wire"
)

// What time does to an SA: retransmission (RFC 7296 2.1) and the ends of
// half-open SAs and caches. Liveness is in liveness.go.

// tick does what is due for sa. It may end sa.
func (e *Endpoint) tick(sa *SA) {
	if due(sa.cacheAt, e.now) {
		e.forgetResponse(sa)
	}
	if due(sa.expires, e.now) && sa.half == nil {
		e.down(sa, "redirected", true)
		return
	}
	if due(sa.expires, e.now) {
		e.drop(DropExpired)
		e.failed(sa, errTimeout)
		return
	}
	e.expirePieces(sa)
	if c := sa.cold; c != nil && due(c.open.at, e.now) && !e.retransmit(sa) {
		return
	}
	if h := sa.half; h != nil {
		e.tickHalf(sa, h)
		return
	}
	if due(sa.confirmAt, e.now) {
		sa.confirmAt = 0
		e.request(sa, requestEmpty)
	}
	if due(sa.renewAt, e.now) {
		sa.renewAt = 0
		e.request(sa, requestTicket)
	}
	if due(sa.checkAt, e.now) {
		e.checkLiveness(sa)
	}
	if c := sa.cold; c != nil && due(c.partAt, e.now) {
		e.part(sa)
	}
	if due(sa.endAt, e.now) {
		sa.endAt = 0
		e.outlived(sa)
	}
	if sa.state == stateEstablished {
		e.tickAges(sa)
	}
}

func due(t, now int64) bool { return t != 0 && t <= now }

// tickHalf judges an attempt of ours that met refusal or silence.
func (e *Endpoint) tickHalf(sa *SA, h *half) {
	switch {
	case due(h.nackAt, e.now):
		if h.resume {
			e.failed(sa, &PeerError{wire.NotifyTicketNACK})
		} else {
			e.failed(sa, &PeerError{h.refusal})
		}
	case due(h.silentAt, e.now): // rule E6: a new RESUME, a new SPIi, the same ticket
		t := sa.tun
		t.silent++
		t.mapped = false
		e.discard(sa)
		if t.sa = 0; t.silent < maxSilent {
			e.attempt(t)
		} else { // a full handshake: rule E7
			e.later(t, e.now+1+e.within(int64(e.cfg.Timers.CrowdStep)))
		}
	}
}

func (e *Endpoint) backoff(kind requestKind) window.Backoff {
	if kind == requestEmpty {
		return e.cfg.Timers.Liveness
	}
	return e.cfg.Timers.Retry
}

// retransmit sends the open request again, or gives the SA up.
func (e *Endpoint) retransmit(sa *SA) bool {
	x := &sa.cold.open
	b := e.backoff(x.kind)
	x.try++
	if x.try >= e.tries(sa, b.Tries) && !e.patient(sa, x) {
		e.unanswered(sa)
		return false
	}
	x.at = e.now + int64(b.Delay(x.try+sa.weary(), e.random()))
	e.Repeated++
	if x.kind == requestAuth && sa.half != nil && sa.half.resume {
		for i := range sa.half.candidates {
			e.sendSA(sa, sa.half.candidates[i].req)
		}
		return true
	}
	e.sendSA(sa, x.msgs) //rfc:7296-2.1-3
	return true
}

// patient says that a mobile client is given more time than others (RFC 4555
// 3.11), but not while it is to go. An SA that has an heir waits for its DELETE,
// whatever else is open.
func (e *Endpoint) patient(sa *SA, x *exchange) bool {
	if sa.replaced() {
		return sa.state == stateEstablished
	}
	return sa.mobike && !sa.Client && sa.state == stateEstablished && e.now-x.began < patience //rfc:4555-3.11-1
}

// mayHaste says that giving sa up soon costs no login, or that nobody was ever
// heard on it.
func (sa *SA) mayHaste() bool {
	t := sa.tun
	return sa.confirm || t != nil && (t.hasTicket() || t.ways != nil && len(t.ways.paths) > 1)
}

// tries is how often the open request is sent at most.
func (e *Endpoint) tries(sa *SA, most int) int {
	h := sa.half
	switch {
	case sa.cold.open.hasty && sa.mayHaste():
		return min(most, hastyTries)
	case h == nil || sa.cold.open.kind != requestFirst:
		return most
	case h.resume && (h.anew || sa.conn.Libreswan):
		return min(most, 3) // two losses: another path (rule C4), or a peer that takes no copies
	case !h.resume && sa.tun.probing():
		return min(most, 2)
	}
	return most
}

// unanswered ends an SA whose peer is silent. It costs no ticket (rule D6).
func (e *Endpoint) unanswered(sa *SA) {
	t := sa.tun
	switch {
	case sa.half != nil:
		e.failed(sa, errTimeout)
	case sa.state == stateEstablished && e.nextPath(sa):
	case sa.state == stateDeleting:
		e.ended(sa, "deleted by us, unanswered", true)
	default:
		gone := sa.spi
		e.event(sa, Event{Kind: EventDetected, By: ByTimeout})
		e.down(sa, "the peer does not answer", true) //rfc:7296-2.4-7
		if t != nil && !t.letGo(sa) {
			e.fellSilent(t, gone)
			e.lost(t, ByTimeout)
		}
	}
}

// establish ends the half-open life of sa.
func (e *Endpoint) establish(sa *SA) {
	if !sa.Original {
		e.uncount(sa)
	}
	e.freeHalf(sa)
	sa.state, sa.expires, sa.born = stateEstablished, 0, e.wall
	e.counts.established++
	if sa.redirects {
		e.counts.redirects++
	}
	e.rememberPeer(sa)
	e.event(sa, Event{Kind: EventEstablished})
	e.noteRollCall(sa)
	sa.heard = e.now
	e.planCheck(sa)
	e.planEnd(sa)
	e.planRekey(sa)
}

// uncount takes a half-open SA out of the counts and of its ticket's chain.
func (e *Endpoint) uncount(sa *SA) {
	if sa.half == nil || sa.Original {
		return
	}
	if sa.half.resume {
		e.unlink(sa)
		e.counts.halfResumes--
	} else {
		e.counts.half--
		if e.halfFrom[sa.half.from]--; e.halfFrom[sa.half.from] == 0 {
			delete(e.halfFrom, sa.half.from)
		}
	}
}

// discard forgets an SA that was never established.
func (e *Endpoint) discard(sa *SA) {
	e.uncount(sa)
	e.freeHalf(sa)
	e.removeChildren(sa, OutputRemove)
	e.release(sa)
}

// down ends an established SA. Its peer may still believe in it when silent is
// set: then its SPI becomes a tombstone and may be answered with its token.
func (e *Endpoint) down(sa *SA, why string, silent bool) {
	if sa.state != stateEstablished && sa.state != stateDeleting {
		e.discard(sa)
		return
	}
	e.part(sa)
	e.event(sa, Event{Kind: EventDown, Reason: why})
	if c := sa.cold; c != nil && e.sa(c.heir) != nil {
		e.known(e.sa(c.heir))
	}
	e.removeChildren(sa, OutputRemove)
	if e.cfg.RollCall != RollCallOff {
		e.record(sa, Record{Kind: RecordRollCallGone, Slot: int(sa.slot)})
	}
	if silent {
		e.tombs.add(sa.ours())
	}
	e.lineages.Delete(sa.lineage, sa.slot+1)
	e.forgetPeer(sa)
	e.counts.established--
	if sa.redirects {
		e.counts.redirects--
		e.allGone()
	}
	e.release(sa)
}

// ended takes sa down although its connection stays: one that we keep up
// begins anew, but not at once.
func (e *Endpoint) ended(sa *SA, why string, silent bool) {
	t := sa.tun
	e.down(sa, why, silent)
	if t != nil && !t.letGo(sa) {
		t.sa = 0
		e.crowd(t)
	}
}

// release frees the slot and wipes the keys.
func (e *Endpoint) release(sa *SA) {
	e.uncache(sa) // the next SA in its room has a response as long
	for dir := range 2 {
		e.dropPieces(sa, dir)
	}
	if c := sa.cold; c != nil {
		e.forget(sa)
		if c.theirs != nil {
			delete(e.asked, c.theirs.question)
		}
	}
	e.ours.Delete(sa.ours(), sa.slot+1) //rfc:6290-5.3-1
	sa.keys.Wipe()
	e.slots[sa.slot].sa = nil
	e.free = append(e.free, sa.slot)
	e.spare.sas.give(sa)
}

// peerKey finds the SAs of an identity, and in rare cases those of another one.
func (e *Endpoint) peerKey(identity []byte) uint32 { return uint32(e.hash(identity)) }

// rememberPeer and forgetPeer chain the SAs of one identity, for
// INITIAL_CONTACT (RFC 7296 2.4). It ends none of a connection that we keep up.
func (e *Endpoint) rememberPeer(sa *SA) {
	if sa.tun != nil {
		return
	}
	sa.peerNext = e.peers.Put(e.peerKey(sa.peer), sa.slot+1)
}

func (e *Endpoint) forgetPeer(sa *SA) {
	k := e.peerKey(sa.peer)
	at := e.peers.Get(k)
	if at == sa.slot+1 {
		if sa.peerNext == 0 {
			e.peers.Delete(k, at)
		} else {
			e.peers.Put(k, sa.peerNext)
		}
		return
	}
	for at != 0 {
		x := e.slots[at-1].sa
		if x.peerNext == sa.slot+1 {
			x.peerNext = sa.peerNext
			return
		}
		at = x.peerNext
	}
}

// boundPeer makes room for one more SA of an identity: who has too many loses the
// one that was heard longest ago. One account does not fill the table of all.
func (e *Endpoint) boundPeer(identity []byte) {
	var oldest *SA
	n := 0
	for at := e.peers.Get(e.peerKey(identity)); at != 0; {
		sa := e.slots[at-1].sa
		at = sa.peerNext
		if string(sa.peer) != string(identity) {
			continue
		}
		if n++; oldest == nil || sa.heard < oldest.heard {
			oldest = sa
		}
	}
	if oldest != nil && n >= e.cfg.Limits.SAsOfPeer {
		e.down(oldest, "too many of its identity", true)
	}
}

// initialContact drops every other SA of that identity in silence: the peer
// has none of them any more.
func (e *Endpoint) initialContact(except *SA, identity []byte) {
	for at := e.peers.Get(e.peerKey(identity)); at != 0; {
		sa := e.slots[at-1].sa
		at = sa.peerNext
		if sa != except && sa.tun == nil && string(sa.peer) == string(identity) {
			e.down(sa, "the peer began anew", false)
		}
	}
	if except != nil && e.cfg.Shards > 1 {
		e.event(except, Event{Kind: EventInitialContact})
	}
}
