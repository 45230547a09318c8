package interop

import (
	"strings"
	"testing"
)

// elsewhere makes the other of two tunnels of a configuration.
var elsewhere = strings.NewReplacer("10.8.1.", "10.6.1.", "fd08:1:", "fd06:1:", "10.8.0.", "10.6.0.", "fd08::", "fd06::",
	"10.7.0.", "10.5.0.", "fd07::", "fd05::")

// Two clients on one host, each to a gateway of its own: neither touches what
// the other one has, dead or alive.
func TestTwoClientsOfOneHost(t *testing.T) {
	west, east, here := lab.Node(t, "gateway-1"), lab.Node(t, "gateway-2"), lab.Node(t, "client-2")
	p := usual.carrying()
	west.Gateway(t, p.ourGateway(west), nil)
	other := east.Gateway(t, elsewhere.Replace(p.ourGateway(east)), nil)
	for _, addr := range ourGatewayInner {
		until(t, addr, func() bool {
			return east.MustRun(t, nil, "ip", "-o", "addr", "show", "to", elsewhere.Replace(addr)) != ""
		})
	}
	before := here.network(t)
	first := here.Connect(t, p.ourClient(west), nil)
	first.AwaitTunnel(t, ourClientInner)
	second := here.Connect(t, "port: 5500\nnat_port: 5501\n"+elsewhere.Replace(p.ourClient(east)), nil)
	its, beyond := [2]string{}, [2]string{}
	for version := range 2 {
		its[version], beyond[version] = elsewhere.Replace(ourClientInner[version]), elsewhere.Replace(ourGatewayInner[version])
	}
	second.AwaitTunnel(t, its)
	for version := range 2 {
		here.Ping(t, ourClientInner[version], ourGatewayInner[version])
		here.Ping(t, its[version], beyond[version])
	}
	first.Kill()
	here.Ping(t, its[0], beyond[0])
	if out, err := here.Run(t, nil, "ping", "-c", "1", "-W", "1", ourGatewayInner[0]); err == nil {
		t.Errorf("past a dead tunnel:\n%s", out)
	}
	first.Do(t, "connect", "office", "--release")
	here.Ping(t, its[1], beyond[1])
	second.Interrupt()
	if left := here.network(t); left != before {
		t.Errorf("left is\n%s\nand not\n%s", left, before)
	}
	other.AwaitNone(t)
}
