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
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lan is a namespace of the test's own with a host's eth0 in it: 192.0.2.2 and
// 2001:db8::2, default routes to .1 and ::1. The thread of the test is in it
// and ends with the test.
type lan struct {
	t    *testing.T
	wire int // file: what leaves by eth0
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	runtime.LockOSThread() // never unlocked: no other goroutine gets this thread
	if err := unix.Unshare(unix.CLONE_NEWNET); errors.Is(err, unix.EPERM) {
		leftOut(t, "a network namespace needs root")
	} else {
		must(t, err)
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	l := &lan{t: t}
	l.wire = l.openTUN("eth0") // no kernel settles its state later, as it does with the link of a veth
	t.Cleanup(func() { unix.Close(l.wire) })
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

// leftOut skips a test that this machine does not allow; CI allows all.
func leftOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip("LEFT OUT: " + why)
}

// tun makes a device that is there as long as its file is open, like that of a
// process that can be killed.
func (l *lan) tun(name string) (kill func()) {
	l.t.Helper()
	fd := l.openTUN(name)
	kill = sync.OnceFunc(func() { unix.Close(fd) })
	l.t.Cleanup(kill)
	return kill
}

func (l *lan) openTUN(name string) (fd int) {
	l.t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(l.t, err)
	request, err := unix.NewIfreq(name)
	must(l.t, err)
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	must(l.t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	return fd
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
		if r.Table != unix.RT_TABLE_LOCAL { // follows the addresses, a moment later
			add("route %v via %v dev %d table %d type %d metric %d proto %d scope %d", r.Dst, r.Gw, r.LinkIndex, r.Table, r.Type, r.Priority, r.Protocol, r.Scope)
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := netlink.RuleList(family)
		must(l.t, err)
		for _, r := range rules {
			add("rule %d of family %d: mark %d to %v table %d proto %d", r.Priority, family, r.Mark, r.Dst, r.Table, r.Protocol)
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

// sender sends UDP to all the addresses without pause, from sockets in this
// namespace, until it is stopped; it returns how often it tried.
func (l *lan) sender(to ...string) (stop func() int) {
	l.t.Helper()
	var conns []*net.UDPConn
	for _, network := range []string{"udp4", "udp6"} {
		c, err := net.ListenUDP(network, nil)
		must(l.t, err)
		conns = append(conns, c)
	}
	done, count := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			for _, a := range to {
				addr := netip.MustParseAddr(a)
				_, _ = conns[bit(addr.Is6())].WriteToUDPAddrPort([]byte("secret"), netip.AddrPortFrom(addr, 9)) // blackholes refuse
				n++
			}
			select {
			case <-done:
				count <- n
				return
			default:
			}
		}
	}()
	return sync.OnceValue(func() int {
		close(done)
		n := <-count
		for _, c := range conns {
			c.Close()
		}
		return n
	})
}

// left are the destinations of UDP packets that went out by eth0 since the
// last call. What waits there is read; then one of our own, bound to eth0, shows
// that none is on its way.
func (l *lan) left() (to []netip.Addr) {
	l.t.Helper()
	for dst := l.next(); dst.IsValid(); dst = l.next() {
		to = append(to, dst)
	}
	last := netip.MustParseAddr("203.0.113.9")
	bound, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(l.t, err)
	defer unix.Close(bound)
	must(l.t, unix.BindToDevice(bound, "eth0"))
	must(l.t, unix.Sendto(bound, []byte("last"), 0, &unix.SockaddrInet4{Port: 9, Addr: last.As4()}))
	for {
		switch dst := l.next(); {
		case dst == last:
			return to
		case dst.IsValid():
			to = append(to, dst)
		default:
			if ready, _ := unix.Poll([]unix.PollFd{{Fd: int32(l.wire), Events: unix.POLLIN}}, 10_000); ready == 0 {
				l.t.Fatal("eth0 does not show what is bound to it")
			}
		}
	}
}

// next is the destination of the next UDP packet that went out by eth0; invalid
// if none waits there.
func (l *lan) next() netip.Addr {
	b := make([]byte, 2048)
	for {
		n, err := unix.Read(l.wire, b)
		if errors.Is(err, unix.EAGAIN) {
			return netip.Addr{}
		}
		must(l.t, err)
		switch p := b[:n]; {
		case n > 40 && p[0]>>4 == 6 && p[6] == unix.IPPROTO_UDP:
			return netip.AddrFrom16([16]byte(p[24:40]))
		case n > 20 && p[0]>>4 == 4 && p[9] == unix.IPPROTO_UDP:
			return netip.AddrFrom4([4]byte(p[16:20]))
		}
	}
}
