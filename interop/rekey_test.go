package interop

import "testing"

// Rekeys, RFC 7296 1.3.2 and 1.3.3: a ping goes on through each of them, and
// not one packet of it is lost. Some Child SAs have a key exchange of their own.
func TestStrongSwanRekeysUnderTraffic(t *testing.T) {
	f := meetSwan(t)
	for _, c := range []struct {
		name     string
		esp      string
		group    string // of the rekeyed Child SA, in strongSwan's words
		dial     func(*testing.T, *Charon, profile) (*Swan, SwanSA)
		we       *Node
		our, its [2]string
	}{
		{"its gateway", "aes256gcm16", "", f.dialSwan, f.client, ourClientInner, swanGatewayInner},
		{"its client", "aes256gcm16", "", f.swanDials, f.gateway, ourGatewayInner, swanClientInner},
		{"its gateway, with a key exchange", "aes256gcm16-x25519", "CURVE_25519", f.dialSwan, f.client, ourClientInner, swanGatewayInner},
		{"its client, with a key exchange", "aes256gcm16-x25519", "CURVE_25519", f.swanDials, f.gateway, ourGatewayInner, swanClientInner},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := usual.carrying()
			p.esp = c.esp
			ours, before := c.dial(t, f.charon, p)
			ours.AwaitTunnel(t, c.our)
			pulse := c.we.Pulse(t, c.our[0], c.its[0])
			for _, rekey := range []struct{ kind, spi string }{{"--child", "spi-in"}, {"--ike", "initiator-spi"}} {
				spi := func(sa SwanSA) string { return sa.Values[rekey.spi] + sa.Children[0].Values[rekey.spi] }
				if out, err := f.charon.Swanctl(t, "--rekey", rekey.kind, "office"); err != nil {
					t.Fatalf("strongSwan's rekey %s: %v\n%s", rekey.kind, err, out)
				}
				var after SwanSA
				until(t, "other SPIs at strongSwan", func() bool {
					after = f.charon.AwaitUp(t, "office")
					return spi(after) != spi(before)
				})
				before = after
				until(t, "the same SPIs at both ends", func() bool {
					we, it := ours.AwaitUp(t), after.Children[0].Values
					return we.SPIi == after.Values["initiator-spi"] && we.ChildIn == it["spi-out"] && we.ChildOut == it["spi-in"]
				})
				if group := after.Children[0].Values["dh-group"]; group != c.group {
					t.Errorf("after its rekey %s the Child SA has the key exchange %q, want %q", rekey.kind, group, c.group)
				}
				pulse.Beats(t, 5)
			}
			if n := pulse.Missed(); n > 0 {
				t.Errorf("%d pings were not answered", n)
			}
		})
	}
}
