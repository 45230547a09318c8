package wire

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// Selector is one traffic selector, RFC 7296 3.13.1. Protocol 0 is any; the
// ports 0 to 65535 are any.
//
//	+---------------+---------------+-------------------------------+
//	|    TS Type    |IP Protocol ID |        Selector Length        |
//	|          Start Port           |           End Port            |
//	|                       Starting Address                        |
//	|                        Ending Address                         |
//	+---------------------------------------------------------------+
type Selector struct {
	Protocol           uint8
	StartPort, EndPort uint16
	Start, End         netip.Addr
}

func (s Selector) String() string {
	t := s.Start.String()
	if s.End != s.Start {
		t += "-" + s.End.String()
	}
	if s.Protocol != 0 {
		t += "[" + decimal(int(s.Protocol)) + "]"
	}
	if s.StartPort != 0 || s.EndPort != 65535 {
		t += ":" + decimal(int(s.StartPort)) + "-" + decimal(int(s.EndPort))
	}
	return t
}

// Prefix is the selector of all traffic of a prefix.
func Prefix(p netip.Prefix) Selector {
	p = p.Masked()
	end := p.Addr().As16()
	host := p.Addr().BitLen() - p.Bits()
	for i := 15; host > 0; i-- {
		n := min(host, 8)
		end[i] |= byte(1<<n - 1)
		host -= n
	}
	last := netip.AddrFrom16(end)
	if p.Addr().Is4() {
		last = last.Unmap()
	}
	return Selector{EndPort: 65535, Start: p.Addr(), End: last}
}

// TS is a parsed TSi or TSr payload; it views the message.
type TS struct {
	b       []byte
	known   int
	unknown int
}

// ParseTS checks the whole of a TS payload's body. Selectors of unknown type
// are passed over and counted.
func ParseTS(b []byte) (TS, error) {
	if len(b) < 4 {
		return TS{}, ErrShort
	}
	t := TS{b: b[4:]}
	rest := t.b
	for range int(b[0]) {
		if len(rest) < 8 {
			return TS{}, ErrShort
		}
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if n < 8 || n > len(rest) {
			return TS{}, ErrLength
		}
		switch want := selectorLen(TSType(rest[0])); want {
		case 0:
			t.unknown++
		case n:
			t.known++
		default:
			return TS{}, ErrLength
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return TS{}, ErrTrailing
	}
	if b[0] == 0 {
		return TS{}, ErrMalformed
	}
	return t, nil
}

func selectorLen(t TSType) int {
	switch t {
	case TSIPv4AddrRange:
		return 16
	case TSIPv6AddrRange:
		return 40
	}
	return 0
}

// Len is how many selectors Selectors gives; Unknown how many it passes over.
func (t TS) Len() int     { return t.known }
func (t TS) Unknown() int { return t.unknown }

// Selectors ranges over the selectors of known type.
func (t TS) Selectors() iter.Seq[Selector] {
	return func(yield func(Selector) bool) {
		for b := t.b; len(b) >= 8; {
			n := int(binary.BigEndian.Uint16(b[2:]))
			if n < 8 || n > len(b) {
				return
			}
			if size := selectorLen(TSType(b[0])); size != 0 && !yield(parseSelector(b, (size-8)/2)) {
				return
			}
			b = b[n:]
		}
	}
}

func parseSelector(b []byte, size int) Selector {
	start, _ := netip.AddrFromSlice(b[8 : 8+size])
	end, _ := netip.AddrFromSlice(b[8+size : 8+2*size])
	return Selector{b[1], binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), start, end}
}

// AppendTS appends the body of a TS payload; at most 255 selectors.
func AppendTS(b []byte, ss []Selector) []byte {
	b = append(b, byte(len(ss)), 0, 0, 0)
	for _, s := range ss {
		t, n := TSIPv4AddrRange, byte(16)
		if !s.Start.Is4() {
			t, n = TSIPv6AddrRange, 40
		}
		b = append(b, byte(t), s.Protocol, 0, n)
		b = binary.BigEndian.AppendUint16(b, s.StartPort)
		b = binary.BigEndian.AppendUint16(b, s.EndPort)
		b = appendAddr(appendAddr(b, s.Start), s.End)
	}
	return b
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		x := a.As4()
		return append(b, x[:]...)
	}
	x := a.As16()
	return append(b, x[:]...)
}
