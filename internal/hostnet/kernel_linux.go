package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernel is the network namespace in which it was opened.
type kernel struct{ nl *netlink.Handle }

func openKernel() (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("hostnet: netlink: %w", err)
	}
	return &kernel{h}, nil
}

func (k *kernel) close() { k.nl.Close() }

// bootID tells one run of the kernel from the next.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// link is how a device is now.
func (k *kernel) link(name string) (link, error) {
	l, err := k.nl.LinkByName(name)
	if err != nil {
		return link{}, fmt.Errorf("hostnet: device %s: %w", name, err)
	}
	a := l.Attrs()
	return link{device{name, a.Index}, a.MTU, a.Flags&net.FlagUp != 0}, nil
}

// has reports whether the device is there, and the same one.
func (k *kernel) has(d device) bool {
	l, err := k.link(d.Name)
	return err == nil && l.Device == d
}

// setUp sets the MTU, unless it is 0, and the device up.
func (k *kernel) setUp(now link, mtu int) error {
	l := linkOf(now.Device)
	if mtu != 0 && mtu != now.MTU {
		if err := k.nl.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("MTU %d: %w", mtu, err)
		}
	}
	if now.Up {
		return nil
	}
	return k.nl.LinkSetUp(l)
}

// restore undoes setUp.
func (k *kernel) restore(was link) error {
	now, err := k.link(was.Device.Name)
	if err != nil || now.Device != was.Device {
		return nil // it is gone
	}
	l := linkOf(was.Device)
	if now.MTU != was.MTU {
		if err := k.nl.LinkSetMTU(l, was.MTU); err != nil {
			return err
		}
	}
	if was.Up || !now.Up {
		return nil
	}
	return k.nl.LinkSetDown(l)
}

// linkOf names a device to netlink.
func linkOf(d device) netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: d.Name, Index: d.Index}}
}

// list returns what is there of a slot, and the addresses of the devices.
func (k *kernel) list(slot int, devices []device) ([]entry, error) {
	var there []entry
	for _, part := range []func() ([]entry, error){
		func() ([]entry, error) { return k.addresses(devices) },
		func() ([]entry, error) { return k.routes(slot, devices) },
		func() ([]entry, error) { return k.rules(slot) },
	} {
		found, err := part()
		if err != nil {
			return nil, fmt.Errorf("hostnet: asking the kernel what is there: %w", err)
		}
		there = append(there, found...)
	}
	return there, nil
}

func (k *kernel) addresses(devices []device) ([]entry, error) {
	var there []entry
	for _, d := range devices {
		list, err := whole(func() ([]netlink.Addr, error) { return k.nl.AddrList(linkOf(d), netlink.FAMILY_ALL) })
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			there = append(there, entry{Kind: address, Prefix: prefixOf(a.IPNet), Device: d})
		}
	}
	return there, nil
}

func (k *kernel) routes(slot int, devices []device) ([]entry, error) {
	filter := &netlink.Route{Table: Table, Protocol: Protocol}
	list, err := whole(func() ([]netlink.Route, error) {
		return k.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	})
	var there []entry
	for _, r := range list {
		switch {
		case r.Type == unix.RTN_BLACKHOLE && r.Priority == metricBlackhole+slot:
			there = append(there, entry{Kind: blackhole, Prefix: prefixOf(r.Dst)})
		case r.Type == unix.RTN_UNICAST && r.Priority == metricDevice+slot:
			e := entry{Kind: route, Prefix: prefixOf(r.Dst), Device: device{Index: r.LinkIndex}}
			if own, ok := netip.AddrFromSlice(r.Src); ok {
				e.Source = own.Unmap()
			}
			if i := slices.IndexFunc(devices, func(d device) bool { return d.Index == r.LinkIndex }); i >= 0 {
				e.Device = devices[i]
			}
			there = append(there, e)
		}
	}
	return there, err
}

