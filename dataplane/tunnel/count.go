package tunnel

import (
	"sync/atomic"

	"blackswan/dataplane"
)

// reason is why a packet was dropped.
type reason uint8

const (
	// Outbound: from the inside, before they are sealed.
	noChild      reason = iota // fits no Child SA
	overflow                   // waited for a Child SA, and later ones pushed it out
	malformed                  // no IP packet
	tooBig                     // longer than the path carries and may not be fragmented
	loop                       // an IKE or ESP packet of our own tunnel
	spent                      // its Child SA may carry no more, either direction
	unsent                     // the port could not send it, or there is none
	unreadable                 // the device could not give it
	notTransport               // a fragment, or one with headers that would stand before ESP

	// Inbound: from the peer.
	truncated   // too short to be ESP, or of a length that the suite never makes
	keepalive   // the octet 0xff of a NAT keepalive
	zeroSPI     // no ESP (RFC 4303 2.1)
	unknownSPI  // nobody owns it
	replayed    // seen before, or too old to know
	badICV      // not from the peer, or changed on its way
	badPadding  // padding that no sender makes (RFC 4303 2.4)
	dummy       // no packet at all: traffic flow confidentiality (RFC 4303 2.6)
	notTunnel   // a payload that is no IP packet, in tunnel mode
	badInner    // an IP packet that no router would forward
	spoofed     // from an address that is not of the peer's selectors
	notSelected // of other selectors than were agreed on
	congested   // outer CE, but the packet's ends know no ECN (RFC 6040 4.2)
	unwritten   // the device did not take it

	reasons int = iota
)

// reasonNames are the names of the reasons for metrics. They never change.
var reasonNames = [reasons]string{
	noChild: "no_child_sa", overflow: "wait_overflow", malformed: "malformed", tooBig: "too_big", loop: "loop",
	spent: "spent", unsent: "unsent", unreadable: "unreadable", notTransport: "not_for_transport_mode",
	truncated: "truncated", keepalive: "keepalive", zeroSPI: "zero_spi", unknownSPI: "unknown_spi",
	replayed: "replay", badICV: "bad_icv", badPadding: "bad_padding", dummy: "dummy", notTunnel: "not_tunnel_mode",
	badInner: "bad_inner_packet", spoofed: "spoofed_source", notSelected: "selector", congested: "ecn", unwritten: "unwritten",
}

// drops counts what was dropped, by reason.
type drops [reasons]atomic.Uint64

// meter counts what one direction carries.
type meter struct {
	packets, octets atomic.Uint64
}

func (m *meter) add(v dataplane.Volume) {
	m.packets.Add(v.Packets)
	m.octets.Add(v.Octets)
}

func (m *meter) volume() dataplane.Volume {
	return dataplane.Volume{Packets: m.packets.Load(), Octets: m.octets.Load()}
}

func plus(a, b dataplane.Volume) dataplane.Volume {
	return dataplane.Volume{Packets: a.Packets + b.Packets, Octets: a.Octets + b.Octets}
}

// reached tells whether v is at a bound. A bound of 0 is none.
func reached(v, bound dataplane.Volume) bool {
	return bound.Packets != 0 && v.Packets >= bound.Packets ||
		bound.Octets != 0 && v.Octets >= bound.Octets
}

// drop counts a packet that was not carried, of the Child SA c if that is known.
func (p *Plane) drop(c *child, why reason) {
	p.drops[why].Add(1)
	if c != nil {
		c.dropped.Add(1)
	}
}

// traffic is what c has carried.
func (c *child) traffic() dataplane.Traffic {
	n := trafficOf(&c.in.carried, &c.out.carried)
	n.Dropped = c.dropped.Load()
	return n
}

func trafficOf(in, out *meter) dataplane.Traffic {
	i, o := in.volume(), out.volume()
	return dataplane.Traffic{InPackets: i.Packets, InOctets: i.Octets, OutPackets: o.Packets, OutOctets: o.Octets}
}

// Totals are what all Child SAs have carried, and what was dropped by reason:
//
//	no_child_sa wait_overflow malformed too_big loop unsent unreadable   from the inside
//	not_for_transport_mode
//	truncated keepalive zero_spi unknown_spi replay bad_icv bad_padding  from outside, not proven
//	dummy not_tunnel_mode bad_inner_packet spoofed_source selector ecn   from the peer
//	spent unwritten
func (p *Plane) Totals() (dataplane.Traffic, map[string]uint64) {
	sum := trafficOf(&p.in, &p.out)
	byReason := make(map[string]uint64, reasons)
	for why, name := range reasonNames {
		n := p.drops[why].Load()
		byReason[name] = n
		sum.Dropped += n
	}
	return sum, byReason
}
