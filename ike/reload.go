package ike

import (
	"errors"
	"reflect"
	"slices"

	"blackswan/internal/propose"
	"blackswan/ticket"
	"blackswan/wire"
)

// A reload. Each SA is measured by what the connection of its name is now: one
// that it would have goes on, and its peer hears nothing of it; one that it would
// not have is deleted, which ends its tickets (rule D6). What does not say who may
// be here, as lifetimes and liveness, counts from the next time that it is asked
// for.

const (
	// reloadBatch SAs are looked at every drainEvery ns; drainBatch of them are
	// told something at most, as many as a drain sends away.
	reloadBatch = 1024
	// reloadAgain is when those are looked at that could not be measured, in ns.
	reloadAgain = int64(1e9)
)

// Why a connection would not have an SA, or the SA of a ticket.
var (
	errNoConnection = errors.New("its connection is not configured any more")
	errPeerID       = errors.New("its identity does not fit the connection any more")
	errOwnID        = errors.New("our identity is another now")
	errProof        = errors.New("the connection wants another proof of identity now")
	errKey          = errors.New("its shared key is another now")
	errAlgorithms   = errors.New("its algorithms are not allowed any more")
	errForm         = errors.New("its AUTH form is switched off")
	errChildren     = errors.New("other Child SAs are wanted now")
	errUncarried    = errors.New("a Child SA: what it carries, or how, is not configured any more")
)

// reload is a walk through all SAs.
type reload struct {
	at       int64 // of the next batch; 0: none
	slot     int
	again    bool // an SA was left for another walk
	became   map[*Connection]successor
	selected Selected
}

// successor is what became of a connection.
type successor struct {
	conn *Connection // nil: it is gone
	same bool        // it has the same Child SAs
}

// Selected tells what the data plane carries by the Child SA with that inbound
// SPI, ok if it knows. It is called as long as a reload takes.
type Selected func(spiIn uint32) (local, remote []wire.Selector, ok bool)

func (e *Endpoint) startReload(selected Selected) {
	e.reload = reload{at: e.now, became: map[*Connection]successor{}, selected: selected}
	for _, t := range slices.Clone(e.tunnels) {
		e.reloadTunnel(t)
	}
}

// reloadSome measures the next SAs. It goes round until each is measured: an SA
// that is being rekeyed is not, and its heir may have a place that was passed.
func (e *Endpoint) reloadSome() {
	r := &e.reload
	told := 0
	for looked := 0; looked < reloadBatch && told < drainBatch && r.slot < len(e.slots); r.slot++ {
		if sa := e.slots[r.slot].sa; sa != nil && e.measure(sa) {
			told++
		}
		looked++
	}
	switch {
	case r.slot < len(e.slots):
		r.at = e.now + drainEvery
	case r.again:
		r.slot, r.again, r.at = 0, false, e.now+reloadAgain
	default:
		e.reload = reload{}
		e.event(nil, Event{Kind: EventReloaded})
	}
}

// successor is what became of the connection that an SA has.
func (e *Endpoint) successor(of *Connection) successor {
	s, known := e.reload.became[of]
	if !known {
		if s.conn = e.named([]byte(of.Name)); s.conn != nil {
			s.same = s.conn == of || reflect.DeepEqual(of.Policy, s.conn.Policy) && reflect.DeepEqual(of.Further, s.conn.Further)
		}
		e.reload.became[of] = s
	}
	return s
}

// measure gives sa the connection of now, or ends it, and reports whether its peer
// is told something.
func (e *Endpoint) measure(sa *SA) (told bool) {
	if sa.conn == nil || sa.tun != nil {
		return false
	}
	s := e.successor(sa.conn)
	switch {
	case s.conn == sa.conn:
		return false
	case sa.state == stateDeleting: // what its Child SAs carry until that is answered ends at once
		if s.conn == nil || !s.same || e.misfit(sa, s.conn, s.conn.Local.ID) != nil {
			e.removeChildren(sa, OutputRemove)
		}
		return false
	case sa.state == stateProving: // what it has shown is judged anew, when it shows it again
		e.unheard(sa)
		return false
	case sa.replaced(): // nothing of it is left but its DELETE, unless the peer undoes the rekey
		e.reload.again = true
		return false
	}
	if s.conn == nil {
		e.expel(sa, errNoConnection)
		return true
	}
	if err := e.misfit(sa, s.conn, s.conn.Local.ID); err != nil {
		e.expel(sa, err)
		return true
	}
	switch c := sa.cold; {
	case c != nil && (c.ours != nil || c.theirs != nil): // what it makes was asked for by the connection of before
		e.reload.again = true
	case sa.half == nil && !s.same:
		return e.recast(sa, s.conn)
	default:
		sa.conn = s.conn
	}
	return false
}

