//go:build linux && (amd64 || arm64)

package udp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// runs tests with each way to move ESP packets.
func runs(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Run("runs", func(t *testing.T) { test(t, Config{Addr: loop4}) })
	t.Run("single", func(t *testing.T) { test(t, Config{Addr: loop4, single: true}) })
}

// espPacket is a packet with an SPI, a sequence number and something behind.
func espPacket(spi, seq uint32, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, spi)
	binary.BigEndian.PutUint32(b[4:], seq)
	for i := 8; i < size; i++ {
		b[i] = byte(seq) + byte(i)
	}
	return b
}

// packet is an ESP packet received.
type packet struct {
	local, remote netip.AddrPort
	data          string
}

// collector takes what an ESPPort receives, from another goroutine.
type collector chan []packet

func collect(t testing.TB, p ESPPort) collector {
	c := make(collector, 1000)
	go func() {
		defer close(c)
		b := NewBurst()
		for p.Receive(b) == nil {
			c <- packetsOf(b.Runs)
		}
	}()
	t.Cleanup(func() {
		p.Close()
		for range c { // until it has ended
		}
	})
	return c
}

func packetsOf(runs []Run) []packet {
	var all []packet
	for _, r := range runs {
		for data := range slices.Chunk(r.Data, r.Size) {
			all = append(all, packet{r.Local, r.Remote, string(data)})
		}
	}
	return all
}

// take waits for n packets. The limit only ends a test that has failed.
func (c collector) take(t testing.TB, n int) []packet {
	t.Helper()
	var got []packet
	for len(got) < n {
		select {
		case some := <-c:
			got = append(got, some...)
		case <-time.After(20 * time.Second):
			t.Fatalf("%d packets of %d came", len(got), n)
		}
	}
	if len(got) != n {
		t.Fatalf("%d packets, want %d", len(got), n)
	}
	return got
}

func TestRFC3948_2_ESPAndIKEArriveApart(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		for _, addr := range []netip.Addr{loop4, loop6, {}} {
			for _, n := range []int{1, 3} {
				if !lacks(t, addr) {
					cfg.Addr = addr
					checkApart(t, cfg, n)
				}
			}
		}
	})
}

func checkApart(t *testing.T, cfg Config, n int) {
	to, family := cfg.Addr, 0
	if !to.IsValid() {
		to = loop4
	}
	group := mustESP(t, n, cfg)
	_, nat := group[0].Ports()
	remote := netip.AddrPortFrom(to, nat.Port())
	var esp []collector
	for _, c := range group {
		if want := 1 + bit(!cfg.Addr.IsValid() && !lacks(t, loop6)); len(c.ESP()) != want || !c.Steered() {
			t.Fatalf("%d ESP ports, want %d; steered: %v", len(c.ESP()), want, c.Steered())
		}
		esp = append(esp, collect(t, c.ESP()[family]))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	cfg.Addr = to
	for range 6 { // other source ports, which the kernel would hash
		client := mustESP(t, 1, cfg)[0]
		from := client.ESP()[0]
		for seq := range uint32(20) {
			m := Message{Remote: remote, Data: ikeMessage(rng.Uint64(), rng.Uint64(), true), Marker: true}
			want := group[0].Shard(&m)
			send(t, client, m)
			if got := receive(t, group[want], 1)[0]; !bytes.Equal(got.Data, m.Data) {
				t.Fatalf("%x came, not %x", got.Data, m.Data)
			}
			data := espPacket(rng.Uint32()|1, seq, 5+rng.IntN(1400)|8)
			want = group[0].Shard(&Message{Kind: ESP, Data: data})
			if _, err := from.Send(netip.Addr{}, remote, 0, [][]byte{data}); err != nil {
				t.Fatal(err)
			}
			if got := esp[want].take(t, 1)[0]; got != (packet{remote, from.Local(), string(data)}) {
				t.Fatalf("%v came from %v, not %x", got, from.Local(), data)
			}
		}
		if err := from.Keepalive(to, remote); err != nil {
			t.Fatal(err)
		}
	}
	// What comes behind the keepalives tells that they have come.
	client := mustESP(t, 1, cfg)[0]
	if _, err := client.ESP()[0].Send(netip.Addr{}, remote, 0, [][]byte{espPacket(1, 1, 100)}); err != nil {
		t.Fatal(err)
	}
	esp[0].take(t, 1)
	if s := group[0].ESP()[family].Stats(); s.Keepalives != 6 || s.Malformed != 0 {
		t.Errorf("%+v, want 6 keepalives", s)
	}
	for _, c := range group {
		if s := c.Stats(); s.Keepalives != 0 || s.Malformed != 0 {
			t.Errorf("IKE sockets: %+v", s)
		}
	}
}

func TestOrderIsKeptWithinAFlow(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		server, client := mustESP(t, 1, cfg)[0].ESP()[0], mustESP(t, 1, cfg)[0].ESP()[0]
		got := collect(t, server)
		rng := rand.New(rand.NewPCG(7, 8))
		for range 40 {
			var want []packet
			var packets [][]byte
			size := 8 + rng.IntN(1400)
			for range 1 + rng.IntN(400) {
				if rng.IntN(30) == 0 { // mostly runs of equal packets
					size = 8 + rng.IntN(1400)
				}
				packets = append(packets, espPacket(1+rng.Uint32N(9), rng.Uint32(), size))
				want = append(want, packet{server.Local(), client.Local(), string(packets[len(packets)-1])})
			}
			if sent, err := client.Send(netip.Addr{}, server.Local(), 0, packets); err != nil || sent != len(packets) {
				t.Fatalf("%d of %d sent: %v", sent, len(packets), err)
			}
			if !slices.Equal(got.take(t, len(want)), want) {
				t.Fatal("packets are not what was sent, in its order")
			}
		}
		if in, out := server.Stats().In, client.Stats().Out; in != out {
			t.Errorf("out %+v, in %+v", out, in)
		}
	})
}

