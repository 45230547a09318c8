package interop

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Repeated authentication, RFC 4478: our gateway says how long a login holds,
// and strongSwan repeats it in time. (As a gateway strongSwan says so only to
// clients that it could not call back itself: ike_sa_can_reauthenticate, those
// with an address from it or with EAP, of which we have neither.)
func TestStrongSwanReauthentication(t *testing.T) {
	f := meetSwan(t)
	p := usual
	p.more, p.swan = "reauth: 6s\n", "over_time = 2s\n"
	mark := f.charon.Mark()
	ours, _ := f.swanDials(t, f.charon, p) // which may last until there is a second login
	first := f.charon.Await(t, mark, `IKE_SA office\[\d+\] established`)
	f.charon.Await(t, mark, `received AUTH_LIFETIME of [56]s, scheduling reauthentication in [1-4]s`)
	until(t, "a second login, and one SA", func() bool {
		s, err := ours.Status(t)
		return err == nil && s.Totals.Full >= 2 && len(s.SAs) == 1
	})
	if after := f.charon.AwaitUp(t, "office"); strings.Contains(first, "office["+after.UniqueID+"]") {
		t.Error("strongSwan's SA is the old one")
	}
}

// strongSwan authenticates again while a ping goes on. Where it makes the new SA
// before it breaks the old one, none is lost at our gateway (RFC 7296 2.8.3).
func TestStrongSwanReauthenticatesUnderTraffic(t *testing.T) {
	f := meetSwan(t)
	const clock = "reauth_time = 3s\nrand_time = 0\nover_time = 30s\n"
	for i, c := range []struct{ name, first, more, swan string }{
		{"by its clock, made before it breaks", "yes", "", clock},
		{"by its clock, broken first", "no", "", clock},
		{"by our AUTH_LIFETIME, made before it breaks", "yes", "reauth: 6s\n", "over_time = 3s\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			charon := lab.Node(t, "swan-r"+strconv.Itoa(i), "10.8.1.1/32", "fd08:1::1/128").StartCharon(t, "make_before_break = "+c.first)
			p := usual.carrying()
			p.more, p.swan = c.more, c.swan
			ours, _ := f.swanDials(t, charon, p)
			ours.AwaitTunnel(t, ourGatewayInner)
			pulse := f.gateway.Pulse(t, ourGatewayInner[0], swanClientInner[0])
			until(t, "four logins, and one SA at both ends", func() bool {
				s, err := ours.Status(t)
				return err == nil && s.Totals.Full >= 4 && len(s.SAs) == 1 && len(charon.SAs(t)) == 1
			})
			pulse.Beat(t, time.Now())
			if n := pulse.Missed(); c.first == "yes" && n > 0 {
				t.Errorf("%d pings were not answered", n)
			} else {
				t.Logf("%d pings were not answered", n)
			}
		})
	}
}

// Our client logs in anew at our gateway, and pings go both ways through both of its
// Child SAs. None is lost: the old IKE SA carries on until the new one has both, each
// end sends by a new Child SA when the other has it, and takes late packets by the old.
func TestOurClientLogsInAnewUnderTraffic(t *testing.T) {
	gateway, client := lab.Node(t, "gateway-l"), lab.Node(t, "client-l")
	p := twoChildren()
	of, to := p, p
	of.more = fmt.Sprintf(p.more, gatewayInner, clientInner, gatewayInner6, clientInner6) + "reauth: 11s\n"
	to.more = fmt.Sprintf(p.more, clientInner, gatewayInner, clientInner6, gatewayInner6)
	server := gateway.Gateway(t, of.ourGateway(gateway), nil)
	ours := client.Connect(t, to.ourClient(gateway), nil)
	server.AwaitTunnel(t, ourGatewayInner)
	ours.AwaitTunnel(t, ourClientInner)
	logins := func(count uint64) {
		t.Helper()
		until(t, strconv.FormatUint(count, 10)+" logins, and one SA with two Child SAs at both ends", func() bool {
			for _, end := range []*Swan{server, ours} {
				s, err := end.Status(t)
				if err != nil || s.Totals.Full != count || len(s.SAs) != 1 || len(s.SAs[0].Children) != 1 {
					return false
				}
			}
			return true
		})
	}
	logins(1)
	var pulses []*Pulse
	for version := range ourClientInner {
		pulses = append(pulses, client.Pulse(t, ourClientInner[version], ourGatewayInner[version]), gateway.Pulse(t, ourGatewayInner[version], ourClientInner[version]))
	}
	logins(2)
	for _, pulse := range pulses {
		pulse.Beat(t, time.Now())
		if n := pulse.Missed(); n > 0 {
			t.Errorf("%s: %d were not answered", pulse.name, n)
		}
	}
}
