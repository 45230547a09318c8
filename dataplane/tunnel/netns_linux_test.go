package tunnel

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/internal/udp"
	"blackswan/wire"
)

// namespace is a network namespace of this test, removed when it ends.
type namespace struct {
	t     testing.TB
	name  string
	outer [2]netip.Addr // IPv4 and IPv6, on the wire between two of them
	inner [2]netip.Addr // on the TUN device
}

var namespaces atomic.Int32

// twoNamespaces are joined by a wire of their own.
func twoNamespaces(t testing.TB) (both [2]*namespace) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for i := range both {
		last := byte(i + 1)
		n := &namespace{
			t: t, name: fmt.Sprintf("bs-%d-tunnel%d", os.Getpid(), namespaces.Add(1)),
			outer: [2]netip.Addr{netip.AddrFrom4([4]byte{10, 98, 0, last}), netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x98, 15: last})},
			inner: [2]netip.Addr{netip.AddrFrom4([4]byte{10, 99, 0, last}), netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x99, 15: last})},
		}
		both[i] = n
		ip(t, "netns add %s", n.name)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", n.name).Run() })
		n.ip("link set lo up")
	}
	both[0].ip("link add veth0 type veth peer name veth0 netns %s", both[1].name)
	for _, n := range both {
		n.ip("addr add %s/24 dev veth0", n.outer[0])
		n.ip("addr add %s/64 dev veth0 nodad", n.outer[1])
		n.ip("link set veth0 up")
	}
	return both
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

// device opens bs0 with the inner addresses and routes to those of the other.
func (n *namespace) device(mtu int, other *namespace) (d tun.Device) {
	n.t.Helper()
	n.inside(func() (err error) {
		d, err = Open("bs0", mtu)
		return err
	})
	n.ip("addr add %s/32 dev bs0", n.inner[0])
	n.ip("addr add %s/128 dev bs0 nodad", n.inner[1])
	n.ip("link set bs0 up")
	for _, remote := range other.inner {
		n.ip("route add %s dev bs0", remote)
	}
	return d
}

// plane is a plane on bs0 with the ports of an IKE endpoint and bare ones.
func (n *namespace) plane(mtu int, other *namespace) *Plane {
	n.t.Helper()
	p, err := New(Config{Device: n.device(mtu, other)})
	if err != nil {
		n.t.Fatal(err)
	}
	var conn *udp.Conn
	n.inside(func() (err error) {
		if conn, err = udp.Listen(udp.Config{IKEPort: 500, NATPort: 4500, ESP: p.Stray}); err != nil {
			return err
		}
		p.Attach(conn.ESP()...)
		for _, addr := range n.outer {
			bare, err := udp.Bare(addr, 0, nil)
			if err != nil {
				return err
			}
			p.Attach(bare)
		}
		return nil
	})
	n.t.Cleanup(func() {
		p.Close()
		conn.Close()
	})
	return p
}

// between is a Child SA of two namespaces, as the first one installs it: over
// IPv4 or IPv6 outside, for all of both inside.
func between(both [2]*namespace, family int, encap bool) dataplane.Child {
	c := planetest.Child(spi)
	c.Encap = encap
	c.Local, c.Remote = netip.AddrPortFrom(both[0].outer[family], 4500), netip.AddrPortFrom(both[1].outer[family], 4500)
	c.LocalTS, c.RemoteTS = nil, nil
	for i := range 2 {
		c.LocalTS = append(c.LocalTS, wire.Prefix(netip.PrefixFrom(both[0].inner[i], both[0].inner[i].BitLen())))
		c.RemoteTS = append(c.RemoteTS, wire.Prefix(netip.PrefixFrom(both[1].inner[i], both[1].inner[i].BitLen())))
	}
	return c
}

// join starts a plane in each namespace, with a Child SA.
func join(both [2]*namespace, mtu, family int, encap bool) (planes [2]*Plane) {
	t := both[0].t
	t.Helper()
	planes = [2]*Plane{both[0].plane(mtu, both[1]), both[1].plane(mtu, both[0])}
	c := between(both, family, encap)
	for i, child := range []dataplane.Child{c, mirror(c)} {
		if err := planes[i].Install(child); err != nil {
			t.Fatal(err)
		}
	}
	return planes
}

// connect is a TCP connection between inner addresses of a family.
func connect(both [2]*namespace, family int) (from, to net.Conn) {
	t := both[0].t
	t.Helper()
	var l net.Listener
	both[1].inside(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(both[1].inner[family], 0).String())
		return err
	})
	defer l.Close()
	both[0].inside(func() (err error) {
		from, err = net.Dial("tcp", l.Addr().String())
		return err
	})
	to, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		from.Close()
		to.Close()
	})
	return from, to
}

