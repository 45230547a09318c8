package tunnel

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

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

// pair is a client and a gateway with one Child SA between them.
func pair(t testing.TB, cfg Config) (client, gateway *end) {
	t.Helper()
	client, gateway = newEnd(t, cfg, "192.0.2.1"), newEnd(t, cfg, "198.51.100.7")
	c := planetest.Child(0x1000)
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
func (e *end) inside(packets ...[]byte) { e.device.in <- packets }

// took is what left by UDP, the packets of one call of Send.
func (e *end) took() sent {
	e.t.Helper()
	return <-e.udp.out
}

// deliver gives what the other end has sent to this one.
func (e *end) deliver(s sent, from netip.AddrPort) {
	for _, packet := range s.packets {
		e.receive(udp.Run{Local: s.remote, Remote: from, Data: packet, Size: len(packet), Class: s.class})
	}
}

func (e *end) receive(runs ...udp.Run) { e.udp.in <- runs }
