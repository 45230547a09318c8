//go:build linux

package hostnet

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func fullPlan() Plan {
	return Plan{
		Device: "tun0", MTU: 1380, Addresses: prefixes("10.9.0.5/32", "fd00::5/128"),
		Routes: prefixes("0.0.0.0/0", "::/0"), Gateway: netip.MustParseAddr("198.51.100.1"), Mark: testMark,
	}
}

func splitPlan() Plan {
	return Plan{
		Device: "tun0", MTU: 1400, Addresses: prefixes("10.9.0.5/24"),
		Routes: prefixes("10.0.0.0/8", "198.51.100.0/24", "fd00:1::/32"), Gateway: netip.MustParseAddr("198.51.100.1"),
	}
}

// Where packets go under a full tunnel, and under the split one.
var (
	fullWays = []string{
		"8.8.8.8 tun0", "192.0.2.77 tun0", "2001:db8:1::1 tun0", "2001:db8::77 tun0", "198.51.100.2 tun0",
		"198.51.100.1 eth0", "#8.8.8.8 eth0", "#2001:db8:1::1 eth0", "10.9.0.5 lo", "127.0.0.1 lo",
	}
	splitWays = []string{
		"10.1.2.3 tun0", "10.9.0.1 tun0", "198.51.100.2 tun0", "fd00:1::1 tun0",
		"198.51.100.1 eth0", "8.8.8.8 eth0", "fd00:2::1 eth0", "192.0.2.77 eth0", "2001:db8::77 eth0",
	}
)

// dead are the ways of a tunnel whose process was killed.
func dead(ways []string) (d []string) {
	for _, w := range ways {
		if !strings.HasSuffix(w, " lo") || strings.HasPrefix(w, "127.") {
			d = append(d, strings.Replace(w, " tun0", " dropped", 1))
		}
	}
	return d
}

func TestApplyAndRelease(t *testing.T) {
	for _, row := range []struct {
		name string
		plan Plan
		ways []string
	}{{"full", fullPlan(), fullWays}, {"split", splitPlan(), splitWays}} {
		t.Run(row.name, func(t *testing.T) {
			l := newLAN(t)
			l.tun("tun0")
			before := l.dump()
			h := open(t, t.TempDir())
			must(t, h.Apply(t.Context(), row.plan))
			l.wants("up", row.ways...)
			up := l.dump()
			must(t, h.Apply(t.Context(), row.plan))
			l.same("applied again", up)
			must(t, h.Release(t.Context()))
			l.same("released", before)
			if h.Changed() {
				t.Error("something is left to undo")
			}
			must(t, h.Release(t.Context()))
		})
	}
}

// TestWithoutAWayOut: own packets and those to the gateway never enter the
// tunnel, not even when the host has no other way.
func TestWithoutAWayOut(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	h := open(t, t.TempDir())
	must(t, h.Apply(t.Context(), fullPlan()))
	eth0, err := netlink.LinkByName("eth0")
	must(t, err)
	must(t, netlink.LinkSetDown(eth0))
	l.wants("no uplink", "8.8.8.8 tun0", "2001:db8:1::1 tun0", "#8.8.8.8 unreachable", "#2001:db8:1::1 unreachable", "198.51.100.1 unreachable")
}

