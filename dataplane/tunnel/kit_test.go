package tunnel

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/tun"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/internal/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// device is a tun.Device in memory.
type device struct {
	in     chan [][]byte // packets of the inside, a batch each
	out    chan []byte   // packets to the inside
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
	fail   chan error // of the next Read
	refuse bool       // Write fails as if the device were deleted
}

func newDevice() *device {
	return &device{
		in: make(chan [][]byte, 16), out: make(chan []byte, 4096), events: make(chan tun.Event),
		closed: make(chan struct{}), fail: make(chan error, 1),
	}
}

func (d *device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case batch := <-d.in:
		for i, packet := range batch {
			sizes[i] = copy(bufs[i][offset:], packet)
		}
		return len(batch), nil
	case err := <-d.fail:
		return 0, err
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

func (d *device) Write(bufs [][]byte, offset int) (int, error) {
	if d.refuse {
		return 0, os.ErrClosed
	}
	for i, buf := range bufs {
		select {
		case <-d.closed:
			return i, os.ErrClosed
		case d.out <- slices.Clone(buf[offset:]):
		}
	}
	return len(bufs), nil
}

func (d *device) Close() error {
	d.once.Do(func() {
		close(d.closed)
		close(d.events)
	})
	return nil
}

func (d *device) File() *os.File           { return nil }
func (d *device) MTU() (int, error)        { return 1420, nil }
func (d *device) Name() (string, error)    { return "memory", nil }
func (d *device) Events() <-chan tun.Event { return d.events }
func (d *device) BatchSize() int           { return 128 }

// sent is what left by a port: one call of Send, or a keepalive.
type sent struct {
	local   netip.Addr
	remote  netip.AddrPort
	class   uint8
	packets [][]byte
}

// port is a udp.ESPPort in memory.
type port struct {
	local  netip.AddrPort
	in     chan []udp.Run
	out    chan sent // keepalives have no packets
	closed chan struct{}
	once   sync.Once
	refuse error // of Send
}

func newPort(local string) *port {
	return &port{
		local: netip.MustParseAddrPort(local), in: make(chan []udp.Run, 16),
		out: make(chan sent, 4096), closed: make(chan struct{}),
	}
}

func (p *port) Receive(b *udp.Burst) error {
	select {
	case b.Runs = <-p.in:
		return nil
	case <-p.closed:
		return net.ErrClosed
	}
}

func (p *port) Send(local netip.Addr, remote netip.AddrPort, class uint8, packets [][]byte) (int, error) {
	if p.refuse != nil {
		return 0, p.refuse
	}
	s := sent{local, remote, class, nil}
	for _, packet := range packets {
		s.packets = append(s.packets, slices.Clone(packet))
	}
	p.out <- s
	return len(packets), nil
}

func (p *port) Keepalive(local netip.Addr, remote netip.AddrPort) error {
	p.out <- sent{local: local, remote: remote}
	return nil
}

func (p *port) Local() netip.AddrPort { return p.local }
func (p *port) Stats() udp.Stats      { return udp.Stats{} }
func (p *port) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// end is a plane with its device and one port in UDP and one bare.
type end struct {
	*Plane
	t      testing.TB
	device *device
	udp    *port
	bare   *port
}

func newEnd(t testing.TB, cfg Config, addr string) *end {
	t.Helper()
	e := &end{t: t, device: newDevice(), udp: newPort(addr + ":4500"), bare: newPort(addr + ":0")}
	cfg.Device = e.device
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.Plane = p
	p.Attach(e.udp, e.bare)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// Addresses of the two ends of a pair.
const (
	clientAt, gatewayAt   = "192.0.2.1", "198.51.100.7"
	clientUDP, gatewayUDP = clientAt + ":4500", gatewayAt + ":4500"
)

const spi = 0x1000 // inbound, of the client's Child SA

// pair is a client and a gateway with one Child SA between them.
func pair(t testing.TB, cfg Config) (client, gateway *end) {
	t.Helper()
	return pairOf(t, cfg, planetest.Child(spi))
}

// pairOf has a Child SA of your choice, as the client installs it.
func pairOf(t testing.TB, cfg Config, c dataplane.Child) (client, gateway *end) {
	t.Helper()
	client, gateway = newEnd(t, cfg, clientAt), newEnd(t, cfg, gatewayAt)
	client.install(c)
	gateway.install(mirror(c))
	return client, gateway
}

// mirror is the same Child SA at the other end.
func mirror(c dataplane.Child) dataplane.Child {
	c.SPIIn, c.SPIOut = c.SPIOut, c.SPIIn
	c.EncrIn, c.EncrOut = c.EncrOut, c.EncrIn
	c.IntegIn, c.IntegOut = c.IntegOut, c.IntegIn
	c.LocalTS, c.RemoteTS = c.RemoteTS, c.LocalTS
	c.Local, c.Remote = c.Remote, c.Local
	return c
}

func (e *end) install(c dataplane.Child) {
	e.t.Helper()
	if err := e.Install(c); err != nil {
		e.t.Fatal(err)
	}
}

// inside gives packets to the device, as one batch.
func (e *end) inside(packets ...[]byte) {
	e.device.in <- packets
	synctest.Wait()
}

// sent is what left by UDP since it was asked last, a call of Send each.
func (e *end) sent() (all []sent) {
	synctest.Wait()
	for {
		select {
		case s := <-e.udp.out:
			all = append(all, s)
		case s := <-e.bare.out:
			all = append(all, s)
		default:
			return all
		}
	}
}

// packet is the one ESP packet that left since it was asked last.
func (e *end) packet() []byte {
	e.t.Helper()
	all := e.sent()
	if len(all) != 1 || len(all[0].packets) != 1 {
		e.t.Fatalf("%d calls of Send, want one with one packet: %v", len(all), e.dropped())
	}
	return all[0].packets[0]
}

// run is what was sent as it comes to an end.
func (s *sent) run(to *end) udp.Run {
	return udp.Run{
		Local: to.udp.local, Remote: netip.AddrPortFrom(s.local, to.udp.local.Port()),
		Data: bytes.Join(s.packets, nil), Size: len(s.packets[0]), Class: s.class,
	}
}

// took is what came out of the device since it was asked last.
func (e *end) took() (all [][]byte) {
	synctest.Wait()
	for {
		select {
		case b := <-e.device.out:
			all = append(all, b)
		default:
			return all
		}
	}
}

// receive gives runs to the UDP port.
func (e *end) receive(runs ...udp.Run) {
	e.udp.in <- runs
	synctest.Wait()
}

// from is ESP packets of one size that come from an address.
func (e *end) from(remote string, packets ...[]byte) {
	e.receive(udp.Run{Local: e.udp.local, Remote: netip.MustParseAddrPort(remote), Data: bytes.Join(packets, nil), Size: len(packets[0])})
}

// seen is what was reported since it was asked last.
func (e *end) seen() (all []dataplane.Report) {
	synctest.Wait()
	for {
		select {
		case r, open := <-e.Reports():
			if !open {
				return all
			}
			all = append(all, r)
		default:
			return all
		}
	}
}

// kinds is what was reported since it was asked last, in words.
func (e *end) kinds() string {
	names := map[dataplane.ReportKind]string{
		dataplane.Used: "used", dataplane.Moved: "moved", dataplane.Unknown: "unknown", dataplane.Unanswered: "unanswered",
		dataplane.Worn: "worn", dataplane.Spent: "spent", dataplane.Broken: "broken",
	}
	var all []string
	for _, r := range e.seen() {
		all = append(all, names[r.Kind])
	}
	return strings.Join(all, " ")
}

// dropped is what was dropped, without the reasons that did not occur.
func (e *end) dropped() map[string]uint64 {
	_, all := e.Totals()
	maps.DeleteFunc(all, func(_ string, n uint64) bool { return n == 0 })
	return all
}

// gcmOf is the AEAD of a key that ends in its salt, and nonceOf its nonce for
// an ESP packet (RFC 4106 4).
func gcmOf(t testing.TB, key dataplane.Key) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key[:len(key)-4])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func nonceOf(key dataplane.Key, packet []byte) []byte {
	return append(bytes.Clone(key[len(key)-4:]), packet[8:16]...)
}
