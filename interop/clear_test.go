package interop

import (
	"strings"
	"testing"
	"time"
)

// No packet for the other side of the tunnel leaves in the clear (rule E9):
// not while either end is dead, nor before it is back, nor when our client was
// killed and nobody starts it again, until its owner says so. Each node has a
// default route to the other, by which every such packet would go.
func TestNoClearText(t *testing.T) {
	for _, c := range []struct {
		name   string
		tunnel func(*profile)
		beyond [2]string // the gateway
		filter string
	}{
		{"two networks", func(*profile) {}, ourGatewayInner, networks},
		{"networks that the gateway is told", func(p *profile) { p.anybody = true }, ourGatewayInner, networks},
		{"a full tunnel", func(p *profile) { p.full = true }, [2]string{"198.51.100.1", "2001:db8::1"}, echoes},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := usual.carrying()
			c.tunnel(&p)
			there, here := lab.Node(t, "gateway-e9"), lab.Node(t, "client-e9")
			here.Face(t, there)
			if p.full {
				links(t, "-n "+there.name+" addr add "+c.beyond[0]+" dev lo", "-n "+there.name+" addr add "+c.beyond[1]+" dev lo")
			}
			watch := there.Watch(t, c.filter)
			probe(t, here, c.beyond)
			if seen := watch.Seen(t); !sees(seen, c.beyond) {
				t.Fatalf("without a tunnel each ping leaves in the clear, but only these were seen:\n%s", strings.Join(seen, "\n"))
			}
			noClearText(t, p, there, here, c.beyond, watch)
		})
	}
}

// networks are the packets of either side's, whoever sends them.
const networks = "net 10.7.0.0/16 or net 10.8.0.0/16 or net fd07::/16 or net fd08::/16"

// echoes are the pings and their answers, whoever sends them.
const echoes = "icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply or " +
	"icmp6[icmp6type] == icmp6-echo or icmp6[icmp6type] == icmp6-echoreply"

// noClearText takes a tunnel through its deaths. beyond the gateway are the
// addresses that our client is to reach by it.
func noClearText(t *testing.T, p profile, there, here *Node, beyond [2]string, watch *Watch) {
	gateway := there.Gateway(t, p.ourGateway(there), nil)
	client := here.Connect(t, p.ourClient(there), nil)
	client.AwaitTunnel(t, ourClientInner)
	var pulses []*Pulse
	for version := range 2 {
		pulses = append(pulses,
			here.Pulse(t, ourClientInner[version], beyond[version]),
			there.Pulse(t, ourGatewayInner[version], ourClientInner[version]))
	}
	unseen := func(when string) {
		t.Helper()
		if seen := watch.Seen(t); len(seen) > 0 {
			t.Errorf("%s %d packets were seen in the clear, such as\n%s", when, len(seen), strings.Join(seen[:min(5, len(seen))], "\n"))
		}
	}
	back := func(after time.Time) {
		t.Helper()
		for _, pulse := range pulses {
			pulse.Beat(t, after)
		}
	}
	watch.Seen(t)
	back(time.Now())
	unseen("with both ends up")

	gateway.Kill()
	probe(t, here, beyond)
	probe(t, there, ourClientInner)
	unseen("while the gateway was dead")
	gateway.Restart(t)
	back(gateway.Listening(t))
	unseen("until the gateway was back")

	client.Kill()
	probe(t, here, beyond)
	probe(t, there, ourClientInner)
	unseen("while the client was dead")
	gateway.Kill()
	gateway.Restart(t)
	gateway.AwaitInner(t, ourGatewayInner)
	probe(t, there, ourClientInner)
	unseen("while the gateway alone was back")
	client.Restart(t)
	client.AwaitUp(t)
	back(time.Now())
	unseen("until the client was back")

	client.Kill()
	probe(t, here, beyond)
	unseen("after the client's last death")
	client.Do(t, "connect", "office", "--release")
	probe(t, here, beyond)
	if seen := watch.Seen(t); !sees(seen, beyond) {
		t.Error("what `connect --release` let go is still held")
	}
}

// probe pings the addresses from wherever the node chooses to, a few times,
// and has no hopes.
func probe(t *testing.T, n *Node, to [2]string) {
	t.Helper()
	for _, addr := range to {
		_, _ = n.Run(t, nil, "ping", "-n", "-q", "-c", "3", "-i", "0.05", "-W", "0.2", addr)
	}
}

// sees reports whether a packet for each of the addresses is among the lines.
func sees(lines []string, to [2]string) bool {
	all := strings.Join(lines, "\n")
	return strings.Contains(all, "> "+to[0]+":") && strings.Contains(all, "> "+to[1]+":")
}
