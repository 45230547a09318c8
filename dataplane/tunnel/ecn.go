package tunnel

import "encoding/binary"

// The ECN field, the low two bits of the traffic class (RFC 3168 5).
const (
	ecnMask = 0b11
	notECT  = 0b00
	ect1    = 0b01
	ect0    = 0b10
	ce      = 0b11
)

// arriving is the ECN field that a packet goes on with, by that of its own
// header and of the outer one (RFC 6040 4.2), or lost: the packet is dropped.
var arriving = [4][4]uint8{
	notECT: {notECT: notECT, ect1: notECT, ect0: notECT, ce: lost},
	ect1:   {notECT: ect1, ect1: ect1, ect0: ect1, ce: ce},
	ect0:   {notECT: ect0, ect1: ect1, ect0: ect0, ce: ce},
	ce:     {notECT: ce, ect1: ce, ect0: ce, ce: ce},
}

const lost = 0xff

// decapsulate carries the outer ECN field over to the packet b. It is false if
// the packet must be dropped. The DSCP of a packet is never touched.
func decapsulate(b []byte, tos, outer uint8) bool {
	ecn := arriving[tos&ecnMask][outer&ecnMask]
	switch {
	case ecn == lost:
		return false
	case ecn != tos&ecnMask:
		setTOS(b, tos&^ecnMask|ecn)
	}
	return true
}

// setTOS writes the traffic class of the packet b.
func setTOS(b []byte, tos uint8) {
	if b[0]>>4 == 6 {
		b[0] = 6<<4 | tos>>4
		b[1] = tos<<4 | b[1]&0x0f
		return
	}
	was := binary.BigEndian.Uint16(b)
	b[1] = tos
	replaceSum(b[10:], was, binary.BigEndian.Uint16(b))
}

// replaceSum corrects the checksum at b for one 16-bit word that changed
// (RFC 1624 3).
func replaceSum(b []byte, was, is uint16) {
	sum := uint32(^binary.BigEndian.Uint16(b)) + uint32(^was) + uint32(is)
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	binary.BigEndian.PutUint16(b, ^uint16(sum))
}
