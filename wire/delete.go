package wire

import "encoding/binary"

// Delete is a Delete payload (3.11).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Protocol ID  |   SPI Size    |          Num of SPIs          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                             SPIs                              ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Delete struct {
	Protocol ProtocolID
	SPISize  uint8  // octets of each SPI: 0 for IKE, whose SPIs are those of the header; 4 for AH, ESP and all others
	SPIs     []byte // one after the other
}

// ParseDelete views a Delete body. Errors: ErrShort, ErrCount, ErrSPISize. The
// count of a Delete without SPIs is not looked at.
func ParseDelete(body []byte) (Delete, error) {
	if len(body) < 4 {
		return Delete{}, ErrShort
	}
	d := Delete{Protocol: ProtocolID(body[0]), SPISize: body[1], SPIs: body[4:]}
	size := uint8(4)
	if d.Protocol == ProtocolIKE {
		size = 0
	}
	if d.SPISize != size { //rfc:7296-3.11-1
		return Delete{}, ErrSPISize
	}
	if int(size)*int(binary.BigEndian.Uint16(body[2:])) != len(d.SPIs) {
		return Delete{}, ErrCount
	}
	return d, nil
}

// Count returns the number of SPIs.
func (d Delete) Count() int {
	if d.SPISize == 0 {
		return 0
	}
	return len(d.SPIs) / int(d.SPISize)
}

// SPI32 returns the i-th SPI, i < Count.
func (d Delete) SPI32(i int) uint32 { return binary.BigEndian.Uint32(d.SPIs[4*i:]) }

// Append appends the body.
func (d Delete) Append(b []byte) []byte {
	b = append(b, byte(d.Protocol), d.SPISize)
	b = binary.BigEndian.AppendUint16(b, word(d.Count()))
	return append(b, d.SPIs...)
}
