package wire

import "encoding/binary"

const genericLen = 4

// Payload is one payload of a chain; Body is what follows its generic header
// (RFC 7296 3.2) and views the message:
//
//	+---------------+-+-------------+-------------------------------+
//	| Next Payload  |C|  RESERVED   |         Payload Length        |
//	+---------------+-+-------------+-------------------------------+
//
// Next is the type of the following payload; of SK and SKF, the type of the
// first payload inside.
type Payload struct {
	Type     PayloadType
	Critical bool
	Next     PayloadType
	Body     []byte
}

// Known reports whether this codec has the payload's type. A message with an
// unknown one that is critical must be refused (RFC 7296 2.5).
func (p Payload) Known() bool {
	return p.Type >= PayloadSA && p.Type <= PayloadEAP || p.Type == PayloadSKF
}

// Payloads is a cursor over a chain of payloads.
type Payloads struct {
	next PayloadType
	b    []byte
	err  error
}

// Walk begins a chain: first is the Next Payload field before b.
func Walk(first PayloadType, b []byte) Payloads { return Payloads{next: first, b: b} }

// Next returns the next payload. SK and SKF are the last of their chain.
func (p *Payloads) Next() (Payload, bool) {
	if p.err != nil {
		return Payload{}, false
	}
	if p.next == PayloadNone {
		if len(p.b) > 0 {
			p.err = ErrTrailing
		}
		return Payload{}, false
	}
	if len(p.b) < genericLen {
		p.err = ErrShort
		return Payload{}, false
	}
	n := int(binary.BigEndian.Uint16(p.b[2:]))
	if n < genericLen || n > len(p.b) {
		p.err = ErrLength
		return Payload{}, false
	}
	x := Payload{Type: p.next, Critical: p.b[1]&0x80 != 0, Next: PayloadType(p.b[0]), Body: p.b[genericLen:n:n]}
	p.next, p.b = x.Next, p.b[n:]
	if x.Type == PayloadSK || x.Type == PayloadSKF {
		p.next = PayloadNone
	}
	return x, true
}

// Err is nil when the chain ended at the end of its octets, or has not ended.
func (p *Payloads) Err() error { return p.err }

// SKF is an encrypted fragment, RFC 7383 2.5:
//
//	+-------------------------------+-------------------------------+
//	|        Fragment Number        |        Total Fragments        |
//	+-------------------------------+-------------------------------+
//	|                  IV, encrypted content, ICV                   |
type SKF struct {
	Number, Total uint16
	Body          []byte // IV, encrypted content, ICV
}

// ParseSKF reads the body of an SKF payload.
func ParseSKF(b []byte) (SKF, error) {
	if len(b) < 4 {
		return SKF{}, ErrShort
	}
	f := SKF{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[4:]}
	if f.Number == 0 || f.Total == 0 || f.Number > f.Total {
		return SKF{}, ErrMalformed
	}
	return f, nil
}