// unheard makes sa what it was before its IKE_AUTH request came.
func (e *Endpoint) unheard(sa *SA) {
	hf := sa.half
	if hf.question != 0 {
		delete(e.asked, hf.question)
		hf.question = 0
		e.counts.questions--
	}
	sa.state, sa.conn, sa.peer = stateHalf, nil, nil
	hf.plain, hf.verified, hf.certReq = nil, false, nil
}

// misfit is why conn, with that identity of ours, would not have sa; nil: it would.
func (e *Endpoint) misfit(sa *SA, conn *Connection, own wire.ID) error {
	if (conn.Local.Auth == AuthPSK || conn.Remote.Auth == AuthPSK) && len(sa.conn.PSK) > 0 && !sa.conn.PSK.Equal(conn.PSK) {
		return errKey
	}
	s := &e.session
	e.remember(sa, s)
	return unfit(s, conn, own, sa.Client, e.wall)
}

// unfit is why conn would not have what s remembers; nil: it would. own is our
// identity, client our part.
func unfit(s *ticket.Session, conn *Connection, own wire.ID, client bool, now int64) error {
	ours, theirs, method, peerMethod := s.IDr, s.IDi, s.MethodR, s.MethodI
	if client {
		ours, theirs, method, peerMethod = theirs, ours, peerMethod, method
	}
	byKey := func(method uint8) bool { return method == uint8(wire.AuthSharedKey) }
	algorithms := suiteOf(s)
	switch {
	case !conn.Remote.Matches(wire.ID{Type: wire.IDType(theirs.Type), Data: theirs.Data}):
		return errPeerID
	case wire.IDType(ours.Type) != own.Type || string(ours.Data) != string(own.Data):
		return errOwnID
	case byKey(peerMethod) != (conn.Remote.Auth == AuthPSK), byKey(method) != (conn.Local.Auth == AuthPSK):
		return errProof
	case !client && conn.Remote.Auth == AuthPSK && s.PeerCert.Anchor != conn.KeyPrint:
		return errKey
	case algorithms.Valid() != nil || !permits(conn.IKE, algorithms):
		return errAlgorithms
	case s.AuthForm == formShort && !conn.Libreswan:
		return errForm
	case conn.Remote.Auth == AuthCert && conn.Recheck != nil:
		return conn.Recheck(&s.PeerCert, now)
	}
	return nil
}

// expel ends an SA that its connection would not have. Nothing comes through any
// more, however long its peer takes to answer; what is left of the SA before its
// rekey goes, too, for that may be the one that the peer knows.
func (e *Endpoint) expel(sa *SA, why error) {
	if sa.half != nil {
		e.drop(DropTicket)
		e.discard(sa)
		return
	}
	e.event(sa, Event{Kind: EventUnfit, Err: why})
	if c := sa.cold; c != nil && e.contested(sa) == nil {
		if elder := e.sa(c.elder); elder != nil && elder.state == stateEstablished {
			e.deleteSA(elder)
		}
	}
	e.removeChildren(sa, OutputRemove)
	e.deleteSA(sa)
}

