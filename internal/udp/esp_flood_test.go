//go:build linux && (amd64 || arm64)

package udp

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFloodOfESPLeavesIKEAlone(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		group := mustESP(t, 2, cfg)
		client := mustESP(t, 1, cfg)[0]
		_, nat := group[0].Ports()
		for range 60 { // nobody receives it
			client.ESP()[0].Send(netip.Addr{}, nat, 0, equal(200, 1400))
		}
		m := Message{Remote: nat, Data: ikeMessage(1, 2, true), Marker: true}
		send(t, client, m)
		c := group[group[0].Shard(&m)]
		receive(t, c, 1)
		if s := c.Stats(); s.Overflow != 0 || s.In.Datagrams != 1 {
			t.Errorf("IKE: %+v", s)
		}
		// The kernel tells the loss with what it has room for afterwards.
		p, b := group[0].ESP()[0], NewBurst() // SPI 1 is of shard 0
		for p.Stats().Overflow == 0 {
			if err := p.Receive(b); err != nil {
				t.Fatal(err)
			}
			client.ESP()[0].Send(netip.Addr{}, nat, 0, equal(1, 100))
		}
	})
}

func TestESPBuffersAreLarge(t *testing.T) {
	c := mustESP(t, 1, Config{Addr: loop4, ReceiveBuffer: 1 << 16})[0]
	p := c.ESP()[0].(*espSocket)
	p.s.rc.Control(func(fd uintptr) {
		for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
			n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option)
			if force := unix.Geteuid() == 0; err != nil || force && n != 2*espBuffer {
				t.Errorf("a buffer of %d, %v", n, err)
			}
		}
		df, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
		if err != nil || df != unix.IP_PMTUDISC_DONT {
			t.Errorf("IP_MTU_DISCOVER %d, %v: the DF bit may be set", df, err)
		}
	})
}

// The kernel asks any socket of a port, by a hash of the addresses, whether it
// may join what comes: a flow would have no runs if that was one of IKE that
// takes none.
func TestAllSocketsOfAPortTakeRuns(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  Config
		want bool
	}{
		{"ESP", Config{ESP: func(Message) {}}, true},
		{"ESP one by one", Config{ESP: func(Message) {}, single: true}, false},
		{"no ESP", Config{}, false},
	} {
		c := mustGroup(t, 1, row.cfg)[0]
		sockets := slices.Clone(c.sockets)
		for _, p := range c.ESP() {
			sockets = append(sockets, p.(*espSocket).s)
		}
		for _, s := range sockets {
			want := bit(row.want && s.nat)
			s.rc.Control(func(fd uintptr) {
				if got, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO); got != want || err != nil {
					t.Errorf("%s: %v has UDP_GRO %d, %v", row.name, s.local, got, err)
				}
			})
		}
	}
}

// RFC 3948 2.1: the checksum is zero from most peers, which the kernel never
// joins, and not to be relied upon.
func TestRFC3948_2_1_ChecksumMayBeZero(t *testing.T) {
	server := mustESP(t, 1, Config{Addr: loop4})[0].ESP()[0]
	raw, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server.Local()))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	rc, err := raw.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) })
	if err != nil {
		t.Fatal(err)
	}
	for _, packet := range equal(2, 100) {
		if _, err := raw.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	if got := packetsOf(arrive(t, server, 2)); len(got) != 2 || got[1].data != string(equal(2, 100)[1]) {
		t.Errorf("%d packets", len(got))
	}
}

func TestESPAllocatesNothing(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		cfg.Addr = netip.Addr{}
		client, server := mustESP(t, 1, cfg)[0].ESP()[0], mustESP(t, 1, cfg)[0].ESP()[0]
		to := netip.AddrPortFrom(loop4, server.Local().Port())
		checkESPAllocates(t, client, server, to)
	})
	t.Run("bare", func(t *testing.T) {
		inNamespace(t, loopbackMTU, func() {
			checkESPAllocates(t, mustBare(t, "127.0.0.1"), mustBare(t, "127.0.0.2"), netip.MustParseAddrPort("127.0.0.2:0"))
		})
	})
}

func checkESPAllocates(t *testing.T, client, server ESPPort, to netip.AddrPort) {
	packets, b := append(equal(40, 1400), espPacket(1, 1, 60)), NewBurst()
	n := testing.AllocsPerRun(500, func() {
		client.Send(loop4, to, 0, packets)
		for octets := 0; octets < 40*1400+60; {
			server.Receive(b)
			for _, r := range b.Runs {
				octets += len(r.Data)
			}
		}
	})
	if n != 0 {
		t.Errorf("41 packets cost %v allocations", n)
	}
}

func TestManySendWhileAllCloses(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		for range 10 {
			cfg.ESP = func(Message) {} // while a group closes, its packets go astray
			group := mustGroup(t, 2, cfg)
			client := mustESP(t, 1, cfg)[0]
			_, nat := group[0].Ports()
			ike := append(make([]byte, 4), ikeMessage(1, 2, true)...)
			packets := append(equal(5, len(ike)), ike)
			var busy sync.WaitGroup
			for range 3 {
				busy.Go(func() {
					for err := error(nil); !errors.Is(err, net.ErrClosed); {
						client.ESP()[0].Send(netip.Addr{}, nat, 0, packets)
						err = client.ESP()[0].Keepalive(netip.Addr{}, nat)
					}
				})
			}
			seen := make(chan struct{})
			for i, c := range group {
				busy.Go(func() {
					b := NewBurst()
					for n := 0; c.ESP()[0].Receive(b) == nil; n++ {
						if n == 10 && i == 0 {
							close(seen)
						}
					}
				})
				busy.Go(func() {
					for b := range c.Read() {
						c.Recycle(b)
					}
				})
			}
			<-seen
			for _, c := range append(group, client) {
				c.Close()
			}
			busy.Wait()
		}
	})
}
