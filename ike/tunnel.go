package ike

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"blackswan/wire"
)

// tunnel is a connection that we bring up and keep up: at any time it has one
// SA, or an attempt, or a time for the next one.
type tunnel struct {
	conn    *Connection
	own     wire.ID           // our identity
	owner   uint32            // as CommandConnect told it
	ike     [2]netip.AddrPort // our IKE port, and that of the gateway in use
	home    netip.AddrPort    // of the configured gateway
	sa      Handle
	old     Handle // established, and being replaced by sa (make before break)
	ticket  []byte
	session []byte // encoded ticket.Session
	expires int64  // Unix seconds
	local   addr   // the path of the SA that the ticket is of (rule C4)
	remote  addr
	marker  bool
	mapped  bool       // that path is to be tried first
	silent  int        // resumes in a row whose IKE_AUTH met silence
	unheard int        // resumes in a row whose RESUME met silence: the gateway is away
	rounds  int        // attempts in a row without any answer
	found   bool       // somebody answered an IKE_SA_INIT while RESUME met silence
	tries   int        // full handshakes in a row (rule E7)
	full    bool       // the next attempt is a full handshake
	deleted []deletion // by the peer, of the Child SA of each policy
	at      int64
	by      By

	gone   wire.SPIs // the SA whose peer fell silent
	called int64     // when a roll call for it was last heeded

	paths []netip.Addr // the gateway's addresses, of an SA with MOBIKE
	tried int          // how many of them were tried since one answered
	seen  []byte       // NAT_DETECTION_DESTINATION_IP: where the gateway saw us last

	from      netip.Addr          // who redirected us; invalid: nobody (RFC 5685)
	wanted    string              // the gateway whose address is asked for
	elsewhere bool                // sa replaces old because of a redirect
	redirects int                 // how many were followed
	followed  [maxRedirects]int64 // when the last of them were
}

// maxSilent resumes without an answer to IKE_AUTH: a full handshake (rule E6).
// So many without any answer: one IKE_SA_INIT in between, in case the gateway
// does not know RESUME any more. If that is answered, the gateway may have come
// back just then: one more resume, and only if that meets silence too the next
// IKE_SA_INIT is meant. If it is not answered either, resumes again.
const maxSilent = 3

// attempt begins the next try of t: a resume if there is a ticket to show.
func (e *Endpoint) attempt(t *tunnel) {
	t.at = 0
	if !t.full && t.silent < maxSilent && t.unheard < maxSilent && e.mayResume(t) {
		e.startResume(t)
		return
	}
	if len(t.ticket) > 0 && !t.probing() {
		e.event(nil, Event{Kind: EventFallback, Connection: t.conn, Owner: t.owner})
	}
	e.startInit(t) //rfc:5723-4.3.1-1
}

// probing says that the next IKE_SA_INIT only asks whether anybody is there.
func (t *tunnel) probing() bool { return len(t.ticket) > 0 && !t.full && t.unheard >= maxSilent }

// later plans t's next attempt.
func (e *Endpoint) later(t *tunnel, at int64) {
	t.at = at
	e.wake = sooner(e.wake, at)
}

// wakeTunnels begins the attempts that are due.
func (e *Endpoint) wakeTunnels() {
	e.wake = 0
	for _, t := range e.tunnels {
		if due(t.at, e.now) {
			e.attempt(t)
		}
		e.wake = sooner(e.wake, t.at)
	}
}

// path sets where sa sends to: the dead SA's path while that is worth a try,
// else the configured IKE ports.
func (e *Endpoint) path(sa *SA, t *tunnel) {
	sa.local, sa.remote, sa.marker = pack(t.ike[0]), pack(t.ike[1]), false
	if t.mapped {
		sa.local, sa.remote, sa.marker = t.local, t.remote, t.marker
	}
}

// failed ends an attempt of ours and plans the next one.
func (e *Endpoint) failed(sa *SA, err error) {
	t, resume := sa.tun, sa.half != nil && sa.half.resume
	e.event(sa, Event{Kind: EventFailed, Err: err})
	e.discard(sa)
	if t == nil {
		return
	}
	t.sa = 0
	if t.rounds++; err != errTimeout {
		t.rounds = 0
	}
	refused := err != errTimeout && resume // the gateway is there
	old := e.sa(t.old) != nil
	if !old && (err == errTimeout && !t.mapped || !refused && t.from.IsValid()) {
		t.nextGateway()
	}
	switch {
	case old && t.elsewhere && refused:
		e.startInit(t)
	case old:
		e.keepOld(t)
	case err != errTimeout:
		e.crowd(t)
	case resume:
		t.mapped = false
		if t.unheard++; t.found {
			t.unheard = maxSilent
		}
		e.attempt(t)
	case len(t.ticket) > 0 && !t.full: // the gateway is away, not unwilling
		t.unheard, t.silent, t.found = 0, 0, false
		e.attempt(t)
	default:
		e.crowd(t)
	}
}

// crowd plans a full handshake after random(0, 2 s x 2^n), at most a minute:
// when one ticket fails, all may have failed (rule E7).
func (e *Endpoint) crowd(t *tunnel) {
	wait := min(int64(e.cfg.Timers.CrowdStep)<<min(t.tries, 16), int64(e.cfg.Timers.CrowdCap))
	t.full = true
	t.tries++
	e.later(t, e.now+1+e.within(wait))
}

// within is a random time from 0 to d.
func (e *Endpoint) within(d int64) int64 {
	hi, _ := bits.Mul64(uint64(e.random())<<32, uint64(d))
	return int64(hi)
}

func (e *Endpoint) random() uint32 {
	var b [4]byte
	_, _ = e.rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:])
}

// closeTunnel ends a connection for good: DELETE, and its ticket is wiped.
func (e *Endpoint) closeTunnel(conn *Connection) {
	for i, t := range e.tunnels {
		if t.conn != conn {
			continue
		}
		e.forgetTicket(t) //rfc:5723-6.2-1
		e.tunnels = append(e.tunnels[:i], e.tunnels[i+1:]...)
		for _, h := range [...]Handle{t.sa, t.old} {
			if sa := e.sa(h); sa != nil {
				sa.tun = nil
				e.deleteSA(sa)
			}
		}
		return
	}
}

// lost begins anew after an established SA of t ended without a DELETE.
func (e *Endpoint) lost(t *tunnel, by By) {
	t.sa, t.by, t.silent, t.unheard, t.found, t.tries, t.full = 0, by, 0, 0, false, 0, false
	e.attempt(t)
}
