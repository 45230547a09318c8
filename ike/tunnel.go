package ike

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"blackswan/wire"
)

// tunnel is a connection that we bring up and keep up: at any time it has one
// SA, or an attempt, or a time for the next one. It has 256 octets, its ticket
// and what few connections have lie elsewhere.
type tunnel struct {
	conn    *Connection
	own     wire.ID            // our identity
	kept    []byte             // the ticket and, behind it, its encoded ticket.Session
	ways    *ways              // with MOBIKE
	detour  *detour            // since the first REDIRECT
	deleted map[uint8]deletion // by the peer, of the Child SA of each policy

	sa      Handle
	old     Handle // established, and being replaced by sa (make before break)
	expires int64  // of the ticket, Unix seconds
	at      int64
	gone    wire.SPIs // the SA whose peer fell silent
	called  int64     // when a roll call for it was last heeded

	ike    [2]addr // our IKE port, and that of the gateway in use
	home   addr    // of the configured gateway
	local  addr    // the path of the SA that the ticket is of (rule C4)
	remote addr
	owner  uint32 // as CommandConnect told it
	nat    uint16 // our port of UDP encapsulation; 0: that of Config

	size    uint16 // octets of the ticket
	silent  uint8  // resumes in a row whose IKE_AUTH met silence
	unheard uint8  // resumes in a row whose RESUME met silence: the gateway is away
	rounds  uint8  // attempts in a row without any answer; they count to mostRounds
	tries   uint8  // full handshakes in a row (rule E7); they count to mostTries
	by      By
	marker  bool
	mapped  bool // that path is to be tried first
	found   bool // somebody answered an IKE_SA_INIT while RESUME met silence
	full    bool // the next attempt is a full handshake
}

// The waits between attempts grow no more after so many.
const (
	mostRounds = 8
	mostTries  = 16
)

// keep keeps a ticket and its session, which may be none.
func (t *tunnel) keep(ticket, session []byte, expires int64) {
	clear(t.kept)
	t.kept = append(append(slices.Grow(t.kept[:0], len(ticket)+len(session)), ticket...), session...)
	t.size, t.expires = uint16(len(ticket)), expires
}

func (t *tunnel) ticket() []byte  { return t.kept[:t.size] }
func (t *tunnel) session() []byte { return t.kept[t.size:] }
func (t *tunnel) hasTicket() bool { return t.size > 0 }

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
	if t.hasTicket() && !t.probing() {
		e.event(nil, Event{Kind: EventFallback, Connection: t.conn, Owner: t.owner})
	}
	e.startInit(t) //rfc:5723-4.3.1-1
}

// probing says that the next IKE_SA_INIT only asks whether anybody is there.
func (t *tunnel) probing() bool { return t.hasTicket() && !t.full && t.unheard >= maxSilent }

// later plans t's next attempt.
func (e *Endpoint) later(t *tunnel, at int64) {
	t.at = at
	e.attempts.put(at, t)
}

// attemptDue begins the attempts that are due, so many at most.
func (e *Endpoint) attemptDue(most int) {
	for ; most > 0 && due(e.attempts.next(), e.now); most-- {
		if x := e.attempts.take(); x.what.at == x.at { // else it was planned anew
			e.attempt(x.what)
		}
	}
}

// path sets where sa sends to: the dead SA's path while that is worth a try,
// else the configured IKE ports.
func (e *Endpoint) path(sa *SA, t *tunnel) {
	sa.local, sa.remote, sa.marker = t.ike[0], t.ike[1], false
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
	if t.rounds = min(t.rounds+1, mostRounds); err != errTimeout {
		t.rounds = 0
	}
	refused := err != errTimeout && resume // the gateway is there
	old := e.sa(t.old) != nil
	if !old && (err == errTimeout && !t.mapped || !refused && t.sentBy().IsValid()) {
		t.nextGateway() //rfc:4555-3.1-1
	}
	switch {
	case old && t.elsewhere() && refused:
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
	case t.hasTicket() && !t.full: // the gateway is away, not unwilling
		t.unheard, t.silent, t.found = 0, 0, false
		e.attempt(t)
	default:
		e.crowd(t)
	}
}

// crowd plans a full handshake after random(0, 2 s x 2^n), at most a minute:
// when one ticket fails, all may have failed (rule E7).
func (e *Endpoint) crowd(t *tunnel) {
	t.full = true
	e.later(t, e.now+1+e.within(e.crowdWait(t)))
}

// crowdWait is the longest wait before t's next full handshake.
func (e *Endpoint) crowdWait(t *tunnel) int64 {
	wait := min(int64(e.cfg.Timers.CrowdStep)<<t.tries, int64(e.cfg.Timers.CrowdCap))
	t.tries = min(t.tries+1, mostTries)
	return wait
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
		t.at = 0
		delete(e.silent, t.gone)
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
