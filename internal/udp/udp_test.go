package udp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	loop4 = netip.MustParseAddr("127.0.0.1")
	loop6 = netip.MustParseAddr("::1")
)

// links runs a test with each way to move datagrams.
func links(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Run("batches", func(t *testing.T) { test(t, Config{Addr: loop4}) })
	t.Run("plain", func(t *testing.T) { test(t, Config{Addr: loop4, plain: true}) })
}

// lacks tells whether a row cannot run here: containers often have no ::1. In
// CI nothing is left out.
func lacks(t testing.TB, addr netip.Addr) bool {
	t.Helper()
	if !addr.Is6() {
		return false
	}
	pc, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		pc.Close()
		return false
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Logf("left out what needs IPv6: %v", err)
	return true
}

func mustListen(t testing.TB, cfg Config) *Conn {
	t.Helper()
	c, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// receive reads n messages and copies them.
func receive(t testing.TB, c *Conn, n int) []Message {
	t.Helper()
	var got []Message
	for len(got) < n {
		b := next(t, c)
		for _, m := range b.Messages {
			m.Data = bytes.Clone(m.Data)
			got = append(got, m)
		}
		c.Recycle(b)
	}
	if len(got) != n {
		t.Fatalf("%d messages, want %d", len(got), n)
	}
	return got
}

// next is one batch. The limit only ends a test that has failed.
func next(t testing.TB, c *Conn) *Batch {
	t.Helper()
	select {
	case b, ok := <-c.Read():
		if !ok {
			t.Fatal("closed")
		}
		return b
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing came; %+v", c.Stats())
	}
	return nil
}

func send(t testing.TB, c *Conn, messages ...Message) {
	t.Helper()
	for _, m := range messages {
		c.Queue(m)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

func portOf(c *Conn, m Message) uint16 {
	ike, nat := c.Ports()
	if m.nat() {
		return nat.Port()
	}
	return ike.Port()
}

func TestRoundTrip(t *testing.T) {
	kinds := []Message{
		{Data: []byte("an IKE message")},
		{Data: []byte("an IKE message with marker"), Marker: true},
		{Data: []byte("\x00\x00\x00\x00 looks marked"), Marker: true},
		{Data: []byte("\x01\x02\x03\x04 an ESP packet"), Kind: ESP},
		{Data: []byte{0xff}, Kind: Keepalive},
		{Data: bytes.Repeat([]byte{7}, 8000)},
		{Data: bytes.Repeat([]byte{7}, 8000), Marker: true},
	}
	links(t, func(t *testing.T, cfg Config) {
		for _, row := range []struct {
			name   string
			listen netip.Addr
			from   netip.Addr
		}{
			{"IPv4", loop4, loop4},
			{"IPv6", loop6, loop6},
			{"IPv4 of all", netip.Addr{}, loop4},
			{"IPv6 of all", netip.IPv6Unspecified(), loop6},
			{"all IPv4", netip.IPv4Unspecified(), loop4},
		} {
			if lacks(t, row.from) {
				continue
			}
			cfg.Addr = row.listen
			server := mustListen(t, cfg)
			cfg.Addr = row.from
			client := mustListen(t, cfg)
			for _, m := range kinds {
				m.Remote = netip.AddrPortFrom(row.from, portOf(server, m))
				send(t, client, m)
				got := receive(t, server, 1)[0]
				got.Arrived = time.Time{}
				want := m
				want.Local, want.Remote = m.Remote, netip.AddrPortFrom(row.from, portOf(client, m))
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: there: %v, want %v", row.name, got, want)
				}
				send(t, server, got) // its Remote is where it came from
				back := receive(t, client, 1)[0]
				back.Arrived = time.Time{}
				want.Local, want.Remote = want.Remote, want.Local
				if fmt.Sprint(back) != fmt.Sprint(want) {
					t.Errorf("%s: back: %v, want %v", row.name, back, want)
				}
			}
		}
	})
}

func TestAnswerLeavesFromTheAddressAsked(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		cfg.Addr = netip.Addr{}
		server := mustListen(t, cfg)
		ike, _ := server.Ports()
		for _, addr := range []string{"127.0.0.2", "127.0.0.3", "::1"} {
			to := netip.AddrPortFrom(netip.MustParseAddr(addr), ike.Port())
			if lacks(t, to.Addr()) {
				continue
			}
			client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := client.Write([]byte("request")); err != nil {
				t.Fatal(err)
			}
			m := receive(t, server, 1)[0]
			if m.Local != to {
				t.Errorf("came to %v, said to be %v", to, m.Local)
			}
			m.Data = []byte("response")
			send(t, server, m)
			// A connected socket takes datagrams of that one address only.
			client.SetReadDeadline(time.Now().Add(20 * time.Second))
			buf := make([]byte, 100)
			if n, err := client.Read(buf); err != nil || string(buf[:n]) != "response" {
				t.Errorf("%s: %q, %v", addr, buf[:n], err)
			}
		}
	})
}

