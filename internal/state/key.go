package state

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// StateKey wraps every secret and session before it goes to a store, so that
// neither reading nor writing the store forges a login (rule D3). In a cluster
// each member has the same one in its configuration.
type StateKey [32]byte

const redacted = "redacted"

// String shows nothing, like GoString and Format: keys stay out of logs and errors.
func (StateKey) String() string             { return redacted }
func (StateKey) GoString() string           { return redacted }
func (StateKey) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// NewStateKey makes a key from the system's randomness.
func NewStateKey() (k StateKey) {
	rand.Read(k[:])
	return k
}

// errKeyForm names no octet of what it refuses.
var errKeyForm = errors.New("state: not a state key: want 32 random octets or 64 hexadecimal digits")

// ParseStateKey reads a key as it lies in a file, in a systemd credential or in
// the configuration: 32 octets as they are, or 64 hexadecimal digits and
// perhaps a newline.
func ParseStateKey(b []byte) (StateKey, error) {
	var k StateKey
	if len(b) == len(k) {
		return StateKey(b), nil
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	if len(b) != hex.EncodedLen(len(k)) {
		return StateKey{}, errKeyForm
	}
	if _, err := hex.Decode(k[:], b); err != nil {
		return StateKey{}, errKeyForm
	}
	return k, nil
}

// A wrapped record:
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Version = 1  |                                               |
//	+-+-+-+-+-+-+-+-+            Salt (16 octets)                   ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                        Nonce (12 octets)                      ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~              AES-256-GCM of the record, tag 16                ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// Salt and nonce are random. The salt makes the AEAD key, so the pages that are
// written five times a second for years do not come near the limit of random
// nonces under one key. Version and store key are the associated data.
const (
	wrapVersion = 1
	saltSize    = 16
	nonceSize   = 12
	tagSize     = 16
	wrapHeader  = 1 + saltSize + nonceSize

	// WrapOverhead is what Wrap adds, in octets.
	WrapOverhead = wrapHeader + tagSize
)

// ErrForged is in the error of Unwrap for what this key did not wrap.
var ErrForged = errors.New("it was altered, moved, or written under another state key")

// Wrap encrypts plain for the place storeKey of the store. Another place or
// another key will not open it.
func Wrap(key StateKey, storeKey, plain []byte) []byte {
	b := make([]byte, wrapHeader, wrapHeader+len(plain)+tagSize)
	b[0] = wrapVersion
	rand.Read(b[1:])
	return key.aead(b[1:1+saltSize]).Seal(b, b[1+saltSize:], plain, associated(wrapVersion, storeKey)) //rfc:6290-9.1-5
}

// Unwrap returns what was wrapped for storeKey, in memory of its own.
func Unwrap(key StateKey, storeKey, wrapped []byte) ([]byte, error) {
	if len(wrapped) < WrapOverhead {
		return nil, fmt.Errorf("state: record %q has %d octets, fewer than any: %w", storeKey, len(wrapped), ErrForged)
	}
	if wrapped[0] != wrapVersion {
		return nil, fmt.Errorf("state: record %q has format %d, this program reads %d: %w", storeKey, wrapped[0], wrapVersion, ErrForged)
	}
	plain, err := key.aead(wrapped[1:1+saltSize]).Open([]byte{}, wrapped[1+saltSize:wrapHeader], wrapped[wrapHeader:], associated(wrapped[0], storeKey))
	if err != nil {
		return nil, fmt.Errorf("state: record %q does not open: %w", storeKey, ErrForged)
	}
	return plain, nil
}

func associated(version byte, storeKey []byte) []byte {
	return append([]byte{version}, storeKey...)
}

func (k StateKey) aead(salt []byte) cipher.AEAD {
	secret, err := hkdf.Key(sha256.New, k[:], salt, "blackswan state v1", len(k))
	if err != nil {
		panic(err) // a length that is wrong here
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}
