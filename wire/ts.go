package wire

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"strconv"
)

// TSType is the kind of a traffic selector (3.13.1).
type TSType uint8

// Traffic selector types, IANA "IKEv2 Traffic Selector Types".
const (
	TSIPv4AddrRange TSType = 7
	TSIPv6AddrRange TSType = 8
	TSFCAddrRange   TSType = 9
	TSSecLabel      TSType = 10 // RFC 9478
)

// String returns the IANA name, or the number of an unassigned one.
func (t TSType) String() string { return nameOf(tsNames, t) }

var tsNames = map[TSType]string{
	TSIPv4AddrRange: "TS_IPV4_ADDR_RANGE", TSIPv6AddrRange: "TS_IPV6_ADDR_RANGE",
	TSFCAddrRange: "TS_FC_ADDR_RANGE", TSSecLabel: "TS_SECLABEL",
}

// Sizes of traffic selectors in octets.
const (
	tsHeaderLen       = 4 // of any selector: type, protocol, length
	selectorHeaderLen = 8 // of an address range: and the ports
)

// Selector is one range of addresses, protocol and ports (3.13.1).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|   TS Type     |IP Protocol ID |       Selector Length         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Start Port           |           End Port            |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~         Starting Address, Ending Address (4 or 16 each)       ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// Ports 0 to 65535 are any, 65535 to 0 OPAQUE: only packets whose ports cannot
// be seen. For ICMP a port is type and code (4.4.1.1 of RFC 4301).
type Selector struct {
	Protocol           uint8 // 0 = any
	StartPort, EndPort uint16
	Start, End         netip.Addr // of one family, both included
}

// Prefix returns the selector of all traffic of the addresses of p.
func Prefix(p netip.Prefix) Selector {
	first := p.Masked().Addr()
	last := first.As16()
	for host := p.Addr().BitLen() - p.Bits(); host > 0; host-- {
		last[15-(host-1)/8] |= 1 << ((host - 1) % 8)
	}
	s := Selector{EndPort: 65535, Start: first, End: netip.AddrFrom16(last)}
	if first.Is4() {
		s.End = s.End.Unmap()
	}
	return s
}

// String returns the selector for a person: "10.1.0.0/16", "10.0.0.1-10.0.0.9",
// with protocol and ports where they are not any: "10.1.0.0/16[6/443]".
func (s Selector) String() string {
	ports := s.StartPort != 0 || s.EndPort != 65535
	text := s.addresses()
	if s.Protocol == 0 && !ports {
		return text
	}
	text += "[" + strconv.Itoa(int(s.Protocol))
	if ports {
		text += "/" + strconv.Itoa(int(s.StartPort))
		if s.EndPort != s.StartPort {
			text += "-" + strconv.Itoa(int(s.EndPort))
		}
	}
	return text + "]"
}

// addresses returns the range as an address, as a prefix if it is one, or as
// its two ends.
func (s Selector) addresses() string {
	if s.Start == s.End {
		return s.Start.String()
	}
	for bits := range s.Start.BitLen() {
		p := netip.PrefixFrom(s.Start, bits)
		if all := Prefix(p); all.Start == s.Start && all.End == s.End {
			return p.String()
		}
	}
	return s.Start.String() + "-" + s.End.String()
}

// TS is a view of a TSi or TSr payload that ParseTS has checked (3.13).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Number of TSs |                 RESERVED                      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                       Traffic Selectors                       ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type TS struct {
	b       []byte
	known   uint8
	unknown uint8
}

// ParseTS checks a traffic selector body to its last octet and views it.
// Errors: ErrShort, ErrLength, ErrCount, ErrSelector.
func ParseTS(body []byte) (TS, error) {
	if len(body) < 4 {
		return TS{}, ErrShort
	}
	if body[0] == 0 { // 3.13: one or more selectors
		return TS{}, ErrCount
	}
	ts := TS{b: body[4:]}
	rest := ts.b
	for range body[0] {
		s, n, known, err := cutSelector(rest)
		if err != nil {
			return TS{}, err
		}
		if known {
			if s.reversed() {
				return TS{}, ErrSelector
			}
			ts.known++
		} else {
			ts.unknown++
		}
		rest = rest[n:]
	}
	if len(rest) != 0 {
		return TS{}, ErrCount
	}
	return ts, nil
}