// TestBoundToAnInterface is what the package says of sockets that ask for
// another interface than the TUN.
func TestBoundToAnInterface(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	h := open(t, t.TempDir())
	must(t, h.Apply(t.Context(), fullPlan()))
	for _, to := range []string{"8.8.8.8", "fe80::1", "2001:db8::77"} {
		if _, err := netlink.RouteGetWithOptions(net.ParseIP(to), &netlink.RouteGetOptions{Oif: "eth0"}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestKilled is rule E9: a process that is killed takes its TUN along, nothing
// that the tunnel carried leaves in the clear, and the next start takes over.
func TestKilled(t *testing.T) {
	for _, row := range []struct {
		name       string
		plan, next Plan
		ways       []string // of plan
		after      []string // of next
	}{
		{"full", fullPlan(), fullPlan(), fullWays, fullWays},
		{"split", splitPlan(), splitPlan(), splitWays, splitWays},
		{"full to split", fullPlan(), splitPlan(), fullWays, splitWays},
		{"split to full", splitPlan(), fullPlan(), splitWays, fullWays},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLAN(t)
			before := l.dump()
			dir := t.TempDir()
			kill := l.tun("tun0")
			h := open(t, dir)
			must(t, h.Apply(t.Context(), row.plan))
			kill()
			l.wants("killed", dead(row.ways)...)
			must(t, h.Close())

			h = open(t, dir)
			if !h.Changed() || h.Gateway() != row.plan.Gateway || !slices.Equal(h.Routes(), row.plan.Routes) {
				t.Fatalf("the journal knows nothing, or the gateway %v and the routes %v", h.Gateway(), h.Routes())
			}
			l.wants("started again", dead(row.ways)...)
			kill = l.tun("tun0")
			must(t, h.Apply(t.Context(), row.next))
			l.wants("taken over", row.after...)
			kill()
			l.wants("killed again", dead(row.after)...)
			must(t, h.Close())

			h = open(t, dir) // connect --release
			must(t, h.Release(t.Context()))
			l.same("released", before)
			if left, _ := filepath.Glob(filepath.Join(dir, "*"+journalSuffix)); left != nil {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestSIGKILL kills a process that has it all up.
func TestSIGKILL(t *testing.T) {
	if dir := os.Getenv("HOSTNET_TEST_DIR"); dir != "" {
		upUntilKilled(t, dir)
	}
	l := newLAN(t)
	before := l.dump()
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSIGKILL$")
	c.Env = append(os.Environ(), "HOSTNET_TEST_DIR="+dir)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	b := make([]byte, 3)
	if _, err := out.Read(b); err != nil || string(b) != "up\n" {
		t.Fatalf("the process said %q, %v", b, err)
	}
	l.wants("up", fullWays...)
	must(t, c.Process.Kill())
	_ = c.Wait()
	l.wants("killed", dead(fullWays)...)
	must(t, open(t, dir).Release(t.Context()))
	l.same("released", before)
}

func upUntilKilled(t *testing.T, dir string) {
	l := &lan{t: t}
	l.tun("tun0")
	must(t, open(t, dir).Apply(t.Context(), fullPlan()))
	os.Stdout.WriteString("up\n")
	select {}
}

// TestNothingLeaks sends without pause while plans change and processes die,
// and reads what leaves by eth0.
func TestNothingLeaks(t *testing.T) {
	l := newLAN(t)
	dir := t.TempDir()
	kill := l.tun("tun0")
	h := open(t, dir)
	must(t, h.Apply(t.Context(), fullPlan()))
	stop := l.sender("10.1.2.3", "198.51.100.2", "fd00:1::1") // in both plans
	plans := []Plan{splitPlan(), fullPlan()}
	for i := range 40 {
		p := plans[i%2]
		if i%4 == 3 {
			p.Mark, p.Gateway = 7, netip.MustParseAddr("198.51.100.7")
		}
		if i%5 == 4 {
			kill()
			must(t, h.Close())
			h, kill = open(t, dir), l.tun("tun0")
		}
		must(t, h.Apply(t.Context(), p))
	}
	sent := stop()
	if leaks := l.left(); sent == 0 || len(leaks) > 0 {
		t.Errorf("%d packets sent, in the clear %d: %v", sent, len(leaks), leaks[:min(3, len(leaks))])
	}
	must(t, h.Release(t.Context()))
	l.sender("10.1.2.3")()
	if len(l.left()) == 0 {
		t.Error("the same packets are not seen when nothing holds them")
	}
}

// TestOthersStay: Release removes what is in the journal, not what looks alike.
func TestOthersStay(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	tun0, err := netlink.LinkByName("tun0")
	must(t, err)
	must(t, netlink.LinkSetUp(tun0))
	must(t, netlink.AddrAdd(tun0, addressOf(entry{Prefix: netip.MustParsePrefix("10.9.0.5/32")})))
	others := []*netlink.Rule{
		{Priority: prefTunnel + 1, Table: Table, Family: netlink.FAMILY_V4, Goto: -1, Flow: -1, SuppressIfgroup: -1, SuppressPrefixlen: -1},
		{Priority: prefOutside + 1, Table: unix.RT_TABLE_MAIN, Mark: 1, Family: netlink.FAMILY_V4, Goto: -1, Flow: -1, SuppressIfgroup: -1, SuppressPrefixlen: -1},
	}
	for _, r := range others {
		must(t, netlink.RuleAdd(r))
	}
	must(t, netlink.RouteAdd(&netlink.Route{Table: Table, Type: unix.RTN_BLACKHOLE, Dst: netOf(netip.MustParsePrefix("203.0.113.0/24"))}))
	before := l.dump()
	h := open(t, t.TempDir())
	must(t, h.Apply(t.Context(), fullPlan()))
	must(t, h.Release(t.Context()))
	l.same("released", before)
}

// TestMended: what others have removed comes back with the same plan, and is no
// error for Release.
func TestMended(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	before := l.dump()
	h := open(t, t.TempDir())
	must(t, h.Apply(t.Context(), fullPlan()))
	up := l.dump()
	for range 2 {
		for _, e := range slices.Clone(h.journal.Entries) {
			must(t, h.kernel.remove(h.journal.Slot, e))
			must(t, h.kernel.remove(h.journal.Slot, e)) // gone already
		}
		must(t, h.Apply(t.Context(), fullPlan()))
		l.same("applied again", up)
	}
	for _, e := range h.journal.Entries {
		must(t, h.kernel.remove(h.journal.Slot, e))
	}
	must(t, h.Release(t.Context()))
	l.same("released", before)
}

// TestLastAddress: the kernel drops the IPv4 routes of a device with its last
// address; a plan without one has them all the same.
func TestLastAddress(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	h := open(t, t.TempDir())
	plan := fullPlan()
	must(t, h.Apply(t.Context(), plan))
	plan.Addresses = nil
	must(t, h.Apply(t.Context(), plan))
	l.wants("without addresses", "8.8.8.8 tun0", "2001:db8:1::1 tun0", "#8.8.8.8 eth0")
}

// TestDeadConnectionKeepsItsSlot: nobody takes the numbers that its journal
// names, whatever others have removed from the kernel.
func TestDeadConnectionKeepsItsSlot(t *testing.T) {
	l := newLAN(t)
	kill := l.tun("tun0")
	l.tun("tun1")
	dir := t.TempDir()
	h := open(t, dir)
	must(t, h.Apply(t.Context(), fullPlan()))
	for _, e := range h.journal.Entries {
		must(t, h.kernel.remove(h.journal.Slot, e))
	}
	kill()
	must(t, h.Close())
	lab, err := Open(dir, "lab")
	must(t, err)
	defer lab.Close()
	must(t, lab.Apply(t.Context(), Plan{Device: "tun1", Routes: prefixes("0.0.0.0/0"), Mark: testMark}))
	must(t, open(t, dir).Release(t.Context()))
	l.wants("the lab's", "8.8.8.8 tun1", "#8.8.8.8 eth0")
}

func TestTwoConnections(t *testing.T) {
	l := newLAN(t)
	for _, name := range []string{"tun0", "tun1", "tun2"} {
		l.tun(name)
	}
	before := l.dump()
	dir := t.TempDir()
	full := open(t, dir)
	lab, err := Open(dir, "the lab/..")
	must(t, err)
	defer lab.Close()
	elsewhere := open(t, t.TempDir())
	must(t, full.Apply(t.Context(), fullPlan()))
	must(t, lab.Apply(t.Context(), Plan{Device: "tun1", Routes: prefixes("10.0.0.0/8"), Mark: testMark}))
	l.wants("both", "8.8.8.8 tun0", "10.1.2.3 tun1", "#10.1.2.3 eth0") // the longer prefix wins
	must(t, elsewhere.Apply(t.Context(), Plan{Device: "tun2", Routes: prefixes("10.7.0.0/16")}))
	l.wants("three", "8.8.8.8 tun0", "10.1.2.3 tun1", "10.7.0.1 tun2")
	if s := elsewhere.journal.Slot; s != 3 {
		t.Errorf("slot %d of another directory, while 1 and 2 are in the kernel", s)
	}
	must(t, full.Release(t.Context()))
	l.wants("the lab's", "8.8.8.8 eth0", "10.1.2.3 tun1", "10.7.0.1 tun2")
	must(t, errors.Join(lab.Release(t.Context()), elsewhere.Release(t.Context())))
	l.same("released", before)
}

// TestNoWayAround: where a rule around the tunnel cannot be had, none leads into
// it.
func TestNoWayAround(t *testing.T) {
	newLAN(t)
	h := open(t, t.TempDir())
	must(t, h.claim())
	around := entry{Kind: outside, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Mark: testMark}
	into4, into6 := entry{Kind: tunnel, Prefix: around.Prefix}, entry{Kind: tunnel, Prefix: netip.MustParsePrefix("::/0")}
	must(t, h.kernel.add(h.journal.Slot, around))
	if err := h.take([]step{{true, around}, {true, into4}, {true, into6}}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a second rule around: %v", err)
	}
	there, err := h.there()
	must(t, err)
	if slices.Contains(there, into4) || !slices.Contains(there, into6) {
		t.Errorf("there is %v", there)
	}
}

// TestCommands: the commands in the error texts do what they say.
func TestCommands(t *testing.T) {
	l := newLAN(t)
	if _, err := exec.LookPath("ip"); err != nil {
		leftOut(t, "it needs iproute2")
	}
	l.tun("tun0")
	h := open(t, t.TempDir())
	must(t, h.Apply(t.Context(), fullPlan()))
	up := l.dump()
	for _, e := range h.journal.Entries {
		for _, verb := range []string{"del", "add"} {
			if e.Kind == address && verb == "add" { // routes go with the last address
				must(t, h.Apply(t.Context(), fullPlan()))
				continue
			}
			command := strings.Fields(e.command(verb, h.journal.Slot))
			if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", command, err, bytes.TrimSpace(out))
			}
		}
	}
	l.same("all removed and added by hand", up)
}

func TestWithoutRights(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	h := open(t, t.TempDir())
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	must(t, unix.Capset(&header, &none[0])) // of this thread, which ends with the test
	err := h.Apply(t.Context(), fullPlan())
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("error %v", err)
	}
	if len(h.journal.Entries) > 0 {
		t.Errorf("in the journal: %v", h.journal.Entries)
	}
}

// TestIPv6SwitchedOff: a family that the device cannot have does not cost the
// other, and does not leak.
func TestIPv6SwitchedOff(t *testing.T) {
	l := newLAN(t)
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0))
	l.tun("tun0")
	before := l.dump()
	h := open(t, t.TempDir())
	err := h.Apply(t.Context(), fullPlan())
	if err == nil || !strings.Contains(err.Error(), "disable_ipv6") {
		t.Errorf("error %v", err)
	}
	l.wants("up", "8.8.8.8 tun0", "198.51.100.1 eth0", "#8.8.8.8 eth0", "2001:db8:1::1 dropped", "#2001:db8:1::1 eth0")
	must(t, h.Release(t.Context()))
	l.same("released", before)
}

// TestSources: what goes by a route to a peer itself has the address that its
// Child SA carries, not the one that the kernel would take.
func TestSources(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	before := l.dump()
	h := open(t, t.TempDir())
	plan := Plan{Device: "tun0", Mark: testMark, Addresses: prefixes("10.9.0.5/32", "fd00::5/128"), Routes: prefixes("198.51.100.7/32", "2001:db8:7::7/128", "10.0.0.0/8")}
	source := func(to string) netip.Addr {
		routes, err := netlink.RouteGet(netip.MustParseAddr(to).AsSlice())
		must(t, err)
		src, _ := netip.AddrFromSlice(routes[0].Src)
		return src.Unmap()
	}
	for _, sources := range []map[netip.Prefix]netip.Addr{
		nil,
		{plan.Routes[0]: netip.MustParseAddr("192.0.2.2"), plan.Routes[1]: netip.MustParseAddr("2001:db8::2")},
		{plan.Routes[0]: netip.MustParseAddr("10.9.0.5"), plan.Routes[1]: netip.MustParseAddr("fd00::5")},
	} {
		plan.Sources = sources
		must(t, h.Apply(t.Context(), plan))
		must(t, h.Apply(t.Context(), plan))
		for r, want := range sources {
			if got := source(r.Addr().String()); got != want {
				t.Errorf("to %v: from %v, want %v", r, got, want)
			}
		}
		l.wants("up", "198.51.100.7 tun0", "2001:db8:7::7 tun0", "#198.51.100.7 eth0", "#2001:db8:7::7 eth0", "10.1.1.1 tun0")
	}
	must(t, h.Release(t.Context()))
	l.same("released", before)
	plan.Sources = map[netip.Prefix]netip.Addr{plan.Routes[0]: netip.MustParseAddr("fd00::5")}
	if err := h.Apply(t.Context(), plan); err == nil {
		t.Error("a source of the other family is taken")
	}
}
