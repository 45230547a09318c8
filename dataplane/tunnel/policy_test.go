package tunnel

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/wire"
)

// sel reads a selector: "10.1.0.0/16", "10.0.0.1-10.0.0.9", with protocol and
// ports if given.
func sel(addrs string, more ...uint16) wire.Selector {
	var s wire.Selector
	if p, err := netip.ParsePrefix(addrs); err == nil {
		s = wire.Prefix(p)
	} else {
		from, to, _ := strings.Cut(addrs, "-")
		s = wire.Selector{EndPort: 65535, Start: netip.MustParseAddr(from), End: netip.MustParseAddr(to)}
	}
	if len(more) > 0 {
		s.Protocol = uint8(more[0])
	}
	if len(more) > 1 {
		s.StartPort, s.EndPort = more[1], more[2]
	}
	return s
}

// policyOf is a policy of children that were installed in this order.
func policyOf(children ...*child) *policy {
	p := new(policy)
	for i, c := range children {
		c.order = uint64(i + 1)
		p.add(c)
	}
	return p
}

func TestPolicy(t *testing.T) {
	all := []wire.Selector{sel("0.0.0.0/0"), sel("::/0")}
	to := func(remote ...wire.Selector) *child { return &child{local: all, remote: remote} }
	var (
		wide    = to(sel("10.0.0.0/8"))
		site    = to(sel("10.2.0.0/16"))
		rekeyed = to(sel("10.2.0.0/16"))
		web     = to(sel("10.2.0.0/16", protoTCP, 443, 443))
		high    = to(sel("10.2.0.0/16", protoTCP, 1024, 65535))
		tcp     = to(sel("10.2.0.0/16", protoTCP))
		pings   = to(sel("10.2.0.0/16", protoICMP, 0x0800, 0x08ff))
		low     = to(sel("10.2.0.0/16", protoSCTP, 0, 1023))
		opaque  = to(sel("10.2.0.0/16", protoUDP, 65535, 0))
		odd     = to(sel("10.2.0.3-10.2.0.12"))
		six     = to(sel("2001:db8::/32"))
		several = to(sel("10.3.0.0/16"), sel("10.4.0.0/16"), sel("10.2.9.9/32"))
		other   = &child{local: []wire.Selector{sel("10.9.0.0/16")}, remote: []wire.Selector{sel("10.2.7.0/24")}}
		sport   = &child{local: []wire.Selector{sel("0.0.0.0/0", protoUDP, 53, 53)}, remote: []wire.Selector{sel("10.2.8.0/24", protoUDP)}}
	)
	p := policyOf(wide, site, web, high, low, tcp, pings, opaque, odd, six, several, other, sport, rekeyed)
	fragment := flags(udp4(a4, "10.2.0.1", 1, 2, 9), 0x2001)
	for _, row := range []struct {
		name   string
		packet []byte
		want   *child
	}{
		{"the longest prefix", udp4(a4, "10.2.5.5", 1, 2, 0), rekeyed}, // of two with the same selectors, the last one
		{"a shorter prefix", udp4(a4, "10.99.0.1", 1, 2, 0), wide},
		{"none", udp4(a4, "11.0.0.1", 1, 2, 0), nil},
		{"RFC 4301 4.4.1.1: a port", ip4(a4, "10.2.5.5", protoTCP, unhex("000101bb")), web},
		{"RFC 4301 4.4.1.1: a range of ports", ip4(a4, "10.2.5.5", protoTCP, unhex("00010400")), high},
		{"RFC 4301 4.4.1.1: a protocol", ip4(a4, "10.2.5.5", protoTCP, unhex("00010050")), tcp},
		{"RFC 4301 4.4.1.1: ICMP type and code", ip4(a4, "10.2.5.5", protoICMP, unhex("0800")), pings},
		{"RFC 4301 4.4.1.1: another ICMP type", ip4(a4, "10.2.5.5", protoICMP, unhex("0301")), rekeyed},
		{"RFC 4301 7.2: a later fragment is OPAQUE", fragment, opaque},
		{"RFC 4301 7.1: a later fragment fits no port", flags(ip4(a4, "10.2.5.5", protoTCP, unhex("000101bb")), 5), tcp},
		{"RFC 4301 7.1: nor a range of ports from 0", flags(ip4(a4, "10.2.5.5", protoSCTP, unhex("00010001")), 5), rekeyed},
		{"the same packet, whole", ip4(a4, "10.2.5.5", protoSCTP, unhex("00010001")), low},
		{"a range that is no prefix", udp4(a4, "10.2.0.3", 1, 2, 0), odd},
		{"its end", udp4(a4, "10.2.0.12", 1, 2, 0), odd},
		{"behind it", udp4(a4, "10.2.0.13", 1, 2, 0), rekeyed},
		{"before it", udp4(a4, "10.2.0.2", 1, 2, 0), rekeyed},
		{"IPv6", udp6(a6, b6, 1, 2, 0), six},
		{"no IPv6", udp6(a6, "2001:db9::1", 1, 2, 0), nil},
		{"one of several selectors", udp4(a4, "10.4.0.1", 1, 2, 0), several},
		{"another of them", udp4(a4, "10.2.9.9", 1, 2, 0), several},
		{"the longest prefix of another source", udp4(a4, "10.2.7.1", 1, 2, 0), rekeyed},
		{"of that source", udp4("10.9.0.1", "10.2.7.1", 1, 2, 0), other},
		{"a source port", udp4(a4, "10.2.8.1", 53, 2, 0), sport},
		{"another source port", udp4(a4, "10.2.8.1", 54, 2, 0), rekeyed},
	} {
		var h inner
		if !h.parse(row.packet) {
			t.Fatalf("%s: bad packet", row.name)
		}
		if got := p.lookup(&h.flow); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
	p.remove(rekeyed)
	var h inner
	h.parse(udp4(a4, "10.2.5.5", 1, 2, 0))
	if got := p.lookup(&h.flow); got != site {
		t.Errorf("with the rekeyed one gone: %+v, want the one before", got)
	}
	for _, c := range []*child{wide, site, web, high, low, tcp, pings, opaque, odd, six, several, other, sport} {
		p.remove(c)
	}
	if n := p.to.Size(); n != 0 {
		t.Errorf("%d prefixes are left", n)
	}
}

// TestPolicyAgainstOracle compares with all selectors looked through one by one.
func TestPolicyAgainstOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	small := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(32))}) }
	random := func() wire.Selector {
		a, b := small(), small()
		if b.Less(a) {
			a, b = b, a
		}
		s := wire.Selector{Start: a, End: b, EndPort: 65535}
		switch rng.IntN(4) {
		case 0:
			s.Protocol = protoTCP
		case 1:
			s.Protocol, s.StartPort, s.EndPort = protoUDP, uint16(rng.IntN(4)), uint16(4+rng.IntN(4))
		}
		return s
	}
	for range 300 {
		var children []*child
		for range 1 + rng.IntN(8) {
			children = append(children, &child{local: []wire.Selector{random(), random()}, remote: []wire.Selector{random(), random()}})
		}
		p := policyOf(children...)
		for range rng.IntN(3) {
			i := rng.IntN(len(children))
			p.remove(children[i])
			children = slices.Delete(children, i, i+1)
			if len(children) == 0 {
				break
			}
		}
		for range 50 {
			f := flow{src: small(), dst: small(), srcPort: uint16(rng.IntN(8)), dstPort: uint16(rng.IntN(8)), protocol: []uint8{protoTCP, protoUDP, 1}[rng.IntN(3)], ports: rng.IntN(4) > 0}
			if got, want := p.lookup(&f), oracle(children, &f); got != want {
				t.Fatalf("%+v: %+v, want %+v", f, got, want)
			}
		}
	}
}

