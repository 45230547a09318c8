package tunnel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"blackswan/wire"
)

// Transport mode, RFC 4303 3.1.1. An ESP packet carries what stands behind the
// IP header of a packet between the two ends themselves. The header is left out
// here and made again there, from the two addresses of the Child SA and from the
// outer header: what else a header may say does not arrive. A packet of which
// that would matter is not carried: a fragment (RFC 4303 3.3.4), one with
// options of IPv4, one with extension headers that stand before ESP (RFC 4303
// 3.1.1).
//
// Checksums of TCP and UDP cover the addresses, and none of them is changed: no
// NAT may be on the path. The machine sees to that.

var errHosts = errors.New("tunnel: a Child SA in transport mode carries what goes from one address to one: its traffic selectors name others")

// oneHost tells whether all selectors are of one and the same address.
func oneHost(selectors []wire.Selector) bool {
	for i := range selectors {
		if s := &selectors[i]; s.Start != s.End || s.Start != selectors[0].Start {
			return false
		}
	}
	return true
}

// headerOf is the size of the IP header that is left out.
func headerOf(addr netip.Addr) int {
	if addr.Is4() {
		return header4
	}
	return header6
}

// protocolOf is that of what stands behind the IP header of the packet b.
func protocolOf(b []byte) uint8 {
	if b[0]>>4 == 4 {
		return b[9]
	}
	return b[6]
}

// headerless tells whether the packet b, which parse has read, can go without
// its IP header.
func headerless(b []byte) bool {
	if b[0]>>4 == 4 {
		const fragment = 0x3fff // More Fragments, and the offset
		return b[0]&0x0f == header4/4 && binary.BigEndian.Uint16(b[6:])&fragment == 0
	}
	switch b[6] {
	case protoHopByHop, protoRouting, protoFragment:
		return false
	}
	return true
}

// openTransport is the packet that an ESP packet carries, at its place in a
// slot, with an IP header of ours. class is the traffic class of the outer one.
func (c *child) openTransport(slot, packet []byte, class uint8) ([]byte, uint64, error) {
	n := headerOf(c.remote[0].Start)
	payload, next, seq, err := c.in.sa.OpenTransport(slot[:writeRoom+n], packet)
	if err != nil {
		return nil, seq, err
	}
	b := slot[writeRoom:][:n+len(payload)]
	putHeader(b, c.remote[0].Start, c.local[0].Start, next, class)
	return b, seq, nil
}

// putHeader writes the IP header of the packet b.
func putHeader(b []byte, src, dst netip.Addr, protocol, class uint8) {
	if src.Is6() {
		binary.BigEndian.PutUint32(b, 6<<28|uint32(class)<<20)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-header6))
		b[6], b[7] = protocol, hops
		from, to := src.As16(), dst.As16()
		copy(b[8:], from[:])
		copy(b[24:], to[:])
		return
	}
	const dontFragment = 0x4000 // so that it needs no identification (RFC 6864 4.1)
	b[0], b[1] = 4<<4|header4/4, class
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[4:], dontFragment)
	b[8], b[9] = hops, protocol
	from, to := src.As4(), dst.As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[10:], 0)
	binary.BigEndian.PutUint16(b[10:], checksum(0, b[:header4]))
}
