package wire

import (
	"encoding/binary"
	"iter"
	"strconv"
)

// Sizes of the fixed parts of the SA payload's substructures, in octets.
const (
	proposalHeaderLen  = 8
	transformHeaderLen = 8
)

// Values of the first octet of a substructure: another one follows, or not.
const (
	moreProposals  = 2
	moreTransforms = 3
)

// attributeKeyLength is the one transform attribute that exists, in TV format:
// the highest bit says that the value stands in place of the length (3.3.5).
const attributeKeyLength = 0x8000 | 14

// SA is a view of an SA payload that ParseSA has checked (3.3).
type SA struct{ b []byte }

// Proposal is one proposal of an SA payload.
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| 0 last/2 more |   RESERVED    |        Proposal Length        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Proposal Num  |  Protocol ID  |   SPI Size    | Num Transforms|
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                       SPI, then Transforms                    ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Proposal struct {
	Num        uint8
	Protocol   ProtocolID
	SPI        []byte // 0 or 8 octets for IKE, 4 for AH and ESP
	transforms []byte
}

// Transform is one transform of a proposal.
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| 0 last/3 more |   RESERVED    |       Transform Length        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|Transform Type |   RESERVED    |         Transform ID          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~      Attributes: |1|  Type = 14  |  Key Length in bits |      ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Transform struct {
	Type    TransformType
	ID      TransformID
	KeyBits uint16 // 0 = no Key Length attribute
	Unknown bool   // carries an attribute that we cannot read: never select it (3.3.6)
}

// String returns the IANA name, with the key length if there is one:
// "ENCR_AES_CBC-256".
func (t Transform) String() string {
	name := t.Type.Name(t.ID)
	if t.KeyBits != 0 {
		name += "-" + strconv.Itoa(int(t.KeyBits))
	}
	return name
}

// ProposalSpec is a proposal to be written.
type ProposalSpec struct {
	Num        uint8
	Protocol   ProtocolID
	SPI        []byte
	Transforms []Transform // in order of preference within each type
}

// ParseSA checks an SA body to its last octet and views it. Errors: ErrShort,
// ErrLength, ErrLast, ErrProposal, ErrCount, ErrSPISize.
func ParseSA(body []byte) (SA, error) {
	rest, last := body, false
	for num := uint8(0); !last; {
		p, after, err := cutProposal(rest)
		if err != nil {
			return SA{}, err
		}
		// 3.3.1: each proposal is numbered one more than the one before it. An
		// accepted one stands alone with the number that it was offered under.
		if p.Num == 0 || num != 0 && p.Num != num+1 {
			return SA{}, ErrProposal
		}
		if !p.sizedSPI() {
			return SA{}, ErrSPISize
		}
		if err := checkTransforms(p.transforms, int(rest[7])); err != nil {
			return SA{}, err
		}
		last = rest[0] == 0
		if !last && rest[0] != moreProposals {
			return SA{}, ErrLast
		}
		num, rest = p.Num, after
	}
	if len(rest) != 0 {
		return SA{}, ErrLast
	}
	return SA{body}, nil
}

// sizedSPI: 3.3.1: nothing in an initial IKE negotiation, 8 octets in an IKE
// rekey, 4 for AH and ESP. Protocols unknown to us choose their own.
func (p Proposal) sizedSPI() bool {
	switch p.Protocol {
	case ProtocolIKE:
		return len(p.SPI) == 0 || len(p.SPI) == 8
	case ProtocolAH, ProtocolESP:
		return len(p.SPI) == 4
	}
	return true
}

// cutProposal splits the first proposal off b.
func cutProposal(b []byte) (p Proposal, rest []byte, err error) {
	if len(b) < proposalHeaderLen {
		return p, nil, ErrShort
	}
	n, spi := int(binary.BigEndian.Uint16(b[2:])), int(b[6])
	if n < proposalHeaderLen+spi {
		return p, nil, ErrLength
	}
	if n > len(b) {
		return p, nil, ErrShort
	}
	ts := proposalHeaderLen + spi
	return Proposal{Num: b[4], Protocol: ProtocolID(b[5]), SPI: b[proposalHeaderLen:ts:ts], transforms: b[ts:n:n]}, b[n:], nil
}

