// Package wire is the codec of IKEv2 messages (RFC 7296 3) with the SKF
// payload of RFC 7383. A parser views its input and allocates nothing; an
// appender never fails. Numbers have the names of the IANA registries.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What parsers say. None of them allocates.
var (
	ErrShort     = errors.New("wire: shorter than its lengths say")
	ErrLength    = errors.New("wire: impossible length")
	ErrTrailing  = errors.New("wire: octets after the end")
	ErrMalformed = errors.New("wire: malformed")
)

// SPI is an IKE SPI, 8 octets in network order.
type SPI uint64

// String is 16 hex digits.
func (s SPI) String() string { return fmt.Sprintf("%016x", uint64(s)) }

// SPIs is the pair that names an IKE SA.
type SPIs struct{ I, R SPI }

func (s SPIs) String() string { return s.I.String() + "_i " + s.R.String() + "_r" }

// Flags are the flags of the IKE header (RFC 7296 3.1).
type Flags uint8

const (
	FlagInitiator Flags = 0x08 // sent by the original initiator of the SA
	FlagVersion   Flags = 0x10 // could speak a higher major version
	FlagResponse  Flags = 0x20
)

const (
	HeaderLen = 28
	Version   = 0x20 // major 2, minor 0
)

// Header is the IKE header, RFC 7296 3.1:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                             SPIi (8)                          |
//	|                             SPIr (8)                          |
//	| Next Payload  | MjVer | MnVer | Exchange Type |     Flags     |
//	|                          Message ID                           |
//	|                            Length                             |
//	+---------------------------------------------------------------+
type Header struct {
	SPIi, SPIr  SPI
	NextPayload PayloadType
	Version     uint8
	Exchange    ExchangeType
	Flags       Flags
	MessageID   uint32
	Length      uint32 // of the whole message, header included
}

// ParseHeader reads the header at the start of b. It does not compare Length
// with len(b); Fits does.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, ErrShort
	}
	return Header{
		SPIi: SPI(binary.BigEndian.Uint64(b)), SPIr: SPI(binary.BigEndian.Uint64(b[8:])),
		NextPayload: PayloadType(b[16]), Version: b[17], Exchange: ExchangeType(b[18]), Flags: Flags(b[19]),
		MessageID: binary.BigEndian.Uint32(b[20:]), Length: binary.BigEndian.Uint32(b[24:]),
	}, nil
}

// Fits reports whether Length is that of a datagram of n octets.
func (h Header) Fits(n int) bool { return h.Length >= HeaderLen && uint64(h.Length) == uint64(n) }

// Append appends the 28 octets of h.
func (h Header) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.SPIi))
	b = binary.BigEndian.AppendUint64(b, uint64(h.SPIr))
	b = append(b, byte(h.NextPayload), h.Version, byte(h.Exchange), byte(h.Flags))
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	return binary.BigEndian.AppendUint32(b, h.Length)
}
