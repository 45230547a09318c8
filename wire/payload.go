package wire

import "encoding/binary"

// PayloadType is the type of a payload (3.2).
type PayloadType uint8

// Payload types, IANA "IKEv2 Payload Types".
const (
	PayloadNone     PayloadType = 0
	PayloadSA       PayloadType = 33
	PayloadKE       PayloadType = 34
	PayloadIDi      PayloadType = 35
	PayloadIDr      PayloadType = 36
	PayloadCERT     PayloadType = 37
	PayloadCERTREQ  PayloadType = 38
	PayloadAUTH     PayloadType = 39
	PayloadNonce    PayloadType = 40
	PayloadNotify   PayloadType = 41
	PayloadDelete   PayloadType = 42
	PayloadVendorID PayloadType = 43
	PayloadTSi      PayloadType = 44
	PayloadTSr      PayloadType = 45
	PayloadSK       PayloadType = 46
	PayloadCP       PayloadType = 47
	PayloadEAP      PayloadType = 48
	PayloadGSPM     PayloadType = 49 // RFC 6467
	PayloadIDg      PayloadType = 50 // group key management, not spoken here
	PayloadGSA      PayloadType = 51
	PayloadKD       PayloadType = 52
	PayloadSKF      PayloadType = 53 // RFC 7383
	PayloadPS       PayloadType = 54 // RFC 8019
)

// String returns the short form of the RFCs, or the number of an unassigned
// type.
func (t PayloadType) String() string { return nameOf(payloadNames, t) }

var payloadNames = map[PayloadType]string{
	PayloadNone: "none", PayloadSA: "SA", PayloadKE: "KE", PayloadIDi: "IDi", PayloadIDr: "IDr",
	PayloadCERT: "CERT", PayloadCERTREQ: "CERTREQ", PayloadAUTH: "AUTH", PayloadNonce: "Ni/Nr",
	PayloadNotify: "N", PayloadDelete: "D", PayloadVendorID: "V", PayloadTSi: "TSi", PayloadTSr: "TSr",
	PayloadSK: "SK", PayloadCP: "CP", PayloadEAP: "EAP", PayloadGSPM: "GSPM", PayloadIDg: "IDg",
	PayloadGSA: "GSA", PayloadKD: "KD", PayloadSKF: "SKF", PayloadPS: "PS",
}

// payloadHeaderLen is the size of the generic payload header.
const payloadHeaderLen = 4

// Payload is one payload of a chain.
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Next Payload  |C|  RESERVED   |  Payload Length (header incl.)|
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Payload struct {
	Type     PayloadType
	Critical bool        // C: do not skip this payload if its type is unknown to you
	Next     PayloadType // of the chain; in SK and SKF the first payload inside
	Body     []byte      // without the generic header; a view
}

// Known reports whether this codec has a parser for the payload. An unknown
// payload with C set is UNSUPPORTED_CRITICAL_PAYLOAD, one without is skipped;
// C on a known payload says nothing (2.5).
func (p Payload) Known() bool {
	return p.Type >= PayloadSA && p.Type <= PayloadEAP || p.Type == PayloadSKF
}

// Payloads is a cursor over a chain of payloads. It allocates nothing; a copy
// is a second cursor at the same place.
type Payloads struct {
	rest []byte
	next PayloadType
	err  error
}

// Walk returns a cursor over the chain in b that begins with a payload of type
// first: header's Next Payload and what follows the header, or the Next Payload
// of SK and its plaintext.
func Walk(first PayloadType, b []byte) Payloads { return Payloads{rest: b, next: first} }

// Next returns the next payload, and false after the last one or at the first
// fault: then ask Err. SK and SKF end a chain.
func (p *Payloads) Next() (Payload, bool) {
	if p.next == PayloadNone {
		if len(p.rest) != 0 && p.err == nil {
			p.err = ErrTrailing
		}
		return Payload{}, false
	}
	if len(p.rest) < payloadHeaderLen {
		return p.fail(ErrShort)
	}
	n := int(binary.BigEndian.Uint16(p.rest[2:]))
	if n < payloadHeaderLen {
		return p.fail(ErrLength)
	}
	if n > len(p.rest) {
		return p.fail(ErrShort)
	}
	// 3.2: the critical bit is the first bit, the seven after it are ignored.
	one := Payload{Type: p.next, Critical: p.rest[1]&0x80 != 0, Next: PayloadType(p.rest[0]), Body: p.rest[payloadHeaderLen:n:n]}
	p.rest, p.next = p.rest[n:], one.Next
	if one.Type == PayloadSK || one.Type == PayloadSKF {
		if len(p.rest) != 0 { // 3.14: the encrypted payload is the last one //rfc:7296-3.14-1
			return p.fail(ErrSKNotLast)
		}
		p.next = PayloadNone // its Next Payload belongs to the inside
	}
	return one, true
}

func (p *Payloads) fail(err error) (Payload, bool) {
	p.err, p.next, p.rest = err, PayloadNone, nil
	return Payload{}, false
}

// Err returns what ended the walk: nil if the chain ended exactly where its
// octets end, else ErrShort, ErrLength, ErrTrailing or ErrSKNotLast. It means
// something only after Next returned false.
func (p *Payloads) Err() error { return p.err }
