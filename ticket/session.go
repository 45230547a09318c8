// Package ticket is session resumption's memory, RFC 5723: what both ends
// remember of an IKE SA, how a gateway seals that into a ticket and opens it,
// the ring of keys that do so, how long a ticket lives, and when it is spent.
package ticket

import (
	"fmt"
	"io"
	"net/netip"
)

// Session is what RFC 5723 5 takes "from the ticket", and what the re-checks of
// a resume need. The gateway seals it into the ticket, the client stores it
// beside the ticket. A Session that was parsed or opened views what it was
// parsed from. No slice is longer than 65,535 octets.
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
// (RFC 5723 5, note 2).
type PeerCert struct {
	Issuer   []byte   // name, DER
	Serial   []byte   // big-endian
	NotAfter int64    // smallest of the chain
	Anchor   [32]byte // SHA-256 of the trust anchor
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
