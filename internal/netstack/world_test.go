package netstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	here4, there4 = "10.99.0.1", "10.99.0.2"
	here6, there6 = "fd00:99::1", "fd00:99::2"
	patience      = 20 * time.Second // more than any step needs
)

func addrs(all ...string) []netip.Addr {
	out := make([]netip.Addr, len(all))
	for i, a := range all {
		out[i] = netip.MustParseAddr(a)
	}
	return out
}

func open(t testing.TB, addresses, dns []netip.Addr) *Stack {
	t.Helper()
	s, err := Open(addresses, dns, 1400)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// pair is two stacks with a cable between them.
func pair(t testing.TB) (here, there *Stack) {
	t.Helper()
	here = open(t, addrs(here4, here6), addrs(there4))
	there = open(t, addrs(there4, there6), nil)
	var cable sync.WaitGroup
	cable.Go(func() { pump(t, here, there) })
	cable.Go(func() { pump(t, there, here) })
	t.Cleanup(func() {
		here.Close()
		there.Close()
		cable.Wait()
	})
	return here, there
}

// pump is one direction of a cable. It leaves room before a packet, as the data
// plane does.
func pump(t testing.TB, from, to tun.Device) {
	const headroom = 64
	bufs, sizes := make([][]byte, from.BatchSize()), make([]int, from.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, headroom+2000)
	}
	for {
		n, err := from.Read(bufs, sizes, headroom)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil || n == 0 {
			t.Errorf("read %d packets: %v", n, err)
			return
		}
		out := make([][]byte, n)
		for i := range out {
			out[i] = bufs[i][:headroom+sizes[i]]
		}
		if m, err := to.Write(out, headroom); (err != nil || m != n) && !errors.Is(err, os.ErrClosed) {
			t.Errorf("wrote %d of %d packets: %v", m, n, err)
			return
		}
	}
}

func full(at string) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	a := netip.MustParseAddrPort(at)
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}, protocol(a.Addr())
}

func listen(t testing.TB, s *Stack, at string) net.Listener {
	t.Helper()
	a, p := full(at)
	l, err := gonet.ListenTCP(s.stack, a, p)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// echo answers a connection at a time with what it says, after it has said all.
func echo(t testing.TB, s *Stack, at string) {
	t.Helper()
	l := listen(t, s, at)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all, err := io.ReadAll(c)
			if err == nil {
				_, _ = c.Write(all)
			}
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.(*gonet.TCPListener).Shutdown()
		l.Close()
		serving.Wait()
	})
}

// names is a DNS server that knows one host.
func names(t testing.TB, s *Stack, at, host string) {
	t.Helper()
	a, p := full(at)
	c, err := gonet.DialUDP(s.stack, &a, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := namesAnswer(t, buf[:n], host); out != nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	})
	t.Cleanup(func() {
		c.Close()
		serving.Wait()
	})
}

func namesAnswer(t testing.TB, ask []byte, host string) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(ask); err != nil || len(m.Questions) != 1 {
		t.Errorf("a question of %d octets: %v", len(ask), err)
		return nil
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	switch {
	case q.Name.String() != host+".":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: netip.MustParseAddr(there4).As4()}}}
	case q.Type == dnsmessage.TypeAAAA:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(there6).As16()}}}
	}
	out, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return out
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// say sends all, ends that half and returns what comes back.
func say(t testing.TB, c net.Conn, all []byte) []byte {
	t.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(all); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// timedOut says whether a deadline has passed: the stack's own error is not
// os.ErrDeadlineExceeded.
func timedOut(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
