package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the lab waits for anything that should happen at once.
// Tests wait for the event; only a failing one sees this time pass.
const patience = 40 * time.Second

// Lab is a switch and the nodes on it, each in a network namespace named
// bs-PID-WORD after the process that made it. Close removes all of it; what a
// killed run left behind is found by that name and removed by the next NewLab.
type Lab struct {
	dir     string
	nodes   int // ever made
	closers []func()

	building sync.Once
	binary   string // our program; empty until it is built
}

// Node is one machine of the lab: a namespace with eth0 at Addr, which is of
// 10.9.0.0/24 on the hub and of 192.168.9.0/24 behind a [NAT].
type Node struct {
	lab  *Lab
	name string
	word string
	port plug
	Addr netip.Addr
}

// plug is where a node's eth0 ends: a port of a bridge in a namespace.
type plug struct {
	namespace, bridge, port string
}

var leftover = regexp.MustCompile(`^bs-([0-9]+)-`)

// NewLab makes the hub's namespace and bridge, and a directory of its own.
func NewLab() (*Lab, error) {
	if err := removeLeftovers(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("bs-%d-", os.Getpid()))
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir}
	hub := l.namespace("hub")
	for _, args := range []string{
		"netns add " + hub,
		"-n " + hub + " link add br0 type bridge",
		"-n " + hub + " link set br0 up",
	} {
		if err := ip(args); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

func (l *Lab) namespace(word string) string { return fmt.Sprintf("bs-%d-%s", os.Getpid(), word) }

// Node makes a namespace and plugs it into the hub. The first node has
// 10.9.0.1, the next 10.9.0.2; inner addresses go on its loopback interface.
// The node is gone when t ends.
func (l *Lab) Node(t testing.TB, word string, inner ...string) *Node {
	t.Helper()
	l.nodes++
	return l.node(t, word, plug{l.namespace("hub"), "br0", "port" + strconv.Itoa(l.nodes)},
		netip.AddrFrom4([4]byte{10, 9, 0, byte(l.nodes)}), inner)
}

// Pair makes two nodes with a veth between them and no way to anywhere else:
// 10.9.1.1 and 10.9.1.2.
func (l *Lab) Pair(t testing.TB, west, east string) (*Node, *Node) {
	t.Helper()
	w := l.alone(t, west, netip.MustParseAddr("10.9.1.1"), nil)
	e := l.alone(t, east, netip.MustParseAddr("10.9.1.2"), nil)
	links(t, "-n "+w.name+" link add eth0 type veth peer name eth0 netns "+e.name)
	w.raise(t)
	e.raise(t)
	return w, e
}

// node makes a node and plugs it in.
func (l *Lab) node(t testing.TB, word string, to plug, addr netip.Addr, inner []string) *Node {
	t.Helper()
	n := l.alone(t, word, addr, inner)
	n.port = to
	links(t,
		"-n "+to.namespace+" link add "+to.port+" type veth peer name eth0 netns "+n.name,
		"-n "+to.namespace+" link set "+to.port+" master "+to.bridge+" up")
	n.raise(t)
	return n
}

// alone makes a node that has no eth0 yet.
func (l *Lab) alone(t testing.TB, word string, addr netip.Addr, inner []string) *Node {
	t.Helper()
	n := &Node{lab: l, name: l.namespace(word), word: word, Addr: addr}
	t.Cleanup(func() { _ = ip("netns del " + n.name) })
	links(t, "netns add "+n.name, "-n "+n.name+" link set lo up")
	for _, addr := range inner {
		links(t, "-n "+n.name+" addr add "+addr+" dev lo")
	}
	return n
}

// raise gives eth0 the node's address and sets it up.
func (n *Node) raise(t testing.TB) {
	t.Helper()
	links(t,
		"-n "+n.name+" addr add "+n.Addr.String()+"/24 dev eth0",
		"-n "+n.name+" link set eth0 up")
}

// Face makes two nodes each other's way to everywhere, for IPv6 too.
func (n *Node) Face(t testing.TB, other *Node) {
	t.Helper()
	addr6 := func(n *Node) string { return fmt.Sprintf("fd09::%x", n.Addr.As4()[3]) }
	for _, x := range []struct{ here, there *Node }{{n, other}, {other, n}} {
		links(t,
			"-n "+x.here.name+" addr add "+addr6(x.here)+"/64 dev eth0 nodad",
			"-n "+x.here.name+" route add default via "+x.there.Addr.String(),
			"-n "+x.here.name+" route add default via "+addr6(x.there))
	}
}

// links makes and changes links, addresses and routes: commands of ip, each of
// which has to succeed.
func links(t testing.TB, commands ...string) {
	t.Helper()
	for _, args := range commands {
		if err := ip(args); err != nil {
			t.Fatal(err)
		}
	}
}

// Unplug takes the node off the hub until plug is called or t ends.
func (n *Node) Unplug(t testing.TB) (plug func()) {
	t.Helper()
	set := func(state string) {
		if err := ip("-n " + n.port.namespace + " link set " + n.port.port + " " + state); err != nil {
			t.Error(err)
		}
	}
	set("down")
	plug = sync.OnceFunc(func() { set("up") })
	t.Cleanup(plug)
	return plug
}

// Deafen drops what the node would hear on the ports of IKE and of ESP in UDP,
// with its links left as they are, until hear is called.
func (n *Node) Deafen(t testing.TB) (hear func()) {
	t.Helper()
	n.MustRun(t, nil, "nft", `table inet deaf {
  chain in {
    type filter hook input priority filter;
    udp dport { 500, 4500 } drop
  }
}`)
	return func() { n.MustRun(t, nil, "nft", "delete table inet deaf") }
}

// DeafenToRollCall drops what the node would hear of it in UDP port 4500: an
// INFORMATIONAL response in clear, with Message ID 0 (rule C1).
func (n *Node) DeafenToRollCall(t testing.TB) {
	t.Helper()
	n.MustRun(t, nil, "nft", `table inet deaf {
  chain in {
    type filter hook input priority filter;
    udp sport 4500 @th,64,32 0 @th,224,8 41 @th,240,8 37 @th,250,1 1 @th,256,32 0 drop
  }
}`)
}

// DeafenTo drops what the node would hear of CREATE_CHILD_SA on an IKE SA in UDP
// port 4500 until hear is called. missed reports whether there was a request: it
// costs nothing, since a rekey has little time when its lifetime is short.
func (n *Node) DeafenTo(t testing.TB, spi string) (missed func() bool, hear func()) {
	t.Helper()
	table := "inet deaf-" + spi
	n.MustRun(t, nil, "nft", fmt.Sprintf(`table %s {
  chain in {
    type filter hook input priority filter;
    udp dport 4500 @th,64,32 0 @th,96,64 0x%s @th,240,8 36 drop
  }
}`, table, spi))
	watch := n.Watch(t, fmt.Sprintf("udp dst port 4500 and udp[8:4] = 0 and udp[12:4] = 0x%s and udp[16:4] = 0x%s and udp[30] = 36 and udp[31] & 0x20 = 0",
		spi[:8], spi[8:]))
	missed = func() bool { return watch.Said(0, "^IP ") }
	return missed, func() {
		n.MustRun(t, nil, "nft", "delete table "+table)
		watch.Kill()
	}
}

// Dial opens a UDP socket inside the node, from a free port to an address.
func (n *Node) Dial(t testing.TB, remote netip.Addr, port uint16) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := n.inside(func() (err error) {
		conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, port)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// inside calls f on a thread that is in the node's namespace. It comes back
// from there: a thread that ended would take the daemons that it has started
// with it.
func (n *Node) inside(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + n.name)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
	}()
	return f()
}

