package ike

import (
	"cmp"
	"math"
	"time"

	"blackswan/ticket"
	"blackswan/wire"
)

// Repeated authentication, RFC 4478, and the end of an SA that outlived its
// lifetime. The gateway says how long a login holds and ends the SA when that
// is over. The client logs in anew before: a full handshake beside the live SA,
// never a resume, because a resume moves no deadline (rule E1). The new Child
// SA carries the traffic before the old IKE SA is deleted.

// soonestReauth is how young a login is never repeated, in ns: a gateway that
// says "at once" each time shall not make a loop (RFC 4478 5).
const soonestReauth = int64(10e9)

// endsAt is the Unix second at which sa is over, 0: never. Its authentication
// ends (RFC 4478 2), or its own lifetime, which a rekey begins anew.
func (sa *SA) endsAt() int64 {
	if sa.conn.Lifetime <= 0 {
		return sa.reauth
	}
	return sooner(sa.reauth, sa.born+int64(sa.conn.Lifetime/1e9))
}

// oldLogin is how old a login may be, in s, on which tickets are granted (rule
// D8): at a client, what it takes its gateway to want.
func (c *Connection) oldLogin() int64 {
	return int64(cmp.Or(c.Grant.SinceAuth, ticket.DefaultSinceAuth) / time.Second)
}

// planEnd sets endAt anew: when the gateway ends sa, when the client begins to
// replace it. Of its authentication a client uses four fifths to nine tenths,
// so that those who came together do not come together again. One that wants
// tickets logs in anew before its login is too old for them.
func (e *Endpoint) planEnd(sa *SA) {
	end := sa.endsAt()
	switch {
	case sa.tun == nil && end == 0, sa.tun != nil && end == 0 && !sa.conn.Tickets:
		sa.endAt = 0
	case sa.tun == nil:
		sa.endAt = e.now + e.until(end) + int64(e.cfg.Timers.EndGrace) //rfc:4478-2-7
	default:
		left := int64(math.MaxInt64)
		if end != 0 {
			left = e.until(end)
		}
		if sa.reauth != 0 {
			tenth := e.until(sa.reauth) / 10
			left = min(left, 8*tenth+e.within(tenth))
		}
		if sa.conn.Tickets {
			tenth := e.until(sa.fullAuth+sa.conn.oldLogin()) / 10
			left = min(left, 8*tenth+tenth/256*int64(sa.ours()>>8&255)) // nobody can foretell our SPIs
		}
		sa.endAt = e.now + max(left, soonestReauth-(e.wall-sa.fullAuth)*1e9) //rfc:4478-5-1
	}
	e.schedule(sa)
}

// until is how many ns are left until a Unix second, 0 if it has passed; 68
// years at most, so that sums of it are times.
func (e *Endpoint) until(second int64) int64 { return min(max(second-e.wall, 0), 1<<31) * 1e9 }

// outlived is reached at endAt.
func (e *Endpoint) outlived(sa *SA) {
	t := sa.tun
	over := e.wall >= sa.endsAt()+int64(e.cfg.Timers.EndGrace/1e9)
	switch {
	case sa.state != stateEstablished:
	case sa.replaced(): // whose DELETE has not come
		e.deleteSA(sa)
	case t == nil || over && t.sa == sa.handle():
		e.event(sa, Event{Kind: EventOutlived})
		e.removeChildren(sa, OutputRemove) // nothing more, however long its peer takes to answer
		e.deleteSA(sa)                     //rfc:4478-2-3
	case t.sa == sa.handle():
		e.event(sa, Event{Kind: EventReauth})
		e.replace(sa, false) //rfc:4478-2-5
	}
}

// replace begins a new SA beside sa, which lives on until the new one stands
// (make before break).
func (e *Endpoint) replace(sa *SA, resume bool) {
	t := sa.tun
	t.old, t.at = sa.handle(), 0
	e.begin(t, resume)
	if t.sa == t.old { // no SPI left for it
		e.keepOld(t)
	}
}

// begin begins an attempt: a resume if that is wanted and can be.
func (e *Endpoint) begin(t *tunnel, resume bool) {
	if resume && e.mayResume(t) {
		e.startResume(t)
	} else {
		e.startInit(t)
	}
}

// keepOld goes on with the SA that was to be replaced; another attempt follows
// after a random wait that doubles. Where a redirect led in vain, none does.
func (e *Endpoint) keepOld(t *tunnel) {
	sa := e.sa(t.old)
	t.sa, t.old, t.at, t.mapped = t.old, 0, 0, t.hasTicket()
	if t.elsewhere() {
		t.arrived()
		t.ike[1] = addr{sa.remote.ip, t.home.port}
		if !sa.carries() { // it was redirected in IKE_AUTH: there is nothing to keep
			e.abandon(sa, "redirected in vain")
		} else {
			e.planEnd(sa)
		}
		return
	}
	wait := e.crowdWait(t)
	sa.endAt = e.now + 1 + wait/2 + e.within(wait/2)
	e.schedule(sa)
}

// letGo reports whether sa, which has ended, was the old SA of t: then the new
// one is on its way already.
func (t *tunnel) letGo(sa *SA) bool {
	if t.old == 0 || t.old != sa.handle() {
		return false
	}
	t.old = 0
	return true
}

// partAfter is how long an old SA waits at most for the Child SAs of the new one,
// in ns.
const partAfter = int64(10e9)

// retire puts sa in the place of the old SA. What that carries it carries until
// sa has all its Child SAs: none of them lacks a moment.
func (e *Endpoint) retire(sa *SA) {
	t := sa.tun
	old := e.sa(t.old)
	if old == nil {
		return
	}
	t.old, old.tun, old.state = 0, nil, stateDeleting
	c := e.chill(sa)
	c.past, c.partAt = old.handle(), e.now+partAfter
	e.schedule(sa)
}

// part ends the SA in whose place sa stands (RFC 4478 2). Its DELETE ends its own
// lineage of tickets, which is not sa's. After a resume the lineage is the same:
// no DELETE then (rule F2).
func (e *Endpoint) part(sa *SA) {
	if sa.cold == nil || sa.cold.past == 0 {
		return
	}
	old := e.sa(sa.cold.past)
	sa.cold.past, sa.cold.partAt = 0, 0
	switch {
	case old == nil: // it has ended by itself
	case sa.resumed:
		e.down(old, "resumed elsewhere", false)
	default:
		e.chill(old).waiting = nil    // nothing of it is worth a message now
		e.request(old, requestDelete) //rfc:4478-2-10 5685-5-4 5685-6-4
	}
}

// takeLifetime takes AUTH_LIFETIME, which only the gateway's side sends
// (RFC 4478 2). The time is measured from its receipt; nothing makes an
// authentication outlive the peer's certificate.
func (e *Endpoint) takeLifetime(sa *SA) bool {
	n, ok := e.msg.note(wire.NotifyAuthLifetime)
	if !ok || !sa.Client || len(n.Data) != 4 {
		return false
	}
	left := int64(n.Data[0])<<24 | int64(n.Data[1])<<16 | int64(n.Data[2])<<8 | int64(n.Data[3])
	sa.reauth = e.wall + max(left, 1) //rfc:4478-2-6
	if sa.cert != nil {
		sa.reauth = sooner(sa.reauth, sa.cert.NotAfter)
	}
	return true
}
