// Package auth is the port to credentials: who signs for us in IKE_AUTH, and
// who judges what the peer signed. The prf work of a shared key is the
// machine's; signatures and certificates are slow and live behind this port.
// An implementation is a package below this one and passes the kit in authtest.
package auth

import (
	"errors"
	"net/netip"
	"time"

	"blackswan/wire"
)

// Why a peer or a credential is refused. Every error of a Signer or a Verifier
// wraps one of them and says in words what was found and what cures it. The
// words are for our own log: the peer gets AUTHENTICATION_FAILED, no more.
var (
	ErrNoCredential = errors.New("auth: no credential that the peer can verify")
	ErrMethod       = errors.New("auth: authentication method refused")
	ErrSignature    = errors.New("auth: wrong signature")
	ErrCertificate  = errors.New("auth: unusable certificate")
	ErrUntrusted    = errors.New("auth: no chain to a configured authority")
	ErrExpired      = errors.New("auth: certificate not valid at this time")
	ErrRevoked      = errors.New("auth: certificate revoked")
	ErrIdentity     = errors.New("auth: certificate is not for this identity")
)

// Hash algorithms of SIGNATURE_HASH_ALGORITHMS, RFC 7427 section 7 and RFC 8420.
// SHA-1, number 1, is neither announced nor accepted (rule G1).
const (
	HashSHA256   uint16 = 2
	HashSHA384   uint16 = 3
	HashSHA512   uint16 = 4
	HashIdentity uint16 = 5 // the signature takes the message as it is: Ed25519
)

// Limits on what a stranger may send. More is refused before any of it is parsed.
const (
	MaxCerts     = 8        // certificates in one message
	MaxCert      = 16 << 10 // octets of one certificate
	MaxSignature = 4 << 10  // octets of AUTH data
)

// A Signer signs for us. It may be used by several goroutines at once.
type Signer interface {
	// Sign picks a credential for the peer and signs. The slices of the
	// Signature may be shared: read them, never write to them.
	Sign(req SignRequest) (Signature, error)
}

// SignRequest is what a Signer is asked for. Its slices are borrowed for the call.
type SignRequest struct {
	// Octets are those to sign, RFC 7296 2.15: message, peer's nonce, MACed ID.
	Octets []byte

	// Hashes are the peer's SIGNATURE_HASH_ALGORITHMS. None: the peer does not
	// speak RFC 7427 and gets a method of RFC 4754 or nothing.
	Hashes []uint16

	// CertReq are SHA-1 hashes, 20 octets each, of the keys of the authorities
	// that the peer trusts (RFC 7296 3.7). A credential below one of them is
	// preferred; it is a hint, so without one the default credential signs.
	CertReq []byte
}

// Signature is what goes into AUTH and CERT.
type Signature struct {
	Method wire.AuthMethod
	Data   []byte   // the AUTH payload's data; for method 14 with length octet and algorithm in front
	Certs  [][]byte // DER, leaf first, without the trust anchor
}

// A Verifier judges what a peer signed. It may be used by several goroutines
// at once and never changes: a new configuration makes a new Verifier.
type Verifier interface {
	// Verify checks the signature, the certificates and the identity. Any
	// error is AUTHENTICATION_FAILED to the peer.
	Verify(req VerifyRequest) (Result, error)

	// Recheck judges again, from what a ticket remembers of a Result, all that
	// time can rot (RFC 5723 5): the anchor is still configured, no
	// certificate of the chain was revoked, none has expired.
	Recheck(anchor [32]byte, issuer, serial []byte, notAfter, now time.Time) error

	// CertReq returns the SHA-1 hashes of the keys of the trust anchors, 20
	// octets each, for our CERTREQ. The slice is shared.
	CertReq() []byte
}

// VerifyRequest is one peer's proof. Its slices are borrowed for the call.
type VerifyRequest struct {
	ID     wire.ID
	Certs  [][]byte // CERT payloads of encoding 4 as they came: the first is the peer's own
	Method wire.AuthMethod
	Data   []byte // the AUTH payload's data
	Octets []byte // what must have been signed
	Now    time.Time
	Remote netip.Addr // source of the message
}

// Result is what a verified certificate says. Nothing in it views the request.
type Result struct {
	// Identity is the identity that was proven, in its human form.
	Identity []byte

	// CertIssuer and CertSerial name every certificate of the chain below the
	// anchor, leaf first: the SHA-256 of each issuer's name, 32 octets, and each
	// serial number behind an octet with its length. A chain that is the anchor
	// alone (a pinned certificate) has itself.
	CertIssuer []byte
	CertSerial []byte

	NotAfter time.Time  // the earliest of the chain, anchor included
	Anchor   [32]byte   // SHA-256 of the trust anchor's DER
	Leaf     [32]byte   // SHA-256 of the peer's certificate's DER
	Addr     netip.Addr // iPAddress SubjectAltName, if that was what matched
}
