package blackswan

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"blackswan/ike"
)

// icmpGap is the least time between two hints by ICMP: who forges them shall
// not keep a shard busy.
const icmpGap = 100 * time.Millisecond

// watchICMP has a client check at once whether its gateway is there when a
// router or the gateway's host says that a packet of ours did not arrive (rule
// A7). Raw sockets are for root; without them the client's timers find out.
func (n *node) watchICMP() {
	own := map[uint16]bool{}
	for _, a := range n.Addrs() {
		own[a.Port()] = true
	}
	for _, x := range [...]struct {
		network string
		parse   func([]byte) (unreached, bool)
	}{{"ip4:icmp", parseICMP}, {"ip6:ipv6-icmp", parseICMPv6}} {
		c, err := net.ListenPacket(x.network, "")
		if err != nil {
			continue
		}
		n.running.Go(func() { <-n.stop; c.Close() })
		n.running.Go(func() {
			var last time.Time
			hearICMP(c, x.parse, func(u unreached) {
				if (u.from == 0 || own[u.from]) && time.Since(last) >= icmpGap {
					last = time.Now()
					n.all(ike.Command{Kind: ike.CommandUnreachable, Remote: u.to})
				}
			})
		})
	}
}

// unreached is a packet of ours that did not arrive.
type unreached struct {
	from uint16         // our UDP port; 0: it was bare ESP
	to   netip.AddrPort // port 0: bare ESP
}

// hearICMP calls f with what was not reached, until c is closed.
func hearICMP(c net.PacketConn, parse func([]byte) (unreached, bool), f func(unreached)) {
	b := make([]byte, 1500)
	for {
		k, _, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if u, ok := parse(b[:k]); ok {
			f(u)
		}
	}
}

// ICMP messages that a destination cannot be reached (RFC 792, RFC 4443 3.1).
// Eight octets stand before the beginning of the packet that they are about.
const (
	icmpUnreachable   = 3
	icmpTooBig        = 4 // a code: the packet was too long, which says nothing of its destination
	icmpv6Unreachable = 1
	icmpHeader        = 8
)

// Protocols of what we send.
const (
	protocolUDP = 17
	protocolESP = 50
)

func parseICMP(b []byte) (unreached, bool) {
	if len(b) < icmpHeader+20 || b[0] != icmpUnreachable || b[1] == icmpTooBig {
		return unreached{}, false
	}
	ip := b[icmpHeader:]
	length := int(ip[0]&15) * 4
	if ip[0]>>4 != 4 || length < 20 || len(ip) < length {
		return unreached{}, false
	}
	return sentTo(ip[9], netip.AddrFrom4([4]byte(ip[16:20])), ip[length:])
}

func parseICMPv6(b []byte) (unreached, bool) {
	if len(b) < icmpHeader+40 || b[0] != icmpv6Unreachable || b[icmpHeader]>>4 != 6 {
		return unreached{}, false
	}
	ip := b[icmpHeader:]
	return sentTo(ip[6], netip.AddrFrom16([16]byte(ip[24:40])), ip[40:])
}

// sentTo reads what followed the IP header of a packet of ours.
func sentTo(protocol byte, to netip.Addr, rest []byte) (unreached, bool) {
	switch {
	case protocol == protocolESP:
		return unreached{to: netip.AddrPortFrom(to, 0)}, true
	case protocol == protocolUDP && len(rest) >= 4:
		return unreached{binary.BigEndian.Uint16(rest), netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2:]))}, true
	}
	return unreached{}, false
}