// TestNamespaces carries TCP and UDP of both families through real devices and
// sockets, in UDP and bare, over IPv4 and IPv6, with an MTU that fits and one
// that is too large for the path.
func TestNamespaces(t *testing.T) {
	for _, row := range []struct {
		name   string
		mtu    int
		family int
		encap  bool
	}{
		{"UDP over IPv4", 1420, 0, true},
		{"UDP over IPv6", 1400, 1, true},
		{"bare over IPv4", 1420, 0, false},
		{"bare over IPv6", 1400, 1, false},
		{"an MTU too large for the path", 9000, 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			both := twoNamespaces(t)
			planes := join(both, row.mtu, row.family, row.encap)
			for family := range 2 {
				echo(t, both, family)
				transfer(t, both, family)
			}
			for i, p := range planes {
				n, dropped := p.Totals()
				if n.InPackets == 0 || n.OutPackets == 0 || dropped["bad_icv"]+dropped["replay"]+dropped["unsent"]+dropped["unwritten"]+dropped["loop"] != 0 {
					t.Errorf("plane %d: %+v %v", i, n, dropped)
				}
				if (dropped["too_big"] != 0) != (row.mtu == 9000) {
					t.Errorf("plane %d: %d too big", i, dropped["too_big"])
				}
			}
		})
	}
}

// echo sends UDP datagrams of many sizes there and back, the longest in
// fragments of the inner packet.
func echo(t *testing.T, both [2]*namespace, family int) {
	var server, client *net.UDPConn
	both[1].inside(func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(both[1].inner[family], 0)))
		return err
	})
	defer server.Close()
	both[0].inside(func() (err error) {
		client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
		return err
	})
	defer client.Close()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			server.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	buf := make([]byte, 1<<16)
	for _, size := range []int{1, 100, 1200, 4000} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		n := 0
		for try := 0; !bytes.Equal(buf[:n], want); try++ { // the first one to be too long for the path is lost, in each direction
			if _, err := client.Write(want); err != nil && !errors.Is(err, unix.EMSGSIZE) || try == 6 {
				t.Fatalf("no echo of %d octets: %v", size, err)
			}
			client.SetReadDeadline(time.Now().Add(time.Second))
			for err := error(nil); err == nil && !bytes.Equal(buf[:n], want); {
				n, err = client.Read(buf)
			}
		}
	}
}

// transfer sends octets by TCP; the kernel hands them over in pieces of up to
// 64 KB.
func transfer(t *testing.T, both [2]*namespace, family int) {
	const size = 16 << 20
	from, to := connect(both, family)
	data := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{byte(family)})
	rng.Read(data)
	go func() {
		from.Write(data)
		from.Close()
	}()
	sum := sha256.New()
	n, err := io.Copy(sum, to)
	if want := sha256.Sum256(data); n != size || err != nil || !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Fatalf("%d octets arrived, or other ones: %v", n, err)
	}
}

// A device that is deleted under the plane is told, with what to do.
func TestDeviceIsDeleted(t *testing.T) {
	both := twoNamespaces(t)
	p := both[0].plane(1420, both[1])
	both[0].ip("link del bs0")
	for r := range p.Reports() {
		if r.Kind == dataplane.Broken {
			if !strings.Contains(r.Err.Error(), "the TUN device bs0 ") {
				t.Error(r.Err)
			}
			return
		}
	}
	t.Error("no report")
}

func TestOpenErrors(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("TUN devices need root")
	}
	both := twoNamespaces(t)
	d := both[0].device(1400, both[1])
	defer d.Close()
	for name, want := range map[string]string{
		"bs0":                     "another program has it",
		"a-name-that-is-too-long": "15 characters",
	} {
		both[0].inside(func() error {
			if d, err := Open(name, 1400); err == nil {
				d.Close()
				t.Errorf("%s: opened", name)
			} else if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			return nil
		})
	}
}

// Without a name the device has the first one that is free.
func TestOpenWithoutAName(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("TUN devices need root")
	}
	both := twoNamespaces(t)
	d := both[0].device(1400, both[1])
	defer d.Close()
	both[0].inside(func() error {
		next, err := Open("", 1400)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close()
		if name, err := next.Name(); name != "bs1" {
			t.Errorf("%q, %v, want bs1", name, err)
		}
		return nil
	})
}
