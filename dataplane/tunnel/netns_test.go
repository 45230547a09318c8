package tunnel

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"blackswan/internal/udp"
)

// namespace is a network namespace of this test. Two of them are joined by a
// veth pair and have their tunnel's inner address on the TUN device bs0.
type namespace struct {
	t     testing.TB
	name  string
	outer netip.Addr
}

var namespaces atomic.Int32

// twoNamespaces are 10.98.0.1 and 10.98.0.2 on a wire of their own.
func twoNamespaces(t testing.TB) (a, b *namespace) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	var both []*namespace
	for i := range 2 {
		n := &namespace{
			t: t, name: fmt.Sprintf("bs-%d-tunnel%d", os.Getpid(), namespaces.Add(1)),
			outer: netip.AddrFrom4([4]byte{10, 98, 0, byte(i + 1)}),
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "del", n.name).Run() })
		ip(t, "netns add %s", n.name)
		n.ip("link set lo up")
		both = append(both, n)
	}
	a, b = both[0], both[1]
	a.ip("link add veth0 type veth peer name veth0 netns %s", b.name)
	for _, n := range both {
		n.ip("addr add %s/24 dev veth0", n.outer)
		n.ip("link set veth0 up")
	}
	return a, b
}

func ip(t testing.TB, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", line, err, out)
	}
}

func (n *namespace) ip(format string, args ...any) {
	n.t.Helper()
	ip(n.t, "-n "+n.name+" "+format, args...)
}

// inside calls f on a thread of the namespace, which ends with it.
func (n *namespace) inside(f func() error) {
	n.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		fd, err := unix.Open("/run/netns/"+n.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		n.t.Fatal(err)
	}
}

// device opens bs0 with an inner address and a route to the other.
func (n *namespace) device(inner, remote netip.Addr, mtu int) (d tun.Device) {
	n.t.Helper()
	n.inside(func() (err error) {
		d, err = Open("bs0", mtu)
		return err
	})
	n.ip("addr add %s/32 dev bs0", inner)
	n.ip("link set bs0 up")
	n.ip("route add %s/32 dev bs0", remote)
	return d
}

// ports are the ESP ports of an IKE endpoint.
func (n *namespace) ports() []udp.ESPPort {
	n.t.Helper()
	var conn *udp.Conn
	n.inside(func() (err error) {
		conn, err = udp.Listen(udp.Config{Addr: n.outer, IKEPort: 500, NATPort: 4500, ESP: func(udp.Message) {}})
		return err
	})
	n.t.Cleanup(func() { conn.Close() })
	return conn.ESP()
}
