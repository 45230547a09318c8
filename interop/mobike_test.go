package interop

import (
	"testing"
	"time"
)

// Our client gets another address under traffic: its SA goes on with
// its Child SA, and so does the ping, by ESP in UDP and bare. Nobody resumes and
// nobody logs in (RFC 4555 3.5).
func TestMOBIKEUnderTraffic(t *testing.T) {
	gateway, client := lab.Node(t, "gateway-m"), lab.Node(t, "client-m")
	const there = "10.9.0.201"
	for _, encap := range []string{"always", "auto"} {
		t.Run("encap "+encap, func(t *testing.T) {
			p := usual.carrying()
			p.encap = encap
			server := gateway.Gateway(t, p.ourGateway(gateway), nil)
			ours := client.Connect(t, p.ourClient(gateway), nil)
			server.AwaitTunnel(t, ourGatewayInner)
			ours.AwaitTunnel(t, ourClientInner)
			before := server.AwaitUp(t)
			pulse := client.Pulse(t, ourClientInner[0], ourGatewayInner[0])
			client.Readdress(t, there)
			server.Await(t, 0, `msg=moved .*remote=`+there+`:`)
			pulse.Beat(t, time.Now())
			status, err := server.Status(t)
			if err != nil || len(status.SAs) != 1 || status.Totals.Full != 1 || status.Totals.Resumed != 0 {
				t.Fatalf("our gateway: %+v, %v", status, err)
			}
			if now := status.SAs[0]; now.SPIr != before.SPIr || now.ChildIn != before.ChildIn || now.ChildOut != before.ChildOut {
				t.Errorf("the SA was %s with %s and %s, and is %s with %s and %s", before.SPIr, before.ChildIn, before.ChildOut, now.SPIr, now.ChildIn, now.ChildOut)
			}
		})
	}
}
