package blackswan

import (
	"net/netip"
	"time"

	"blackswan/ike"
)

// icmpGap is the least time between two hints by ICMP: who forges them shall
// not keep a shard busy.
const icmpGap = 100 * time.Millisecond

// heedICMP tells whom the sockets shall tell what they could not reach. A
// gateway does not ask: what it sends to a silent client by IKE is a question
// already, and anyone may forge ICMP to sockets that all clients share.
func (n *node) heedICMP() func(netip.AddrPort) {
	if n.role != RoleClient {
		return nil
	}
	return func(to netip.AddrPort) {
		select {
		case n.unreached <- to:
		default: // one waits already
		}
	}
}

// watchICMP has a client check at once whether its gateway is there when a
// router or the gateway's host says that a packet of ours did not arrive (rule
// A7).
func (n *node) watchICMP() {
	for {
		select {
		case <-n.stop:
			return
		case to := <-n.unreached:
			n.all(ike.Command{Kind: ike.CommandUnreachable, Remote: to})
		}
		select {
		case <-n.stop:
			return
		case <-time.After(icmpGap):
		}
	}
}
