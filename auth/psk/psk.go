// Package psk reads pre-shared keys as people write them, and judges them. The
// AUTH payload of RFC 7296 2.15 is computed by the machine.
package psk

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Secret is a pre-shared key, the octets that go into the prf. It prints as
// "redacted".
type Secret []byte

const redacted = "redacted"

// String shows nothing, like GoString and Format: keys stay out of logs and errors.
func (Secret) String() string             { return redacted }
func (Secret) GoString() string           { return redacted }
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// MarshalText keeps the key out of what prints a configuration.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// maxSecret is the longest key, in octets.
const maxSecret = 1024

// The errors of Parse repeat nothing of the text.
var (
	errEmpty  = errors.New("psk: empty: write a secret of at least 20 random characters")
	errHex    = errors.New("psk: 0x is followed by something that is not hexadecimal digits in pairs: correct it, or write 0s and base64")
	errBase64 = errors.New("psk: 0s is followed by something that is not base64: correct it, or write 0x and hexadecimal digits")
	errLong   = fmt.Errorf("psk: longer than %d octets", maxSecret)
	errSpace  = errors.New("psk: white space at its beginning or end, or a line break: take it out, or write the octets as 0x and hexadecimal digits")
)

// Parse reads a secret as people write it, in the notation that strongSwan and
// libreswan have too: 0x and hexadecimal digits, 0s and base64, or else the
// text itself, whose octets are UTF-8 and take part without any change.
func Parse(text string) (Secret, error) {
	b := []byte(text)
	var err error
	switch {
	case strings.HasPrefix(text, "0x"):
		if b, err = hex.DecodeString(text[2:]); err != nil {
			return nil, errHex
		}
	case strings.HasPrefix(text, "0s"):
		if b, err = base64.StdEncoding.Strict().DecodeString(text[2:]); err != nil {
			return nil, errBase64
		}
	case strings.TrimSpace(text) != text || strings.ContainsAny(text, "\r\n"):
		return nil, errSpace
	}
	switch {
	case len(b) == 0:
		return nil, errEmpty
	case len(b) > maxSecret:
		return nil, errLong
	}
	return b, nil
}

// enough is the entropy, in bits, below which Advice speaks: nearly that of an
// AES-128 key, and what 20 random letters and digits have.
const enough = 112

// Advice says what to do about a secret that can be guessed, "" for one that
// seems fine. Whoever plays the peer once can try guesses for ever without
// asking us again (RFC 7296 5), so a password will not do.
func (s Secret) Advice() string {
	bits := s.entropy()
	if bits >= enough {
		return ""
	}
	return fmt.Sprintf("this pre-shared key has at most %d bits of entropy and can be guessed off line: write 0s and what this prints: head -c 32 /dev/urandom | base64", int(bits))
}

// entropy is an upper bound, in bits: as if each octet was drawn from the
// classes of characters that appear. A few characters again and again are no
// such alphabet, so its size is at most the square of their number.
func (s Secret) entropy() float64 {
	var digits, letters, capitals, others, rest float64
	different := make(map[byte]bool)
	for _, c := range s {
		different[c] = true
		switch {
		case '0' <= c && c <= '9':
			digits = 10
		case 'a' <= c && c <= 'z':
			letters = 26
		case 'A' <= c && c <= 'Z':
			capitals = 26
		case ' ' <= c && c <= '~':
			others = 33
		default:
			rest = 161
		}
	}
	alphabet := digits + letters + capitals + others + rest
	square := float64(len(different) * len(different))
	return float64(len(s)) * math.Log2(max(1, min(alphabet, square)))
}
