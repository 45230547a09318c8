package tunnel

import (
	"encoding/binary"
	"net/netip"
)

const (
	icmpHeader = 8 // octets

	unreachable      = 3 // ICMP types, RFC 792
	timeExceeded     = 11
	parameterProblem = 12
	mostError6       = 4 // ICMPv6 types 1 to 4 are the errors, RFC 4443 2.1

	mostNotice = 1280 // octets of an ICMPv6 error (RFC 4443 2.4): no link is too small for it
	quote4     = 576  // octets of an ICMP error (RFC 1812 4.3.2.3)
	hops       = 64
)

// tellTooBig tells the sender of the packet b, on the inside, that no more than
// mtu octets go through (RFC 4301 8.2.1). The message comes from the address
// that the packet went to: that one the inside expects from this device.
func (p *Plane) tellTooBig(h *heading, b []byte, mtu int) {
	s := &p.sender
	if !answerable(h, b) || !s.told.allow(p.now(), mostTooBig) {
		return
	}
	n := headroom
	if h.src.Is4() {
		n += fragmentationNeeded(s.notice[headroom:], &h.inner, b, mtu)
	} else {
		n += packetTooBig(s.notice[headroom:], &h.inner, b, max(mtu, minMTU6))
	}
	if _, err := p.device.Write([][]byte{s.notice[:n]}, headroom); err != nil {
		p.drop(nil, unwritten)
	}
}

// answerable tells whether a packet may be answered by an ICMP error: not one
// itself, not a later fragment, not from or to many (RFC 1122 3.2.2, RFC 4443
// 2.4). ICMPv6 tells of too big packets to groups as well.
func answerable(h *heading, b []byte) bool {
	if h.src.IsMulticast() || h.src.IsUnspecified() || h.upper == 0 {
		return false
	}
	if h.src.Is4() && (h.dst.IsMulticast() || h.dst == broadcast) {
		return false
	}
	switch kind := uint8(h.srcPort >> 8); h.protocol {
	case protoICMP:
		return h.ports && (kind == 0 || kind == 8 || kind >= 13) // echo, timestamp and such
	case protoICMPv6:
		return h.ports && kind >= 128 // below are errors
	}
	return true
}

// culprit is the traffic that an ICMP error in the packet b belongs to, seen
// from who sends the error: the packet that it quotes, with its ends exchanged
// (RFC 4301 6.2). It is false for what is no such error.
func culprit(p *inner, b []byte) (f flow, ok bool) {
	switch kind := uint8(p.srcPort >> 8); {
	case !p.ports:
		return f, false
	case p.protocol == protoICMP && (kind == unreachable || kind == timeExceeded || kind == parameterProblem):
	case p.protocol == protoICMPv6 && kind > 0 && kind <= mostError6:
	default:
		return f, false
	}
	var quoted inner
	if message := p.from(b, p.upper); len(message) < icmpHeader || !quoted.read(message[icmpHeader:]) || quoted.src != p.dst {
		return f, false
	}
	f = quoted.flow
	f.src, f.dst, f.srcPort, f.dstPort = f.dst, f.src, f.dstPort, f.srcPort
	return f, true
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// fragmentationNeeded writes an ICMP message of type 3, code 4 about the packet
// b into to and tells its length (RFC 792, RFC 1191 4).
func fragmentationNeeded(to []byte, p *inner, b []byte, mtu int) int {
	quote := b[:min(len(b), quote4-header4-icmpHeader)]
	n := header4 + icmpHeader + len(quote)
	clear(to[:header4+icmpHeader])
	to[0] = 4<<4 | header4/4
	binary.BigEndian.PutUint16(to[2:], uint16(n))
	to[8], to[9] = hops, protoICMP
	src, dst := p.dst.As4(), p.src.As4()
	copy(to[12:], src[:])
	copy(to[16:], dst[:])
	binary.BigEndian.PutUint16(to[10:], checksum(0, to[:header4]))

	message := to[header4:n]
	message[0], message[1] = unreachable, 4
	binary.BigEndian.PutUint16(message[6:], uint16(mtu))
	copy(message[icmpHeader:], quote)
	binary.BigEndian.PutUint16(message[2:], checksum(0, message))
	return n
}

// packetTooBig writes an ICMPv6 message of type 2 about the packet b into to
// and tells its length (RFC 4443 3.2).
func packetTooBig(to []byte, p *inner, b []byte, mtu int) int {
	quote := b[:min(len(b), mostNotice-header6-icmpHeader)]
	n := header6 + icmpHeader + len(quote)
	clear(to[:header6+icmpHeader])
	to[0] = 6 << 4
	binary.BigEndian.PutUint16(to[4:], uint16(n-header6))
	to[6], to[7] = protoICMPv6, hops
	src, dst := p.dst.As16(), p.src.As16()
	copy(to[8:], src[:])
	copy(to[24:], dst[:])

	message := to[header6:n]
	message[0] = 2
	binary.BigEndian.PutUint32(message[4:], uint32(mtu))
	copy(message[icmpHeader:], quote)
	// RFC 8200 8.1: addresses, length and protocol are covered too
	pseudo := checksum(0, to[8:header6])
	pseudo = checksum(uint32(^pseudo)+uint32(len(message))+protoICMPv6, message)
	binary.BigEndian.PutUint16(message[2:], pseudo)
	return n
}

// checksum is the Internet checksum (RFC 1071) of b on top of a sum.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
