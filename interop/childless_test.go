package interop

import "testing"

// RFC 6023: an IKE SA without a Child SA, which CREATE_CHILD_SA then makes with
// a key exchange of its own. Pings go through it, and through what it is rekeyed
// to by strongSwan.
func TestStrongSwanChildless(t *testing.T) {
	f := meetSwan(t)
	const (
		announced = `IKE_SA_INIT response 0 \[.* N\(CHDLESS_SUP\)`
		request   = `IKE_AUTH request 1 \[ IDi N\(INIT_CONTACT\) (N\(\w+\) )*IDr AUTH (N\(\w+\) )*\]|parsed IKE_AUTH request 1 \[ IDi IDr AUTH (N\(\w+\) )*\]`
		response  = `IKE_AUTH response 1 \[ IDr AUTH (N\(\w+\) )*\]`
		creation  = `CREATE_CHILD_SA request \d+ \[ SA No KE TSi TSr \]`
	)
	const wanted = "childless: true\n"
	for _, c := range []struct {
		name      string
		ours      string // our client's
		childless string // strongSwan's: allow, force or never
		dial      func(*testing.T, *Charon, profile) (*Swan, SwanSA)
		we        *Node
		our, its  [2]string
		without   bool // a Child SA in IKE_AUTH
	}{
		{"our client, and its gateway allows it", wanted, "allow", f.dialSwan, f.client, ourClientInner, swanGatewayInner, true},
		{"our client, and its gateway wants it", wanted, "force", f.dialSwan, f.client, ourClientInner, swanGatewayInner, true},
		{"our client, and its gateway does not know it", wanted, "never", f.dialSwan, f.client, ourClientInner, swanGatewayInner, false},
		{"its client", "", "force", f.swanDials, f.gateway, ourGatewayInner, swanClientInner, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := usual.carrying()
			p.esp, p.more, p.swan = "aes256gcm16-x25519", c.ours, "childless = "+c.childless+"\n"
			mark := f.charon.Mark()
			ours, sa := c.dial(t, f.charon, p)
			for _, said := range []string{announced, request, response, creation} {
				if f.charon.Said(mark, said) != c.without {
					t.Errorf("strongSwan has said %q: %v", said, !c.without)
				}
			}
			group := ""
			if c.without {
				group = "CURVE_25519"
			}
			if got := sa.Children[0].Values["dh-group"]; got != group {
				t.Errorf("the first Child SA has the key exchange %q, want %q", got, group)
			}
			ours.AwaitTunnel(t, c.our)
			c.we.Ping(t, c.our[0], c.its[0])
			x := &tunnel{charon: f.charon, ours: ours, name: "office"}
			for _, kind := range []string{"--child", "--ike"} {
				before := x.Agreed(t)
				if out, err := f.charon.Swanctl(t, "--rekey", kind, "office"); err != nil {
					t.Fatalf("strongSwan's rekey %s: %v\n%s", kind, err, out)
				}
				until(t, "other SPIs", func() bool {
					now, agreed := x.sa(t)
					return agreed && (now.SPIi != before.SPIi || now.ChildIn != before.ChildIn)
				})
				c.we.Ping(t, c.our[1], c.its[1])
			}
		})
	}
}
