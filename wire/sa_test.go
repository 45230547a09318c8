package wire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// anIKEOffer and anESPOffer are what a client might send.
func anIKEOffer() []ProposalSpec {
	return []ProposalSpec{
		{Num: 1, Protocol: ProtocolIKE, Transforms: []Transform{
			{Type: TransformENCR, ID: ENCRAESGCM16, KeyBits: 256},
			{Type: TransformENCR, ID: ENCRChaCha20Poly1305},
			{Type: TransformPRF, ID: PRFHMACSHA256},
			{Type: TransformKE, ID: KEX25519},
		}},
		{Num: 2, Protocol: ProtocolIKE, Transforms: []Transform{
			{Type: TransformENCR, ID: ENCRAESCBC, KeyBits: 128},
			{Type: TransformINTEG, ID: INTEGHMACSHA256},
			{Type: TransformPRF, ID: PRFHMACSHA256},
			{Type: TransformKE, ID: KEMODP2048},
		}},
	}
}

func anESPOffer() ProposalSpec {
	return ProposalSpec{Num: 1, Protocol: ProtocolESP, SPI: []byte{0xc0, 1, 2, 3}, Transforms: []Transform{
		{Type: TransformENCR, ID: ENCRAESGCM16, KeyBits: 128},
		{Type: TransformESN, ID: ESNYes},
		{Type: TransformESN, ID: ESNNo},
	}}
}

// specs is what an SA says, in the form that AppendSA takes.
func specs(sa SA) []ProposalSpec {
	var all []ProposalSpec
	for p := range sa.Proposals() {
		all = append(all, ProposalSpec{p.Num, p.Protocol, p.SPI, slices.Collect(p.Transforms())})
	}
	return all
}

func TestSAOctets(t *testing.T) {
	want := unhex(t, `
		00 00 00 2c 01 03 04 03 c0010203
		03 00 00 0c 01 00 0014 800e 0080
		03 00 00 08 05 00 0001
		00 00 00 08 05 00 0000`)
	want[3] = byte(len(want))
	if got := AppendSA(nil, anESPOffer()); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// Any offer that can be written is read as it was.
func TestSARoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7296, 33))
	for range 2000 {
		var offer []ProposalSpec
		first := 1 + r.IntN(200) // an accepted proposal may bear any number
		for i := range 1 + r.IntN(5) {
			offer = append(offer, randomProposal(r, uint8(first+i)))
		}
		body := AppendSA(nil, offer...)
		sa, err := ParseSA(body)
		if err != nil {
			t.Fatalf("%+v: %v", offer, err)
		}
		if got := specs(sa); !reflect.DeepEqual(got, offer) {
			t.Fatalf("got  %+v\nwant %+v", got, offer)
		}
		for n := range body {
			if _, err := ParseSA(body[:n]); err == nil {
				t.Fatalf("%x: its first %d octets parse", body, n)
			}
		}
		if _, err := ParseSA(append(body, 0)); err == nil {
			t.Fatalf("%x parses with an octet too many", body)
		}
	}
}

func randomProposal(r *rand.Rand, num uint8) ProposalSpec {
	p := ProposalSpec{Num: num, Protocol: ProtocolID(1 + r.IntN(4)), SPI: []byte{}}
	switch p.Protocol {
	case ProtocolIKE:
		p.SPI = make([]byte, 8*r.IntN(2))
	case ProtocolAH, ProtocolESP:
		p.SPI = make([]byte, 4)
	}
	for i := range p.SPI {
		p.SPI[i] = byte(r.Uint32())
	}
	for range r.IntN(8) {
		t := Transform{Type: TransformType(r.Uint32()), ID: TransformID(r.Uint32())}
		if r.IntN(2) == 0 {
			t.KeyBits = uint16(1 + r.IntN(0xffff))
		}
		p.Transforms = append(p.Transforms, t)
	}
	return p
}

