package ike

import "slices"

// Child SAs that we have to make: those that a connection has beside the first,
// and those that were refused or deleted. Each is asked for by a CREATE_CHILD_SA
// of its own (RFC 7296 1.3.1); what becomes of one does not touch the others.

// want is a Child SA that is to be made.
type want struct {
	ts      *selectors // nil: all that the connection's first policy allows
	at      int64      // not before; 0: now
	tries   uint8      // how often it was refused
	refusal error      // the last one
}

// deletion is what a tunnel remembers of a Child SA that the peer has deleted.
type deletion struct {
	at    int64
	times uint8 // in a row
}

// longLived is how long after one deletion the next is not of the same row, in ns.
const longLived = int64(1200e9)

// wantFurther has the Child SAs made that IKE_AUTH has not: all but the first,
// and the first, too, without one or after a refusal.
func (e *Endpoint) wantFurther(sa *SA, childless bool, refusal error) {
	switch {
	case childless:
		e.want(sa, want{})
	case refusal == errTunnel, notifyOf(refusal) != 0:
		e.want(sa, want{tries: 1, refusal: refusal, at: e.now + retryFirst/2 + e.within(retryFirst/2)})
	}
	for i := range sa.conn.Further {
		e.want(sa, want{ts: wholeOf(uint8(i + 1))}) //rfc:7296-1.3.1-3
	}
	e.pursue(sa)
}

// wantChild has a Child SA made, soon.
func (e *Endpoint) wantChild(sa *SA, ts *selectors) {
	e.want(sa, want{ts: ts, at: e.now + 5e8 + e.within(1e9)})
}

// wantAgain has the Child SA of a policy made that the peer has deleted: soon,
// but a peer that deletes each shall not make a loop.
func (e *Endpoint) wantAgain(sa *SA, of uint8) {
	t := sa.tun
	if t == nil {
		return
	}
	if t.deleted == nil {
		t.deleted = map[uint8]deletion{}
	}
	d := t.deleted[of]
	if e.now-d.at > longLived {
		d.times = 0
	}
	wait := min(int64(1e9)<<d.times, retryMost)
	t.deleted[of] = deletion{e.now, min(d.times, 20) + 1}
	e.want(sa, want{ts: wholeOf(of), at: e.now + wait/2 + e.within(wait)})
}

func (e *Endpoint) want(sa *SA, w want) {
	c := e.chill(sa)
	if sa.wanted(w.ts) == nil {
		c.wants = append(c.wants, w)
	}
	e.schedule(sa)
}

// wanted is the one of those selectors, or nil.
func (sa *SA) wanted(ts *selectors) *want {
	if c := sa.cold; c != nil {
		for i := range c.wants {
			if w := &c.wants[i]; w.ts == ts {
				return w
			}
		}
	}
	return nil
}

// lacks reports whether one was never refused and is not there.
func (sa *SA) lacks() bool {
	c := sa.cold
	return c != nil && slices.ContainsFunc(c.wants, func(w want) bool { return w.tries == 0 })
}

// firstWanted is the first one whose time has come, or nil.
func (sa *SA) firstWanted() *want {
	if c := sa.cold; c != nil {
		for i := range c.wants {
			if c.wants[i].at == 0 {
				return &c.wants[i]
			}
		}
	}
	return nil
}

// wantsNoMore ends the wanting of those selectors: they are carried, or never
// will be.
func (sa *SA) wantsNoMore(ts *selectors) {
	sa.cold.wants = slices.DeleteFunc(sa.cold.wants, func(w want) bool { return w.ts == ts })
}
