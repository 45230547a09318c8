package ike

import (
	"net/netip"
	"slices"

	"blackswan/wire"
)

// Traffic selectors, RFC 7296 2.9: each side says what it allows, a Child SA
// carries what both do.

// maxSelectors is how many a side may have after narrowing.
const maxSelectors = 16

// selectors are what a Child SA carries, of one of the connection's policies.
type selectors struct {
	of            uint8           // number of the policy
	straight      bool            // transport mode
	local, remote []wire.Selector // none: all that the policy allows
}

// policy is the number of the policy. Of no selectors it is the first.
func (ts *selectors) policy() uint8 {
	if ts == nil {
		return 0
	}
	return ts.of
}

// whole reports whether they are all that their policy allows.
func (ts *selectors) whole() bool { return ts == nil || len(ts.local) == 0 }

// selectors are those of c that the first policy does not tell. c may be nil.
func (c *child) selectors() *selectors {
	if c == nil {
		return nil
	}
	return c.ts
}

// wholes are the selectors of Child SAs that carry all of a policy.
var wholes = func() (w [MaxPolicies]selectors) {
	for i := range w {
		w[i].of = uint8(i)
	}
	return w
}()

// wholeOf are those of that policy: nil for the first.
func wholeOf(of uint8) *selectors {
	if of == 0 {
		return nil
	}
	return &wholes[of]
}

// allowed are the selectors of ts, those of its policy if it has none, or the
// address itself where they are dynamic.
func (e *Endpoint) allowed(sa *SA, ts *selectors) (local, remote []wire.Selector) {
	if !ts.whole() {
		return ts.local, ts.remote
	}
	p := sa.conn.policy(ts)
	return e.dynamic(0, p.LocalTS, sa.local), e.dynamic(1, p.RemoteTS, sa.remote)
}

func (e *Endpoint) dynamic(buf int, ts []wire.Selector, a addr) []wire.Selector {
	if len(ts) > 0 {
		return ts
	}
	ip := a.addrPort().Addr()
	e.scratch.dynamic[buf] = wire.Selector{EndPort: 65535, Start: ip, End: ip} //rfc:7296-2.23.1-1
	return e.scratch.dynamic[buf : buf+1]
}

// narrow gives o what is both offered and allowed (RFC 7296 2.9).
func (e *Endpoint) narrow(sa *SA, o *offer, ts *selectors, local, remote wire.TS) {
	allowed := [2][]wire.Selector{}
	allowed[0], allowed[1] = e.allowed(sa, ts)
	for side, offered := range [...]wire.TS{local, remote} {
		var all bool
		e.scratch.selectors[side], all = common(e.scratch.selectors[side][:0], offered, allowed[side]) //rfc:7296-2.9-2
		o.more = o.more || !all
	}
	o.local, o.remote = e.scratch.selectors[0], e.scratch.selectors[1]
	p := sa.conn.policy(ts)
	o.of = ts.policy()
	o.own = !ts.whole() || p.dynamic() && !(slices.Equal(o.local, allowed[0]) && slices.Equal(o.remote, allowed[1]))
}

// dynamic reports whether selectors of p are the addresses of the SA.
func (p *Policy) dynamic() bool { return len(p.LocalTS) == 0 || len(p.RemoteTS) == 0 }

// moveTo gives sa another path.
func (e *Endpoint) moveTo(sa *SA, local, remote addr) {
	e.pin(sa, local, remote)
	sa.local, sa.remote = local, remote
}

// pin gives the Child SAs of sa selectors of their own if it is about to get
// other addresses: dynamic ones stay those of when they were made.
func (e *Endpoint) pin(sa *SA, local, remote addr) {
	if local.ip == sa.local.ip && remote.ip == sa.remote.ip {
		return
	}
	for c := range sa.installed {
		if c.ts.whole() && sa.conn.policy(c.ts).dynamic() {
			l, r := e.allowed(sa, c.ts)
			c.ts = &selectors{of: c.ts.policy(), local: slices.Clone(l), remote: slices.Clone(r)}
		}
	}
}

// fitting are the selectors of the policy that a request for a new Child SA
// means: the one of which it asks for most, and of equals the first.
func (e *Endpoint) fitting(sa *SA, local, remote wire.TS) (best *selectors) {
	if len(sa.conn.Further) == 0 {
		return nil
	}
	most := 0
	for i := range len(sa.conn.Further) + 1 {
		var o offer
		ts := wholeOf(uint8(i))
		e.narrow(sa, &o, ts, local, remote)
		if len(o.local) == 0 || len(o.remote) == 0 {
			continue
		}
		ours, theirs := e.allowed(sa, ts)
		if fit := fit(local, o.local, ours) + fit(remote, o.remote, theirs); fit > most {
			best, most = ts, fit
		}
	}
	return best
}

// fit weighs what is left of an offer: all that is allowed, all that was
// offered, or a part of both.
func fit(offered wire.TS, left, allowed []wire.Selector) int {
	if slices.Equal(left, allowed) {
		return 3
	}
	for s := range offered.Selectors() {
		if !slices.Contains(left, s) {
			return 1
		}
	}
	return 2
}

// common appends the intersections of what is offered with what is allowed, in
// the order of the offer and without repeats, and tells whether all have room.
func common(dst []wire.Selector, offered wire.TS, allowed []wire.Selector) (_ []wire.Selector, all bool) {
	for o := range offered.Selectors() {
		for _, a := range allowed {
			s, ok := intersect(o, a)
			switch {
			case !ok || slices.Contains(dst, s):
			case len(dst) == maxSelectors:
				return dst, false
			default:
				dst = append(dst, s)
			}
		}
	}
	return dst, true
}

func intersect(a, b wire.Selector) (wire.Selector, bool) {
	if a.Protocol != 0 && b.Protocol != 0 && a.Protocol != b.Protocol || a.Start.Is4() != b.Start.Is4() {
		return wire.Selector{}, false
	}
	s := wire.Selector{
		Protocol: max(a.Protocol, b.Protocol), StartPort: max(a.StartPort, b.StartPort), EndPort: min(a.EndPort, b.EndPort),
		Start: later(a.Start, b.Start), End: earlier(a.End, b.End),
	}
	return s, s.StartPort <= s.EndPort && s.Start.Compare(s.End) <= 0
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if b.Less(a) {
		return b
	}
	return a
}

// wantRest has another Child SA made for those selectors of ours that the peer
// has left out of o but would take in one of their own (RFC 7296 2.9).
func (e *Endpoint) wantRest(sa *SA, o offer, asked *selectors) {
	if !e.msg.has(wire.NotifyAdditionalTSPossible) {
		return
	}
	local, remote := e.allowed(sa, asked)
	rest := selectors{o.of, false, without(local, o.local), without(remote, o.remote)}
	switch {
	case len(rest.local) > 0:
		rest.remote = slices.Clone(remote)
	case len(rest.remote) > 0:
		rest.local = slices.Clone(local)
	default:
		return
	}
	e.wantChild(sa, &rest) //rfc:7296-2.9-1
}

// without are the selectors that have nothing in common with those that are had.
func without(all, had []wire.Selector) (rest []wire.Selector) {
	for _, s := range all {
		if !slices.ContainsFunc(had, func(h wire.Selector) bool { _, ok := intersect(s, h); return ok }) {
			rest = append(rest, s)
		}
	}
	return rest
}
