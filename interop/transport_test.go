package interop

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// Transport mode, RFC 7296 1.3.1: our gateway and our client protect what they say
// to each other themselves. strongSwan's kernel-libipsec carries nothing between two
// hosts, so that of it there is the negotiation alone.

// ourselves is the profile of a connection between two hosts, whose Child SAs
// have that mode. Our addresses inside are none.
func ourselves(mode string) profile {
	p := usual.carrying()
	p.encap, p.more = "auto", "mode: "+mode+"\n"
	return p
}

// hostYAML is our configuration of one of two hosts: a client, if it has a gateway.
func (p profile) hostYAML(n *Node, gateway string) string {
	local, remote, place := gatewayID, "'*@example.org'", ""
	if gateway != "" {
		local, remote, place = clientID, gatewayID, "    gateway: "+gateway+"\n"
	}
	return p.yaml(fmt.Sprintf("listen: [%s]\n%s%s", n.Addr, quick, p.tunnel("")), place,
		side{local, nil}, side{remote, nil}, []string{"dynamic"}, []string{"dynamic"})
}

// inTransport waits until ours has a Child SA of that mode.
func inTransport(t *testing.T, s *Swan, mode string) SA {
	t.Helper()
	var sa SA
	until(t, "a Child SA in "+mode+" mode", func() bool {
		sa = s.AwaitUp(t)
		return sa.Mode == mode
	})
	return sa
}

func TestTransportMode(t *testing.T) {
	there, here := lab.Pair(t, "host-there", "host-here")
	there.Serve(t)
	here.Serve(t)
	watch := here.Watch(t, "ip proto not 50 and not (udp port 500 or udp port 4500) and host "+there.Addr.String())
	p := ourselves("transport")
	p.more += "child_lifetime: 6s\n"
	gateway := there.Gateway(t, p.hostYAML(there, ""), nil)
	client := here.Connect(t, p.hostYAML(here, there.Addr.String()), nil)
	inTransport(t, client, "transport")
	inTransport(t, gateway, "transport")
	pulse := here.Pulse(t, "", there.Addr.String())
	back := there.Pulse(t, "", here.Addr.String())
	watch.Seen(t)

	before := client.AwaitUp(t)
	here.Ping(t, here.Addr.String(), there.Addr.String())
	for _, flow := range []Flow{
		here.Stream(t, here.Addr.String(), there.Addr.String(), 1),
		there.Stream(t, there.Addr.String(), here.Addr.String(), 1),
	} {
		if flow.Octets < 1e6 {
			t.Errorf("%.0f octets in a second", flow.Octets)
		}
		t.Logf("%.2f Gbit/s", flow.Gbps())
	}
	here.Datagrams(t, here.Addr.String(), there.Addr.String(), 1, 1000, "5M")
	until(t, "a rekey", func() bool { return client.AwaitUp(t).ChildIn != before.ChildIn })
	inTransport(t, client, "transport")
	pulse.Beats(t, 3)

	gateway.Kill()
	gateway.Restart(t)
	pulse.Beat(t, gateway.Listening(t))
	back.Beats(t, 3)
	inTransport(t, client, "transport")
	if status, err := client.Status(t); err != nil || status.Totals.Full != 1 {
		t.Errorf("%d logins, %v", status.Totals.Full, err)
	}
	if seen := watch.Seen(t); len(seen) > 0 {
		t.Errorf("%d packets were seen in the clear, such as %s", len(seen), seen[0])
	}
	client.Interrupt()
	gateway.Interrupt()
	here.MustRun(t, nil, "ping", "-n", "-q", "-c", "3", "-i", "0.05", there.Addr.String())
	if seen := watch.Seen(t); len(seen) == 0 {
		t.Error("with nobody up the ping is not seen in the clear: this test sees nothing")
	}
}

// strongSwan sees a NAT everywhere, so that it never gets the transport mode that it
// asks for; and tunnel mode is nothing for a gateway of ours that insists.
func TestStrongSwanTransportMode(t *testing.T) {
	f := meetSwan(t)
	for _, c := range []struct{ name, our, its, said string }{
		{"it insists", "either", "transport", "N.USE_TRANSP.(.*\n)*.*parsed IKE_AUTH response 1 .*IDr AUTH .*SA TSi TSr"},
		{"we insist", "transport", "tunnel", "received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.gateway.Gateway(t, ourselves(c.our).hostYAML(f.gateway, ""), nil)
			child := swanChild("office", "dynamic", "dynamic", usual.esp, c.its)
			f.charon.Load(t, swanOffice(f.swan.Addr.String(), f.gateway.Addr.String(), clientID, gatewayID, child), nil)
			said, err := f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20")
			if err == nil || !regexp.MustCompile(c.said).MatchString(said) {
				t.Errorf("strongSwan's initiate: %v\n%s", err, said)
			}
			if strings.Contains(said, "parsed IKE_AUTH response 1 [ IDr AUTH N(USE_TRANSP)") {
				t.Errorf("it got transport mode:\n%s", said)
			}
		})
	}
}
