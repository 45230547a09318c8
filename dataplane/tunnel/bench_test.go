package tunnel

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/internal/udp"
	"blackswan/wire"
)

// nth is the Child SA of client n of a gateway: one inner address.
func nth(n int) dataplane.Child {
	c := planetest.Child(uint32(0x1000 + n))
	c.SPIOut = uint32(0x1000000 + n)
	c.LocalTS = []wire.Selector{wire.Prefix(netip.MustParsePrefix("0.0.0.0/0"))}
	c.RemoteTS = []wire.Selector{wire.Prefix(netip.PrefixFrom(clientAddr(n), 32))}
	c.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}), uint16(1024+n%60000))
	return c
}

func clientAddr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 2 + byte(n>>16), byte(n >> 8), byte(n)})
}

// sink is an ESPPort that forgets.
type sink struct {
	*port
	packets int
}

func (s *sink) Send(_ netip.Addr, _ netip.AddrPort, _ uint8, packets [][]byte) (int, error) {
	s.packets += len(packets)
	return len(packets), nil
}

// gatewayOf is a plane with so many Child SAs, whose packets go nowhere.
func gatewayOf(t testing.TB, children int) *Plane {
	t.Helper()
	p, err := New(Config{Device: newDevice()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.Attach(&sink{port: newPort("192.0.2.1:4500")})
	for n := range children {
		if err := p.Install(nth(n)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// BenchmarkLookup is the way of a packet from the device to the port, with one
// Child SA and with many: the flow at hand is the same.
func BenchmarkLookup(b *testing.B) {
	for _, children := range []int{1, 10000} {
		b.Run(fmt.Sprint(children), func(b *testing.B) {
			p := gatewayOf(b, children)
			packet := udp4("192.0.2.80", clientAddr(children/2).String(), 1, 2, 1372)
			b.Run("table", func(b *testing.B) {
				var h inner
				h.parse(packet)
				for b.Loop() {
					if p.policy.lookup(&h.flow) == nil {
						b.Fatal("no Child SA")
					}
				}
			})
			b.Run("headers", func(b *testing.B) {
				heads, sizes := p.sender.heads[:1], []int{len(packet)}
				copy(p.sender.bufs[0][headroom:], packet)
				for b.Loop() {
					p.route(heads, p.sender.bufs[:1], sizes)
				}
			})
			b.Run("packet", func(b *testing.B) {
				for b.Loop() {
					copy(p.sender.bufs[0][headroom:], packet)
					p.send(p.sender.bufs[:1], []int{len(packet)})
				}
			})
		})
	}
}

// BenchmarkSpread is packets that are each of another Child SA than the one
// before: nothing of it is in a cache.
func BenchmarkSpread(b *testing.B) {
	const children = 10000
	p := gatewayOf(b, children)
	packet := udp4("192.0.2.80", "0.0.0.0", 1, 2, 1372)
	n := 0
	for b.Loop() {
		n = (n + 7919) % children
		dst := clientAddr(n).As4()
		copy(packet[16:], dst[:])
		copy(p.sender.bufs[0][headroom:], packet)
		p.send(p.sender.bufs[:1], []int{len(packet)})
	}
}

// BenchmarkInstall is a Child SA that comes to a gateway and stays, with the
// memory that it takes.
func BenchmarkInstall(b *testing.B) {
	p := gatewayOf(b, 0)
	before, n := heapOf(), 0
	for b.Loop() {
		if err := p.Install(nth(n)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(heapOf()-before)/float64(n), "octets/child")
}

// In steady state no packet costs an allocation, in either direction.
func TestNoAllocations(t *testing.T) {
	for i := range suites {
		c := keyed(i, true) // both ends are in one plane
		p, err := New(Config{Device: newDevice()})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		out := &keep{port: newPort(clientUDP)}
		p.Attach(out)
		if err := p.Install(c); err != nil {
			t.Fatal(err)
		}
		if err := p.Install(mirror(c)); err != nil {
			t.Fatal(err)
		}
		const batch = 32
		packet := udp4(a4, b4, 1, 2, 1000)
		bufs, sizes := p.sender.bufs[:batch], make([]int, batch)
		send := func() {
			for i := range batch {
				sizes[i] = copy(bufs[i][headroom:], packet)
			}
			p.sender.mu.Lock()
			p.send(bufs, sizes)
			p.sender.mu.Unlock()
		}
		r := newReceiver(p)
		r.now = p.now()
		run := udp.Run{Local: out.local, Remote: netip.MustParseAddrPort(clientUDP)}
		receive := func() {
			run.Data, run.Size = out.data, len(out.data)/batch
			r.run(&run)
			r.batch = r.batch[:0]
		}
		send()
		receive() // makes the ciphers
		if n := testing.AllocsPerRun(100, func() { send(); receive() }); n != 0 {
			t.Errorf("%v: %v allocations for %d packets there and back", suites[i].suite, n, batch)
		}
		if n, dropped := p.Totals(); n.InPackets != n.OutPackets || n.Dropped != 0 {
			t.Errorf("%v: %+v %v", suites[i].suite, n, dropped)
		}
	}
}

// keep is an ESPPort that keeps what was sent last.
type keep struct {
	*port
	data []byte
}

func (k *keep) Send(_ netip.Addr, _ netip.AddrPort, _ uint8, packets [][]byte) (int, error) {
	k.data = k.data[:0]
	for _, packet := range packets {
		k.data = append(k.data, packet...)
	}
	return len(packets), nil
}

// heapOf is the heap in use, after a collection.
func heapOf() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMemoryOfIdlePairs(t *testing.T) {
	const children = 10000
	p, err := New(Config{Device: newDevice()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	before := heapOf()
	for n := range children {
		if err := p.Install(nth(n)); err != nil {
			t.Fatal(err)
		}
	}
	each := (heapOf() - before) / children
	runtime.KeepAlive(p)
	t.Logf("%d octets for each idle Child SA", each)
	if each > 1024 {
		t.Errorf("%d octets for each idle Child SA, 1024 are the most", each)
	}
}