// RFC 6040: the ECN field of the outer header arrives, and packets that differ
// in it are never joined.
func TestTrafficClass(t *testing.T) {
	for _, addr := range []netip.Addr{loop4, loop6} {
		if lacks(t, addr) {
			continue
		}
		runs(t, func(t *testing.T, cfg Config) {
			cfg.Addr = addr
			server, client := mustESP(t, 1, cfg)[0].ESP()[0], mustESP(t, 1, cfg)[0].ESP()[0]
			classes := []uint8{0, 1, 2, 3, 0xb8, 0xbb, 0}
			for i, class := range classes {
				seq := uint32(2 * i)
				if _, err := client.Send(netip.Addr{}, server.Local(), class, [][]byte{espPacket(1, seq, 90), espPacket(1, seq+1, 90)}); err != nil {
					t.Fatal(err)
				}
			}
			got, b := 0, NewBurst()
			for got < 2*len(classes) {
				if err := server.Receive(b); err != nil {
					t.Fatal(err)
				}
				for _, run := range b.Runs {
					for packet := range slices.Chunk(run.Data, run.Size) {
						if i := binary.BigEndian.Uint32(packet[4:]) / 2; run.Class != classes[i] {
							t.Errorf("traffic class %02x, sent with %02x", run.Class, classes[i])
						}
						got++
					}
				}
			}
		})
	}
}

func TestStrangersDoNotStopReceive(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		server := mustESP(t, 1, cfg)[0].ESP()[0]
		got := collect(t, server)
		raw, err := net.ListenUDP("udp4", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		for _, data := range []string{"", "\xfe", "\xff\xff", "\x00\x00", "\x00\x00\x00", "\x01\x02\x03\x04", "\xff"} {
			raw.WriteToUDPAddrPort([]byte(data), server.Local())
		}
		raw.WriteToUDPAddrPort([]byte("\x01\x02\x03\x04end"), server.Local())
		got.take(t, 1)
		if s := server.Stats(); s.Malformed != 6 || s.Keepalives != 1 || s.In != (Count{1, 7}) {
			t.Errorf("%+v, want 6 malformed, 1 keepalive, 1 in", s)
		}
	})
}

func TestCloseEndsReceive(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		for _, plain := range []bool{false, true} { // lent ports too
			cfg.plain = plain
			for _, conn := range []bool{false, true} {
				c := mustESP(t, 1, cfg)[0]
				p := c.ESP()[0]
				ended := make(chan error)
				go func() { ended <- p.Receive(NewBurst()) }()
				if conn {
					c.Close()
				} else {
					p.Close()
				}
				if err := <-ended; !errors.Is(err, net.ErrClosed) {
					t.Errorf("Receive ended with %v", err)
				}
				if err := errors.Join(p.Close(), c.Close()); err != nil {
					t.Errorf("second Close: %v", err)
				}
				_, err := p.Send(netip.Addr{}, p.Local(), 0, [][]byte{espPacket(1, 1, 9), espPacket(1, 2, 9)})
				if s := p.Stats(); !errors.Is(err, net.ErrClosed) || s.Failed != 2 {
					t.Errorf("Send after Close: %v, %+v", err, s)
				}
			}
		}
	})
}

func TestUnsteeredESPIsAstray(t *testing.T) {
	var strays atomic.Int32
	came := make(chan packet, 10)
	cfg := Config{Addr: loop4, plain: true, ESP: func(m Message) {
		strays.Add(1)
		came <- packet{m.Local, m.Remote, string(m.Data)}
	}}
	server := mustGroup(t, 1, cfg)[0]
	client := mustESP(t, 1, Config{Addr: loop4})[0]
	for _, p := range []ESPPort{client.ESP()[0], server.ESP()[0]} {
		data := espPacket(9, 9, 100)
		if err := p.Keepalive(netip.Addr{}, server.ESP()[0].Local()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Send(netip.Addr{}, server.ESP()[0].Local(), 0, [][]byte{data}); err != nil {
			t.Fatal(err)
		}
		if got := <-came; got != (packet{server.ESP()[0].Local(), p.Local(), string(data)}) {
			t.Errorf("%v came from %v", got, p.Local())
		}
	}
	_, err := server.ESP()[0].Send(netip.Addr{}, netip.MustParseAddrPort("[::1]:4500"), 0, [][]byte{{1}})
	if s := server.ESP()[0].Stats(); !errors.Is(err, syscall.ENETUNREACH) || s.Unreachable != 1 || s.Out.Datagrams != 2 {
		t.Errorf("to the other family: %v, %+v", err, s)
	}
	if s := server.Stats(); s.In.Datagrams != 2 || s.Keepalives != 2 || strays.Load() != 2 {
		t.Errorf("%+v, want 2 strays and 2 keepalives", s)
	}
}