// recast gives each Child SA of sa a policy of conn, and closes those that none
// would have, if any.
func (e *Endpoint) recast(sa *SA, conn *Connection) (closed bool) {
	for k := range sa.installed {
		of, found := e.policyFor(sa, k, conn)
		if k.ts.whole() {
			k.ts = wholeOf(of)
		} else {
			k.ts = &selectors{of, k.ts.straight, k.ts.local, k.ts.remote}
		}
		if !found && k.phase < phaseClosing {
			e.event(sa, Event{Kind: EventUnfit, Err: errUncarried})
			e.tellChild(OutputRemove, sa, k) // whether or not the peer answers our DELETE
			e.close(sa, k.in)
			closed = true
		}
	}
	if c := sa.cold; c != nil {
		c.wants = nil // whoever wants what there is now asks for it
	}
	sa.conn = conn
	e.pursue(sa)
	return closed
}

// policyFor is the number of the policy of conn that would have the Child SA k:
// that of the same name before another. 0 stands for none.
func (e *Endpoint) policyFor(sa *SA, k *child, conn *Connection) (of uint8, found bool) {
	was := sa.conn.policy(k.ts)
	local, remote := e.carried(sa, k)
	n := uint8(0)
	for p := range conn.Policies {
		has := p.modeFits(k) && propose.PermitsESP(p.ESP, k.suite) &&
			e.holds(0, p.LocalTS, was.LocalTS, local, sa.local) && e.holds(1, p.RemoteTS, was.RemoteTS, remote, sa.remote)
		if has && (!found || p.Child == was.Child) {
			of, found = n, true
		}
		n++
	}
	return of, found
}

// carried is what goes by k: what it was narrowed to, where that is known, else
// all that it may be.
func (e *Endpoint) carried(sa *SA, k *child) (local, remote []wire.Selector) {
	if k.ts.whole() && e.reload.selected != nil {
		if local, remote, ok := e.reload.selected(k.in); ok {
			return local, remote
		}
	}
	return e.allowed(sa, k.ts)
}

func (p *Policy) modeFits(k *child) bool {
	if k.ts != nil && k.ts.straight {
		return p.Mode != ModeTunnel
	}
	return p.Mode != ModeTransport
}

// holds reports whether each selector of has is within one of ts. Dynamic ones
// that were dynamic before are.
func (e *Endpoint) holds(side int, ts, was, has []wire.Selector, a addr) bool {
	if len(ts) == 0 && len(was) == 0 {
		return true
	}
	ts = e.dynamic(side, ts, a)
	for _, h := range has {
		if !slices.ContainsFunc(ts, func(t wire.Selector) bool { s, ok := intersect(h, t); return ok && s == h }) {
			return false
		}
	}
	return true
}

// reloadTunnel gives a connection that we keep up its settings of now. Where its
// SA does not fit them, or other Child SAs are wanted, a new one is made in its
// place. An attempt begins anew.
func (e *Endpoint) reloadTunnel(t *tunnel) {
	s, was := e.successor(t.conn), t.conn
	switch {
	case s.conn == was:
		return
	case s.conn == nil:
		e.closeTunnel(was)
		return
	}
	if sa := e.sa(t.sa); sa != nil && sa.half != nil {
		e.discard(sa)
		t.sa = 0
		switch old := e.sa(t.old); {
		case old == nil:
		case t.elsewhere() && !old.carries(): // it was redirected in IKE_AUTH: there is nothing to keep
			t.old = 0
			e.down(old, "reloaded", true)
		default:
			e.keepOld(t)
		}
	}
	own := t.own
	if own.Type == was.Local.ID.Type && string(own.Data) == string(was.Local.ID.Data) {
		own = s.conn.Local.ID
	}
	sa, stays := e.sa(t.sa), false
	switch {
	case sa == nil:
		if !was.PSK.Equal(s.conn.PSK) {
			e.forgetTicket(t)
		}
	case sa.state == stateEstablished:
		err := e.misfit(sa, s.conn, own)
		if err == nil && !s.same {
			err = errChildren
		}
		if stays = err == nil; stays {
			sa.conn = s.conn
			break
		}
		e.forgetTicket(t)
		sa.tun, t.sa, t.deleted = nil, 0, nil
		e.expel(sa, err)
	default:
		stays = true // until its DELETE is answered
	}
	if t.conn, t.own = s.conn, own; !stays {
		t.silent, t.unheard, t.rounds, t.tries, t.found, t.full = 0, 0, 0, 0, false, false
		e.attempt(t)
	}
}