func TestParseSAFaults(t *testing.T) {
	two := AppendSA(nil, anIKEOffer()...)
	second := int(two[3]) // offset of the second proposal
	esp := AppendSA(nil, anESPOffer())
	tests := []struct {
		section string
		fault   string
		body    []byte
		at      int
		to      byte
		err     error
	}{
		{"3.3", "no proposal", nil, -1, 0, ErrShort},
		{"3.3.1", "last proposal, and yet one more", two, 0, 0, ErrLast},
		{"3.3.1", "one more, and there is none", two, second, 2, ErrShort},
		{"3.3.1", "neither last nor more", two, 0, 1, ErrLast},
		{"3.3.1", "longer than the payload", esp, 3, 0xff, ErrShort},
		{"3.3.1", "shorter than its header", esp, 3, 7, ErrLength},
		{"3.3.1", "shorter than its SPI", esp, 3, 11, ErrLength},
		{"3.3.1", "cut inside a transform", esp, 3, 0x2b, ErrShort},
		{"3.3.1", "number zero", esp, 4, 0, ErrProposal},
		{"3.3.1", "second proposal numbered like the first", two, second + 4, 1, ErrProposal},
		{"3.3.1", "second proposal skips a number", two, second + 4, 3, ErrProposal},
		{"3.3.1", "IKE with an SPI of 4", esp, 5, 1, ErrSPISize},
		{"3.3.1", "ESP with an SPI of 0", two, 5, 3, ErrSPISize},
		{"3.3.1", "fewer transforms than counted", esp, 7, 4, ErrLast},
		{"3.3.1", "more transforms than counted", esp, 7, 2, ErrLast},
		{"3.3.1", "no transforms counted", esp, 7, 0, ErrCount},
		{"3.3.2", "transform is last and is not", esp, 12, 0, ErrLast},
		{"3.3.2", "transform marked as a proposal", esp, 12, 2, ErrLast},
		{"3.3.2", "transform shorter than its header", esp, 15, 7, ErrLength},
		{"3.3.2", "transform longer than the proposal", esp, 15, 0xff, ErrShort},
		{"3.3.5", "attribute cut off", esp, 15, 11, ErrShort},
		{"3.3.5", "attribute value longer than the transform", esp, 20, 0, ErrShort},
	}
	for _, tt := range tests {
		body := bytes.Clone(tt.body)
		if tt.at >= 0 {
			if body[tt.at] == tt.to {
				t.Fatalf("%s: the octet is %d already", tt.fault, tt.to)
			}
			body[tt.at] = tt.to
		}
		if _, err := ParseSA(body); err != tt.err {
			t.Errorf("%s: %s: %v, want %v", tt.section, tt.fault, err, tt.err)
		}
	}
}

// 3.3.6: a transform with an attribute that we cannot read is well-formed, but
// not to be selected. 2.5: reserved octets are not looked at.
func TestTransformAttributes(t *testing.T) {
	tests := []struct {
		section, name, attributes string
		bits                      uint16
		unknown                   bool
	}{
		{"3.3.5", "none", "", 0, false},
		{"3.3.5", "key length", "800e0100", 256, false},
		{"3.3.5", "key length of zero", "800e0000", 0, true},
		{"3.3.5", "key length twice", "800e0080 800e0100", 128, true},
		{"3.3.5", "key length as TLV", "000e0002 0100", 0, true},
		{"3.3.6", "another TV", "800f0100", 0, true},
		{"3.3.6", "another TLV before it", "000f0003 010203 800e00c0", 192, true},
		{"3.3.6", "an empty TLV", "00120000", 0, true},
	}
	for _, tt := range tests {
		attributes := unhex(t, tt.attributes)
		n := byte(8 + len(attributes))
		body := append([]byte{0, 0x55, 0, 8 + n, 1, 1, 0, 1, 0, 0x55, 0, n, 1, 0x55, 0, 20}, attributes...)
		sa, err := ParseSA(body)
		if err != nil {
			t.Errorf("%s: %s: %v", tt.section, tt.name, err)
			continue
		}
		want := []ProposalSpec{{1, ProtocolIKE, []byte{}, []Transform{{TransformENCR, ENCRAESGCM16, tt.bits, tt.unknown}}}}
		if got := specs(sa); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s:\n got %+v\nwant %+v", tt.section, tt.name, got, want)
		}
	}
}

// A loop over proposals and transforms may end early.
func TestSABreak(t *testing.T) {
	sa, err := ParseSA(AppendSA(nil, anIKEOffer()...))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := range sa.Proposals() {
		for range p.Transforms() {
			n++
			break
		}
		break
	}
	if n != 1 {
		t.Errorf("%d turns", n)
	}
}

func TestTransformString(t *testing.T) {
	tests := []struct {
		t    Transform
		want string
	}{
		{Transform{Type: TransformENCR, ID: ENCRAESCBC, KeyBits: 256}, "ENCR_AES_CBC-256"},
		{Transform{Type: TransformPRF, ID: PRFHMACSHA512}, "PRF_HMAC_SHA2_512"},
		{Transform{Type: TransformENCR, ID: 4711}, "4711"},
	}
	for _, tt := range tests {
		if got := tt.t.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// A count that does not fit its octet is a mistake of the caller.
func TestAppendSAPanics(t *testing.T) {
	for name, spec := range map[string]ProposalSpec{
		"256 transforms":    {Num: 1, Protocol: ProtocolIKE, Transforms: make([]Transform, 256)},
		"SPI of 256 octets": {Num: 1, Protocol: ProtocolIKE, SPI: make([]byte, 256)},
	} {
		if !panics(func() { AppendSA(nil, spec) }) {
			t.Errorf("%s: no panic", name)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
