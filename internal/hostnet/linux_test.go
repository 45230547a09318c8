//go:build linux

package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lan is a namespace of the test's own with a host's eth0 in it: 192.0.2.2 and
// 2001:db8::2, default routes to .1 and ::1. The thread of the test is in it
// and ends with the test.
type lan struct{ t *testing.T }

func newLAN(t *testing.T) *lan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("LEFT OUT: network namespaces need root")
	}
	runtime.LockOSThread() // never unlocked: no other goroutine gets this thread
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	l := &lan{t}
	l.tun("eth0") // no kernel settles its state later, as it does with the link of a veth
	eth0, err := netlink.LinkByName("eth0")
	must(t, err)
	must(t, netlink.LinkSetUp(eth0))
	for _, a := range []string{"192.0.2.2/24", "2001:db8::2/64"} {
		must(t, netlink.AddrAdd(eth0, addressOf(entry{Prefix: netip.MustParsePrefix(a)})))
	}
	for _, r := range []netlink.Route{
		{Dst: netOf(netip.MustParsePrefix("192.0.2.0/24")), Scope: netlink.SCOPE_LINK},
		{Dst: netOf(netip.MustParsePrefix("2001:db8::/64"))},
		{Dst: netOf(netip.MustParsePrefix("0.0.0.0/0")), Gw: []byte{192, 0, 2, 1}},
		{Dst: netOf(netip.MustParsePrefix("::/0")), Gw: netip.MustParseAddr("2001:db8::1").AsSlice()},
	} {
		r.LinkIndex = eth0.Attrs().Index
		must(t, netlink.RouteAdd(&r))
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tun makes a device that is there as long as its file is open, like that of a
// process that can be killed.
func (l *lan) tun(name string) (kill func()) {
	l.t.Helper()
	dev := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TUN,
		NonPersist: true, Flags: netlink.TUNTAP_ONE_QUEUE | netlink.TUNTAP_NO_PI, Queues: 1,
	}
	must(l.t, netlink.LinkAdd(dev))
	closed := false
	kill = func() {
		for _, f := range dev.Fds {
			if !closed {
				must(l.t, f.Close())
			}
		}
		closed = true
	}
	l.t.Cleanup(kill)
	return kill
}

// way is by which device a packet would leave, or "dropped" or "unreachable".
func (l *lan) way(to string, mark uint32) string {
	l.t.Helper()
	routes, err := netlink.RouteGetWithOptions(netip.MustParseAddr(to).AsSlice(), &netlink.RouteGetOptions{Mark: mark})
	switch {
	case errors.Is(err, unix.EINVAL):
		return "dropped"
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return "unreachable"
	}
	must(l.t, err)
	dev, err := netlink.LinkByIndex(routes[0].LinkIndex)
	must(l.t, err)
	return dev.Attrs().Name
}

// wants checks ways: "address way", with "#" before an address of a packet
// with our mark.
func (l *lan) wants(when string, ways ...string) {
	l.t.Helper()
	for _, w := range ways {
		to, want, _ := strings.Cut(w, " ")
		var mark uint32
		if strings.HasPrefix(to, "#") {
			mark = testMark
		}
		if got := l.way(strings.TrimPrefix(to, "#"), mark); got != want {
			l.t.Errorf("%s: to %s: %s, want %s", when, to, got, want)
		}
	}
}

// dump is all of the namespace that this package could change.
func (l *lan) dump() []string {
	l.t.Helper()
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	links, err := netlink.LinkList()
	must(l.t, err)
	for _, link := range links {
		a := link.Attrs()
		add("link %d %s mtu %d up %t", a.Index, a.Name, a.MTU, a.Flags&net.FlagUp != 0)
		addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		must(l.t, err)
		for _, a := range addrs {
			add("address %v dev %d", a, a.LinkIndex)
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	must(l.t, err)
	for _, r := range routes {
		add("route %v", r)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := netlink.RuleList(family)
		must(l.t, err)
		for _, r := range rules {
			add("rule %d %+v", family, r)
		}
	}
	slices.Sort(all)
	return all
}

func (l *lan) same(when string, before []string) {
	l.t.Helper()
	after := l.dump()
	for _, s := range before {
		if !slices.Contains(after, s) {
			l.t.Errorf("%s: gone: %s", when, s)
		}
	}
	for _, s := range after {
		if !slices.Contains(before, s) {
			l.t.Errorf("%s: new: %s", when, s)
		}
	}
}

const testMark = 0xb5

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func open(t testing.TB, dir string) *Host {
	t.Helper()
	h, err := Open(dir, "office")
	must(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

func TestFullTunnel(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	before := l.dump()
	h := open(t, t.TempDir())
	plan := Plan{
		Device: "tun0", MTU: 1380, Addresses: prefixes("10.9.0.5/32", "fd00::5/128"),
		Routes: prefixes("0.0.0.0/0", "::/0"), Gateway: netip.MustParseAddr("198.51.100.1"), Mark: testMark,
	}
	must(t, h.Apply(t.Context(), plan))
	l.wants("up", "8.8.8.8 tun0", "192.0.2.77 tun0", "2001:db8:1::1 tun0", "2001:db8::77 tun0",
		"198.51.100.1 eth0", "198.51.100.2 tun0", "#8.8.8.8 eth0", "#2001:db8:1::1 eth0", "10.9.0.5 lo", "127.0.0.1 lo")
	up := l.dump()
	must(t, h.Apply(t.Context(), plan))
	l.same("applied again", up)
	must(t, h.Release(t.Context()))
	l.same("released", before)
}
