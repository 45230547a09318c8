package blackswan

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"blackswan/dataplane"
	"blackswan/internal/udp"
	"blackswan/internal/udp/udptest"
)

// newLoopback is a lab with real sockets and as many shards.
func newLoopback(t *testing.T, shards int) *lab {
	l := &lab{t: t, changed: make(chan struct{}, 1)}
	l.prepare()
	l.gw.Listen = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	l.gw.Shards = shards
	l.gw.Port, l.gw.NATPort = udptest.FreePorts(t)
	return l
}

// at is the client's configuration for a gateway on loopback.
func (l *lab) at(name string, addr netip.Addr, g *Gateway) Config {
	cfg := l.client(name)
	cfg.Listen, cfg.AnyPort = []netip.Addr{addr}, true
	cfg.Connections[0].Gateway = g.Addrs()[0].String()
	cfg.Connections[0].GatewayNATPort = g.Addrs()[1].Port()
	return cfg
}

// await waits until that many events of a kind came.
func (l *lab) await(who string, kind EventKind, n int) {
	l.t.Helper()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	for len(l.events(who, kind)) < n {
		select {
		case <-l.changed:
		case <-late.C:
			l.t.Fatalf("%s: fewer than %d times %s:\n%s", who, n, kind, l.story())
		}
	}
}

// TestShards: with two shards half of the tickets are shown to the one that is
// not their home, and all clients come back all the same.
func TestShards(t *testing.T) {
	l := newLoopback(t, 2)
	g, gr := l.gateway()
	const clients = 24
	var all []*running
	for i := range byte(clients) {
		_, r := l.connect(fmt.Sprintf("c%d", i), l.at(fmt.Sprintf("c%d", i), netip.AddrFrom4([4]byte{127, 0, 1, i + 1}), g))
		all = append(all, r)
	}
	l.await("gateway", Established, clients)
	st := g.Status(-1)
	if st.Shards != 2 || len(st.SAs) != clients {
		t.Fatalf("status: %+v", st)
	}
	homes := map[byte]int{}
	for _, sa := range st.SAs {
		homes[sa.SPIr[15]&1]++
	}
	if len(homes) != 2 {
		t.Errorf("SAs by shard: %v", homes)
	}
	l.settle(g)
	l.crash(gr)
	g, gr = l.gateway()
	l.await("gateway", Resumed, clients)
	if st := g.Status(0); st.Totals.Full != 0 || st.Totals.RollCall != clients || st.Unseen != clients {
		t.Errorf("status: %+v", st)
	}
	for _, r := range all {
		r.cancel(nil)
	}
	for _, r := range all {
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	}
	gr.stop(t, nil)
	for i := range clients {
		l.want(fmt.Sprintf("c%d", i), FellBack, 0)
	}
}

