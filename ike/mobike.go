package ike

import (
	"net/netip"
	"slices"

	"blackswan/internal/natt"
	"blackswan/wire"
)

// MOBIKE, RFC 4555: an SA whose client has another address now goes on.
//
//	-> INFORMATIONAL SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*_IP), N(COOKIE2)}   from the new address
//	<- INFORMATIONAL SK {N(NAT_DETECTION_*_IP), N(COOKIE2)}
//	<- INFORMATIONAL SK {N(COOKIE2)}                                                  does it come back from there?
//	-> INFORMATIONAL SK {N(COOKIE2)}
//
// The client decides; the gateway takes the addresses of the packet that
// carried the update, never those of another IKE packet (rule G3). When nobody
// answers on a path the client tries the gateway's other addresses, then it
// resumes: one round trip, two, and a login last.

// Routability says when the gateway sends traffic to an address that a client
// has moved to (RFC 4555 3.7). Before costs the client one round trip without
// traffic from us; what it buys is that no client can turn its traffic on
// somebody else. The RFC wants that unless told otherwise, and so do we.
type Routability uint8

const (
	RoutabilityBefore Routability = iota // after the client has shown that it receives there
	RoutabilityAfter                     // at once; an address that shows nothing ends the SA
	RoutabilityOff                       // at once, unchecked
)

const (
	cookie2Len = 16 // of ours; RFC 4555 4.2.5 wants 8 to 64
	maxPaths   = 8  // addresses of a gateway that a client remembers
	// patience is how long a gateway asks a mobile client before it gives up,
	// in ns (RFC 4555 3.11).
	patience = int64(300e9)
	// hastyTries is how often a request is sent on a path in doubt.
	hastyTries = 3
)

// addMobike announces MOBIKE in IKE_AUTH (RFC 4555 3.2), and beside it the
// addresses of ours that sa does not use (3.4).
func (e *Endpoint) addMobike(w *wire.Writer, sa *SA) {
	if !sa.conn.MOBIKE || !sa.Original && !sa.mobike {
		return
	}
	w.Notify(wire.Notify{Type: wire.NotifyMOBIKESupported}) //rfc:4555-3.2-1 4555-4.2.1-1
	for _, a := range e.cfg.Addresses {
		if a = a.Unmap(); a != sa.local.addrPort().Addr() {
			w.Notify(wire.Notify{Type: additional(a), Data: a.AsSlice()}) //rfc:4555-3.4-1
		}
	}
}

func additional(a netip.Addr) wire.NotifyType {
	if a.Is4() {
		return wire.NotifyAdditionalIP4Address
	}
	return wire.NotifyAdditionalIP6Address
}

// learnMobike takes what the peer announced in IKE_AUTH.
func (e *Endpoint) learnMobike(sa *SA) {
	sa.mobike = sa.conn.MOBIKE && e.msg.has(wire.NotifyMOBIKESupported) //rfc:4555-4.2.1-2
	if t := sa.tun; t != nil && sa.mobike {
		t.learnPaths(&e.msg, sa.remote.addrPort().Addr())
	}
}

// ways are the addresses of the gateway of an SA with MOBIKE.
type ways struct {
	paths []netip.Addr
	tried int    // how many were tried since one answered
	seen  []byte // NAT_DETECTION_DESTINATION_IP: where the gateway saw us last
}

// learnPaths replaces what t knows of its gateway's addresses by the one that a
// message came from and those in it (RFC 4555 3.6).
func (t *tunnel) learnPaths(m *message, from netip.Addr) {
	if t.ways == nil {
		t.ways = &ways{}
	}
	x := t.ways
	x.paths, x.tried, x.seen = append(x.paths[:0], from), 0, nil //rfc:4555-3.6-1
	for _, n := range m.notes[:m.nNotes] {
		a, ok := netip.AddrFromSlice(n.Data)
		if ok && len(x.paths) < maxPaths && n.Type == additional(a) && !a.Is4In6() && !slices.Contains(x.paths, a) {
			x.paths = append(x.paths, a)
		}
	}
}

// floats says that IKE_AUTH goes to the port of UDP encapsulation: a NAT was
// found, or one may be on a later path (RFC 4555 3.3).
func (e *Endpoint) floats(sa *SA) bool {
	return sa.behind || e.cfg.ForceEncap || sa.conn.MOBIKE && e.msg.has(wire.NotifyNATDetectionSourceIP) //rfc:4555-3.3-2
}

// encap says that ESP goes in UDP: on that port, when there is a NAT. Without
// one the peer of a MOBIKE SA expects it bare.
func (e *Endpoint) encap(sa *SA) bool { return sa.marker && (sa.behind || e.cfg.ForceEncap) }

// altered reports whether a NAT that the peer does not allow has changed the
// addresses of the request at hand (RFC 4555 3.9).
func (e *Endpoint) altered() bool {
	n, ok := e.msg.note(wire.NotifyNoNATsAllowed)
	if !ok {
		return false
	}
	want := append(e.asker.Remote.Addr().Unmap().AsSlice(), e.asker.Local.Addr().Unmap().AsSlice()...)
	for _, port := range [...]uint16{e.asker.Remote.Port(), e.asker.Local.Port()} {
		want = append(want, byte(port>>8), byte(port))
	}
	return string(n.Data) != string(want) //rfc:4555-3.9-2 4555-3.9-5
}

// relocate is the part of MOBIKE in an INFORMATIONAL request of the peer's. It
// tells what the response must say, and whether the SA has another path now.
func (e *Endpoint) relocate(sa *SA) (refusal wire.NotifyType, moved bool) {
	m := &e.msg
	update, none := m.has(wire.NotifyUpdateSAAddresses), m.has(wire.NotifyNoAdditionalAddresses)
	more := m.has(wire.NotifyAdditionalIP4Address) || m.has(wire.NotifyAdditionalIP6Address)
	switch {
	case !sa.mobike || !update && !none && !more:
		return 0, false
	case e.altered():
		e.drop(DropPath)
		return wire.NotifyUnexpectedNATDetected, false
	case sa.Client: //rfc:4555-3.5-7
		if none || more { // an update is ours alone to ask for (RFC 4555 3.5)
			e.gatewayMoved(sa)
		}
		return 0, false
	case !update: // of a client's other addresses a gateway that stays needs none (RFC 4555 3.6)
		return 0, false
	case !e.usable(e.asker):
		e.drop(DropPath)
		return wire.NotifyUnacceptableAddresses, false
	}
	return 0, true
}

// addMobility answers what a request asked of MOBIKE: NAT detection and COOKIE2
// come back in any INFORMATIONAL (RFC 4555 3.7, 3.8).
func (e *Endpoint) addMobility(w *wire.Writer, sa *SA, refusal wire.NotifyType) {
	if refusal != 0 {
		w.Notify(wire.Notify{Type: refusal})
	}
	if !sa.mobike {
		return
	}
	if e.msg.has(wire.NotifyNATDetectionSourceIP) && refusal != wire.NotifyUnexpectedNATDetected {
		e.addDetection(w, sa, e.asker) //rfc:4555-3.8-2
	}
	if n, ok := e.msg.note(wire.NotifyCookie2); ok && len(n.Data) >= 8 && len(n.Data) <= 64 {
		w.Notify(wire.Notify{Type: wire.NotifyCookie2, Data: n.Data}) //rfc:4555-3.7-6 4555-4.2.5-2
	}
}

// move gives sa the path of the client's update, which has been answered. Its
// Child SAs follow when the new address has proved to be the client's.
func (e *Endpoint) move(sa *SA) {
	before := sa.remote.ip
	e.moveTo(sa, pack(e.asker.Local), pack(e.asker.Remote)) //rfc:4555-3.5-4
	sa.marker = e.asker.Marker
	if e.msg.has(wire.NotifyNATDetectionSourceIP) {
		sa.behind, sa.natted = e.detectNAT(sa)
	}
	if c := sa.cold; c != nil && c.open.kind != requestNone {
		e.sendSA(sa, c.open.msgs) // it has gone to where the client was; who moves all the time gains no patience by it
	}
	e.noteRollCall(sa)
	check := sa.conn.Routability != RoutabilityOff && (sa.remote.ip != before || sa.asks(requestRoute)) //rfc:4555-3.7-2
	if check {
		e.requestAnew(sa, requestRoute) //rfc:4555-3.7-1
	}
	if !check || sa.conn.Routability == RoutabilityAfter { //rfc:4555-3.7-3 4555-3.7-4
		e.moveChildren(sa)
		e.event(sa, Event{Kind: EventMoved})
	}
}

