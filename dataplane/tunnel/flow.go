package tunnel

import (
	"encoding/binary"
	"net/netip"

	"blackswan/wire"
)

// Protocols of IP, as far as this room looks into packets.
const (
	protoHopByHop    = 0
	protoICMP        = 1
	protoTCP         = 6
	protoUDP         = 17
	protoDCCP        = 33
	protoRouting     = 43
	protoFragment    = 44
	protoESP         = 50
	protoAH          = 51
	protoICMPv6      = 58
	protoDestination = 60
	protoSCTP        = 132
	protoMobility    = 135
	protoUDPLite     = 136
)

const (
	header4 = 20 // octets of an IPv4 header without options
	header6 = 40 // octets of an IPv6 header without extensions

	mostExtensions = 8 // IPv6 extension headers that are looked through
)

// flow is what selectors are compared with (RFC 4301 4.4.1.1).
type flow struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16 // of ICMP and Mobility Header both are the type and code
	protocol         uint8
	ports            bool // they can be seen: not in a later fragment, nor of a protocol without
}

// inner is an IP packet on the protected side.
type inner struct {
	flow
	size  int   // octets by its own header; what lies behind is padding
	upper int   // where the header of its protocol begins, 0 in a later fragment
	tos   uint8 // DSCP and ECN
	df    bool  // may not be fragmented on its way
}

// parse reads the headers of the packet b, behind which there may be padding.
// It is false for what no router would forward.
func (p *inner) parse(b []byte) bool { return p.read(b) && p.size <= len(b) }

// read reads the headers of a packet of which b is the beginning.
func (p *inner) read(b []byte) bool {
	switch {
	case len(b) >= header4 && b[0]>>4 == 4:
		return p.read4(b)
	case len(b) >= header6 && b[0]>>4 == 6:
		return p.read6(b)
	}
	return false
}

// read4 reads an IPv4 header (RFC 791 3.1).
func (p *inner) read4(b []byte) bool {
	const (
		dontFragment = 0x4000
		offset       = 0x1fff
	)
	header := int(b[0]&0x0f) * 4
	p.size = int(binary.BigEndian.Uint16(b[2:]))
	if header < header4 || p.size < header || header > len(b) {
		return false
	}
	p.tos = b[1]
	flags := binary.BigEndian.Uint16(b[6:])
	p.df = flags&dontFragment != 0
	p.src = netip.AddrFrom4([4]byte(b[12:]))
	p.dst = netip.AddrFrom4([4]byte(b[16:]))
	p.protocol = b[9]
	p.upper = header
	if flags&offset != 0 {
		p.upper = 0
	}
	p.readPorts(b)
	return true
}

// read6 reads an IPv6 header and those that extend it (RFC 8200 3 and 4). A
// chain of headers that does not end in the first fragment is not forwarded
// (RFC 7112 5).
func (p *inner) read6(b []byte) bool {
	p.size = header6 + int(binary.BigEndian.Uint16(b[4:]))
	p.tos = b[0]<<4 | b[1]>>4
	p.df = true // only its source may fragment it
	p.src = netip.AddrFrom16([16]byte(b[8:]))
	p.dst = netip.AddrFrom16([16]byte(b[24:]))
	p.protocol, p.upper = b[6], header6
	for range mostExtensions {
		rest := p.from(b, p.upper)
		size := 0
		switch p.protocol {
		case protoHopByHop, protoRouting, protoDestination:
			if len(rest) < 8 {
				return false
			}
			size = 8 + 8*int(rest[1])
		case protoAH:
			if len(rest) < 8 {
				return false
			}
			size = 8 + 4*int(rest[1])
		case protoFragment:
			if len(rest) < 8 {
				return false
			}
			size = 8
			if binary.BigEndian.Uint16(rest[2:])>>3 != 0 { // a later fragment
				p.protocol, p.upper = rest[0], 0
				p.readPorts(b)
				return true
			}
		default:
			p.readPorts(b)
			return true
		}
		if size > len(rest) {
			return false
		}
		p.protocol = rest[0]
		p.upper += size
	}
	return false
}

// from is what b has of the packet from an offset on.
func (p *inner) from(b []byte, at int) []byte { return b[at:min(p.size, len(b))] }

// readPorts reads what stands where a selector has its ports (RFC 7296 3.13.1).
func (p *inner) readPorts(b []byte) {
	p.ports, p.srcPort, p.dstPort = false, 0, 0
	if p.upper == 0 {
		return
	}
	rest := p.from(b, p.upper)
	switch p.protocol {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		if len(rest) >= 4 {
			p.ports = true
			p.srcPort = binary.BigEndian.Uint16(rest)
			p.dstPort = binary.BigEndian.Uint16(rest[2:])
		}
	case protoICMP, protoICMPv6:
		if len(rest) >= 2 {
			p.ports = true
			p.srcPort = binary.BigEndian.Uint16(rest)
			p.dstPort = p.srcPort
		}
	case protoMobility:
		if len(rest) >= 3 {
			p.ports = true
			p.srcPort = uint16(rest[2]) << 8
			p.dstPort = p.srcPort
		}
	}
}

// within tells whether the address lies in the range of s.
func within(s *wire.Selector, addr netip.Addr) bool {
	return s.Start.Compare(addr) <= 0 && addr.Compare(s.End) <= 0
}

// admits tells whether s takes the protocol of f and this port of it. A packet
// whose ports cannot be seen fits any ports and OPAQUE, never a range of them
// (RFC 4301 7.1, 7.2).
func admits(s *wire.Selector, f *flow, port uint16) bool {
	switch {
	case s.Protocol != 0 && s.Protocol != f.protocol:
		return false
	case s.StartPort == 0 && s.EndPort == 65535:
		return true
	case s.StartPort > s.EndPort: // OPAQUE
		return !f.ports
	}
	return f.ports && s.StartPort <= port && port <= s.EndPort
}
