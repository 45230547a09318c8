package wire

import "encoding/binary"

// EAPCode is the kind of an EAP packet (RFC 3748 4).
type EAPCode uint8

// EAP codes.
const (
	EAPRequest  EAPCode = 1
	EAPResponse EAPCode = 2
	EAPSuccess  EAPCode = 3
	EAPFailure  EAPCode = 4
)

// String returns the name, or the number of any other code.
func (c EAPCode) String() string { return nameOf(eapNames, c) }

var eapNames = map[EAPCode]string{
	EAPRequest: "Request", EAPResponse: "Response", EAPSuccess: "Success", EAPFailure: "Failure",
}

// EAP is an EAP payload (3.16): one EAP packet (RFC 3748 4).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Code      | Identifier    |   Length (from Code on)       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Type      | Type_Data   (neither in Success and Failure)  ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type EAP struct {
	Code       EAPCode
	Identifier uint8
	Type       uint8  // 0 in Success and Failure
	Data       []byte // of the type; nil in Success and Failure
}

// ParseEAP views an EAP body. Errors: ErrShort, ErrTrailing, ErrLength, ErrEAP.
func ParseEAP(body []byte) (EAP, error) {
	if len(body) < 4 {
		return EAP{}, ErrShort
	}
	e := EAP{Code: EAPCode(body[0]), Identifier: body[1]}
	switch n := int(binary.BigEndian.Uint16(body[2:])); { // 3.16: length of the payload less four
	case n > len(body):
		return EAP{}, ErrShort
	case n < len(body):
		return EAP{}, ErrTrailing
	}
	switch e.Code {
	case EAPSuccess, EAPFailure:
		if len(body) != 4 {
			return EAP{}, ErrLength
		}
	case EAPRequest, EAPResponse:
		if len(body) < 5 {
			return EAP{}, ErrLength
		}
		e.Type, e.Data = body[4], body[5:]
	default:
		return EAP{}, ErrEAP
	}
	return e, nil
}

// Append appends the body.
func (e EAP) Append(b []byte) []byte {
	if e.Code == EAPSuccess || e.Code == EAPFailure {
		return append(b, byte(e.Code), e.Identifier, 0, 4)
	}
	b = append(b, byte(e.Code), e.Identifier)
	b = binary.BigEndian.AppendUint16(b, word(5+len(e.Data)))
	b = append(b, e.Type)
	return append(b, e.Data...)
}