// reversed: the end lies before the start; ports alone may, as OPAQUE.
func (s Selector) reversed() bool {
	opaque := s.StartPort == 65535 && s.EndPort == 0
	return s.End.Less(s.Start) || s.EndPort < s.StartPort && !opaque
}

// cutSelector reads the first selector of b and its size in octets.
func cutSelector(b []byte) (s Selector, n int, known bool, err error) {
	if len(b) < tsHeaderLen {
		return s, 0, false, ErrShort
	}
	n = int(binary.BigEndian.Uint16(b[2:]))
	if n < tsHeaderLen {
		return s, 0, false, ErrLength
	}
	if n > len(b) {
		return s, 0, false, ErrShort
	}
	size := 0
	switch TSType(b[0]) {
	case TSIPv4AddrRange:
		size = 4
	case TSIPv6AddrRange:
		size = 16
	default:
		return s, n, false, nil
	}
	if n != selectorHeaderLen+2*size {
		return s, 0, false, ErrSelector
	}
	s.Protocol = b[1]
	s.StartPort = binary.BigEndian.Uint16(b[4:])
	s.EndPort = binary.BigEndian.Uint16(b[6:])
	s.Start, _ = netip.AddrFromSlice(b[8 : 8+size])
	s.End, _ = netip.AddrFromSlice(b[8+size : n])
	return s, n, true, nil
}

// Len returns the number of selectors that Selectors yields.
func (t TS) Len() int { return int(t.known) }

// Unknown returns the number of selectors of other types, which are skipped.
func (t TS) Unknown() int { return int(t.unknown) }

// Selectors ranges over the address ranges in the order of the payload.
func (t TS) Selectors() iter.Seq[Selector] {
	return func(yield func(Selector) bool) {
		for b := t.b; len(b) != 0; {
			s, n, known, _ := cutSelector(b)
			if known && !yield(s) {
				return
			}
			b = b[n:]
		}
	}
}

// AppendTS appends a traffic selector body. It is misuse, and panics, to give
// more than 255 selectors or one without two addresses of one family.
func AppendTS(b []byte, selectors []Selector) []byte {
	b = append(b, octet(len(selectors)), 0, 0, 0)
	for _, s := range selectors {
		b = s.append(b)
	}
	return b
}

// Prefixes cuts the addresses of s into the fewest prefixes that make them up,
// 254 at the most. A range that ends before it starts has none.
func (s Selector) Prefixes() []netip.Prefix {
	if s.End.Less(s.Start) {
		return nil
	}
	var all []netip.Prefix
	for start := s.Start; ; {
		bits := start.BitLen()
		last := start
		for bits > 0 {
			p := netip.PrefixFrom(start, bits-1)
			end := Prefix(p).End
			if p.Masked().Addr() != start || s.End.Less(end) {
				break
			}
			bits, last = bits-1, end
		}
		all = append(all, netip.PrefixFrom(start, bits))
		if last == s.End {
			return all
		}
		start = last.Next()
	}
}

func (s Selector) append(b []byte) []byte {
	if !s.Start.IsValid() || s.Start.BitLen() != s.End.BitLen() {
		panic("wire: a selector needs two addresses of one family")
	}
	kind, n := TSIPv6AddrRange, byte(selectorHeaderLen+2*16)
	if s.Start.Is4() {
		kind, n = TSIPv4AddrRange, selectorHeaderLen+2*4
	}
	b = append(b, byte(kind), s.Protocol, 0, n)
	b = binary.BigEndian.AppendUint16(b, s.StartPort)
	b = binary.BigEndian.AppendUint16(b, s.EndPort)
	if kind == TSIPv4AddrRange {
		start, end := s.Start.As4(), s.End.As4()
		return append(append(b, start[:]...), end[:]...)
	}
	start, end := s.Start.As16(), s.End.As16()
	return append(append(b, start[:]...), end[:]...)
}
