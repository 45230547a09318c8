package ike

import "net/netip"

// Liveness, RFC 7296 2.4: quick to notice, and not nervous. A peer that is
// heard, by IKE or by its traffic, is asked nothing. Hints (INVALID_SPI, ICMP, a
// link that changed) start a check at once and end nothing: only silence does.

// Liveness says when a silent peer is asked for a sign of life.
type Liveness uint8

const (
	LivenessPeriodic Liveness = iota // after DPD without a word of it
	LivenessOnDemand                 // DPD after traffic went to it and none came back (ReportSent)
)

// hear notes that the peer is alive, and has sa.
func (e *Endpoint) hear(sa *SA) {
	e.confirmed(sa)
	e.alive(sa)
}

// hearTraffic notes that the peer is alive, by a packet of a Child SA. An heir has
// those of the SA that it replaces: only of a resumed SA they tell that its peer
// has it (rules D5, D7).
func (e *Endpoint) hearTraffic(sa *SA) {
	if sa.resumed {
		e.confirmed(sa)
	}
	e.alive(sa)
}

func (e *Endpoint) alive(sa *SA) {
	sa.heard = e.now
	if e.now-sa.noted > 60e9 {
		e.noteRollCall(sa)
	}
	e.planCheck(sa)
}

// planCheck plans the next check of a peer that was just heard. The gateway's
// side waits a quarter longer: the client's check shows that it is alive, and
// one of them is enough.
func (e *Endpoint) planCheck(sa *SA) {
	sa.checkAt = 0
	if sa.conn.DPD > 0 && sa.conn.Liveness == LivenessPeriodic {
		sa.checkAt = sa.heard + sa.dpd()
		e.schedule(sa)
	}
}

func (sa *SA) dpd() int64 {
	if d := int64(sa.conn.DPD); !sa.Client {
		return d + d/4
	}
	return int64(sa.conn.DPD)
}

// sentTraffic plans a check on demand: traffic has left, and nothing came back.
func (e *Endpoint) sentTraffic(sa *SA) {
	if sa.conn.DPD > 0 && sa.conn.Liveness == LivenessOnDemand && sa.checkAt == 0 && !sa.asks(requestEmpty) {
		sa.checkAt = e.now + sa.dpd()
		e.schedule(sa)
	}
}

// checkLiveness asks the peer for a sign of life when it was silent too long.
func (e *Endpoint) checkLiveness(sa *SA) {
	sa.checkAt = 0 // planned again when the peer is heard
	e.request(sa, requestEmpty)
}

// hint starts a liveness check, at most one in 10 s for each SA. A hint never
// ends an SA (rule A7, RFC 5723 9.4).
func (e *Endpoint) hint(sa *SA) {
	if sa.state != stateEstablished || sa.hinted != 0 && e.now-sa.hinted < 10e9 { //rfc:7296-2.4-4
		return
	}
	sa.hinted = e.now
	e.request(sa, requestEmpty) //rfc:4555-3.5-1
}

// unreachable is the hint of an ICMP message about a packet to that address.
func (e *Endpoint) unreachable(to netip.AddrPort) {
	for _, t := range e.tunnels {
		for _, h := range [...]Handle{t.sa, t.old} {
			sa := e.sa(h)
			if sa == nil || sa.remote.addrPort().Addr() != to.Addr() || to.Port() != 0 && sa.remote.port != to.Port() {
				continue
			}
			e.hint(sa)
		}
	}
}

func (e *Endpoint) hintAll() {
	for i := range e.slots {
		if sa := e.slots[i].sa; sa != nil {
			e.hint(sa)
		}
	}
	e.hurry()
}

// hurry begins the attempts that wait, and has those that met silence try
// again at once: the network may be back.
func (e *Endpoint) hurry() {
	for _, t := range e.tunnels {
		e.hasten(t)
	}
}

// hasten is hurry for one connection.
func (e *Endpoint) hasten(t *tunnel) {
	sa := e.sa(t.sa)
	switch {
	case t.at != 0:
		e.later(t, e.now)
	case sa != nil && sa.half != nil && t.rounds > 0:
		t.rounds = 0
		e.again(sa)
	}
}

// again sends the open request of sa once more, as if for the first time.
func (e *Endpoint) again(sa *SA) {
	c := sa.cold
	if c == nil || c.open.kind == requestNone {
		return
	}
	c.open.try = 0
	c.open.at = e.now + int64(e.backoff(c.open.kind).Delay(0, e.random()))
	e.sendSA(sa, c.open.msgs)
	e.schedule(sa)
}

// weary is how many steps further the back-off of an attempt begins: after
// every round without any answer by two more, until each wait is the longest.
// A network that is gone for hours costs a packet every quarter of a minute.
func (sa *SA) weary() int {
	if sa.half == nil || sa.tun == nil {
		return 0
	}
	return 2 * int(sa.tun.rounds)
}

// wakeUp goes on after a sleep of d, which our clock has not seen: what ends by
// the wall clock ends so much sooner (rule D11). A client looks at once whether
// its SA is still there, a gateway within some seconds.
func (e *Endpoint) wakeUp(d int64) {
	for i := range e.slots {
		sa := e.slots[i].sa
		if sa == nil {
			continue
		}
		for _, at := range [...]*int64{&sa.renewAt, &sa.endAt} {
			if *at != 0 {
				*at = max(*at-d, 1)
			}
		}
		switch {
		case sa.state != stateEstablished:
		case sa.tun != nil:
			e.woke(sa)
		case sa.conn.DPD > 0:
			sa.checkAt = e.now + 1 + e.within(5e9)
		}
		e.schedule(sa)
	}
	for _, t := range e.tunnels {
		t.rounds = max(t.rounds, 1) // whatever is under way is worth another try
	}
	e.hurry()
}

// woke looks whether sa is still there after a sleep. The gateway may have
// given it up, and a NAT may have forgotten it: an update tells both in one
// round trip, and whoever gets no answer resumes soon.
func (e *Endpoint) woke(sa *SA) {
	sa.hinted = e.now
	e.doubt(sa)
	if sa.mobike {
		e.requestAnew(sa, requestMove) //rfc:4555-3.8-5
		return
	}
	e.press(sa)
}

// press asks for a sign of life, and soon gives up.
func (e *Endpoint) press(sa *SA) {
	e.request(sa, requestEmpty)
	if c := sa.cold; c != nil && c.open.kind == requestEmpty {
		c.open.hasty = true
	}
}
