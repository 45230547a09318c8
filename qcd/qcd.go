// Package qcd is quick crash detection, RFC 6290: the tokens that a maker can
// make again after it has lost everything else, how a taker holds one against
// what it has stored, and how many a restarted maker shows to the world.
package qcd

import (
	"fmt"
	"io"
)

const (
	// MinToken and MaxToken bound a token, in octets (RFC 6290 5).
	MinToken = 16
	MaxToken = 128
	// TokenSize is the length of a token of ours, in octets.
	TokenSize = 32
	// Slots is how many generations of the secret there are at a time: the
	// current one and up to three before it (RFC 6290 5.1).
	Slots = 4
)

// Secret is the QCD_SECRET of one generation: 32 octets from the system's
// randomness. Who has it can end every SA of its maker (RFC 6290 9.1). It
// prints as "redacted".
type Secret [32]byte

// String, GoString and Format keep the secret out of logs and errors.
func (Secret) String() string             { return "redacted" }
func (Secret) GoString() string           { return "redacted" }
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }
