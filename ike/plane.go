package ike

import "time"

// What the data plane sees of Child SAs, and what that tells of their peer.

// Plane takes what the data plane saw.
func (e *Endpoint) Plane(now time.Time, r Report) {
	e.at(now)
	if r.Kind == ReportUnknownSPI {
		e.espReport(r)
		return
	}
	sa := e.in(e.children.Get(r.SPI))
	if sa == nil {
		e.drop(DropStale)
		return
	}
	switch r.Kind {
	case ReportUsed:
		e.hearTraffic(sa)
		if k := sa.childIn(r.SPI); k != nil {
			e.prefer(sa, k)
		}
	case ReportSent:
		e.sentTraffic(sa)
	case ReportWorn, ReportSpent:
		e.worn(sa, r.SPI, r.Kind == ReportSpent)
	case ReportMoved:
		e.follow(sa, Packet{Local: r.Local, Remote: r.Remote, Marker: r.Marker})
	}
}

// follow moves sa to where its peer is now: only a peer behind a NAT moves so,
// only if we are not behind one ourselves, once a second (rule G3, RFC 7296 2.23).
// Bare ESP has no port, and tells nothing of where IKE finds the peer.
func (e *Endpoint) follow(sa *SA, p Packet) {
	if p.Remote.Port() == 0 || !sa.behind || sa.natted || sa.Original || p.Remote == sa.remote.addrPort() || e.now-sa.moved < 1e9 { //rfc:7296-2.23-5
		return
	}
	sa.moved = e.now
	e.moveTo(sa, pack(p.Local), pack(p.Remote))
	sa.marker = p.Marker
	e.noteRollCall(sa)
	e.moveChildren(sa) //rfc:4555-3.8-7
}