// Close ends what lasts as long as the lab, last begun first, and removes the
// namespaces and the directory.
func (l *Lab) Close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
	_ = ip("netns del " + l.namespace("hub"))
	_ = os.RemoveAll(l.dir)
}

// Lasting is t for a thing that many tests share: its Cleanup runs when the
// lab closes, not when t ends.
func (l *Lab) Lasting(t testing.TB) testing.TB { return lasting{t, l} }

type lasting struct {
	testing.TB
	lab *Lab
}

func (l lasting) Cleanup(end func()) { l.lab.closers = append(l.lab.closers, end) }

// Dir makes a directory for a daemon of this node, gone when the lab closes.
func (n *Node) Dir(t testing.TB, word string) string {
	t.Helper()
	dir, err := os.MkdirTemp(n.lab.dir, n.word+"-"+word+"-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// removeLeftovers removes what runs that no longer live have left: processes
// inside their namespaces, the namespaces, and their directories.
func removeLeftovers() error {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return fmt.Errorf("ip netns list: %w (is iproute2 installed?)", err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !ofDeadRun(name) {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for word := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(word); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if err := ip("netns del " + name); err != nil {
			return err
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "bs-*-*"))
	for _, dir := range dirs {
		if ofDeadRun(filepath.Base(dir)) {
			_ = os.RemoveAll(dir)
		}
	}
	return nil
}

// ofDeadRun reports whether name was given by a process that is no more.
func ofDeadRun(name string) bool {
	m := leftover.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + m[1] + "/stat")
	zombie := regexp.MustCompile(`\) [ZX] `)
	return os.IsNotExist(err) || zombie.Match(stat)
}

// until calls try every few milliseconds until it is content, and fails the
// test with what was awaited when patience ends.
func until(t testing.TB, what string, try func() bool) {
	t.Helper()
	if !within(t, patience, try) {
		t.Fatalf("waited in vain for %s", what)
	}
}

// within reports whether try is content before the time is over.
func within(t testing.TB, limit time.Duration, try func() bool) bool {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !try() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
