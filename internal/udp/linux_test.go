//go:build linux && (amd64 || arm64)

package udp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNamesRoundTrip(t *testing.T) {
	for _, want := range []string{
		"192.0.2.1:500", "127.0.0.1:65535", "[2001:db8::1]:4500", "[::1]:1", "[fe80::1%2]:500",
	} {
		ap := netip.MustParseAddrPort(want)
		var name unix.RawSockaddrInet6
		size := putName(&name, ap)
		if wantSize := uint32(28 - 12*bit(ap.Addr().Is4())); size != wantSize {
			t.Errorf("%s: a name of %d octets, want %d", want, size, wantSize)
		}
		if got := parseName(&name); got != ap {
			t.Errorf("%s: came back as %v", want, got)
		}
	}
	var name unix.RawSockaddrInet6
	putName(&name, netip.MustParseAddrPort("[::ffff:192.0.2.1]:500"))
	if got := parseName(&name).String(); got != "192.0.2.1:500" {
		t.Errorf("a mapped address is sent to %s", got)
	}
	putName(&name, netip.MustParseAddrPort("[fe80::1%lo]:500"))
	if name.Scope_id != 1 {
		t.Errorf("interface lo has number %d", name.Scope_id)
	}
	putName(&name, netip.MustParseAddrPort("[fe80::1%none-such]:500"))
	if name.Scope_id != 0 {
		t.Errorf("no interface has number %d", name.Scope_id)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestControlsRoundTrip(t *testing.T) {
	for _, text := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%3"} {
		for _, class := range []uint8{0, 0xb9} {
			var b [controlSize]byte
			addr := netip.MustParseAddr(text)
			want := control{local: addr, class: class}
			n := putControl(&b, want, addr.Is6())
			if got := parseControl(b[:n]); got != want || n > controlSize || n%8 != 0 {
				t.Errorf("%+v: came back as %+v, in %d octets", want, got, n)
			}
			for cut := range n {
				if got := parseControl(b[:cut]); got == want && cut < n-7 {
					t.Errorf("%+v: %d of %d octets were enough", want, cut, n)
				}
			}
		}
	}
}

// controlMessage is one as the kernel writes it.
func controlMessage(level, kind uint32, data []byte) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(controlHeader+len(data)))
	b = binary.NativeEndian.AppendUint32(b, level)
	b = binary.NativeEndian.AppendUint32(b, kind)
	b = append(b, data...)
	return append(b, make([]byte, -len(b)&7)...)
}

// All that the kernel tells of a run has room, and is read in any order.
func TestControlsOfARun(t *testing.T) {
	number := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	want := control{local: netip.MustParseAddr("2001::9"), lost: 7, size: 1400, class: 0xb9, at: time.Unix(1764100000, 987654321)}
	addr := want.local.As16()
	messages := [][]byte{
		controlMessage(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, number(want.lost)),
		controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, append(addr[:], 0, 0, 0, 0)),
		controlMessage(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, number(uint32(want.class))),
		controlMessage(unix.SOL_UDP, unix.UDP_GRO, number(uint32(want.size))),
		controlMessage(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(want.at.Unix())), 987654321)),
	}
	for range messages {
		messages = append(messages[1:], messages[0])
		all := slices.Concat(messages...)
		if got := parseControl(all); got != want || len(all) > controlSize {
			t.Errorf("%+v from %d octets, want %+v from at most %d", got, len(all), want, controlSize)
		}
	}
	if c := parseControl(controlMessage(unix.SOL_UDP, unix.UDP_GRO, number(1400)[:2])); c.size != 0 {
		t.Errorf("size %d from two octets", c.size)
	}
}

// A datagram tells when it came, however long nobody reads it.
func TestTimeOfArrival(t *testing.T) {
	server, client := mustListen(t, Config{Addr: loop4, Batch: 1}), mustListen(t, Config{Addr: loop4})
	ike, _ := server.Ports()
	told := func() bool {
		before := time.Now()
		for range 8 * batches { // what no batch is free for stays in the kernel
			send(t, client, Message{Data: []byte("x"), Remote: ike})
		}
		after, all := time.Now(), true
		for range 8 * batches {
			at := receive(t, server, 1)[0].Arrived
			all = all && !at.Before(before) && !at.After(after)
		}
		return all
	}
	for range 1000 { // the first that asks makes the kernel keep times a moment later
		if told() {
			return
		}
	}
	t.Error("the times of arrival are not between those of sending")
}