func TestRFC3948_2_WhatTheNATPortDrops(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		server := mustListen(t, cfg)
		ike, nat := server.Ports()
		raw, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loop4, 0)))
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		bad := 0
		for _, data := range []string{"", "\xfe", "\xff\xff", "\x00\x00", "\x00\x00\x00", "\x01\x02\x03\x04"} {
			raw.WriteToUDPAddrPort([]byte(data), nat)
			bad++
		}
		raw.WriteToUDPAddrPort(nil, ike)
		bad++
		raw.WriteToUDPAddrPort(make([]byte, MaxDatagram+1), nat)
		raw.WriteToUDPAddrPort([]byte("end"), ike)
		raw.WriteToUDPAddrPort([]byte("\x01\x02\x03\x04end"), nat)
		receive(t, server, 2)
		s := server.Stats()
		if s.Malformed != uint64(bad) || s.Oversized != 1 || s.In.Datagrams != 2 || s.In.Octets != 3+7 {
			t.Errorf("%+v, want %d malformed, 1 oversized, 2 in", s, bad)
		}
	})
}

func TestLongestDatagram(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		client, server := mustListen(t, cfg), mustListen(t, cfg)
		ike, _ := server.Ports()
		data := make([]byte, MaxDatagram)
		for i := range data {
			data[i] = byte(i * 7)
		}
		send(t, client, Message{Remote: ike, Data: data})
		if got := receive(t, server, 1)[0]; !bytes.Equal(got.Data, data) {
			t.Error("a long datagram was changed")
		}
	})
}

func TestBatchesKeepTheirLimits(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		cfg.Batch = 4
		client, server := mustListen(t, cfg), mustListen(t, cfg)
		ike, _ := server.Ports()
		const count = 60 // more than the six batches of four hold
		for i := range count {
			client.Queue(Message{Remote: ike, Data: []byte{byte(i)}})
		}
		if err := client.Flush(); err != nil {
			t.Fatal(err)
		}
		var held []*Batch
		seen := 0
		for range batches {
			b := next(t, server)
			if len(b.Messages) > 4 {
				t.Errorf("a batch of %d, want at most 4", len(b.Messages))
			}
			held = append(held, b)
			seen += len(b.Messages)
		}
		if made := server.made.Load(); made > batches {
			t.Errorf("%d batches were made", made)
		}
		// None is recycled: the rest waits in the kernel.
		select {
		case b := <-server.Read():
			t.Errorf("a seventh batch, of %d", len(b.Messages))
		default:
		}
		for _, b := range held {
			server.Recycle(b)
		}
		receive(t, server, count-seen)
	})
}

func TestContentsArriveWhole(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		cfg.ReceiveBuffer = 4 << 20
		cfg.Batch = 16
		client, server := mustListen(t, cfg), mustListen(t, cfg)
		ike, nat := server.Ports()
		rng := rand.New(rand.NewPCG(1, 2))
		scratch := make([]byte, 3000)
		for range 30 {
			var want []string
			for range 40 {
				data := scratch[:1+rng.IntN(len(scratch))]
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
				m := Message{Remote: ike, Data: data}
				if rng.IntN(2) == 0 {
					m.Remote, m.Marker = nat, true
				}
				client.Queue(m) // the data may be overwritten at once
				want = append(want, string(data))
			}
			if err := client.Flush(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range receive(t, server, len(want)) {
				got = append(got, string(m.Data))
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatal("messages were changed")
			}
		}
		if in, out := server.Stats().In, client.Stats().Out; in != out || out.Datagrams != 30*40 {
			t.Errorf("out %+v, in %+v", out, in)
		}
	})
}

func TestLostInTheKernelIsCounted(t *testing.T) {
	cfg := Config{Addr: loop4, Batch: 1, ReceiveBuffer: 1} // the kernel makes it about 2,304
	server := mustListen(t, cfg)
	if _, ok := server.sockets[0].link.(*plain); ok {
		t.Skip("only Linux tells")
	}
	client := mustListen(t, Config{Addr: loop4})
	ike, _ := server.Ports()
	const count = 100
	for range count {
		client.Queue(Message{Remote: ike, Data: make([]byte, 500)})
	}
	if err := client.Flush(); err != nil {
		t.Fatal(err)
	}
	// The kernel tells the loss with the next datagram that it has room for.
	sent := uint64(count)
	for server.Stats().Overflow == 0 && sent < 2*count {
		server.Recycle(next(t, server))
		send(t, client, Message{Remote: ike, Data: []byte("what was lost?")})
		sent++
	}
	if s := server.Stats(); s.Overflow == 0 || s.Overflow+s.In.Datagrams > sent {
		t.Errorf("%d sent, %+v", sent, s)
	}
}

