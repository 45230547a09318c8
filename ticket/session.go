// Package ticket is session resumption's memory, RFC 5723: what both ends
// remember of an IKE SA, how a gateway seals that into a ticket and opens it,
// the ring of keys that do so, how long a ticket lives, and when it is spent.
package ticket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// ErrFormat is what is not a ticket, a session or a key of ours, or is of a
// version that this program does not know.
var ErrFormat = errors.New("ticket: not of a known format")

// Session is what RFC 5723 5 takes "from the ticket", and what the re-checks of
// a resume need. The gateway seals it into the ticket, the client stores it
// beside the ticket. A Session that was parsed or opened views what it was
// parsed from. All slices together have less than 65,536 octets.
//
// Times are Unix seconds of 40 bits; 0 is none.
type Session struct {
	IDi, IDr ID
	Identity []byte // authenticated identity, where it differs from IDi (RFC 5723 5, note 1)

	MethodI, MethodR uint8 // AUTH methods of the full authentication
	AuthForm         uint8 // 0: RFC 5723 4.3.3, 1: the short form of libreswan
	Suite            Suite
	SKd              SKd    // 1 to 64 octets
	SPIi, SPIr       uint64 // of the old SA (note 4)

	Lineage [16]byte // of all tickets since the full handshake
	Serial  uint32   // of this ticket within its lineage

	Issued   int64
	Expires  int64
	FullAuth int64 // last full authentication
	LastKE   int64 // last key exchange
	Reauth   int64 // deadline of re-authentication (RFC 4478)

	Connection []byte // stable name of the configured connection
	PeerCert   PeerCert
	PeerAddr   netip.Addr // iPAddress SubjectAltName, if policy compares it (note 3)
	PPKID      []byte     // RFC 8784
	RADIUS     RADIUS

	Inner4, Inner6 netip.Addr // addresses that the client had (note 5)
}

// ID is the body of an identification payload without its reserved octets.
type ID struct {
	Type uint8
	Data []byte
}

// Suite is SAr of the old IKE SA, in IANA's numbers.
type Suite struct {
	Encr, KeyBits, Integ, PRF, KE uint16

	AdditionalKE [7]uint16 // RFC 9370, ADDKE1 to ADDKE7; 0: none
}

// PeerCert is what is needed of the peer's certificate after the SA is up
// (RFC 5723 5, note 2). Issuer and Serial name every certificate of the chain
// below the anchor, leaf first.
type PeerCert struct {
	Issuer   []byte   // SHA-256 of each issuer's name
	Serial   []byte   // each behind an octet with its length, big-endian
	NotAfter int64    // earliest of the chain, anchor included
	Anchor   [32]byte // SHA-256 of the trust anchor; of a peer without a certificate, what tells its shared key from others
}

// RADIUS is what goes on when the session does.
type RADIUS struct {
	Class          []byte // the Class attributes as they came: type, length and value of each
	Group          []byte
	AcctSessionID  []byte
	SessionStart   int64
	SessionTimeout uint32 // seconds; 0: none
	IdleTimeout    uint32 // seconds; 0: none
}

// SKd is SK_d of the old SA: who has it can resume. It prints as "redacted".
type SKd []byte

// String, GoString and Format keep the key out of logs and errors.
func (SKd) String() string             { return "redacted" }
func (SKd) GoString() string           { return "redacted" }
func (SKd) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }

// An encoded session:
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Version = 1  |   AUTH of i   |   AUTH of r   |  Form of AUTH |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|             ENCR              |            Key bits           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|             INTEG             |              PRF              |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|              KE               |                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
//	|            SPIi 8, SPIr 8, lineage 16, serial 4               |
//	+               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    issued, expires, full authentication, last KE, re-auth: 5 each
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  SK_d: length 1, octets; IDi, IDr: type 1, length 2, octets   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    Length of all fields       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|      Tag      |             Length            |   Value ...   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// Tags ascend and what is empty has none. A reader passes by a tag below 128
// that it does not know, and refuses one from there up.
const (
	sessionVersion = 1
	fixedSize      = 4 + 5*2 + 8 + 8 + 16 + 4 + 5*timeSize

	maxSKd = 64

	mustKnow = 128
)

const (
	tagConnection uint8 = 1 + iota
	tagIdentity
	tagAdditionalKE
	tagCertIssuer
	tagCertSerial
	tagCertNotAfter
	tagCertAnchor
	tagPeerAddr
	tagPPKID
	tagClass
	tagGroup
	tagAcctSessionID
	tagSessionStart
	tagSessionTimeout
	tagIdleTimeout
	tagInner4
	tagInner6
)