func FuzzParseControl(f *testing.F) {
	var b [controlSize]byte
	f.Add(b[:putControl(&b, control{local: netip.MustParseAddr("192.0.2.1")}, false)])
	f.Add(b[:putControl(&b, control{local: netip.MustParseAddr("fe80::1%3"), size: 1400, class: 0xb9}, true)])
	f.Add(controlMessage(unix.SOL_UDP, unix.UDP_GRO, []byte{0x78, 5, 0, 0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := parseControl(b)
		if c.local.IsValid() && len(b) < controlHeader+pktinfo4 || c.size != 0 && len(b) < controlHeader+4 || c.size < 0 {
			t.Errorf("%+v from %x", c, b)
		}
	})
}

func TestSocketOptions(t *testing.T) {
	c := mustListen(t, Config{ReceiveBuffer: 8 << 20})
	limit, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		t.Fatal(err)
	}
	rmem, _ := strconv.Atoi(strings.TrimSpace(string(limit)))
	if got := c.ReceiveBuffer(); got != 8<<20 && got != rmem {
		t.Errorf("receive buffer %d: neither what was asked nor the limit %d", got, rmem)
	}
	if got := mustListen(t, Config{Addr: loop4}).ReceiveBuffer(); got <= 0 {
		t.Errorf("default receive buffer %d", got)
	}
	for _, s := range c.sockets {
		rc, err := s.conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		rc.Control(func(fd uintptr) {
			if s.v6 {
				if only, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); only != 1 {
					t.Errorf("%v takes IPv4 too", s.local)
				}
				return
			}
			df, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
			if err != nil || df != unix.IP_PMTUDISC_DONT {
				t.Errorf("%v: IP_MTU_DISCOVER %d, %v: the DF bit may be set", s.local, df, err)
			}
		})
	}
}

// cpu is the processor time of this process, in nanoseconds.
func cpu(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkEcho is the baseline of all figures about the gateway: messages of
// 300 octets go to another Conn and come back, 64 at a time. Its cpu-us/echo
// is of both sides together.
func BenchmarkEcho(b *testing.B) {
	for _, row := range []struct {
		name   string
		cfg    Config
		flight int
	}{
		{"batches", Config{Addr: loop4}, 64},
		{"single", Config{Addr: loop4}, 1},
		{"plain", Config{Addr: loop4, plain: true}, 64},
	} {
		b.Run(row.name, func(b *testing.B) {
			client, server := mustListen(b, row.cfg), mustListen(b, row.cfg)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for batch := range server.Read() {
					for _, m := range batch.Messages {
						server.Queue(m)
					}
					server.Flush()
					server.Recycle(batch)
				}
			}()
			ike, _ := server.Ports()
			m := Message{Remote: ike, Data: make([]byte, 300)}
			b.ReportAllocs()
			start, back := cpu(b), 0
			for b.Loop() {
				for range row.flight {
					client.Queue(m)
				}
				if err := client.Flush(); err != nil {
					b.Fatal(err)
				}
				for goal := back + row.flight; back < goal; {
					batch := <-client.Read()
					back += len(batch.Messages)
					client.Recycle(batch)
				}
			}
			b.ReportMetric(float64(cpu(b)-start)/1e3/float64(back), "cpu-us/echo")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(back), "us/echo")
			server.Close()
			<-done
		})
	}
}

// BenchmarkESP sends 40 packets of 1,400 octets and receives them. Its
// cpu-ns/packet is of both sides together.
func BenchmarkESP(b *testing.B) {
	udp := func(cfg Config) func() ESPPort {
		return func() ESPPort { return mustESP(b, 1, cfg)[0].ESP()[0] }
	}
	for _, row := range []struct {
		name string
		open func() ESPPort
	}{
		{"runs", udp(Config{Addr: loop4})},
		{"single", udp(Config{Addr: loop4, single: true})},
		{"bare", func() ESPPort { return mustBare(b, "127.0.0.2") }},
	} {
		b.Run(row.name, func(b *testing.B) {
			client, server := row.open(), row.open()
			const count, size = 40, 1400
			packets := make([][]byte, count)
			for i := range packets {
				packets[i] = espPacket(1, uint32(i), size)
			}
			burst := NewBurst()
			b.ReportAllocs()
			b.SetBytes(count * size)
			start := cpu(b)
			for b.Loop() {
				if _, err := client.Send(netip.Addr{}, server.Local(), 0, packets); err != nil {
					b.Fatal(err)
				}
				for octets := 0; octets < count*size; {
					if err := server.Receive(burst); err != nil {
						b.Fatal(err)
					}
					for _, r := range burst.Runs {
						octets += len(r.Data)
					}
				}
			}
			b.ReportMetric(float64(cpu(b)-start)/float64(b.N)/count, "cpu-ns/packet")
		})
	}
}
