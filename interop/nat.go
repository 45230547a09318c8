package interop

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
)

// NAT is a router between the hub and the nodes behind it. What they send
// leaves with its address and with a port of its own choice (nftables
// masquerade); what nobody behind it has asked for stays outside.
type NAT struct {
	*Node
	nodes int // behind it, ever made
}

// mappedPorts are those that a NAT gives to what it lets out: never the port
// that was asked for, so that whoever does not look answers to the wrong one.
const mappedPorts = "20000-29999"

// router is the NAT's own address before its nodes.
const router = "192.168.9.1"

// NAT makes a router with eth0 on the hub.
func (l *Lab) NAT(t testing.TB, word string) *NAT {
	t.Helper()
	r := &NAT{Node: l.Node(t, word)}
	links(t,
		"-n "+r.name+" link add lan0 type bridge",
		"-n "+r.name+" addr add "+router+"/24 dev lan0",
		"-n "+r.name+" link set lan0 up",
	)
	r.MustRun(t, nil, "nft", fmt.Sprintf(`table ip nat {
  chain out {
    type nat hook postrouting priority srcnat;
    oifname "eth0" meta l4proto { tcp, udp } masquerade to :%s
    oifname "eth0" masquerade
  }
}
table ip filter {
  chain forward {
    type filter hook forward priority filter;
    iifname "eth0" ct state new drop
  }
}`, mappedPorts))
	r.set(t, "net/ipv4/ip_forward", "1")
	return r
}

// Behind makes a node behind the router: the first has 192.168.9.2, and its
// default route is the router.
func (r *NAT) Behind(t testing.TB, word string, inner ...string) *Node {
	t.Helper()
	r.nodes++
	n := r.lab.node(t, word, plug{r.name, "lan0", "port" + strconv.Itoa(r.nodes)},
		netip.AddrFrom4([4]byte{192, 168, 9, byte(1 + r.nodes)}), inner)
	links(t, "-n "+n.name+" route add default via "+router)
	return n
}

// set writes a sysctl of the node's network.
func (n *Node) set(t testing.TB, name, value string) {
	t.Helper()
	n.MustRun(t, nil, "sh", "-c", `echo "$1" >"/proc/sys/$2"`, "sh", value, name)
}
