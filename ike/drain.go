package ike

import (
	"strings"

	"blackswan/wire"
)

// Draining, RFC 5685 at the gateway: everybody who follows REDIRECT is sent to
// another gateway, at a pace, and so is who comes meanwhile. Nobody is told
// DELETE, so no ticket dies of it (rules D6, F2): with the same ring the other
// gateway resumes what was here.

// drainBatch SAs are told every drainEvery ns: the other gateway must bear it.
const (
	drainBatch = 64
	drainEvery = int64(20e6)
)

// drain is where everybody is sent to, and who was told.
type drain struct {
	to   []byte // REDIRECT without a nonce; empty: nobody is sent away
	slot int    // the next to be told
	at   int64  // when
	told bool   // EventDrained was
}

// startDrain begins to send everybody to a gateway, "" ends it.
func (e *Endpoint) startDrain(gateway string) {
	e.drain = drain{}
	if gateway == "" || len(gateway) > 255 {
		return
	}
	e.drain.to, e.drain.at = wire.RedirectTo(strings.ToLower(gateway)).Append(nil), e.now //rfc:5685-5-2
}

// drainSome tells the next SAs.
func (e *Endpoint) drainSome() {
	d := &e.drain
	for n := 0; n < drainBatch && d.slot < len(e.slots); d.slot++ {
		if sa := e.slots[d.slot].sa; sa != nil && sa.redirects && sa.state == stateEstablished {
			e.request(sa, requestRedirect)
			n++
		}
	}
	if d.at = 0; d.slot < len(e.slots) {
		d.at = e.now + drainEvery
	}
	e.allGone()
}

// sent lets an SA that has acknowledged its REDIRECT go in silence, some time
// later: its client makes the new SA first.
func (e *Endpoint) sent(sa *SA) {
	sa.expires = e.now + int64(e.cfg.Timers.DrainGrace) //rfc:5685-5-5
}

// goesAway says that whoever sent the first message at hand follows REDIRECT
// (RFC 5685 3, 9.3). Whom the other gateway sent here is not sent back.
func (e *Endpoint) goesAway() bool {
	from, again := e.msg.note(wire.NotifyRedirectedFrom)
	return e.msg.has(wire.NotifyRedirectSupported) || again && string(from.Data) != string(e.drain.to)
}

// sendAway answers a first message with REDIRECT: without any state, and SPIr
// is zero (RFC 5685 3).
func (e *Endpoint) sendAway(p Packet, h wire.Header, ni []byte) bool {
	if len(e.drain.to) == 0 || !e.goesAway() { //rfc:5685-3-3
		return false
	}
	const notify = 8                                                 // octets of the payload without its data
	if wire.HeaderLen+notify+len(e.drain.to)+len(ni) > len(p.Data) { // larger than its cause (rule A3)
		e.drop(DropRedirect)
		return true
	}
	e.scratch.key = append(append(e.scratch.key[:0], e.drain.to...), ni...)
	e.replyNotify(p, h, wire.Notify{Type: wire.NotifyRedirect, Data: e.scratch.key}) //rfc:5685-3-4 5685-9.2-1 5685-9.2-2
	return true
}

// leaves says that the client of a verified IKE_AUTH is sent away instead of
// getting a Child SA (RFC 5685 6).
func (e *Endpoint) leaves(sa *SA) bool { return len(e.drain.to) > 0 && sa.redirects } //rfc:5685-3-3

// shut lets nobody in any more: a gateway says goodbye, and whoever was told would
// come back at once, to an SA that ends with it. What is half-open is forgotten.
func (e *Endpoint) shut() {
	e.closed = true
	e.first.proved, e.first.strange = queue{}, queue{}
	for i := range e.slots {
		if sa := e.slots[i].sa; sa != nil && sa.half != nil && !sa.Original {
			e.discard(sa)
		}
	}
}

// allGone tells once that nobody is left who could be sent away.
func (e *Endpoint) allGone() {
	if d := &e.drain; len(d.to) > 0 && !d.told && d.at == 0 && e.counts.redirects == 0 {
		d.told = true
		e.event(nil, Event{Kind: EventDrained})
	}
}
