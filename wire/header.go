package wire

import (
	"encoding/binary"
	"strconv"
)

const (
	// HeaderLen is the size of the IKE header in octets.
	HeaderLen = 28
	// Version is the version octet that we send: major 2, minor 0.
	Version = 0x20
)

// SPI is an IKE SPI, the eight octets read in network order. Zero means "not
// chosen yet" and is never a valid SPI of a responder (2.6).
type SPI uint64

// String returns the SPI as 16 hexadecimal digits.
func (s SPI) String() string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[s>>(60-4*i)&15]
	}
	return string(b[:])
}

// Append appends the eight octets of the SPI.
func (s SPI) Append(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(s)) }

// SPIs names an IKE SA: the SPI of its original initiator and of its responder.
type SPIs struct{ I, R SPI }

// String returns both SPIs as tcpdump and charon print them, "…_i …_r".
func (s SPIs) String() string { return s.I.String() + "_i " + s.R.String() + "_r" }

// ExchangeType is the exchange that a message belongs to (3.1).
type ExchangeType uint8

// Exchange types, IANA "IKEv2 Exchange Types".
const (
	ExchangeIKESAInit       ExchangeType = 34
	ExchangeIKEAuth         ExchangeType = 35
	ExchangeCreateChildSA   ExchangeType = 36
	ExchangeInformational   ExchangeType = 37
	ExchangeSessionResume   ExchangeType = 38 // RFC 5723
	ExchangeGSAAuth         ExchangeType = 39
	ExchangeGSARegistration ExchangeType = 40
	ExchangeGSARekey        ExchangeType = 41
	ExchangeGSAInbandRekey  ExchangeType = 42
	ExchangeIntermediate    ExchangeType = 43 // RFC 9242
	ExchangeFollowupKE      ExchangeType = 44 // RFC 9370
)

// String returns the IANA name, or the number of an unassigned one.
func (t ExchangeType) String() string { return nameOf(exchangeNames, t) }

var exchangeNames = map[ExchangeType]string{
	ExchangeIKESAInit:       "IKE_SA_INIT",
	ExchangeIKEAuth:         "IKE_AUTH",
	ExchangeCreateChildSA:   "CREATE_CHILD_SA",
	ExchangeInformational:   "INFORMATIONAL",
	ExchangeSessionResume:   "IKE_SESSION_RESUME",
	ExchangeGSAAuth:         "GSA_AUTH",
	ExchangeGSARegistration: "GSA_REGISTRATION",
	ExchangeGSARekey:        "GSA_REKEY",
	ExchangeGSAInbandRekey:  "GSA_INBAND_REKEY",
	ExchangeIntermediate:    "IKE_INTERMEDIATE",
	ExchangeFollowupKE:      "IKE_FOLLOWUP_KE",
}

// Flags are the flag bits of the header (3.1).
type Flags uint8

// Flag bits. All others are sent as zero and ignored.
const (
	FlagInitiator Flags = 0x08 // sent by the original initiator of this IKE SA
	FlagVersion   Flags = 0x10 // the sender could speak a higher major version
	FlagResponse  Flags = 0x20 // the message answers a request
)

// Header is the IKE header.
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                            SPIi (8)                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                            SPIr (8)                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Next Payload  | Mjr V | Mnr V | Exchange Type |     Flags     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                           Message ID                          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                  Length (header and payloads)                 |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Header struct {
	SPIi, SPIr  SPI
	NextPayload PayloadType
	Version     uint8
	Exchange    ExchangeType
	Flags       Flags
	MessageID   uint32
	Length      uint32 // octets of the whole message; ignored by NewWriter
}

// ParseHeader reads the first 28 octets of b. Error: ErrShort. It judges no
// field: see Fits and Major.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, ErrShort
	}
	return Header{
		SPIi:        SPI(binary.BigEndian.Uint64(b)),
		SPIr:        SPI(binary.BigEndian.Uint64(b[8:])),
		NextPayload: PayloadType(b[16]),
		Version:     b[17],
		Exchange:    ExchangeType(b[18]),
		Flags:       Flags(b[19]),
		MessageID:   binary.BigEndian.Uint32(b[20:]),
		Length:      binary.BigEndian.Uint32(b[24:]),
	}, nil
}

// Append appends the 28 octets of the header.
func (h Header) Append(b []byte) []byte {
	b = h.SPIi.Append(b)
	b = h.SPIr.Append(b)
	b = append(b, byte(h.NextPayload), h.Version, byte(h.Exchange), byte(h.Flags))
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	return binary.BigEndian.AppendUint32(b, h.Length)
}

// Fits reports whether a datagram of n octets (without the non-ESP marker) is
// exactly this message.
func (h Header) Fits(n int) bool { return n >= HeaderLen && uint64(h.Length) == uint64(n) } //rfc:7296-3.1-1

// Major returns the major version, 2 for IKEv2 (2.5).
func (h Header) Major() uint8 { return h.Version >> 4 }

// SPIs returns both SPIs.
func (h Header) SPIs() SPIs { return SPIs{h.SPIi, h.SPIr} }

// Initiator reports the I flag: sent by the original initiator.
func (h Header) Initiator() bool { return h.Flags&FlagInitiator != 0 }

// Response reports the R flag.
func (h Header) Response() bool { return h.Flags&FlagResponse != 0 }

// nameOf returns the registered name of v, or its number in decimal.
func nameOf[T ~uint8 | ~uint16](names map[T]string, v T) string {
	if name, ok := names[v]; ok {
		return name
	}
	return strconv.Itoa(int(v))
}
