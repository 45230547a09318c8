package hostnet

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Plan is what a host shall do for one connection while it is up. Apply
// borrows it for the call.
type Plan struct {
	Device    string                      // name of the TUN; it is there already
	MTU       int                         // of the device, in octets; 0: as it is
	Addresses []netip.Prefix              // inner addresses, on the device; they bring no routes of their own
	Routes    []netip.Prefix              // what the tunnel carries; 0.0.0.0/0 and ::/0 are a full tunnel
	Sources   map[netip.Prefix]netip.Addr // own address of what goes by a route, unless its sender has chosen one; not in it: the kernel chooses
	Gateway   netip.Addr                  // outer address of the other side, reached outside the tunnel; zero: not known
	Mark      uint32                      // fwmark of our own sockets, whose packets never enter the tunnel; 0: none
	DNS       []netip.Addr                // servers; none: the host's DNS stays as it is
	Search    []string                    // domains of theirs; in a split tunnel only names below these are asked of them
}

// Numbers of ours in the kernel. A connection has a slot, so that no two share
// an entry, and each number below is the base to which the slot is added.
//
// Rules of all connections that lead out of the tunnels are asked before those
// that lead in, and all of them before the main table (32766).
const (
	Table    = 17664 // 0x4500, the routing table of all tunnels
	Protocol = 69    // 0x45, marks our routes and rules: ip route show table 17664 proto 69

	prefOutside = 20500 // own packets and those to the gateway: table main
	prefNowhere = 20600 // the same, when main has no way: unreachable, or the tunnel would carry itself
	prefTunnel  = 20700 // everything: table 17664

	metricDevice    = 100  // route by the TUN
	metricBlackhole = 1000 // what is left of it when the TUN is gone

	slots = 99 // 1 to 99
)

// kind says what an entry is.
type kind string

// Kinds in the order in which they are made: own packets are led around the
// tunnel before anything is in its table, each prefix is dropped before it is
// carried, and only then does a rule lead there.
const (
	address   kind = "address"   // on the device
	outside   kind = "outside"   // rule: table main
	nowhere   kind = "nowhere"   // rule: unreachable
	blackhole kind = "blackhole" // route of our table that drops
	route     kind = "route"     // route of our table by the device
	tunnel    kind = "tunnel"    // rule: our table
)

var kinds = []kind{address, outside, nowhere, blackhole, route, tunnel}

// entry is one thing of ours in the kernel; with the slot it says all that
// tells it from other people's. Equal entries are the same thing.
type entry struct {
	Kind   kind         `json:"kind"`
	Prefix netip.Prefix `json:"prefix"` // address or destination; of a rule for every destination the /0 of its family
	Mark   uint32       `json:"mark,omitempty"`
	Device device       `json:"device,omitzero"` // of an address or a route
	Source netip.Addr   `json:"source,omitzero"` // of a route: our address of what goes by it
}

// device is an interface. The kernel does not use an index again soon: another
// device that takes the name is not taken for ours.
type device struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
}

// args are the words after "ip -4 KIND add" that make the entry.
func (e entry) args(slot int) string {
	switch e.Kind {
	case address:
		return fmt.Sprintf("%v dev %s", e.Prefix, e.Device.Name)
	case blackhole:
		return fmt.Sprintf("blackhole %v table %d metric %d proto %d", e.Prefix, Table, metricBlackhole+slot, Protocol)
	case route:
		words := fmt.Sprintf("%v dev %s table %d metric %d proto %d", e.Prefix, e.Device.Name, Table, metricDevice+slot, Protocol)
		if e.Source.IsValid() {
			words += fmt.Sprintf(" src %v", e.Source)
		}
		return words
	}
	who := ""
	if e.Mark != 0 {
		who = fmt.Sprintf(" fwmark %#x", e.Mark)
	}
	if e.Prefix.Bits() > 0 {
		who += fmt.Sprintf(" to %v", e.Prefix)
	}
	switch e.Kind {
	case outside:
		return fmt.Sprintf("pref %d%s lookup main protocol %d", prefOutside+slot, who, Protocol)
	case nowhere:
		return fmt.Sprintf("pref %d%s unreachable protocol %d", prefNowhere+slot, who, Protocol)
	default:
		return fmt.Sprintf("pref %d%s lookup %d protocol %d", prefTunnel+slot, who, Table, Protocol)
	}
}

// command is the one of iproute2 that does to the entry what verb says, for
// people.
func (e entry) command(verb string, slot int) string {
	family, object := [...]int{4, 6}[e.family()], "rule"
	switch e.Kind {
	case address:
		object = "address"
	case blackhole, route:
		object = "route"
	}
	return fmt.Sprintf("ip -%d %s %s %s", family, object, verb, e.args(slot))
}

