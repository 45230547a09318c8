// Package cookie makes and checks the cookies with which a gateway under load
// asks a stranger to show that it hears what is sent to its address
// (RFC 7296 2.6). Nothing is kept for a cookie that was sent.
package cookie

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"time"
)

const (
	// Size is the length of a cookie in octets: the version of the secret, 1,
	// and 16 of an HMAC-SHA-256. RFC 7296 2.6 allows 1 to 64.
	Size = 1 + macSize

	// Period is how long a secret makes cookies, in nanoseconds. The one
	// before it is still accepted for one period more.
	Period = int64(60 * time.Second)

	macSize = 16
)

// Secret makes and checks the cookies of one shard. Its key changes every
// Period, at the first call that is due. Not for concurrent use.
type Secret struct {
	rand              io.Reader
	current, previous hash.Hash // keyed HMACs; previous is nil when nothing older counts
	since             int64     // when current began
	version           uint8     // of current; previous has the one before
	fixed             [fixedSize]byte
	sum               [sha256.Size]byte
}

// fixedSize is the length of the hashed fields that do not vary: SPIi,
// address, length of Ni.
const fixedSize = 8 + 16 + 4

// New is a fresh secret. The times given to its methods are nanoseconds on the
// same clock as now. It panics when rand cannot be read.
func New(rand io.Reader, now int64) *Secret {
	s := &Secret{rand: rand, since: now}
	if _, err := io.ReadFull(rand, s.fixed[:1]); err != nil {
		panic("cookie: no randomness: " + err.Error())
	}
	s.version = s.fixed[0] // says nothing of our uptime
	key, err := newKey(rand)
	if err != nil {
		panic("cookie: no randomness: " + err.Error())
	}
	s.current = key
	return s
}

// Make appends the cookie of a request to dst, Size octets. The request is
// bound by its nonce, the source address, SPIi and extra: what else must not
// change between the two requests (the ticket of an IKE_SESSION_RESUME), or
// nil. It allocates nothing if dst has room, except when the key changes.
func (s *Secret) Make(dst []byte, now int64, ni []byte, src netip.Addr, spii uint64, extra []byte) []byte {
	s.turn(now)
	dst = append(dst, s.version)
	return append(dst, s.mac(s.current, ni, src, spii, extra)...)
}

// Check tells whether a cookie was made for this request by the current secret
// or the one before. A wrong cookie counts as none (RFC 7296 2.6). It takes
// constant time in the octets of the MAC and allocates nothing, except when
// the key changes.
func (s *Secret) Check(now int64, cookie, ni []byte, src netip.Addr, spii uint64, extra []byte) bool {
	s.turn(now)
	if len(cookie) != Size {
		return false
	}
	key := s.current
	switch cookie[0] {
	case s.version:
	case s.version - 1:
		key = s.previous
	default:
		return false
	}
	return key != nil && hmac.Equal(cookie[1:], s.mac(key, ni, src, spii, extra))
}

// turn changes the key when its period is over. A key that could not be
// replaced, for want of randomness, goes on until it can be.
func (s *Secret) turn(now int64) {
	age := now - s.since
	if age < Period {
		return
	}
	key, err := newKey(s.rand)
	if err != nil {
		return
	}
	s.previous = s.current
	if age >= 2*Period {
		s.previous = nil // RFC 7296 2.6: an old secret is not accepted for long
	}
	s.current = key
	s.since = now - age%Period
	s.version++
}

// mac is the truncated HMAC over SPIi, address, length of Ni, Ni and extra. It
// views s.sum.
func (s *Secret) mac(key hash.Hash, ni []byte, src netip.Addr, spii uint64, extra []byte) []byte {
	addr := src.As16() // the same for an IPv4 address and its IPv6-mapped form
	b := binary.BigEndian.AppendUint64(s.fixed[:0], spii)
	b = append(b, addr[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(ni)))
	key.Reset()
	key.Write(b)
	key.Write(ni)
	key.Write(extra)
	return key.Sum(s.sum[:0])[:macSize]
}

func newKey(rand io.Reader) (hash.Hash, error) {
	var key [sha256.Size]byte
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key[:])
	clear(key[:])
	return mac, nil
}

// String never shows the secret, and neither does fmt by any verb.
func (s Secret) String() string { return "redacted" }

// GoString is String.
func (s Secret) GoString() string { return "redacted" }

// Format is String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }
