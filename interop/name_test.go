package interop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A gateway that is dead is looked for by its name, although all that its
// client sends goes into the tunnel: the question leaves past it.
func TestGatewayMovesInTheDNS(t *testing.T) {
	first, second := lab.Node(t, "gateway-d1"), lab.Node(t, "gateway-d2")
	names, here := lab.Node(t, "names"), lab.Node(t, "client-dn")
	const name = "gateway.example.org"
	record := names.Names(t)
	here.Ask(t, names)
	record.Store(&first.Addr)

	p := usual.carrying()
	p.full, p.more = true, "dpd: 1s\n"
	gateway := first.Gateway(t, p.ourGateway(first), nil)
	byName := strings.NewReplacer("gateway: "+first.Addr.String(), "gateway: "+name, "tries: 5", "tries: 2")
	client := here.Connect(t, byName.Replace(p.ourClient(first)), nil)
	if sa := client.AwaitTunnel(t, ourClientInner); sa.Remote.Addr() != first.Addr {
		t.Fatalf("our client's SA: %+v", sa)
	}
	gateway.Kill()
	second.Gateway(t, p.ourGateway(second), nil)
	record.Store(&second.Addr)
	until(t, "our client to find the other gateway", func() bool {
		status, err := client.Status(t)
		return err == nil && len(status.SAs) == 1 && status.SAs[0].State == "established" && status.SAs[0].Remote.Addr() == second.Addr
	})
	here.Ping(t, ourClientInner[0], ourGatewayInner[0])
}

// Names is a name server at the node: every name has the address that is
// stored.
func (n *Node) Names(t testing.TB) *atomic.Pointer[netip.Addr] {
	t.Helper()
	var conn *net.UDPConn
	if err := n.inside(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.Addr, 53)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var record atomic.Pointer[netip.Addr]
	go func() {
		buf := make([]byte, 1500)
		for {
			length, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:length]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: record.Load().As4()},
				}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	return &record
}

// Ask makes the other node the name server of what starts in this one from
// now on.
func (n *Node) Ask(t testing.TB, names *Node) {
	t.Helper()
	dir := filepath.Join("/etc/netns", n.name) // ip netns exec lays it over /etc
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(dir)
		os.Remove("/etc/netns") // if nobody else uses it
	})
	write(t, filepath.Join(dir, "resolv.conf"), fmt.Sprintf("nameserver %v\n", names.Addr))
}
