package wire

import (
	"encoding/binary"
	"iter"
)

// CPAttribute is one attribute of a Configuration payload, RFC 7296 3.15.1:
// type 15 bits, length 2, value.
type CPAttribute struct {
	Type  CPAttributeType
	Value []byte
}

// CP is a parsed Configuration payload; it views the message.
type CP struct {
	Type CFGType
	b    []byte
}

// ParseCP reads the body of a CP payload: type 1, reserved 3, attributes.
func ParseCP(b []byte) (CP, error) {
	if len(b) < 4 {
		return CP{}, ErrShort
	}
	for rest := b[4:]; len(rest) > 0; {
		if len(rest) < 4 {
			return CP{}, ErrShort
		}
		n := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		if n > len(rest) {
			return CP{}, ErrLength
		}
		rest = rest[n:]
	}
	return CP{CFGType(b[0]), b[4:]}, nil
}

// Attributes ranges over the attributes.
func (c CP) Attributes() iter.Seq[CPAttribute] {
	return func(yield func(CPAttribute) bool) {
		for b := c.b; len(b) >= 4; {
			n := 4 + int(binary.BigEndian.Uint16(b[2:]))
			if n > len(b) || !yield(CPAttribute{CPAttributeType(binary.BigEndian.Uint16(b) & 0x7fff), b[4:n:n]}) {
				return
			}
			b = b[n:]
		}
	}
}

// AppendCP appends the body of a CP payload.
func AppendCP(b []byte, t CFGType, attrs ...CPAttribute) []byte {
	b = append(b, byte(t), 0, 0, 0)
	for _, a := range attrs {
		b = binary.BigEndian.AppendUint16(b, uint16(a.Type)&0x7fff)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		b = append(b, a.Value...)
	}
	return b
}
