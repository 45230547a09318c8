package ike

import (
	"time"

	"blackswan/internal/suite"
	"blackswan/ticket"
	"blackswan/wire"
)

// QuestionKind says what a Question asks.
type QuestionKind uint8

const (
	AskKeyPair QuestionKind = iota + 1 // initiator: make a key pair of Group -> Answer.Pair
	AskAgree                           // Pair (nil: make one of Group) and Public -> Answer.Shared, and Answer.Public if the pair was made
	AskSign                            // Octets -> Answer.Auth, Answer.Certs
	AskVerify                          // ID, Certs, Auth over Octets -> Answer.Err nil, Answer.Cert
	AskGateway                         // initiator: the address of the gateway Name, answer by CommandGateway (RFC 5685)
	AskRing                            // an unknown ticket key was named: read the ring again, answer by CommandKeys (rule D10)
)

// Question is slow or outside work. Its slices belong to whoever takes it.
// Conn is nil where it is not known yet.
type Question struct {
	Kind   QuestionKind
	ID     uint64
	Conn   *Connection
	Owner  uint32 // initiator: as CommandConnect told it
	Group  wire.TransformID
	Pair   *suite.KeyPair
	Public []byte
	Name   string // AskGateway

	Octets  []byte        // the octets to sign or that were signed, RFC 7296 2.15
	Hashes  []uint16      // the peer's SIGNATURE_HASH_ALGORITHMS, RFC 7427 4
	CertReq []byte        // the peer's CERTREQ hashes
	PeerID  wire.ID       // AskVerify
	Certs   [][]byte      // AskVerify: DER, leaf first
	Auth    wire.Auth     // AskVerify
	Remote  [16]byte      // AskVerify: source address, IPv4 mapped
	Asked   time.Duration // since the Endpoint began; the gateway measures its pool with it (rule E7)
}

// Answer is the reply to a Question. A stale one is ignored.
type Answer struct {
	ID     uint64
	Err    error
	Pair   *suite.KeyPair
	Public []byte
	Shared []byte
	Auth   wire.Auth
	Certs  [][]byte
	Cert   *ticket.PeerCert // what a ticket must remember of the peer's certificate
	Until  int64            // Unix seconds: the authentication ends here (smallest NotAfter); 0: none
}
