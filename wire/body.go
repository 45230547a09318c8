package wire

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// KE is a Key Exchange payload, RFC 7296 3.4: group 2, reserved 2, data.
type KE struct {
	Group TransformID
	Data  []byte
}

// ParseKE reads the body of a KE payload.
func ParseKE(b []byte) (KE, error) {
	if len(b) < 5 {
		return KE{}, ErrShort
	}
	return KE{TransformID(binary.BigEndian.Uint16(b)), b[4:]}, nil
}

// Append appends the body.
func (k KE) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(k.Group))
	return append(append(b, 0, 0), k.Data...)
}

// ID is an identity, RFC 7296 3.5: type 1, reserved 3, data.
type ID struct {
	Type IDType
	Data []byte
}

// ParseID reads the body of an IDi or IDr payload. Addresses must have their
// size; any other identity is at least one octet.
func ParseID(b []byte) (ID, error) {
	if len(b) < 5 {
		return ID{}, ErrShort
	}
	id := ID{IDType(b[0]), b[4:]}
	if id.Type == IDIPv4Addr && len(id.Data) != 4 || id.Type == IDIPv6Addr && len(id.Data) != 16 {
		return ID{}, ErrLength
	}
	return id, nil
}

// Append appends the body.
func (id ID) Append(b []byte) []byte { return append(append(b, byte(id.Type), 0, 0, 0), id.Data...) }

// String is for people: text and addresses as such, the rest in hex.
func (id ID) String() string {
	switch id.Type {
	case IDFQDN, IDRFC822Addr:
		return printable(id.Data)
	case IDIPv4Addr, IDIPv6Addr:
		if a, ok := netip.AddrFromSlice(id.Data); ok {
			return a.String()
		}
	}
	return id.Type.String() + ":" + hex.EncodeToString(id.Data)
}

// printable replaces what could harm a terminal or a log.
func printable(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			c = '?'
		}
		out[i] = c
	}
	return string(out)
}

// Cert is a CERT payload, RFC 7296 3.6: encoding 1, data.
type Cert struct {
	Encoding CertEncoding
	Data     []byte
}

// ParseCert reads the body of a CERT payload.
func ParseCert(b []byte) (Cert, error) {
	if len(b) < 2 {
		return Cert{}, ErrShort
	}
	return Cert{CertEncoding(b[0]), b[1:]}, nil
}

// Append appends the body.
func (c Cert) Append(b []byte) []byte { return append(append(b, byte(c.Encoding)), c.Data...) }

// CertReq is a CERTREQ payload, RFC 7296 3.7: encoding 1, then SHA-1 hashes of
// the keys of trusted authorities, 20 octets each.
type CertReq struct {
	Encoding CertEncoding
	Hashes   []byte
}

// ParseCertReq reads the body of a CERTREQ payload.
func ParseCertReq(b []byte) (CertReq, error) {
	if len(b) < 1 {
		return CertReq{}, ErrShort
	}
	c := CertReq{CertEncoding(b[0]), b[1:]}
	if c.Encoding == CertX509Signature && len(c.Hashes)%20 != 0 {
		return CertReq{}, ErrLength
	}
	return c, nil
}

// Append appends the body.
func (c CertReq) Append(b []byte) []byte { return append(append(b, byte(c.Encoding)), c.Hashes...) }

// Auth is an AUTH payload, RFC 7296 3.8: method 1, reserved 3, data.
type Auth struct {
	Method AuthMethod
	Data   []byte
}

// ParseAuth reads the body of an AUTH payload.
func ParseAuth(b []byte) (Auth, error) {
	if len(b) < 5 {
		return Auth{}, ErrShort
	}
	return Auth{AuthMethod(b[0]), b[4:]}, nil
}

// Append appends the body.
func (a Auth) Append(b []byte) []byte {
	return append(append(b, byte(a.Method), 0, 0, 0), a.Data...)
}

// ParseNonce reads the body of a Nonce payload: 16 to 256 octets (RFC 7296 3.9).
func ParseNonce(b []byte) ([]byte, error) {
	if len(b) < 16 || len(b) > 256 {
		return nil, ErrLength
	}
	return b, nil
}