// Append appends the encoding of s, which is secret.
func (s *Session) Append(b []byte) []byte {
	b = append(b, sessionVersion, s.MethodI, s.MethodR, s.AuthForm)
	for _, v := range [...]uint16{s.Suite.Encr, s.Suite.KeyBits, s.Suite.Integ, s.Suite.PRF, s.Suite.KE} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = binary.BigEndian.AppendUint64(b, s.SPIi)
	b = binary.BigEndian.AppendUint64(b, s.SPIr) //rfc:5723-5-24
	b = append(b, s.Lineage[:]...)
	b = binary.BigEndian.AppendUint32(b, s.Serial)
	for _, t := range [...]int64{s.Issued, s.Expires, s.FullAuth, s.LastKE, s.Reauth} {
		b = appendTime(b, t)
	}
	b = append(b, uint8(len(s.SKd)))
	b = append(b, s.SKd...) //rfc:5723-6.1-4
	b = s.IDi.append(b)
	b = s.IDr.append(b)
	at := len(b)
	b = s.appendFields(append(b, 0, 0))
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return b
}

func (id ID) append(b []byte) []byte {
	b = append(b, id.Type)
	b = binary.BigEndian.AppendUint16(b, uint16(len(id.Data)))
	return append(b, id.Data...)
}

func (s *Session) appendFields(b []byte) []byte {
	c, r := &s.PeerCert, &s.RADIUS
	b = appendField(b, tagConnection, s.Connection)
	b = appendField(b, tagIdentity, s.Identity) //rfc:5723-5-21
	b = s.Suite.appendAdditional(b)
	b = appendField(b, tagCertIssuer, c.Issuer)
	b = appendField(b, tagCertSerial, c.Serial) //rfc:5723-5-22
	b = appendTimeField(b, tagCertNotAfter, c.NotAfter)
	if c.Anchor != [32]byte{} {
		b = appendField(b, tagCertAnchor, c.Anchor[:])
	}
	b = appendAddr(b, tagPeerAddr, s.PeerAddr)
	b = appendField(b, tagPPKID, s.PPKID)
	b = appendField(b, tagClass, r.Class)
	b = appendField(b, tagGroup, r.Group)
	b = appendField(b, tagAcctSessionID, r.AcctSessionID)
	b = appendTimeField(b, tagSessionStart, r.SessionStart)
	b = appendNumber(b, tagSessionTimeout, r.SessionTimeout)
	b = appendNumber(b, tagIdleTimeout, r.IdleTimeout)
	b = appendAddr(b, tagInner4, s.Inner4)
	return appendAddr(b, tagInner6, s.Inner6)
}

func appendField(b []byte, tag uint8, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	b = append(b, tag)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

func appendTimeField(b []byte, tag uint8, t int64) []byte {
	if t <= 0 {
		return b
	}
	return appendTime(append(b, tag, 0, timeSize), t)
}

func appendNumber(b []byte, tag uint8, n uint32) []byte {
	if n == 0 {
		return b
	}
	return binary.BigEndian.AppendUint32(append(b, tag, 0, 4), n)
}

func appendAddr(b []byte, tag uint8, a netip.Addr) []byte {
	switch {
	case a.Is4():
		v := a.As4()
		return appendField(b, tag, v[:])
	case a.Is6():
		v := a.As16()
		return appendField(b, tag, v[:])
	}
	return b
}

// appendAdditional appends the additional key exchanges up to the last one.
func (s *Suite) appendAdditional(b []byte) []byte {
	n := len(s.AdditionalKE)
	for n > 0 && s.AdditionalKE[n-1] == 0 {
		n--
	}
	if n == 0 {
		return b
	}
	b = append(b, tagAdditionalKE, 0, uint8(2*n))
	for _, ke := range s.AdditionalKE[:n] {
		b = binary.BigEndian.AppendUint16(b, ke)
	}
	return b
}

const (
	timeSize = 5
	maxTime  = 1<<(8*timeSize) - 1
)

func appendTime(b []byte, t int64) []byte {
	t = min(max(t, 0), maxTime)
	return append(b, byte(t>>32), byte(t>>24), byte(t>>16), byte(t>>8), byte(t))
}

func readTime(b []byte) int64 {
	return int64(b[0])<<32 | int64(binary.BigEndian.Uint32(b[1:]))
}
