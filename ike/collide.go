package ike

import (
	"bytes"

	"blackswan/wire"
)

// Collisions, RFC 7296 2.8.1, 2.8.2 and 2.25: both sides rekey the same SA, or
// one does what the other is undoing. Our request is answered as if there were
// no other; of two SAs in the place of one the nonces choose: the exchange with
// the lowest of the four loses, and who has begun it deletes what it made.

// rival is what the peer's exchange has made while ours for the same was open.
type rival struct {
	in  uint32 // a Child SA
	sa  Handle // an IKE SA
	low []byte // the lower nonce of its exchange
}

func (r *rival) is() bool { return r.in != 0 || r.sa != 0 }

// beats reports whether the rival stays and the SA of our exchange goes.
func (r *rival) beats(ni, nr []byte) bool {
	return r.is() && bytes.Compare(lower(ni, nr), r.low) < 0
}

// lower compares octet by octet; of two that begin alike the shorter is lower.
func lower(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return a
	}
	return b
}

// replacedByPeer notes that the peer's exchange has replaced the Child SA old
// by in. If our request for the same is out, both go on until ours is answered;
// if it has not left yet, it never will.
func (e *Endpoint) replacedByPeer(sa *SA, old, in uint32, ni, nr []byte) {
	if c := sa.cold; c != nil && c.ours != nil && !c.ours.ike && c.ours.old == old {
		if c.ours.sent {
			c.ours.rival = rival{in: in, low: bytes.Clone(lower(ni, nr))} //rfc:7296-2.25.1-2
			return
		}
		e.forget(sa)
	}
	e.replaced(sa, old)
}

// rekeysIKE says that requests about Child SAs must wait: our rekey of the IKE
// SA is out, or has been done (RFC 7296 2.25.2).
func (sa *SA) rekeysIKE() bool {
	c := sa.cold
	return sa.replaced() || c != nil && c.ours != nil && c.ours.ike && c.ours.sent
}

// touchesChildren says that a rekey of the IKE SA must wait: a request of ours
// about a Child SA is out (RFC 7296 2.25.1).
func (sa *SA) touchesChildren() bool {
	c := sa.cold
	return c != nil && (c.open.kind == requestRelease || c.ours != nil && !c.ours.ike && c.ours.sent)
}

// ready lets traffic leave by what the peer's exchanges have made: a new
// request shows that it has our last response (RFC 7296 2.8).
func (e *Endpoint) ready(sa *SA) {
	for k := range sa.installed {
		if c := sa.cold; c == nil || c.ours == nil || c.ours.rival.in != k.in {
			e.prefer(sa, k) //rfc:7296-2.8-6
		}
	}
}

// releaseChildren answers DELETE of Child SAs with our halves of the pairs. Those that
// we are deleting ourselves have been named already (RFC 7296 1.4.1).
func (e *Endpoint) releaseChildren(w *wire.Writer, sa *SA) {
	var own []byte
	var lost []*selectors
	for _, b := range e.msg.deletes[:e.msg.nDeletes] {
		d, err := wire.ParseDelete(b)
		if err != nil || d.Protocol != wire.ProtocolESP {
			continue
		}
		for i := range d.Count() {
			k := sa.childOut(d.SPI32(i))
			if k == nil {
				continue
			}
			if !k.asked { //rfc:7296-1.4.1-2 7296-2.25.1-3
				in := spiBytes(k.in)
				own = append(own, in[:]...)
			}
			if k.phase == phaseUp {
				lost = append(lost, k.ts)
			}
			e.released(sa, k) //rfc:7296-1.4.1-1
		}
	}
	if len(own) > 0 {
		w.Delete(wire.Delete{Protocol: wire.ProtocolESP, SPISize: 4, SPIs: own}) //rfc:7296-1.4.1-3
	}
	for _, ts := range lost {
		if !sa.carriesOf(ts.policy()) {
			e.event(sa, Event{Kind: EventChildFailed, Child: sa.conn.policy(ts).Child, Err: errReleased})
			e.wantAgain(sa, ts.policy())
		}
	}
}

// released ends a Child SA that was deleted: its peer takes nothing by it any
// more, and may have sent something before.
func (e *Endpoint) released(sa *SA, k *child) {
	if c := sa.cold; c != nil && c.ours != nil && c.ours.rival.in == k.in {
		c.ours.rival = rival{} // the peer has compared the nonces before us
	}
	e.removeChild(sa, k, OutputRetire)
}

// releaseAnswered ends those that our DELETE has named.
func (e *Endpoint) releaseAnswered(sa *SA) {
	for again := true; again; {
		again = false
		for k := range sa.installed {
			if k.asked && k.phase == phaseClosing {
				e.released(sa, k)
				again = true
				break
			}
		}
	}
}

// addRelease names what we delete, and reports whether there is anything.
func (e *Endpoint) addRelease(w *wire.Writer, sa *SA) {
	var own []byte
	for k := range sa.installed {
		if k.toBeReleased() {
			k.asked = true
			in := spiBytes(k.in)
			own = append(own, in[:]...)
		}
	}
	w.Delete(wire.Delete{Protocol: wire.ProtocolESP, SPISize: 4, SPIs: own}) //rfc:7296-2.4-6
}

// toBeReleased says that our DELETE of c may leave: the peer has it.
func (c *child) toBeReleased() bool { return c.phase == phaseClosing && !c.asked && !c.waits }
