package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// another makes a second client of the configuration of ours.
var another = strings.NewReplacer(clientID, "other@example.org", "10.8.1.", "10.8.2.", "fd08:1:", "fd08:2:")

// Two clients behind one NAT: each gets its token at the port that the NAT has
// given to it, before the new gateway has heard anything, and resumes from there
// (rules C1, C3 and C4).
func TestRollCallThroughANAT(t *testing.T) {
	there, nat := lab.Node(t, "gateway-n"), lab.NAT(t, "nat")
	p := usual.carrying()
	p.more = "dpd: 1h\n" // nobody asks
	gateway := there.Gateway(t, p.ourGateway(there), nil)
	yaml := p.ourClient(there)
	var clients []*Swan
	for _, yaml := range []string{yaml, another.Replace(yaml)} {
		before, n := time.Now(), nat.Behind(t, fmt.Sprintf("client-n%d", len(clients)))
		client := n.Connect(t, yaml, nil)
		client.AwaitUp(t)
		gateway.AwaitStored(t, before)
		clients = append(clients, client)
	}
	mapped := remotes(t, gateway, len(clients))
	gateway.Kill()
	watch, hear := there.Watch(t, "src host "+there.Addr.String()+" and (udp port 500 or udp port 4500)"), there.Deafen(t)
	gateway.Restart(t)
	until(t, "the roll call of both", func() bool {
		status, err := gateway.Status(t)
		return err == nil && status.Totals.RollCallShown >= uint64(len(clients))
	})
	called := strings.Join(watch.Seen(t), "\n")
	hear()
	for _, client := range clients {
		until(t, "a client to resume", func() bool {
			status, err := client.Status(t)
			return err == nil && status.Totals.Resumed == 1
		})
		if sa := client.AwaitUp(t); sa.By != "roll_call" {
			t.Errorf("our client has learned of the crash by %s", sa.By)
		}
	}
	if now := remotes(t, gateway, len(clients)); !slices.Equal(now, mapped) {
		t.Errorf("the clients are at %v, were at %v", now, mapped)
	}
	for _, client := range mapped {
		// tcpdump writes a port like a fifth part of the address
		if words := fmt.Sprintf("> %s.%d:", client.Addr(), client.Port()); !strings.Contains(called, words) {
			t.Errorf("nobody has called %v, but\n%s", client, called)
		}
	}
	clients[0].node.Ping(t, ourClientInner[0], ourGatewayInner[0])
	clients[1].node.Ping(t, another.Replace(ourClientInner[0]), ourGatewayInner[0])
	for _, client := range clients {
		client.Interrupt() // while there is a gateway to hear it
	}
}

// A NAT that has forgotten a client gives it another port with its next packet,
// and the gateway's go there (rule G3): no login, no resume.
func TestNATForgets(t *testing.T) {
	there, nat := lab.Node(t, "gateway-f"), lab.NAT(t, "nat-f")
	here := nat.Behind(t, "client-f")
	p := usual.carrying()
	p.more = "dpd: 1h\n" // nobody asks
	gateway := there.Gateway(t, p.ourGateway(there), nil)
	client := here.Connect(t, p.ourClient(there), nil)
	client.AwaitTunnel(t, ourClientInner)
	pulse := here.Pulse(t, ourClientInner[0], ourGatewayInner[0])
	before := remotes(t, gateway, 1)
	links(t, "-n "+nat.name+" link set eth0 down", "-n "+nat.name+" link set eth0 up") // masquerading forgets all
	pulse.Beat(t, time.Now())
	if now := remotes(t, gateway, 1); now[0] == before[0] {
		t.Errorf("the NAT has not forgotten: the client is still at %v", now)
	}
	if status, err := gateway.Status(t); err != nil || status.Totals.Established != 1 {
		t.Errorf("our gateway: %+v, %v", status.Totals, err)
	}
	client.Interrupt()
}

// remotes waits until our gateway has so many established SAs, and returns
// where their peers are, in order.
func remotes(t *testing.T, gateway *Swan, count int) (at []netip.AddrPort) {
	t.Helper()
	until(t, fmt.Sprintf("%d SAs at our gateway", count), func() bool {
		status, err := gateway.Status(t)
		at = nil
		for _, sa := range status.SAs {
			if sa.State == "established" {
				at = append(at, sa.Remote)
			}
		}
		return err == nil && len(at) == count
	})
	slices.SortFunc(at, netip.AddrPort.Compare)
	for _, remote := range at {
		if remote.Port() < 20000 {
			t.Fatalf("the NAT has kept port %d", remote.Port())
		}
	}
	return at
}