// settle waits until what is behind is on disk.
func (l *lab) settle(g *Gateway) {
	l.t.Helper()
	for _, s := range g.shards {
		s.call(func(time.Time) {
			if err := s.keep.flush(); err != nil {
				l.t.Error(err)
			}
		})
	}
	if err := g.dir.Store().Sync(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// TestTwoAddresses: a gateway at two addresses, with the same ports, whatever
// they are, answers from the one it was asked at.
func TestTwoAddresses(t *testing.T) {
	l := newLoopback(t, 1)
	l.gw.AnyPort, l.gw.Port, l.gw.NATPort = true, 0, 0
	l.gw.Listen = append(l.gw.Listen, netip.MustParseAddr("127.0.0.2"))
	g, gr := l.gateway()
	addrs := g.Addrs()
	if len(addrs) != 4 || addrs[0].Port() != addrs[2].Port() || addrs[1].Port() != addrs[3].Port() {
		t.Fatalf("addresses: %v", addrs)
	}
	var all []*running
	for i, name := range []string{"ann", "bob"} {
		cfg := l.at(name, netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), g)
		cfg.Connections[0].Gateway = addrs[2*i].String()
		_, r := l.connect(name, cfg)
		all = append(all, r)
		l.await(name, Established, 1)
	}
	for _, r := range all {
		r.stop(t, nil)
	}
	if st := g.Status(0); st.Sockets.InDatagrams < 6 || st.Sockets.OutDatagrams < 6 {
		t.Errorf("sockets: %+v", st.Sockets)
	}
	gr.stop(t, nil)
}

// TestRoamingClient: a client that is bound to no address uses the one that
// leads to the gateway.
func TestRoamingClient(t *testing.T) {
	l := newLoopback(t, 1)
	g, gr := l.gateway()
	cfg := l.at("ann", netip.Addr{}, g)
	cfg.Listen = nil
	cfg.Connections[0].MOBIKE = "off" // else it would go to the NAT traversal port (RFC 4555 3.3)
	_, cr := l.connect("ann", cfg)
	l.await("gateway", Established, 1)
	if sa := g.Status(-1).SAs[0]; sa.Remote.Addr() != l.gw.Listen[0] || sa.NAT {
		t.Errorf("SA: %+v", sa)
	}
	cr.stop(t, nil)
	gr.stop(t, nil)
}

// TestGatewayByName: the name is asked for addresses of our own family.
func TestGatewayByName(t *testing.T) {
	l := newLoopback(t, 1)
	g, gr := l.gateway()
	cfg := l.at("ann", netip.MustParseAddr("127.0.3.1"), g)
	cfg.Connections[0].Gateway = fmt.Sprintf("localhost:%d", g.Addrs()[0].Port())
	_, cr := l.connect("ann", cfg)
	l.await("gateway", Established, 1)
	cr.stop(t, nil)
	gr.stop(t, nil)
}

// TestNameLeadsElsewhere: when an attempt has failed the name is asked for
// again, and where it leads now counts.
func TestNameLeadsElsewhere(t *testing.T) {
	l := newLoopback(t, 1)
	g, gr := l.gateway()
	cfg := l.at("ann", netip.MustParseAddr("127.0.3.2"), g)
	cfg.Connections[0].Gateway = fmt.Sprintf("localhost:%d", g.Addrs()[0].Port())
	c, cr := l.connect("ann", cfg)
	l.await("gateway", Established, 1)
	is := *c.gateway.Load()
	was := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.99"), is.Port())
	c.gateway.Store(&was)
	c.failed(c.peer().Connection)
	c.errands.wait()
	if got := *c.gateway.Load(); got != is {
		t.Errorf("the gateway is at %v, want %v", got, is)
	}
	cr.stop(t, nil)
	gr.stop(t, nil)
}

// TestUnknownName: a name that nobody knows is asked for again, until we end.
func TestUnknownName(t *testing.T) {
	l := newLoopback(t, 1)
	cfg := l.client("ann")
	cfg.Listen, cfg.AnyPort = l.gw.Listen, true
	cfg.Connections[0].Gateway = "gateway.invalid" // RFC 6761: it never exists
	c, cr := l.connect("ann", cfg)
	if st := c.Status(-1); len(st.SAs) != 0 {
		t.Errorf("SAs: %+v", st.SAs)
	}
	cr.stop(t, nil)
	l.want("ann", Failed, 0)

	c, cr = l.connect("ann", cfg)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-cr.ended; err != nil {
		t.Errorf("Run after Close: %v", err)
	}

	plane := newSeeing()
	cfg.Plane = plane
	_, cr = l.connect("ann", cfg)
	gone := errors.New("the device is gone")
	plane.reports <- dataplane.Report{Kind: dataplane.Broken, Err: gone}
	if err := <-cr.ended; !errors.Is(err, gone) {
		t.Errorf("Run without a device: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	l := newLoopback(t, 1)
	_, gr := l.gateway()
	cfg := l.gw
	cfg.StateDir = t.TempDir()
	second, err := NewGateway(cfg)
	if err == nil {
		second.Close()
	}
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(cfg.Port)) {
		t.Errorf("a second gateway on the same port: %v", err)
	}
	cfg.StateDir = l.dir
	if _, err := NewGateway(cfg); err == nil || !strings.Contains(err.Error(), "state") {
		t.Errorf("a second gateway in the same state directory: %v", err)
	}
	gr.stop(t, nil)
}

// TestJoinedClose: what nobody has read does not keep a closed port.
func TestJoinedClose(t *testing.T) {
	l := newLab(t)
	l.net.Delay = 0
	var ports []udp.Port
	for _, a := range []netip.Addr{gatewayAddr, clientAddr} {
		p, err := l.net.Listen(udp.Config{Addr: a, IKEPort: 500, NATPort: 4500, ESP: func(udp.Message) {}})
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	j := join(ports)
	if esp := j.ESP(); len(esp) != 2 || esp[0].Local().Addr() != gatewayAddr || esp[1].Local().Addr() != clientAddr {
		t.Errorf("ESP ports: %v", esp)
	}
	for range 4 { // nobody reads them
		j.Queue(udp.Message{Local: netip.AddrPortFrom(gatewayAddr, 500), Remote: netip.AddrPortFrom(clientAddr, 500), Data: []byte("x")})
		j.Queue(udp.Message{Local: netip.AddrPortFrom(clientAddr, 500), Remote: netip.AddrPortFrom(gatewayAddr, 500), Data: []byte("y")})
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if st := j.Stats(); st.In.Datagrams != 8 || st.Out.Octets != 8 {
		t.Errorf("stats: %+v", st)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, open := <-j.Read(); open {
		t.Error("a batch after Close")
	}
}