func (k *kernel) rules(slot int) ([]entry, error) {
	var there []entry
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := whole(func() ([]netlink.Rule, error) { return k.nl.RuleList(family) })
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) { // no IPv6
			return nil, err
		}
		for _, r := range list {
			e := entry{Prefix: everybody(family), Mark: r.Mark}
			if r.Dst != nil {
				e.Prefix = prefixOf(r.Dst)
			}
			switch {
			case r.Protocol != Protocol:
				continue
			case r.Priority == prefOutside+slot && r.Table == unix.RT_TABLE_MAIN:
				e.Kind = outside
			case r.Priority == prefNowhere+slot && r.Table == unix.RT_TABLE_UNSPEC:
				e.Kind = nowhere
			case r.Priority == prefTunnel+slot && r.Table == Table:
				e.Kind = tunnel
			default:
				continue
			}
			there = append(there, e)
		}
	}
	return there, nil
}

// whole asks again when the kernel says that the answer may have holes because
// something changed meanwhile.
func whole[T any](ask func() ([]T, error)) ([]T, error) {
	for range 9 {
		if list, err := ask(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return ask()
}

// add makes an entry that is not there.
func (k *kernel) add(slot int, e entry) error {
	switch e.Kind {
	case address:
		return k.nl.AddrAdd(linkOf(e.Device), addressOf(e))
	case blackhole:
		return k.nl.RouteAdd(routeOf(slot, e))
	case route: // one with another source goes: the kernel has one of a prefix and a metric
		return k.nl.RouteReplace(routeOf(slot, e))
	default:
		return k.nl.RuleAdd(ruleOf(slot, e))
	}
}

// remove removes an entry; one that is gone is no error.
func (k *kernel) remove(slot int, e entry) (err error) {
	switch e.Kind {
	case address:
		err = k.nl.AddrDel(linkOf(e.Device), addressOf(e))
	case blackhole, route:
		err = k.nl.RouteDel(routeOf(slot, e))
	default:
		err = k.nl.RuleDel(ruleOf(slot, e))
	}
	for _, gone := range []error{unix.ENOENT, unix.ESRCH, unix.ENODEV, unix.EADDRNOTAVAIL} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	return err
}

// addressOf brings no route, and is not asked for on the wire first: the other
// side gave it to us alone.
func addressOf(e entry) *netlink.Addr {
	return &netlink.Addr{
		IPNet:     netOf(e.Prefix),
		Flags:     unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD,
		Broadcast: net.IPv4zero,
	}
}

func routeOf(slot int, e entry) *netlink.Route {
	r := &netlink.Route{Table: Table, Protocol: Protocol, Dst: netOf(e.Prefix)}
	if e.Kind == blackhole {
		r.Type, r.Priority = unix.RTN_BLACKHOLE, metricBlackhole+slot
		return r
	}
	r.Type, r.Priority, r.LinkIndex, r.Scope = unix.RTN_UNICAST, metricDevice+slot, e.Device.Index, netlink.SCOPE_LINK
	r.Src = e.Source.AsSlice()
	return r
}

func ruleOf(slot int, e entry) *netlink.Rule {
	r := netlink.NewRule()
	r.Family = [...]int{netlink.FAMILY_V4, netlink.FAMILY_V6}[e.family()]
	r.Mark, r.Protocol = e.Mark, Protocol
	if e.Prefix.Bits() > 0 {
		r.Dst = netOf(e.Prefix)
	}
	switch e.Kind {
	case outside:
		r.Priority, r.Table = prefOutside+slot, unix.RT_TABLE_MAIN
	case nowhere:
		r.Priority, r.Type = prefNowhere+slot, unix.RTN_UNREACHABLE
	case tunnel:
		r.Priority, r.Table = prefTunnel+slot, Table
	}
	return r
}

func everybody(family int) netip.Prefix {
	if family == netlink.FAMILY_V6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func netOf(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is the zero Prefix if n is none.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if size == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, bits)
}
