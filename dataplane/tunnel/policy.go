package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"blackswan/wire"
)

// mostPrefixes bounds what the selectors of one Child SA are cut into: a range
// of IPv6 addresses may take 254.
const mostPrefixes = 4096

// policy finds the Child SA that a packet leaves by. The longest prefix of the
// destination wins, then a selector that names a protocol, then the narrower
// range of ports, then what does not wait, then what was installed last.
type policy struct {
	to bart.Table[[]route] // by destination, the first one that fits wins
}

// route is one remote selector of a Child SA. Its addresses are its place in
// the table.
type route struct {
	child  *child
	remote *wire.Selector // in child.remote
}

// rank orders routes to the same prefix, the best first.
func rank(a, b route) int {
	named := func(s *wire.Selector) int { return min(int(s.Protocol), 1) }
	width := func(s *wire.Selector) int { return int(s.EndPort) - int(s.StartPort) } // OPAQUE is the narrowest
	return cmp.Or(
		cmp.Compare(named(b.remote), named(a.remote)),
		cmp.Compare(width(a.remote), width(b.remote)),
		yields(a.child)-yields(b.child),
		cmp.Compare(b.child.order, a.child.order),
	)
}

// yields is 1 for a Child SA that lets older ones send. It changes only while c
// is not in the table.
func yields(c *child) int {
	if c.waits.Load() {
		return 1
	}
	return 0
}

// add takes the remote selectors of c into the table.
func (p *policy) add(c *child) {
	for i := range c.remote {
		r := route{c, &c.remote[i]}
		for _, prefix := range r.remote.Prefixes() {
			p.to.Modify(prefix, func(routes []route, _ bool) ([]route, bool) {
				at, _ := slices.BinarySearchFunc(routes, r, rank)
				return slices.Insert(routes, at, r), false
			})
		}
	}
}

// taken is a prefix that c shares with another peer's Child SA: who has logged in
// does not get the packets of somebody else by asking for them (rule F5).
func (p *policy) taken(c *child) (netip.Prefix, bool) {
	for i := range c.remote {
		for _, prefix := range c.remote[i].Prefixes() {
			for _, near := range []iter.Seq2[netip.Prefix, []route]{p.to.Supernets(prefix), p.to.Subnets(prefix)} {
				for other, routes := range near {
					address := other == prefix && prefix.IsSingleIP()
					if slices.ContainsFunc(routes, func(r route) bool { return rivals(c, r.child, address) }) {
						return prefix, true
					}
				}
			}
		}
	}
	return netip.Prefix{}, false
}

// rivals tells whether two Child SAs are of peers of whom only one can have what
// both ask for: the same single address, or a network of one connection, out of
// which its peers choose. Networks of two connections are as their owner wants.
func rivals(a, b *child, address bool) bool {
	return a.peer != b.peer && a.peer != 0 && b.peer != 0 && (address || a.connection == b.connection)
}

// remove takes c out of the table.
func (p *policy) remove(c *child) {
	for i := range c.remote {
		for _, prefix := range c.remote[i].Prefixes() {
			p.to.Modify(prefix, func(routes []route, _ bool) ([]route, bool) {
				routes = slices.DeleteFunc(routes, func(r route) bool { return r.child == c })
				return routes, len(routes) == 0
			})
		}
	}
}

// replaced tells whether other Child SAs of the same owner reach all that c, which
// is not in the table any more, has reached.
func (p *policy) replaced(c *child) bool {
	for i := range c.remote {
		for _, prefix := range c.remote[i].Prefixes() {
			if !p.reached(prefix, c.owner) {
				return false
			}
		}
	}
	return true
}

// reached tells whether a Child SA of that owner reaches all of a prefix.
func (p *policy) reached(prefix netip.Prefix, by owner) bool {
	for _, routes := range p.to.Supernets(prefix) {
		if slices.ContainsFunc(routes, func(r route) bool { return r.child.owner == by }) {
			return true
		}
	}
	return false
}

// lookup is the Child SA that a packet leaves by, or nil.
func (p *policy) lookup(f *flow) *child {
	routes, ok := p.to.Lookup(f.dst)
	if !ok {
		return nil
	}
	if c := choose(routes, f); c != nil {
		return c
	}
	// The longest prefix is that of other sources, protocols or ports.
	for _, routes := range p.to.Supernets(netip.PrefixFrom(f.dst, f.dst.BitLen())) {
		if c := choose(routes, f); c != nil {
			return c
		}
	}
	return nil
}

// takes tells whether selectors of both sides take an inbound flow.
func (c *child) takes(f *flow) bool {
	return matches(c.remote, f, f.src, f.srcPort) && matches(c.local, f, f.dst, f.dstPort)
}

// choose is the first route that fits more than the destination.
func choose(routes []route, f *flow) *child {
	for _, r := range routes {
		if admits(r.remote, f, f.dstPort) && matches(r.child.local, f, f.src, f.srcPort) {
			return r.child
		}
	}
	return nil
}

// matches tells whether one of the selectors takes this end of a flow.
func matches(selectors []wire.Selector, f *flow, addr netip.Addr, port uint16) bool {
	for i := range selectors {
		if s := &selectors[i]; within(s, addr) && admits(s, f, port) {
			return true
		}
	}
	return false
}

// reaches tells whether one of the selectors has the address.
func reaches(selectors []wire.Selector, addr netip.Addr) bool {
	for i := range selectors {
		if within(&selectors[i], addr) {
			return true
		}
	}
	return false
}

// checkSelectors refuses what add cannot take: no selector at all, addresses of
// two families, a range that ends before it starts, or too many prefixes.
func checkSelectors(local, remote []wire.Selector) error {
	count := 0
	for _, side := range [][]wire.Selector{local, remote} {
		if len(side) == 0 {
			return errors.New("tunnel: a Child SA without traffic selectors carries nothing")
		}
		for i := range side {
			s := &side[i]
			opaque := s.StartPort == 65535 && s.EndPort == 0
			if !s.Start.IsValid() || s.Start.BitLen() != s.End.BitLen() || s.End.Less(s.Start) || s.EndPort < s.StartPort && !opaque {
				return fmt.Errorf("tunnel: the traffic selector %v is no range of addresses and ports", *s)
			}
			count += len(s.Prefixes())
		}
	}
	if count > mostPrefixes {
		return fmt.Errorf("tunnel: the traffic selectors make %d prefixes, %d are the most: use fewer ranges, or whole prefixes", count, mostPrefixes)
	}
	return nil
}
