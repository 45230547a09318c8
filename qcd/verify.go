package qcd

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
)

func allowed(token []byte) bool { return len(token) >= MinToken && len(token) <= MaxToken }

// Digest is what a taker stores of a token (RFC 6290 3 allows a digest in its
// place): 32 octets whatever the token's length, and a thief of the taker's
// memory has no token. The zero Digest is of no token. It prints as "redacted".
type Digest [sha256.Size]byte

// DigestOf is the digest to store for a token that came in a protected message.
// It reports false for a length that RFC 6290 5 does not allow.
func DigestOf(token []byte) (Digest, bool) {
	if !allowed(token) { //rfc:6290-5-1
		return Digest{}, false
	}
	return sha256.Sum256(token), true
}

// Verify holds a token that was shown in clear against d, in constant time. The
// zero Digest verifies nothing: no token hashes to it.
func (d *Digest) Verify(shown []byte) bool {
	s, ok := DigestOf(shown)
	return ok && subtle.ConstantTimeCompare(d[:], s[:]) == 1
}

// String, GoString and Format keep the digest out of logs and errors.
func (Digest) String() string             { return "redacted" }
func (Digest) GoString() string           { return "redacted" }
func (Digest) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }
