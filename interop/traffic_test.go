package interop

import (
	"testing"
	"time"
)

// espSuites are those that traffic goes through, one of each kind, written as
// either side's configuration has it.
var espSuites = []string{"aes256gcm16", "chacha20poly1305", "aes128-sha256"}

// cross sends pings and streams through a tunnel, of either IP version and one
// stream in each direction, and both ends have to count the same, to the octet.
// Either has an iperf3 server. A machine that keeps a daemon waiting for long has
// its socket drop packets: three times in a row is no accident.
func cross(t *testing.T, west, east *Node, westInner, eastInner [2]string, count func() (west, east Traffic)) {
	t.Helper()
	var w, e Traffic
	for range 3 {
		beforeW, beforeE := count()
		for version := range 2 {
			west.Ping(t, westInner[version], eastInner[version])
		}
		west.Trickle(t, westInner[0], eastInner[0])
		east.Trickle(t, eastInner[1], westInner[1])
		if within(t, 3*time.Second, func() bool {
			w, e = count()
			w, e = w.Since(beforeW), e.Since(beforeE)
			return w.Out > 300 && w.Mirror() == e
		}) {
			return
		}
		t.Logf("one end has counted %+v, the other %+v", w, e)
	}
	t.Error("the two ends do not count the same")
}

// crossing is a tunnel between us and strongSwan, who dials and through what.
type crossing struct {
	name     string
	dial     func(*testing.T, *Charon, profile) (*Swan, SwanSA)
	charon   *Charon
	we, it   *Node
	our, its [2]string // inner addresses
}

func crossings(t *testing.T) []crossing {
	t.Helper()
	f := meetSwan(t)
	nat := lab.NAT(t, "nat-s")
	behind := field{gateway: f.gateway, client: nat.Behind(t, "client-s")}
	swan := nat.Behind(t, "swan-s", "10.8.1.1/32", "fd08:1::1/128")
	for _, n := range []*Node{f.gateway, f.client, f.swan, behind.client, swan} {
		n.Serve(t)
	}
	charon := swan.StartCharon(t)
	return []crossing{
		{"we initiate", f.dialSwan, f.charon, f.client, f.swan, ourClientInner, swanGatewayInner},
		{"it initiates", f.swanDials, f.charon, f.gateway, f.swan, ourGatewayInner, swanClientInner},
		{"we initiate through a NAT", behind.dialSwan, f.charon, behind.client, f.swan, ourClientInner, swanGatewayInner},
		{"it initiates through a NAT", behind.swanDials, charon, f.gateway, swan, ourGatewayInner, swanClientInner},
	}
}

// What strongSwan has got from us is what we have sent, and the other way
// around, to the octet.
func TestStrongSwanTraffic(t *testing.T) {
	for _, c := range crossings(t) {
		for _, esp := range espSuites {
			t.Run(c.name+"/"+esp, func(t *testing.T) {
				p := usual.carrying()
				p.esp = esp
				ours, _ := c.dial(t, c.charon, p)
				ours.AwaitTunnel(t, c.our)
				cross(t, c.we, c.it, c.our, c.its, func() (we, it Traffic) {
					return ours.AwaitUp(t).Traffic, c.charon.AwaitUp(t, "office").Children[0].Traffic(t)
				})
				flow := c.we.Stream(t, c.our[1], c.its[1], 1)
				t.Logf("%.2f Gbit/s", flow.Gbps())
			})
		}
	}
}

// Our client and our gateway, in UDP and bare, and through a NAT.
func TestOurTraffic(t *testing.T) {
	gateway, client := lab.Node(t, "gateway-t"), lab.Node(t, "client-t")
	behind := lab.NAT(t, "nat-t").Behind(t, "client-n")
	for _, n := range []*Node{gateway, client, behind} {
		n.Serve(t)
	}
	for _, c := range []struct {
		name   string
		client *Node
		esp    string
		encap  string
		bare   bool // on the wire
	}{
		{"AES-GCM", client, espSuites[0], "always", false},
		{"ChaCha20-Poly1305", client, espSuites[1], "always", false},
		{"AES-CBC", client, espSuites[2], "always", false},
		{"AES-GCM, bare", client, espSuites[0], "auto", true},
		{"AES-CBC, bare", client, espSuites[2], "auto", true},
		{"AES-GCM, through a NAT", behind, espSuites[0], "auto", false},
		{"ChaCha20-Poly1305, through a NAT", behind, espSuites[1], "auto", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := usual.carrying()
			p.esp, p.encap = c.esp, c.encap
			server := gateway.Gateway(t, p.ourGateway(gateway), nil)
			wire := gateway.Watch(t, "esp")
			ours := c.client.Connect(t, p.ourClient(gateway), nil)
			server.AwaitTunnel(t, ourGatewayInner)
			ours.AwaitTunnel(t, ourClientInner)
			cross(t, c.client, gateway, ourClientInner, ourGatewayInner, func() (we, it Traffic) {
				return ours.AwaitUp(t).Traffic, server.AwaitUp(t).Traffic
			})
			if seen := wire.Seen(t); (len(seen) > 0) != c.bare {
				t.Errorf("%d packets of bare ESP on the wire", len(seen))
			}
			wire.Interrupt() // it would be the slowest of all
			flow := c.client.Stream(t, ourClientInner[0], ourGatewayInner[0], 1)
			t.Logf("%.2f Gbit/s", flow.Gbps())
			if udp := c.client.Datagrams(t, ourClientInner[1], ourGatewayInner[1], 1, 1300, "100M"); udp.OutOfOrder > 0 {
				t.Errorf("%d of %d datagrams out of order", udp.OutOfOrder, udp.Packets)
			}
		})
	}
}
