// Package natt has the octets of NAT traversal: the hashes that detect a NAT
// (RFC 7296 2.23), and what tells IKE, ESP and keepalives apart on UDP port
// 4500 (RFC 3948).
package natt

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
)

const (
	Size   = 20 // octets of a NAT detection hash (SHA-1)
	Marker = 4  // octets of zero before an IKE message on port 4500: no ESP SPI
)

// Keepalive is the one octet of a NAT keepalive (RFC 3948 2.3).
const Keepalive = 0xff

// Hash appends the 20 octets of a NAT_DETECTION_SOURCE_IP or
// NAT_DETECTION_DESTINATION_IP notification to dst: SHA-1 of the SPIs in the
// order of the header, the address (4 or 16 octets) and the port. An
// IPv4-mapped IPv6 address counts as the IPv4 address. It allocates nothing
// if dst has room.
func Hash(dst []byte, spii, spir uint64, ap netip.AddrPort) []byte {
	var in [8 + 8 + 16 + 2]byte
	b := binary.BigEndian.AppendUint64(in[:0], spii)
	b = binary.BigEndian.AppendUint64(b, spir)
	if addr := ap.Addr().Unmap(); addr.Is4() {
		a4 := addr.As4()
		b = append(b, a4[:]...)
	} else {
		a16 := addr.As16()
		b = append(b, a16[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, ap.Port())
	sum := sha1.Sum(b) //rfc:7296-2.23-2
	return append(dst, sum[:]...)
}

// Match tells whether the data of a NAT detection notification is the hash of
// this address and port: no NAT changed them on the way.
func Match(data []byte, spii, spir uint64, ap netip.AddrPort) bool {
	var want [Size]byte
	return bytes.Equal(data, Hash(want[:0], spii, spir, ap))
}

// IsKeepalive tells whether a datagram on port 4500 is a NAT keepalive.
func IsKeepalive(b []byte) bool { return len(b) == 1 && b[0] == Keepalive }

// HasMarker tells whether a datagram on port 4500 begins with the four octets
// of zero that say: IKE, not ESP (RFC 7296 2.23).
func HasMarker(b []byte) bool {
	return len(b) >= Marker && b[0]|b[1]|b[2]|b[3] == 0 //rfc:7296-2.23-4
}