// family is 0 for IPv4, 1 for IPv6.
func (e entry) family() int {
	if e.Prefix.Addr().Is4() {
		return 0
	}
	return 1
}

// check says why an entry that was read from a journal is none of ours.
func (e entry) check() error {
	onDevice := e.Kind == address || e.Kind == route
	switch {
	case !slices.Contains(kinds, e.Kind):
		return fmt.Errorf("an entry of kind %q", e.Kind)
	case !e.Prefix.IsValid() || e.Kind != address && e.Prefix != e.Prefix.Masked():
		return fmt.Errorf("%s of %v", e.Kind, e.Prefix)
	case onDevice != (e.Device.Name != "" && e.Device.Index > 0):
		return fmt.Errorf("%s %v on device %q, number %d", e.Kind, e.Prefix, e.Device.Name, e.Device.Index)
	}
	return nil
}

// inMakingOrder sorts entries by kind.
func inMakingOrder(a, b entry) int {
	return cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind))
}

// check says why a plan cannot be carried out.
func (p *Plan) check() error {
	if p.Device == "" || strings.HasPrefix(p.Device, "-") {
		return fmt.Errorf("the device is named %q", p.Device)
	}
	for _, prefix := range slices.Concat(p.Addresses, p.Routes) {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return fmt.Errorf("%v is no prefix of IPv4 or IPv6", prefix)
		}
	}
	for r, s := range p.Sources {
		if !s.IsValid() || s.Is4In6() || s.Is4() != r.Addr().Is4() {
			return fmt.Errorf("%v is no source of what goes to %v", s, r)
		}
	}
	for _, s := range p.DNS {
		if !s.IsValid() || s.Is4In6() || s.Zone() != "" {
			return fmt.Errorf("%v is no DNS server of IPv4 or IPv6", s)
		}
	}
	for _, s := range p.Search {
		if !domain.MatchString(s) {
			return fmt.Errorf("%.80q is no domain: letters, digits, dots, hyphens and underscores", s)
		}
	}
	return nil
}

// domain is a name that means nothing else to the programs and files that it is
// given to: it may come from the other side.
var domain = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$`)

// entries are what the plan wants of the kernel, each once, in the order in
// which they are made.
func (p *Plan) entries(dev device) []entry {
	var want []entry
	has := set{}
	add := func(e entry) {
		if !has[e] {
			has[e] = true
			want = append(want, e)
		}
	}
	for _, a := range p.Addresses {
		add(entry{Kind: address, Prefix: a, Device: dev})
	}
	gateway := p.Gateway.Unmap().WithZone("")
	for _, r := range p.Routes {
		r = r.Masked()
		everybody := netip.PrefixFrom(r.Addr(), 0).Masked()
		add(entry{Kind: blackhole, Prefix: r})
		add(entry{Kind: route, Prefix: r, Device: dev, Source: p.Sources[r]})
		add(entry{Kind: tunnel, Prefix: everybody})
		if p.Mark != 0 {
			add(entry{Kind: outside, Prefix: everybody, Mark: p.Mark})
			add(entry{Kind: nowhere, Prefix: everybody, Mark: p.Mark})
		}
		if r.Contains(gateway) {
			only := netip.PrefixFrom(gateway, gateway.BitLen())
			add(entry{Kind: outside, Prefix: only})
			add(entry{Kind: nowhere, Prefix: only})
		}
	}
	slices.SortStableFunc(want, inMakingOrder)
	return want
}

// set are entries of which only the presence is asked: a gateway may have one
// for each of its clients.
type set map[entry]bool

func setOf(list []entry) set {
	s := make(set, len(list))
	for _, e := range list {
		s[e] = true
	}
	return s
}

// step is one change of the kernel.
type step struct {
	add   bool
	entry entry
}

// steps lead from what is there to what is wanted, and remove only what is
// ours. At no moment between them, and at no death in between, does a packet
// of a prefix that is wanted and was wanted before leave in the clear (rule
// E9): blackholes come first and go last.
func steps(there, ours, want []entry) []step {
	var adds, dels []step
	isThere, isWanted := setOf(there), setOf(want)
	for _, e := range want {
		if !isThere[e] {
			adds = append(adds, step{true, e})
		}
	}
	for _, e := range slices.Backward(slices.SortedStableFunc(slices.Values(ours), inMakingOrder)) {
		if isThere[e] && !isWanted[e] {
			dels = append(dels, step{false, e})
		}
	}
	return append(adds, dels...)
}