// Notify is a Notify payload, RFC 7296 3.10:
//
//	+---------------+---------------+-------------------------------+
//	|  Protocol ID  |   SPI Size    |      Notify Message Type      |
//	|                              SPI                              |
//	|                       Notification Data                       |
//	+---------------------------------------------------------------+
type Notify struct {
	Protocol  ProtocolID
	Type      NotifyType
	SPI, Data []byte
}

// ParseNotify reads the body of a Notify payload.
func ParseNotify(b []byte) (Notify, error) {
	if len(b) < 4 {
		return Notify{}, ErrShort
	}
	n := int(b[1])
	if len(b) < 4+n {
		return Notify{}, ErrLength
	}
	return Notify{ProtocolID(b[0]), NotifyType(binary.BigEndian.Uint16(b[2:])), b[4 : 4+n : 4+n], b[4+n:]}, nil
}

// Append appends the body.
func (n Notify) Append(b []byte) []byte {
	b = append(b, byte(n.Protocol), byte(len(n.SPI)))
	b = binary.BigEndian.AppendUint16(b, uint16(n.Type))
	return append(append(b, n.SPI...), n.Data...)
}

// Delete is a Delete payload, RFC 7296 3.11: protocol 1, SPI size 1, count 2,
// SPIs. For the IKE SA the size and the count are 0.
type Delete struct {
	Protocol ProtocolID
	SPISize  uint8
	SPIs     []byte
}

// ParseDelete reads the body of a Delete payload.
func ParseDelete(b []byte) (Delete, error) {
	if len(b) < 4 {
		return Delete{}, ErrShort
	}
	d := Delete{ProtocolID(b[0]), b[1], b[4:]}
	count := int(binary.BigEndian.Uint16(b[2:]))
	if int(d.SPISize)*count != len(d.SPIs) || d.SPISize == 0 && count != 0 {
		return Delete{}, ErrLength
	}
	want := uint8(4)
	if d.Protocol == ProtocolIKE {
		want = 0
	}
	if d.SPISize != want {
		return Delete{}, ErrMalformed
	}
	return d, nil
}

// Count is how many SPIs there are.
func (d Delete) Count() int {
	if d.SPISize == 0 {
		return 0
	}
	return len(d.SPIs) / int(d.SPISize)
}

// SPI32 is SPI number i of a Delete of ESP or AH.
func (d Delete) SPI32(i int) uint32 { return binary.BigEndian.Uint32(d.SPIs[4*i:]) }

// Append appends the body.
func (d Delete) Append(b []byte) []byte {
	b = append(b, byte(d.Protocol), d.SPISize)
	b = binary.BigEndian.AppendUint16(b, uint16(d.Count()))
	return append(b, d.SPIs...)
}

// EAP is the frame of an EAP message (RFC 3748 4). Success and Failure have no
// type and no data.
type EAP struct {
	Code, Identifier uint8
	Type             uint8
	Data             []byte
}

// ParseEAP reads the body of an EAP payload.
func ParseEAP(b []byte) (EAP, error) {
	if len(b) < 4 {
		return EAP{}, ErrShort
	}
	if int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return EAP{}, ErrLength
	}
	m := EAP{Code: b[0], Identifier: b[1]}
	switch {
	case m.Code == 0 || m.Code > 4 || m.Code >= 3 && len(b) != 4 || m.Code < 3 && len(b) < 5:
		return EAP{}, ErrMalformed
	case m.Code < 3:
		m.Type, m.Data = b[4], b[5:]
	}
	return m, nil
}

// Append appends the body.
func (m EAP) Append(b []byte) []byte {
	if m.Code >= 3 {
		return append(b, m.Code, m.Identifier, 0, 4)
	}
	b = append(b, m.Code, m.Identifier)
	b = binary.BigEndian.AppendUint16(b, uint16(5+len(m.Data)))
	return append(append(b, m.Type), m.Data...)
}
