package wire

import "encoding/binary"

// SKF is an Encrypted and Authenticated Fragment payload (RFC 7383 2.5).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|        Fragment Number        |        Total Fragments        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~          IV, encrypted piece, padding, pad length, ICV        ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type SKF struct {
	Number, Total uint16 // from 1 to Total
	Body          []byte // from the IV on
}

// ParseSKF views an SKF body. Errors: ErrShort, ErrFragment.
func ParseSKF(body []byte) (SKF, error) {
	if len(body) < 4 {
		return SKF{}, ErrShort
	}
	f := SKF{Number: binary.BigEndian.Uint16(body), Total: binary.BigEndian.Uint16(body[2:]), Body: body[4:]}
	if f.Number == 0 || f.Number > f.Total { // RFC 7383 2.6
		return SKF{}, ErrFragment
	}
	return f, nil
}

// Append appends the body.
func (f SKF) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, f.Number)
	b = binary.BigEndian.AppendUint16(b, f.Total)
	return append(b, f.Body...)
}
