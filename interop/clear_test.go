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
	there, here := lab.Node(t, "gateway-e9"), lab.Node(t, "client-e9")
	here.Face(t, there)
	watch := here.Watch(t, "net 10.7.0.0/16 or net 10.8.0.0/16 or net fd07::/16 or net fd08::/16")

	probe(t, here, ourGatewayInner)
	if seen := watch.Seen(t); !sees(seen, ourGatewayInner) {
		t.Fatalf("without a tunnel each ping leaves in the clear, but only these were seen:\n%s", strings.Join(seen, "\n"))
	}

	p := usual.carrying()
	gateway := there.Gateway(t, p.ourGateway(there), nil)
	client := here.Connect(t, p.ourClient(there), nil)
	client.AwaitTunnel(t, ourClientInner)
	var pulses []*Pulse
	for version := range 2 {
		pulses = append(pulses,
			here.Pulse(t, ourClientInner[version], ourGatewayInner[version]),
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
	probe(t, here, ourGatewayInner)
	probe(t, there, ourClientInner)
	unseen("while the gateway was dead")
	gateway.Restart(t)
	back(gateway.Listening(t))
	unseen("until the gateway was back")

	client.Kill()
	probe(t, here, ourGatewayInner)
	probe(t, there, ourClientInner)
	unseen("while the client was dead")
	client.Restart(t)
	client.AwaitUp(t)
	back(time.Now())
	unseen("until the client was back")

	client.Kill()
	probe(t, here, ourGatewayInner)
	unseen("after the client's last death")
	client.Do(t, "connect", "office", "--release")
	probe(t, here, ourGatewayInner)
	if seen := watch.Seen(t); !sees(seen, ourGatewayInner) {
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