// asks reports whether a request of that kind is open or waits.
func (sa *SA) asks(kind requestKind) bool {
	c := sa.cold
	return c != nil && (c.open.kind == kind || slices.Contains(c.waiting, kind))
}

// requestAnew sends a request of that kind even if one is open: what was sent
// to another address proves nothing about this one (RFC 4555 3.5, 3.7).
func (e *Endpoint) requestAnew(sa *SA, kind requestKind) {
	c := e.chill(sa)
	if c.open.kind == requestNone {
		e.request(sa, kind)
	} else if !slices.Contains(c.waiting, kind) {
		c.waiting = slices.Insert(c.waiting, 0, kind) //rfc:4555-3.6-3
	}
}

// addPath adds what a request of ours asks about its path, and returns the
// COOKIE2 that must come back.
func (e *Endpoint) addPath(w *wire.Writer, sa *SA, kind requestKind) (cookie [cookie2Len]byte) {
	if kind == requestMove {
		w.Notify(wire.Notify{Type: wire.NotifyUpdateSAAddresses})
	}
	if kind == requestMove || kind == requestEmpty && sa.Client && sa.mobike && sa.natted { //rfc:4555-3.8-1 4555-3.8-3
		e.addDetection(w, sa, Packet{Local: sa.local.addrPort(), Remote: sa.remote.addrPort()})
	}
	if kind == requestMove || kind == requestRoute {
		_, _ = e.rand.Read(cookie[:])                                    //rfc:4555-4.2.5-4
		w.Notify(wire.Notify{Type: wire.NotifyCookie2, Data: cookie[:]}) //rfc:4555-3.7-5 4555-4.2.5-1 4555-4.2.5-3
	}
	return cookie
}

// pathAnswered takes what the response to an open request x says of its path.
// It reports whether sa has ended: a wrong COOKIE2 closes it (RFC 4555 3.7).
func (e *Endpoint) pathAnswered(sa *SA, x *exchange) (ended bool) {
	if x.kind == requestMove || x.kind == requestRoute {
		if n, _ := e.msg.note(wire.NotifyCookie2); !equal(n.Data, x.cookie[:]) { //rfc:4555-3.7-7
			e.drop(DropPath)
			e.deleteSA(sa) //rfc:4555-3.7-8
			return true
		}
		if sa.asks(x.kind) { // a newer one is on its way //rfc:4555-3.5-3 4555-3.7-9
			return false
		}
	}
	switch x.kind {
	case requestRoute:
		if sa.conn.Routability == RoutabilityBefore {
			e.moveChildren(sa)
			e.event(sa, Event{Kind: EventMoved})
		}
	case requestMove:
		return e.updateAnswered(sa)
	case requestEmpty:
		if t := sa.tun; t != nil && sa.mobike && sa.natted && !e.sameMapping(t) {
			e.request(sa, requestMove) // RFC 4555 3.8 //rfc:4555-3.8-4
		}
	}
	return false
}

// updateAnswered goes on when the gateway has taken our new path, or not.
func (e *Endpoint) updateAnswered(sa *SA) (ended bool) {
	t := sa.tun
	if t == nil {
		return false
	}
	if e.msg.has(wire.NotifyUnacceptableAddresses) || e.msg.has(wire.NotifyUnexpectedNATDetected) {
		if !e.nextPath(sa) { //rfc:4555-3.5-6
			e.abandon(sa, "no path is acceptable")
			return true
		}
		return false
	}
	if e.msg.has(wire.NotifyNATDetectionSourceIP) {
		sa.behind, sa.natted = e.detectNAT(sa) //rfc:4555-3.5-5
	}
	e.sameMapping(t)
	t.ways.tried = 0
	t.local, t.remote, t.marker, t.mapped = sa.local, sa.remote, sa.marker, t.hasTicket()
	e.noteRollCall(sa)
	e.moveChildren(sa)
	e.event(sa, Event{Kind: EventMoved})
	return false
}

