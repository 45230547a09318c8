package ike

import (
	"net/netip"
	"time"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// View is one SA as its owner shows it to people. Its slices live until the
// next input.
type View struct {
	SA         Handle
	SPIs       wire.SPIs
	Original   bool // SPIi is ours
	Connection *Connection
	Identity   []byte // the peer's: type octet and data; empty before IKE_AUTH
	Remote     netip.AddrPort
	Marker     bool   // UDP encapsulated
	State      string // half_open, established, replaced (its rekey has made another), deleting
	Resumed    bool
	Suite      suite.Suite
	Born       int64         // Unix seconds; 0: not established yet
	Silent     time.Duration // since the peer was heard, established SAs
	Generation uint8         // of the secret of its token (rule B2)
	Child      ChildView     // without SPIs: there is none
	More       []ChildView   // further Child SAs
	Wanted     []WantView    // Child SAs that are to be made
	Ticket     int64         // initiator: the ticket's expiry, Unix seconds; 0: none
}

// ChildView is one Child SA of a View.
type ChildView struct {
	Name      string // where the connection has several
	In, Out   uint32 // ESP SPIs
	Transport bool   // transport mode; else tunnel mode
}

// WantView is a Child SA that is to be made.
type WantView struct {
	Name    string        // where the connection has several
	Refusal error         // why the last attempt failed; nil: there was none, or the peer has deleted it
	In      time.Duration // until it is asked for
}

// Views calls f with every SA until f says false. It is no input: what was put
// out stays.
func (e *Endpoint) Views(now time.Time, f func(View) bool) {
	for i := range e.slots {
		if sa := e.slots[i].sa; sa != nil && !f(e.view(now, sa)) {
			return
		}
	}
}

func (e *Endpoint) view(now time.Time, sa *SA) View {
	v := View{
		SA: sa.handle(), SPIs: sa.spi, Original: sa.Original, Connection: sa.conn, Identity: sa.peer,
		Remote: sa.remote.addrPort(), Marker: sa.marker, State: "half_open", Resumed: sa.resumed, Suite: sa.suite, Generation: sa.gen,
	}
	switch {
	case sa.state == stateDeleting:
		v.State = "deleting"
	case sa.state != stateEstablished:
	case sa.replaced():
		v.State = "replaced"
	default:
		v.State = "established"
	}
	if sa.born != 0 {
		v.Born, v.Silent = sa.born, now.Sub(e.time(sa.heard))
	}
	if sa.child.phase != phaseNone {
		v.Child = sa.viewOf(&sa.child)
	}
	for _, c := range sa.more() {
		v.More = append(v.More, sa.viewOf(c))
	}
	if c := sa.cold; c != nil {
		for _, w := range c.wants {
			v.Wanted = append(v.Wanted, WantView{sa.conn.policy(w.ts).Child, w.refusal, max(e.time(w.at).Sub(now), 0)})
		}
	}
	if t := sa.tun; t != nil {
		v.Ticket = t.expires
	}
	return v
}

func (sa *SA) viewOf(c *child) ChildView {
	return ChildView{sa.conn.policy(c.ts).Child, c.in, c.out, c.ts != nil && c.ts.straight}
}

// Count is what an Endpoint holds.
type Count struct {
	Established, HalfOpen int
	Claims                int    // lineages with a half-open resume
	Questions             int    // open ones that peers caused
	MostQuestions         int    // so many at once, since the start
	Reassemblies          int    // messages being put together from fragments
	RollCallLeft          int    // entries that are not done with
	RollCallShown         uint64 // messages, since the start
	Redirects             int    // established SAs whose client follows REDIRECT (RFC 5685)
}

// Count counts what e holds.
func (e *Endpoint) Count() Count {
	c := Count{Established: e.counts.established, HalfOpen: e.counts.half + e.counts.halfResumes, RollCallShown: e.call.shown}
	c.Redirects, c.MostQuestions = e.counts.redirects, e.counts.mostQuestions
	c.Claims, c.Questions, c.Reassemblies = e.claims.Len(), e.counts.questions, e.counts.pieces
	last := e.call.cursor[len(e.call.cursor)-1]
	for i := range e.call.lines {
		if l := &e.call.lines[i]; !l.stopped && (i >= e.call.cursor[0] || l.e.Ours && i >= last) {
			c.RollCallLeft++
		}
	}
	return c
}

// Empty reports whether e holds no SA at all, half-open ones included.
func (e *Endpoint) Empty() bool { return e.ours.Len() == 0 }
