package ike

import (
	"cmp"
	"time"

	"blackswan/wire"
)

// How long keys are used (RFC 7296 2.8). Each end has its own limits in time
// and, for Child SAs, in octets and packets. An SA is rekeyed before it reaches
// them: by the client after 85 to 90 per cent, by the gateway after 92 to 97,
// so that with equal limits both seldom begin at once, and many clients that
// came together do not come together again.

const (
	clientShare  = 850 // of a lifetime, in thousandths
	gatewayShare = 920
	shareJitter  = 50
)

// Healing, rule D8: the keys of a resumed SA are those of its ticket, and
// whoever stole that could read along. A new key exchange ends this, after a
// random time between these.
const (
	DefaultHealAfter  = 2 * time.Minute
	DefaultHealBefore = 15 * time.Minute
)

// Retries of a refused rekey. Who is merely busy is asked for several minutes;
// after so many times the two are out of step (RFC 7296 2.25).
const (
	retryFirst = int64(10e9)
	retryMost  = int64(600e9)
	busyMost   = int64(60e9)
	retryLast  = int64(100e6) // the shortest wait before the end
	busyTries  = 9
)

// Volume bounds what a Child SA carries, both directions together, in inner
// packets and their octets. 0 is no bound.
type Volume struct{ Packets, Octets uint64 }

// share is the part of a limit after which sa's side begins a rekey.
func (e *Endpoint) share(sa *SA, limit int64) int64 {
	from := limit / 1000 * gatewayShare
	if sa.Client {
		from = limit / 1000 * clientShare
	}
	return from + e.within(limit/1000*shareJitter) //rfc:7296-2.8.1-1
}

// before is when a lifetime of d ns that begins now wants a rekey; 0: never.
func (e *Endpoint) before(sa *SA, d int64) int64 {
	if d <= 0 {
		return 0
	}
	return e.now + e.share(sa, d)
}

// age gives a new Child SA its limits.
func (e *Endpoint) age(sa *SA, k *child) (soft, hard Volume) {
	conn := sa.conn
	hard = conn.ChildVolume
	if hard != (Volume{}) {
		part := uint64(e.share(sa, 1000))
		soft = Volume{hard.Packets / 1000 * part, hard.Octets / 1000 * part}
	}
	if life := int64(conn.ChildLifetime); life > 0 {
		k.rekeyAt, k.endAt = e.before(sa, life), e.now+life
		e.schedule(sa)
	}
	return soft, hard
}

// planRekey sets when the IKE SA is rekeyed.
func (e *Endpoint) planRekey(sa *SA) {
	sa.rekeyAt = sooner(sa.rekeyAt, e.before(sa, int64(sa.conn.Lifetime)))
	if sa.Client && sa.resumed {
		after, before := cmp.Or(sa.conn.HealAfter, DefaultHealAfter), cmp.Or(sa.conn.HealBefore, DefaultHealBefore)
		sa.rekeyAt = sooner(sa.rekeyAt, e.now+int64(after)+e.within(int64(before-after)))
	}
	e.schedule(sa)
}

// ages is when tickAges has something to do.
func (sa *SA) ages() int64 {
	due := sa.rekeyAt
	if c := sa.cold; c != nil {
		for i := range c.wants {
			due = sooner(due, c.wants[i].at)
		}
	}
	for k := range sa.installed {
		due = sooner(due, sooner(k.readyAt, sooner(k.rekeyAt, k.endAt)))
	}
	return due
}

// tickAges does what the ages of sa and its Child SAs want.
func (e *Endpoint) tickAges(sa *SA) {
	if due(sa.rekeyAt, e.now) {
		sa.rekeyAt, sa.worn = 0, true
	}
	if c := sa.cold; c != nil {
		for i := range c.wants {
			if due(c.wants[i].at, e.now) {
				c.wants[i].at = 0
			}
		}
	}
	for over := true; over; {
		over = false
		for k := range sa.installed {
			if due(k.readyAt, e.now) {
				e.prefer(sa, k)
			}
			if due(k.rekeyAt, e.now) {
				if due(k.endAt, e.now) { // we were kept from both: its rekey begins now, and has the time that it was to have
					k.endAt = e.now + k.endAt - k.rekeyAt
				}
				k.rekeyAt, k.worn = 0, true
			}
			if due(k.endAt, e.now) {
				k.endAt, over = 0, true
				e.overdue(sa, k) //rfc:7296-2.8-1
				break
			}
		}
	}
	e.pursue(sa)
}

// overdue ends a Child SA that may not be used any more. One that could not be
// rekeyed ends its IKE SA, too: whoever needs it begins anew (RFC 7296 2.8).
func (e *Endpoint) overdue(sa *SA, k *child) {
	switch {
	case k.phase == phaseUp && k.tries > 0:
		e.event(sa, Event{Kind: EventOutlived})
		e.deleteSA(sa) //rfc:7296-2.8-2
	case k.phase == phaseUp && sa.tun != nil:
		e.close(sa, k.in)
		if !sa.carriesOf(k.ts.policy()) {
			e.wantChild(sa, k.ts)
		}
	default: // replaced, and its peer has not deleted it
		e.close(sa, k.in)
	}
}

// retry plans our next attempt after a refusal. k is the Child SA that was to be
// rekeyed, or nil.
func (e *Endpoint) retry(sa *SA, x *creation, k *child, refusal error) {
	var tries *uint8
	var at *int64
	end := int64(0) // of what is to be rekeyed
	switch {
	case x.ike:
		tries, at, end = &sa.tries, &sa.rekeyAt, sa.endAt
		sa.worn = false
	case k != nil:
		tries, at, end = &k.tries, &k.rekeyAt, k.endAt
		k.worn = false //rfc:7296-2.25-1
	default:
		w := sa.wanted(x.ts)
		if w == nil {
			return
		}
		tries, at, w.refusal = &w.tries, &w.at, refusal
	}
	busy := notifyOf(refusal) == wire.NotifyTemporaryFailure
	*tries = min(*tries, 20) + 1
	switch {
	case busy && *tries > busyTries: //rfc:7296-2.25-2
		e.deleteSA(sa)
		return
	case k != nil && k.spent && !busy:
		e.overdue(sa, k)
		return
	}
	most := retryMost
	if busy {
		most = busyMost
	}
	wait := min(retryFirst<<(*tries-1), most)
	if end > e.now { // a few times more before it, not ever faster
		wait = min(wait, max((end-e.now)/2, retryLast))
	}
	*at = e.now + wait/2 + e.within(wait/2)
	e.schedule(sa)
}

// worn takes a report of the data plane: a Child SA nears its end, or has
// reached it.
func (e *Endpoint) worn(sa *SA, spi uint32, spent bool) {
	k := sa.childIn(spi)
	if k == nil || k.phase != phaseUp {
		e.drop(DropStale)
		return
	}
	k.spent = k.spent || spent
	k.worn, k.rekeyAt = true, 0
	e.pursue(sa)
}