// oracle finds the best route in a plain way.
func oracle(children []*child, f *flow) *child {
	var best route
	length := -1
	for _, c := range children {
		if !matches(c.local, f, f.src, f.srcPort) {
			continue
		}
		for i := range c.remote {
			r := route{c, &c.remote[i]}
			if !admits(r.remote, f, f.dstPort) {
				continue
			}
			for _, p := range r.remote.Prefixes() {
				if p.Contains(f.dst) && (p.Bits() > length || p.Bits() == length && rank(r, best) < 0) {
					best, length = r, p.Bits()
				}
			}
		}
	}
	return best.child
}

func TestCheckSelectors(t *testing.T) {
	good := []wire.Selector{sel("10.0.0.0/8")}
	wide := make([]wire.Selector, 20)
	for i := range wide {
		wide[i] = sel("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")
	}
	for name, side := range map[string][]wire.Selector{
		"none":                    nil,
		"no addresses":            {{EndPort: 65535}},
		"two families":            {{EndPort: 65535, Start: netip.MustParseAddr("10.0.0.1"), End: netip.MustParseAddr("::1")}},
		"ends before it starts":   {sel("10.0.0.2-10.0.0.1")},
		"ports that end too soon": {sel("10.0.0.0/8", protoTCP, 5, 4)},
		"too many prefixes":       wide,
	} {
		if checkSelectors(good, side) == nil || checkSelectors(side, good) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := checkSelectors(good, []wire.Selector{sel("10.0.0.0/8", protoTCP, 65535, 0)}); err != nil {
		t.Errorf("OPAQUE: %v", err)
	}
}

// Rule F5: a peer that has logged in does not get the packets of another one by
// asking for its inner addresses, however it asks.
func TestAddressOfAnother(t *testing.T) {
	client := newEnd(t, Config{}, clientAt)
	spi := uint32(1000)
	child := func(peer uint64, connection string, remote ...wire.Selector) dataplane.Child {
		spi++
		c := planetest.Child(spi)
		c.Peer, c.Connection, c.RemoteTS = peer, connection, remote
		return c
	}
	network := func(s string) wire.Selector { return wire.Prefix(netip.MustParsePrefix(s)) }
	part := func(from, to string) wire.Selector {
		return wire.Selector{Start: netip.MustParseAddr(from), End: netip.MustParseAddr(to), EndPort: 65535}
	}
	web := wire.Selector{Protocol: 6, Start: netip.MustParseAddr("10.2.0.7"), End: netip.MustParseAddr("10.2.0.7"), StartPort: 80, EndPort: 80}
	const kit, branch = "kit", "branch"
	first := []dataplane.Child{
		child(1, kit, network("10.2.0.7/32"), network("fd00::7/128")),
		child(1, kit, network("10.3.0.0/24")),
	}
	for _, c := range first {
		client.install(c)
	}
	for _, c := range []struct {
		name   string
		child  dataplane.Child
		refuse bool
	}{
		{"another's address", child(2, kit, network("10.2.0.7/32")), true},
		{"among others", child(2, kit, network("10.2.9.9/32"), network("fd00::7/128")), true},
		{"one port of it", child(2, kit, web), true},
		{"a range with it", child(2, kit, part("10.2.0.7", "10.2.0.8")), true},
		{"a network around it", child(2, kit, network("10.2.0.0/24")), true},
		{"everything", child(2, kit, network("0.0.0.0/0")), true},
		{"another's network", child(2, kit, network("10.3.0.0/24")), true},
		{"an address of it", child(2, kit, network("10.3.0.9/32")), true},
		{"another's address, from another connection", child(2, branch, network("10.2.0.7/32")), true},
		{"a network around it, of another connection", child(2, branch, network("10.2.0.0/24")), false},
		{"an address in a network of another connection", child(2, branch, network("10.3.0.9/32")), false},
		{"its own once more", child(1, kit, network("10.2.0.7/32"), network("10.3.0.0/25")), false},
		{"the next one", child(2, kit, network("10.2.0.8/32")), false},
		{"of nobody in particular", child(0, kit, network("10.2.0.7/32")), false},
	} {
		err := client.Install(c.child)
		if got := errors.Is(err, dataplane.ErrTaken); got != c.refuse || err != nil && !got {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			client.Remove(c.child.SPIIn)
		}
	}
	for _, c := range first {
		if err := client.Remove(c.SPIIn); err != nil {
			t.Fatal(err)
		}
	}
	client.install(child(2, kit, network("10.2.0.7/32"), network("10.3.0.0/24"))) // the other one is gone
}
