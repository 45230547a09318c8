package blackswan

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"blackswan/ike"
	"blackswan/wire"
)

// TestChildren: what an entry of children leaves out is the connection's own.
func TestChildren(t *testing.T) {
	c := office(RoleClient)
	conn := &c.Connections[0]
	conn.Addresses, conn.ESP = []string{"10.9.0.2/24"}, []string{"aes128gcm16"}
	conn.Children = []Child{
		{Name: "data", RemoteTS: []string{"10.7.0.0/16"}},
		{Name: "voice", RemoteTS: []string{"10.8.0.0/16", "10.9.0.0/16"}, ESP: []string{"aes256gcm16-x25519"}},
		{Name: "all", LocalTS: []string{"dynamic"}},
	}
	peers, err := c.ready(RoleClient)
	if err != nil {
		t.Fatal(err)
	}
	inner := []wire.Selector{wire.Prefix(netip.MustParsePrefix("10.9.0.2/32"))}
	p, row := peers[0], 0
	for policy := range p.Policies {
		want := []struct {
			name, esp string
			local     []wire.Selector
			remote    int
		}{{"data", "aes128gcm16", inner, 1}, {"voice", "aes256gcm16-x25519", inner, 2}, {"all", "aes128gcm16", nil, 0}}[row]
		if policy.Child != want.name || policy.ESP[0].String() != want.esp || !slices.Equal(policy.LocalTS, want.local) || len(policy.RemoteTS) != want.remote {
			t.Errorf("Child SA %d: %+v, want %+v", row, policy, want)
		}
		row++
	}
	if row != 3 {
		t.Errorf("%d Child SAs", row)
	}
}

// TestModes: a Child SA in transport mode has the addresses of the two sides,
// whatever the connection has for the others, and nobody moves.
func TestModes(t *testing.T) {
	for word, want := range map[string]ike.Mode{"": ike.ModeTunnel, "tunnel": ike.ModeTunnel, "transport": ike.ModeTransport, "either": ike.ModeEither} {
		c := office(RoleClient)
		conn := &c.Connections[0]
		conn.Addresses, conn.RemoteTS = []string{"10.9.0.2"}, []string{"10.7.0.0/16"}
		conn.Children = []Child{{Name: "net"}, {Name: "host", Mode: word, LocalTS: []string{"dynamic"}}}
		peers, err := c.ready(RoleClient)
		if err != nil {
			t.Fatal(err)
		}
		p := peers[0]
		host := p.Further[0]
		if p.Mode != ike.ModeTunnel || len(p.LocalTS) != 1 || host.Mode != want || host.LocalTS != nil || (host.RemoteTS == nil) != (want != ike.ModeTunnel) || p.MOBIKE != (want == ike.ModeTunnel) {
			t.Errorf("%q: %+v, %+v, MOBIKE %v", word, p.Policy, host, p.MOBIKE)
		}
	}
}

// wireless is a tun.Device in memory.
type wireless struct {
	in, out chan []byte
	events  chan tun.Event
	closed  chan struct{}
	once    sync.Once
}

func newWireless() *wireless {
	return &wireless{in: make(chan []byte), out: make(chan []byte, 16), events: make(chan tun.Event), closed: make(chan struct{})}
}

func (d *wireless) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-d.in:
		sizes[0] = copy(bufs[0][offset:], p)
		return 1, nil
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

func (d *wireless) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		d.out <- slices.Clone(b[offset:])
	}
	return len(bufs), nil
}

func (d *wireless) Close() error {
	d.once.Do(func() {
		close(d.closed)
		close(d.events)
	})
	return nil
}

func (d *wireless) File() *os.File           { return nil }
func (d *wireless) MTU() (int, error)        { return DefaultMTU, nil }
func (d *wireless) Name() (string, error)    { return "memory", nil }
func (d *wireless) Events() <-chan tun.Event { return d.events }
func (d *wireless) BatchSize() int           { return 1 }

// datagram is an IPv4 packet with eight octets of an unassigned protocol.
func datagram(from, to string) []byte {
	b := make([]byte, 28)
	b[0], b[8], b[9] = 0x45, 64, 253
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	src, dst := netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	copy(b[20:], "children")
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return b
}

// crosses fails the test unless a packet comes from one device to the other.
func crosses(t *testing.T, from, to *wireless, packet []byte) {
	t.Helper()
	from.in <- packet
	select {
	case got := <-to.out:
		if !bytes.Equal(got, packet) {
			t.Fatalf("got  %x\nwant %x", got, packet)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%x does not arrive", packet)
	}
}

// TestChildrenCarry: two Child SAs of one IKE SA, with different proposals, each
// for its network, before and after the gateway was killed.
func TestChildrenCarry(t *testing.T) {
	l := newLoopback(t, 1)
	outside := newWireless()
	l.gw.Device = outside
	l.gw.Connections[0].Children = []Child{
		{Name: "voice", LocalTS: []string{"10.5.0.0/16"}, ESP: []string{"chacha20poly1305"}},
		{Name: "data"},
	}
	g, gr := l.gateway()
	cfg := l.at("ann", netip.MustParseAddr("127.0.0.1"), g)
	inside := newWireless()
	cfg.Device = inside
	cfg.Connections[0].Children = []Child{
		{Name: "data"},
		{Name: "voice", RemoteTS: []string{"10.5.0.0/16"}, ESP: []string{"chacha20poly1305"}},
	}
	c, cr := l.connect("ann", cfg)
	carry := func() {
		t.Helper()
		for _, network := range []string{"10.1.0.9", "10.5.0.9"} {
			crosses(t, inside, outside, datagram("10.2.0.9", network))
			crosses(t, outside, inside, datagram(network, "10.2.0.9"))
		}
		for name, st := range map[string]Status{"ann": c.Status(-1), "gateway": g.Status(-1)} {
			sa := st.SAs[0]
			if len(sa.Children) != 1 || len(sa.Wanted) != 0 || sa.Child+sa.Children[0].Name != "voicedata" {
				t.Fatalf("%s: %+v", name, sa)
			}
			if one := sa.Children[0].Traffic; one.InPackets != 1 || one.OutPackets != 1 || sa.Traffic.InPackets != 2 {
				t.Errorf("%s: Child SA data carried %+v of %+v", name, one, sa.Traffic)
			}
		}
	}
	l.await("ann", ChildMade, 1)
	l.await("gateway", ChildMade, 1)
	carry()
	l.settle(g)
	l.crash(gr)
	outside = newWireless()
	l.gw.Device = outside
	g, gr = l.gateway()
	l.await("ann", ChildMade, 2)
	l.want("ann", Resumed, 1)
	carry()
	cr.stop(t, nil)
	gr.stop(t, nil)
}