// sameMapping reports whether the gateway still sees us at the address and
// port where it saw us last, and remembers where it sees us now. The first
// time nobody knows.
func (e *Endpoint) sameMapping(t *tunnel) bool {
	n, ok := e.msg.note(wire.NotifyNATDetectionDestinationIP)
	if !ok || len(n.Data) != natt.Size {
		return true
	}
	same := string(t.ways.seen) == string(n.Data)
	t.ways.seen = append(t.ways.seen[:0], n.Data...)
	return same
}

// abandon gives up an SA whose path is lost in silence, and resumes.
func (e *Endpoint) abandon(sa *SA, why string) {
	t := sa.tun
	e.down(sa, why, true)
	if t != nil && !t.letGo(sa) {
		e.lost(t, ByNothing)
	}
}

// nextPath tries the gateway's next address when nobody answers at this one
// (RFC 4555 3.10). It reports false when all were tried.
func (e *Endpoint) nextPath(sa *SA) bool {
	t := sa.tun
	if t == nil || !sa.mobike {
		return false
	}
	own, at := sa.local.addrPort().Addr(), sa.remote.addrPort().Addr()
	x := t.ways
	for x.tried < len(x.paths) {
		a := x.paths[x.tried]
		x.tried++
		if a != at && a.Is4() == own.Is4() {
			e.moveTo(sa, sa.local, addr{a.As16(), sa.remote.port})
			e.doubt(sa)
			e.requestAnew(sa, requestMove) //rfc:4555-3.10-1
			return true
		}
	}
	x.tried = 0
	return false
}

// doubt sends the open request again, on the path that sa has now, and soon
// gives it up (RFC 4555 3.5: outstanding requests take the new addresses).
func (e *Endpoint) doubt(sa *SA) {
	c := sa.cold
	if c == nil || c.open.kind == requestNone {
		return
	}
	c.open.hasty = true
	e.again(sa) //rfc:4555-3.5-2
}

// gatewayMoved takes a gateway's new list of addresses (RFC 4555 3.6). If the
// one in use is not on it, sa goes to where the list came from.
func (e *Endpoint) gatewayMoved(sa *SA) {
	t := sa.tun
	if t == nil {
		return
	}
	t.learnPaths(&e.msg, e.asker.Remote.Addr().Unmap())
	if !slices.Contains(t.ways.paths, sa.remote.addrPort().Addr()) {
		e.moveTo(sa, sa.local, addr{t.ways.paths[0].As16(), sa.remote.port})
		e.requestAnew(sa, requestMove)
	}
}

// movedElder asks for the update on the SA that sa replaces, too. Until the
// gateway has sa it knows no other, and it goes on with its rekey where we were.
func (e *Endpoint) movedElder(sa *SA) {
	if sa.cold == nil || e.sa(sa.cold.elder) == nil {
		return
	}
	elder := e.sa(sa.cold.elder)
	elder.local.ip = sa.local.ip
	e.again(elder)
	e.requestAnew(elder, requestMove)
}

// movedTo takes the address that we reach t's gateway from now. The client
// does what is cheapest: nothing new when the address is the old one, a MOBIKE
// update, a resume, a login beside the old SA.
func (e *Endpoint) movedTo(t *tunnel, local netip.AddrPort) {
	t.ike[0] = pack(local)
	ip := t.ike[0].ip
	t.local.ip = ip
	sa := e.sa(t.sa)
	if sa != nil && sa.half != nil && sa.local.ip != ip { // an attempt from the old address
		e.discard(sa)
		t.sa, t.old = t.old, 0
		if sa = e.sa(t.sa); sa == nil {
			e.attempt(t)
			return
		}
		sa.endAt = e.now + 1 // begin to replace it once more
		e.schedule(sa)
	}
	switch {
	case sa == nil || sa.half != nil:
		e.hasten(t)
	case sa.local.ip == ip:
		e.hint(sa)
	case sa.mobike:
		e.moveTo(sa, addr{ip, sa.local.port}, sa.remote)
		t.ways.tried = 0
		e.moveChildren(sa)
		e.doubt(sa)
		e.requestAnew(sa, requestMove)
		e.movedElder(sa)
	case t.hasTicket():
		e.abandon(sa, "our address changed")
	default:
		e.moveTo(sa, addr{ip, sa.local.port}, sa.remote)
		e.replace(sa, false)
	}
}
