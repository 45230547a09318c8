package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// tunnel is what we and strongSwan have between us, as either sees it.
type tunnel struct {
	charon *Charon
	ours   *Swan
	name   string // of the connection
	among  bool   // others, at our end
	pulse  *Pulse // a ping that goes on, or nil
}

// sa is the tunnel's one IKE SA as we see it, if strongSwan sees the same, with
// the same Child SA or with none, and neither sees another one.
func (x *tunnel) sa(t *testing.T) (we SA, agreed bool) {
	t.Helper()
	status, err := x.ours.Status(t)
	if err != nil {
		t.Fatal(err)
	}
	ours := slices.DeleteFunc(status.SAs, func(sa SA) bool { return x.among && sa.Connection != x.name })
	theirs := slices.DeleteFunc(x.charon.SAs(t), func(sa SwanSA) bool { return sa.Name != x.name })
	if len(ours) != 1 || len(theirs) != 1 || ours[0].State != "established" || theirs[0].State != "ESTABLISHED" {
		return we, false
	}
	we = ours[0]
	var in, out string
	for _, child := range theirs[0].Children {
		switch {
		case child.State != "INSTALLED": // replaced, and takes late packets
		case in != "":
			return we, false
		default:
			in, out = child.Values["spi-in"], child.Values["spi-out"]
		}
	}
	return we, we.SPIi == theirs[0].Values["initiator-spi"] && we.ChildIn == out && we.ChildOut == in
}

// Agreed waits until both have the same SPIs, and no others.
func (x *tunnel) Agreed(t *testing.T) (sa SA) {
	t.Helper()
	until(t, "the same SPIs at both ends of "+x.name, func() (agreed bool) {
		sa, agreed = x.sa(t)
		return agreed
	})
	return sa
}

// crowd is many tunnels to one strongSwan, each with its ping.
type crowd struct {
	charon  *Charon
	tunnels []*tunnel
}

// ofMember makes what is the usual client's the k-th member's.
func ofMember(k int) *strings.Replacer {
	n := fmt.Sprint(k + 1)
	return strings.NewReplacer("office", "office"+n, "client@", "client"+n+"@", "*@", "client"+n+"@",
		"10.8.0.0/16", "10.8."+n+".0/24", "fd08::/16", "fd08:"+n+"::/64", "10.8.1.", "10.8."+n+".", "fd08:1:", "fd08:"+n+":")
}

// impatient has strongSwan repeat soon what was lost, later than hasty has us: what
// was not heard of both is heard of us first.
var impatient = []string{"retransmit_timeout = 0.3", "retransmit_tries = 8"}

// swanCrowd are clients of strongSwan's at a gateway of ours, one of each profile.
func swanCrowd(t *testing.T, profiles []profile) *crowd {
	t.Helper()
	here := lab.Node(t, "gateway-c")
	var inner []string
	for k := range profiles {
		inner = append(inner, ofMember(k).Replace(swanClientInner[0]+"/32"), ofMember(k).Replace(swanClientInner[1]+"/128"))
	}
	c := &crowd{charon: lab.Node(t, "clients-c", inner...).StartCharon(t, impatient...)}
	top, _, _ := strings.Cut(profiles[0].ourGateway(here), "  - name")
	var theirs string
	for k, p := range profiles {
		_, own, _ := strings.Cut(p.ourGateway(here), "connections:\n")
		top += ofMember(k).Replace(own)
		theirs += ofMember(k).Replace(p.swanClientConf(c.charon, here))
	}
	ours := here.Gateway(t, top, nil)
	c.charon.Load(t, theirs, nil)
	for k := range profiles {
		x := &tunnel{charon: c.charon, ours: ours, name: ofMember(k).Replace("office"), among: true}
		if out, err := c.charon.Swanctl(t, "--initiate", "--child", x.name, "--timeout", "20"); err != nil {
			t.Fatalf("strongSwan's initiate: %v\n%s", err, out)
		}
		x.pulse = here.Pulse(t, ourGatewayInner[0], ofMember(k).Replace(swanClientInner[0]))
		c.tunnels = append(c.tunnels, x)
	}
	return c
}

// ourCrowd are clients of ours at a gateway of strongSwan's, one of each profile.
func ourCrowd(t *testing.T, profiles []profile) *crowd {
	t.Helper()
	c := &crowd{charon: lab.Node(t, "swan-c", swanGatewayInner[0]+"/32", swanGatewayInner[1]+"/128").StartCharon(t, impatient...)}
	var theirs string
	for k, p := range profiles {
		theirs += ofMember(k).Replace(p.swanGatewayConf(c.charon))
	}
	c.charon.Load(t, theirs, nil)
	for k, p := range profiles {
		x := &tunnel{charon: c.charon, name: ofMember(k).Replace("office")}
		node := lab.Node(t, fmt.Sprint("client-c", k))
		conf := ofMember(k).Replace(p.ourClient(c.charon.node))
		x.ours = node.Connect(t, strings.ReplaceAll(conf, x.name, "office"), nil)
		var inner [2]string
		for version, addr := range ourClientInner {
			inner[version] = ofMember(k).Replace(addr)
		}
		x.ours.AwaitTunnel(t, inner)
		x.pulse = node.Pulse(t, inner[0], swanGatewayInner[0])
		c.tunnels = append(c.tunnels, x)
	}
	return c
}
