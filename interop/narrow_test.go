package interop

import "testing"

// A path that is narrower than what our packets need carries them in
// fragments, those that leave in runs too.
func TestNarrowPath(t *testing.T) {
	there, here := lab.Pair(t, "gateway-w", "client-w")
	for _, n := range []*Node{there, here} {
		links(t, "-n "+n.name+" link set eth0 mtu 1300")
		n.Serve(t)
	}
	for _, encap := range []string{"always", "auto"} {
		t.Run(encap, func(t *testing.T) {
			p := usual.carrying()
			p.encap = encap
			gateway := there.Gateway(t, p.ourGateway(there), nil)
			client := here.Connect(t, p.ourClient(there), nil)
			client.AwaitTunnel(t, ourClientInner)
			gateway.AwaitInner(t, ourGatewayInner)
			here.Ping(t, ourClientInner[0], ourGatewayInner[0])
			here.Ping(t, ourClientInner[1], ourGatewayInner[1])
			flow := here.Stream(t, ourClientInner[0], ourGatewayInner[0], 1)
			t.Logf("%.2f Gbit/s", flow.Gbps())
			if drops := client.drops(t); drops["unsent"] > 0 || drops["too_big"] > 0 {
				t.Errorf("our client dropped %v", drops)
			}
		})
	}
}