func TestTapSeesAll(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		var in, out atomic.Int32
		cfg.Tap = func(isOut bool, m *Message) {
			switch {
			case string(m.Data) != "seen":
				t.Errorf("Tap saw %q", m.Data)
			case isOut:
				out.Add(1)
			default:
				in.Add(1)
			}
		}
		c := mustListen(t, cfg)
		_, nat := c.Ports()
		send(t, c, Message{Remote: nat, Data: []byte("seen"), Marker: true})
		receive(t, c, 1)
		if in.Load() != 1 || out.Load() != 1 {
			t.Errorf("Tap saw %d in and %d out", in.Load(), out.Load())
		}
	})
}

func TestPortZeroIsAnyPort(t *testing.T) {
	c := mustListen(t, Config{})
	ike, nat := c.Ports()
	if ike.Port() == 0 || nat.Port() == 0 || ike.Port() == nat.Port() {
		t.Errorf("ports %v and %v", ike, nat)
	}
	if ike.Addr() != netip.IPv6Unspecified() {
		t.Errorf("all addresses are %v", ike.Addr())
	}
	for _, s := range c.sockets {
		if want := c.port(s.nat); s.local.Port() != want {
			t.Errorf("%v: the other family has port %d", s.local, want)
		}
	}
	if len(c.sockets) != 4 && !lacks(t, loop6) {
		t.Errorf("%d sockets, want 4: two ports, two families", len(c.sockets))
	}
}

func TestListenErrorsNameTheCure(t *testing.T) {
	held := mustListen(t, Config{Addr: loop4})
	ike, nat := held.Ports()
	for _, row := range []struct {
		name  string
		cfg   Config
		errno syscall.Errno
		words []string
	}{
		{"IKE port in use", Config{Addr: loop4, IKEPort: ike.Port()}, syscall.EADDRINUSE,
			[]string{"IKE port " + ike.String(), "in use", "stop that one or choose another port"}},
		{"NAT port in use", Config{Addr: loop4, NATPort: nat.Port()}, syscall.EADDRINUSE,
			[]string{"NAT traversal port " + nat.String(), "in use"}},
		{"in use for one of all addresses", Config{IKEPort: ike.Port()}, syscall.EADDRINUSE,
			[]string{"IKE port 0.0.0.0:", "in use"}},
		{"address of another", Config{Addr: netip.MustParseAddr("203.0.113.77")}, syscall.EADDRNOTAVAIL,
			[]string{"203.0.113.77:0", "no interface of this machine"}},
		{"same port", Config{Addr: loop4, IKEPort: 4500, NATPort: 4500}, 0, []string{"4500", "choose two ports"}},
	} {
		for _, reuse := range []bool{false, true} {
			cfg := row.cfg
			cfg.Reuse = reuse
			c, err := Listen(cfg)
			if err == nil {
				c.Close()
				t.Errorf("%s: no error", row.name)
				continue
			}
			checkError(t, row.name, err, row.errno, row.words)
		}
	}
	denied := &net.OpError{Op: "listen", Net: "udp4", Err: syscall.EACCES}
	checkError(t, "privileged port", listenError(netip.AddrPortFrom(loop4, 500), false, denied), syscall.EACCES,
		[]string{"IKE port 127.0.0.1:500", "permission denied", "CAP_NET_BIND_SERVICE", "above 1023"})
	files := &net.OpError{Op: "listen", Net: "udp4", Err: syscall.EMFILE}
	checkError(t, "too many files", listenError(netip.AddrPortFrom(loop4, 500), false, files), syscall.EMFILE,
		[]string{"ulimit -n"})
}

func checkError(t *testing.T, name string, err error, errno syscall.Errno, words []string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q does not say %q", name, err, word)
		}
	}
	if strings.Count(err.Error(), "listen") > 1 || strings.Contains(err.Error(), "bind:") {
		t.Errorf("%s: %q is the message of a library", name, err)
	}
	if errno != 0 && !isErrno(err, errno) {
		t.Errorf("%s: %v does not wrap %v", name, err, errno)
	}
}
