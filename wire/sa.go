package wire

import (
	"encoding/binary"
	"iter"
)

// Transform is one algorithm of a proposal, RFC 7296 3.3.2:
//
//	+---------------+---------------+-------------------------------+
//	| 0 (last) or 3 |   RESERVED    |       Transform Length        |
//	|Transform Type |   RESERVED    |         Transform ID          |
//	|                     Transform Attributes                      |
//	+---------------------------------------------------------------+
type Transform struct {
	Type    TransformType
	ID      TransformID
	KeyBits uint16 // Key Length attribute, 0: none
	Unknown bool   // has an attribute other than Key Length: not selectable (3.3.6)
}

// String is the IANA name, with the key length.
func (t Transform) String() string {
	s := t.Type.Name(t.ID)
	if t.KeyBits != 0 {
		s += "-" + decimal(int(t.KeyBits))
	}
	return s
}

// Proposal is one proposal of a parsed SA payload, RFC 7296 3.3.1:
//
//	+---------------+---------------+-------------------------------+
//	| 0 (last) or 2 |   RESERVED    |        Proposal Length        |
//	| Proposal Num  |  Protocol ID  |   SPI Size    |Num Transforms |
//	|                        SPI (variable)                         |
//	|                          Transforms                           |
//	+---------------------------------------------------------------+
type Proposal struct {
	Num        uint8
	Protocol   ProtocolID
	SPI        []byte // views the message
	transforms []byte
}

// SA is a parsed SA payload; it views the message.
type SA struct{ b []byte }

// ParseSA checks the whole of an SA payload's body: every length, count and
// last-or-more octet, and that each transform's attributes end where it does.
func ParseSA(b []byte) (SA, error) {
	for rest, last := b, false; !last; {
		p, next, err := parseProposal(rest)
		if err != nil {
			return SA{}, err
		}
		last = rest[0] == 0
		if last != (len(next) == 0) {
			return SA{}, ErrMalformed
		}
		if err := checkTransforms(p.transforms, int(rest[7])); err != nil {
			return SA{}, err
		}
		rest = next
	}
	return SA{b}, nil
}

func parseProposal(b []byte) (Proposal, []byte, error) {
	if len(b) < 8 {
		return Proposal{}, nil, ErrShort
	}
	n, spi := int(binary.BigEndian.Uint16(b[2:])), int(b[6])
	if b[0] != 0 && b[0] != 2 {
		return Proposal{}, nil, ErrMalformed
	}
	if n > len(b) || n < 8+spi {
		return Proposal{}, nil, ErrLength
	}
	return Proposal{Num: b[4], Protocol: ProtocolID(b[5]), SPI: b[8 : 8+spi : 8+spi], transforms: b[8+spi : n]}, b[n:], nil
}

func checkTransforms(b []byte, count int) error {
	for i := range count {
		if len(b) < 8 {
			return ErrShort
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 8 || n > len(b) {
			return ErrLength
		}
		if last := i == count-1; last && b[0] != 0 || !last && b[0] != 3 {
			return ErrMalformed
		}
		if !checkAttributes(b[8:n]) {
			return ErrMalformed
		}
		b = b[n:]
	}
	if len(b) > 0 {
		return ErrTrailing
	}
	return nil
}

// checkAttributes: type with the AF bit and a value of two octets, or type,
// length and value (3.3.5).
func checkAttributes(b []byte) bool {
	for len(b) > 0 {
		n := attributeLen(b)
		if n == 0 || n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}

func attributeLen(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	if b[0]&0x80 != 0 {
		return 4
	}
	return 4 + int(binary.BigEndian.Uint16(b[2:]))
}

const attrKeyLength = 14

// Proposals ranges over the proposals.
func (s SA) Proposals() iter.Seq[Proposal] {
	return func(yield func(Proposal) bool) {
		for b := s.b; len(b) > 0; {
			p, next, err := parseProposal(b)
			if err != nil || !yield(p) {
				return
			}
			b = next
		}
	}
}

// Transforms ranges over the transforms.
func (p Proposal) Transforms() iter.Seq[Transform] {
	return func(yield func(Transform) bool) {
		for b := p.transforms; len(b) >= 8; {
			n := int(binary.BigEndian.Uint16(b[2:]))
			if n < 8 || n > len(b) || !yield(parseTransform(b[:n])) {
				return
			}
			b = b[n:]
		}
	}
}

func parseTransform(b []byte) Transform {
	t := Transform{Type: TransformType(b[4]), ID: TransformID(binary.BigEndian.Uint16(b[6:]))}
	for a := b[8:]; len(a) >= 4; {
		if a[0]&0x80 != 0 && binary.BigEndian.Uint16(a)&0x7fff == attrKeyLength {
			t.KeyBits = binary.BigEndian.Uint16(a[2:])
		} else {
			t.Unknown = true
		}
		a = a[min(attributeLen(a), len(a)):]
	}
	return t
}

// ProposalSpec is a proposal to be written.
type ProposalSpec struct {
	Num        uint8
	Protocol   ProtocolID
	SPI        []byte
	Transforms []Transform
}

// AppendSA appends the body of an SA payload.
func AppendSA(b []byte, ps ...ProposalSpec) []byte {
	for i, p := range ps {
		at := len(b)
		more := byte(2)
		if i == len(ps)-1 {
			more = 0
		}
		b = append(b, more, 0, 0, 0, p.Num, byte(p.Protocol), byte(len(p.SPI)), byte(len(p.Transforms)))
		b = append(b, p.SPI...)
		for j, t := range p.Transforms {
			b = t.append(b, j == len(p.Transforms)-1)
		}
		binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at))
	}
	return b
}

func (t Transform) append(b []byte, last bool) []byte {
	n, more := byte(8), byte(3)
	if t.KeyBits != 0 {
		n = 12
	}
	if last {
		more = 0
	}
	b = append(b, more, 0, 0, n, byte(t.Type), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(t.ID))
	if t.KeyBits != 0 {
		b = append(b, 0x80, attrKeyLength)
		b = binary.BigEndian.AppendUint16(b, t.KeyBits)
	}
	return b
}
