package wire

import "encoding/binary"

// KE is a Key Exchange payload (3.4).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|      Key Exchange Method      |           RESERVED            |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                       Key Exchange Data                       ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type KE struct {
	Group TransformID // of type TransformKE
	Data  []byte      // public value, never empty; its size is the group's business
}

// ParseKE views a Key Exchange body. Error: ErrShort.
func ParseKE(body []byte) (KE, error) {
	if len(body) <= 4 {
		return KE{}, ErrShort
	}
	return KE{Group: TransformID(binary.BigEndian.Uint16(body)), Data: body[4:]}, nil
}

// Append appends the body.
func (k KE) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(k.Group))
	b = append(b, 0, 0)
	return append(b, k.Data...)
}
