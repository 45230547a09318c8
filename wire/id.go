package wire

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// IDType is the kind of an identity (3.5).
type IDType uint8

// Identity types, IANA "IKEv2 Identification Payload ID Types".
const (
	IDIPv4Addr   IDType = 1 // 4 octets
	IDFQDN       IDType = 2 // text, no terminator
	IDRFC822Addr IDType = 3 // text, no terminator
	IDIPv6Addr   IDType = 5 // 16 octets
	IDDERASN1DN  IDType = 9 // X.500 distinguished name
	IDDERASN1GN  IDType = 10
	IDKeyID      IDType = 11 // opaque
	IDFCName     IDType = 12
	IDNull       IDType = 13 // RFC 7619
)

// String returns the IANA name, or the number of an unassigned one.
func (t IDType) String() string { return nameOf(idNames, t) }

var idNames = map[IDType]string{
	IDIPv4Addr: "ID_IPV4_ADDR", IDFQDN: "ID_FQDN", IDRFC822Addr: "ID_RFC822_ADDR", IDIPv6Addr: "ID_IPV6_ADDR",
	IDDERASN1DN: "ID_DER_ASN1_DN", IDDERASN1GN: "ID_DER_ASN1_GN", IDKeyID: "ID_KEY_ID", IDFCName: "ID_FC_NAME",
	IDNull: "ID_NULL",
}

// ID is an identification payload, IDi or IDr (3.5).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    ID Type    |                  RESERVED                     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                      Identification Data                      ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// AUTH covers the whole body, reserved octets included, as it was received
// (2.15): keep the body, not the ID, for that.
type ID struct {
	Type IDType
	Data []byte
}

// ParseID views an identification body. Errors: ErrShort, ErrIdentity.
func ParseID(body []byte) (ID, error) {
	if len(body) < 4 {
		return ID{}, ErrShort
	}
	id := ID{Type: IDType(body[0]), Data: body[4:]}
	if !id.sized() {
		return ID{}, ErrIdentity
	}
	return id, nil
}

// TextID is the identity that a text means: an IP address, a mail address, or a
// name (3.5).
func TextID(text string) ID {
	if a, err := netip.ParseAddr(text); err == nil {
		kind := IDIPv6Addr
		if a.Is4() {
			kind = IDIPv4Addr
		}
		return ID{Type: kind, Data: a.AsSlice()}
	}
	if strings.Contains(text, "@") {
		return ID{Type: IDRFC822Addr, Data: []byte(text)}
	}
	return ID{Type: IDFQDN, Data: []byte(text)}
}

// sized: 3.5: addresses have the size of addresses; whom nothing names is
// ID_NULL and nobody else (RFC 7619 2.2).
func (id ID) sized() bool {
	switch id.Type {
	case IDIPv4Addr:
		return len(id.Data) == 4
	case IDIPv6Addr:
		return len(id.Data) == 16
	case IDNull:
		return true
	}
	return len(id.Data) != 0
}

// Append appends the body.
func (id ID) Append(b []byte) []byte {
	b = append(b, byte(id.Type), 0, 0, 0)
	return append(b, id.Data...)
}

// String returns the identity for a person: an address or a name as it is, a
// distinguished name as "CN=…,O=…", an opaque one as "keyid:68657861". Text
// with anything unprintable in it comes out quoted, so that a peer cannot write
// lines into a log.
func (id ID) String() string {
	switch id.Type {
	case IDIPv4Addr, IDIPv6Addr:
		if address, ok := netip.AddrFromSlice(id.Data); ok {
			return address.String()
		}
	case IDFQDN, IDRFC822Addr:
		return printable(string(id.Data))
	case IDDERASN1DN:
		var name pkix.RDNSequence
		if rest, err := asn1.Unmarshal(id.Data, &name); err == nil && len(rest) == 0 {
			return printable(name.String())
		}
	case IDKeyID:
		return "keyid:" + hex.EncodeToString(id.Data)
	case IDNull:
		return "anonymous"
	}
	return id.Type.String() + ":" + hex.EncodeToString(id.Data)
}

func printable(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == '\uFFFD' })
	if plain {
		return s
	}
	return strconv.QuoteToASCII(s)
}