// checkTransforms checks that b holds exactly count well-formed transforms.
func checkTransforms(b []byte, count int) error {
	for ; count > 0; count-- {
		if len(b) < transformHeaderLen {
			return ErrShort
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < transformHeaderLen {
			return ErrLength
		}
		if n > len(b) {
			return ErrShort
		}
		want := byte(moreTransforms)
		if count == 1 {
			want = 0
		}
		if b[0] != want {
			return ErrLast
		}
		if err := checkAttributes(b[transformHeaderLen:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	if len(b) != 0 {
		return ErrCount
	}
	return nil
}

// checkAttributes checks that b is a sequence of whole attributes.
func checkAttributes(b []byte) error {
	for len(b) != 0 {
		n := attributeLen(b)
		if n > len(b) {
			return ErrShort
		}
		b = b[n:]
	}
	return nil
}

// attributeLen returns the size of the first attribute of b, which may exceed
// len(b): 4 octets with the AF bit set (TV), else 4 and a value (TLV).
func attributeLen(b []byte) int {
	if len(b) < 4 || b[0]&0x80 != 0 {
		return 4
	}
	return 4 + int(binary.BigEndian.Uint16(b[2:]))
}

// Proposals ranges over the proposals in the order of the sender's preference.
func (s SA) Proposals() iter.Seq[Proposal] {
	return func(yield func(Proposal) bool) {
		for b := s.b; len(b) != 0; {
			p, rest, _ := cutProposal(b)
			if !yield(p) {
				return
			}
			b = rest
		}
	}
}

// Transforms ranges over the transforms as sent.
func (p Proposal) Transforms() iter.Seq[Transform] {
	return func(yield func(Transform) bool) {
		for b := p.transforms; len(b) != 0; {
			t, n := readTransform(b)
			if !yield(t) {
				return
			}
			b = b[n:]
		}
	}
}

// readTransform reads the first transform of b, checked before, and its size.
func readTransform(b []byte) (t Transform, n int) {
	n = int(binary.BigEndian.Uint16(b[2:]))
	t = Transform{Type: TransformType(b[4]), ID: TransformID(binary.BigEndian.Uint16(b[6:]))}
	for a := b[transformHeaderLen:n]; len(a) != 0; a = a[attributeLen(a):] {
		bits := binary.BigEndian.Uint16(a[2:])
		// A second key length, or one of nothing, is as unreadable as an unknown attribute.
		if binary.BigEndian.Uint16(a) != attributeKeyLength || t.KeyBits != 0 || bits == 0 {
			t.Unknown = true
			continue
		}
		t.KeyBits = bits
	}
	return t, n
}

// AppendSA appends an SA body with the given proposals, at least one. It is
// misuse to give more than 255 transforms to one.
func AppendSA(b []byte, proposals ...ProposalSpec) []byte {
	for i := range proposals {
		start := len(b)
		b = proposals[i].append(b, i == len(proposals)-1)
		binary.BigEndian.PutUint16(b[start+2:], word(len(b)-start))
	}
	return b
}

func (p *ProposalSpec) append(b []byte, last bool) []byte {
	follows := byte(moreProposals)
	if last {
		follows = 0
	}
	b = append(b, follows, 0, 0, 0, p.Num, byte(p.Protocol), octet(len(p.SPI)), octet(len(p.Transforms)))
	b = append(b, p.SPI...)
	for i, t := range p.Transforms {
		b = t.append(b, i == len(p.Transforms)-1)
	}
	return b
}

func (t Transform) append(b []byte, last bool) []byte {
	follows, n := byte(moreTransforms), byte(transformHeaderLen)
	if last {
		follows = 0
	}
	if t.KeyBits != 0 {
		n += 4
	}
	b = append(b, follows, 0, 0, n, byte(t.Type), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(t.ID))
	if t.KeyBits != 0 {
		b = binary.BigEndian.AppendUint16(b, attributeKeyLength)
		b = binary.BigEndian.AppendUint16(b, t.KeyBits)
	}
	return b
}
