package interop

import "testing"

// Readdress gives the node's eth0 another address until t ends.
func (n *Node) Readdress(t testing.TB, to string) {
	t.Helper()
	set := func(from, to string) {
		links(t, "-n "+n.name+" addr del "+from+"/24 dev eth0", "-n "+n.name+" addr add "+to+"/24 dev eth0")
	}
	set(n.Addr.String(), to)
	t.Cleanup(func() { set(to, n.Addr.String()) })
}

// A client that has another address moves its SA (RFC 4555 3.5), in either
// role, and whoever is the gateway checks that it receives there (3.7). What
// carries strongSwan's ESP here cannot move: it rekeys the Child SA afterwards.
func TestStrongSwanMOBIKE(t *testing.T) {
	f := meetSwan(t)
	const there = "10.9.0.200"
	t.Run("our client moves", func(t *testing.T) {
		ours, _ := f.dialSwan(t, f.charon, usual)
		mark := f.charon.Mark()
		f.client.Readdress(t, there)
		f.charon.Await(t, mark, `parsed INFORMATIONAL request \d+ \[ N\(UPD_SA_ADDR\) N\(NATD_S_IP\) N\(NATD_D_IP\) N\(COOKIE2\) \]`)
		f.charon.Await(t, mark, `remote endpoint changed from `+f.client.Addr.String()+`\[4500\] to `+there+`\[4500\]`)
		ours.Await(t, 0, `msg=moved .*remote=`+f.swan.Addr.String()+`:4500`)
	})
	t.Run("its client moves", func(t *testing.T) {
		p := usual
		p.swan = "local_addrs = %any\n"
		ours, _ := f.swanDials(t, f.charon, p)
		mark := f.charon.Mark()
		f.swan.Readdress(t, there)
		f.charon.Await(t, mark, `generating INFORMATIONAL request \d+ \[ N\(UPD_SA_ADDR\)`)
		f.charon.Await(t, mark, `parsed INFORMATIONAL request \d+ \[ N\(COOKIE2\) \]`)
		f.charon.Await(t, mark, `generating INFORMATIONAL response \d+ \[ N\(COOKIE2\) \]`)
		ours.Await(t, 0, `msg=moved .*remote=`+there+`:4500`)
	})
}

// A gateway of ours that drains sends a strongSwan client to another one
// (RFC 5685 5), which a client that comes later is sent to as well (3).
func TestStrongSwanRedirect(t *testing.T) {
	f := meetSwan(t)
	other := f.gateway.lab.Node(t, "other")
	second := other.Gateway(t, usual.ourGateway(other), nil)
	first, _ := f.swanDials(t, f.charon, usual)
	mark := f.charon.Mark()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		first.Do(t, "drain", other.Addr.String())
	}()
	f.charon.Await(t, mark, `parsed INFORMATIONAL request \d+ \[ N\(REDIR\) \]`)
	second.AwaitUp(t)
	f.charon.AwaitUp(t, "office")
	<-drained
}
