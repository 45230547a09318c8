package interop

import (
	"testing"
	"time"
)

// A change of its links makes our client ask its gateway at once, also when it
// was told which address to use and nothing else is due for minutes (rule A7).
func TestLinkChangeIsAHint(t *testing.T) {
	gateway, client := lab.Node(t, "gateway-l"), lab.Node(t, "client-l")
	p := usual
	p.more = "dpd: 10m\n"
	for _, c := range []struct{ name, listen string }{
		{"an address of its own choice", ""},
		{"the address of its configuration", "listen: [" + client.Addr.String() + "]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := gateway.Gateway(t, p.ourGateway(gateway), nil)
			client.Connect(t, c.listen+p.ourClient(gateway), nil)
			server.AwaitUp(t)
			changed := time.Now()
			links(t, "-n "+client.name+" addr add 192.0.2.1/32 dev lo")
			t.Cleanup(func() { links(t, "-n "+client.name+" addr del 192.0.2.1/32 dev lo") })
			until(t, "the client asks", func() bool {
				s, err := server.Status(t)
				return err == nil && len(s.SAs) == 1 && time.Since(changed) > s.SAs[0].Heard+500*time.Millisecond
			})
		})
	}
}
