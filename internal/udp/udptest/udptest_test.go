package udptest

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"blackswan/internal/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	clientAddr  = netip.MustParseAddr("10.0.0.1")
	gatewayAddr = netip.MustParseAddr("192.0.2.1")
)

func mustListen(t *testing.T, n *Network, addr netip.Addr) *Conn {
	t.Helper()
	c, err := n.Listen(udp.Config{Addr: addr, IKEPort: 500, NATPort: 4500})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// one is the only message that waits at a port.
func one(t *testing.T, p udp.Port) udp.Message {
	t.Helper()
	select {
	case b := <-p.Read():
		if len(b.Messages) != 1 {
			t.Fatalf("%d messages, want 1", len(b.Messages))
		}
		return b.Messages[0]
	default:
		t.Fatalf("nothing came; %+v", p.Stats())
	}
	return udp.Message{}
}

func send(t *testing.T, p udp.Port, m udp.Message) {
	t.Helper()
	p.Queue(m)
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
}

// The same conversation runs over real sockets and in memory.
func TestTwinsBehaveAlike(t *testing.T) {
	real := func(cfg udp.Config) (udp.Port, error) { return udp.Listen(cfg) }
	network := &Network{}
	memory := func(cfg udp.Config) (udp.Port, error) { return network.Listen(cfg) }
	for name, listen := range map[string]func(udp.Config) (udp.Port, error){"sockets": real, "memory": memory} {
		t.Run(name, func(t *testing.T) {
			for _, listenAddr := range []netip.Addr{{}, netip.IPv6Unspecified(), netip.IPv4Unspecified(), netip.MustParseAddr("127.0.0.2")} {
				converse(t, listen, listenAddr)
			}
		})
	}
}

func converse(t *testing.T, listen func(udp.Config) (udp.Port, error), addr netip.Addr) {
	server, err := listen(udp.Config{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := listen(udp.Config{Addr: netip.MustParseAddr("127.0.0.3")})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	to := netip.MustParseAddr("127.0.0.2")
	ike, nat := server.Ports()
	clientIKE, clientNAT := client.Ports()
	for _, m := range []udp.Message{
		{Data: []byte("IKE")},
		{Data: []byte("IKE with marker"), Marker: true},
		{Data: []byte("\x01\x02\x03\x04ESP"), Kind: udp.ESP},
		{Data: []byte{0xff}, Kind: udp.Keepalive},
	} {
		from := clientIKE
		m.Remote = netip.AddrPortFrom(to, ike.Port())
		if m.Marker || m.Kind != udp.IKE {
			from = clientNAT
			m.Remote = netip.AddrPortFrom(to, nat.Port())
		}
		send(t, client, m)
		b := <-server.Read()
		got := b.Messages[0]
		if string(got.Data) != string(m.Data) || got.Kind != m.Kind || got.Marker != m.Marker || got.Local != m.Remote || got.Remote != from {
			t.Errorf("%v: sent %v, came as %v", addr, m, got)
		}
		send(t, server, got)
		server.Recycle(b)
		b = <-client.Read()
		if back := b.Messages[0]; back.Local != from || back.Remote != m.Remote || string(back.Data) != string(m.Data) {
			t.Errorf("%v: came back as %v", addr, back)
		}
		client.Recycle(b)
	}
	if s := server.Stats(); s.In != s.Out || s.In.Datagrams != 4 || s.In.Octets != 3+19+7+1 {
		t.Errorf("%v: %+v", addr, s)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := <-server.Read(); ok {
		t.Error("Read is not closed")
	}
	server.Queue(udp.Message{Remote: clientIKE, Data: []byte("late")})
	if err := server.Flush(); err == nil || server.Stats().Failed != 1 {
		t.Errorf("Flush after Close: %v, %+v", err, server.Stats())
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

func TestPathLosesAndTranslates(t *testing.T) {
	outside := netip.MustParseAddrPort("198.51.100.1:40001")
	inside := netip.AddrPortFrom(clientAddr, 500)
	n := &Network{Path: func(m *udp.Message) bool {
		switch {
		case string(m.Data) == "lost":
			return false
		case m.Local == inside:
			m.Local = outside
		case m.Remote == outside:
			m.Remote = inside
		}
		return true
	}}
	client, gateway := mustListen(t, n, clientAddr), mustListen(t, n, gatewayAddr)
	ike, _ := gateway.Ports()
	send(t, client, udp.Message{Remote: ike, Data: []byte("lost")})
	send(t, client, udp.Message{Remote: ike, Data: []byte("request")})
	m := one(t, gateway)
	if string(m.Data) != "request" || m.Remote != outside {
		t.Errorf("the gateway got %v", m)
	}
	m.Data = []byte("response")
	send(t, gateway, m)
	if m := one(t, client); string(m.Data) != "response" || m.Local != inside {
		t.Errorf("the client got %v", m)
	}
	if s := client.Stats(); s.Out.Datagrams != 2 || s.In.Datagrams != 1 {
		t.Errorf("%+v", s)
	}
}

func TestDelayIsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Network{Delay: 30 * time.Millisecond}
		client, gateway := mustListen(t, n, clientAddr), mustListen(t, n, gatewayAddr)
		ike, _ := gateway.Ports()
		start := time.Now()
		send(t, client, udp.Message{Remote: ike, Data: []byte("x")})
		if len(gateway.Read()) != 0 {
			t.Error("arrived at once")
		}
		<-gateway.Read()
		if took := time.Since(start); took != n.Delay {
			t.Errorf("took %v", took)
		}
		send(t, client, udp.Message{Remote: ike, Data: []byte("to nobody")})
		gateway.Close()
		synctest.Wait()
		time.Sleep(2 * n.Delay) // of the bubble: what was on its way finds nobody
		if s := gateway.Stats(); s.In.Datagrams != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWrongPortIsMalformed(t *testing.T) {
	n := &Network{}
	client, gateway := mustListen(t, n, clientAddr), mustListen(t, n, gatewayAddr)
	ike, nat := gateway.Ports()
	send(t, client, udp.Message{Remote: nat, Data: []byte("no marker")})
	send(t, client, udp.Message{Remote: ike, Data: []byte("marker"), Marker: true})
	send(t, client, udp.Message{Remote: netip.AddrPortFrom(gatewayAddr, 1), Data: []byte("nobody")})
	if s := gateway.Stats(); s.Malformed != 2 || s.In.Datagrams != 0 {
		t.Errorf("%+v", s)
	}
}

func TestInboxIsBounded(t *testing.T) {
	n := &Network{}
	client, gateway := mustListen(t, n, clientAddr), mustListen(t, n, gatewayAddr)
	ike, _ := gateway.Ports()
	for range inbox + 5 {
		send(t, client, udp.Message{Remote: ike, Data: []byte("x")})
	}
	if s := gateway.Stats(); s.Overflow != 5 || s.In.Datagrams != inbox {
		t.Errorf("%+v", s)
	}
}

func TestRecycledMessagesAreOverwritten(t *testing.T) {
	seen := 0
	n := &Network{}
	c, err := n.Listen(udp.Config{Addr: clientAddr, Tap: func(bool, *udp.Message) { seen++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ike, nat := c.Ports()
	if ike.Port() == 0 || nat.Port() == 0 || ike == nat {
		t.Errorf("ports %v and %v", ike, nat)
	}
	data := []byte("x")
	c.Queue(udp.Message{Remote: ike, Data: data})
	data[0] = 'y'
	c.Flush()
	b := <-c.Read()
	kept := b.Messages[0].Data
	if string(kept) != "x" {
		t.Errorf("Queue kept the sender's data: %q", kept)
	}
	if c.Recycle(b); string(kept) == "x" {
		t.Error("a view outlives Recycle unseen")
	}
	if seen != 2 {
		t.Errorf("Tap saw %d messages, want 2", seen)
	}
}

func TestPortsAreTakenOnce(t *testing.T) {
	n := &Network{}
	c := mustListen(t, n, clientAddr)
	if _, err := n.Listen(udp.Config{Addr: clientAddr, IKEPort: 4500}); err == nil {
		t.Error("a port is taken twice")
	}
	c.Close()
	mustListen(t, n, clientAddr)
}
