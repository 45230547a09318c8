package ticket

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

var (
	// ErrNoKey is of Seal and SealRef: no key of the ring seals now.
	ErrNoKey = errors.New("ticket: no key of the ring seals now: rotate the ring")
	// ErrUnknownKey is of Open and OpenRef: read the ring anew, once, before
	// you judge.
	ErrUnknownKey = errors.New("ticket: sealed under a key that the ring does not have")
	// ErrForged is of Open and OpenRef: altered, or not of this ring.
	ErrForged = errors.New("ticket: forged or altered")
	// ErrExpired is of Open and Usable.
	ErrExpired = errors.New("ticket: expired")
	// ErrKeyLife is in the error of CheckLife.
	ErrKeyLife = errors.New("ticket: keys of the ring live too short")
)

// Ring seals and opens the tickets of one shard under the keys that all share.
// It is not for concurrent use.
type Ring struct {
	keys  []Key
	refs  []hash.Hash // by index of keys: the MAC of references
	aeads aeads
	own   sealing
	plain [MaxSize]byte // of the ticket that was sealed or opened last
}

// NewRing is a Ring of these keys, which it keeps and does not change. Without
// keys it opens and seals nothing.
func NewRing(keys []Key) (*Ring, error) {
	r := &Ring{}
	if err := r.SetKeys(keys); err != nil {
		return nil, err
	}
	return r, nil
}

// SetKeys goes on with other keys, which it keeps and does not change. What it
// derived from those that are gone it forgets, the rest it keeps. After an
// error all is as before.
func (r *Ring) SetKeys(keys []Key) error {
	for i, k := range keys {
		if k.ID == 0 || find(keys[:i], k.ID) != nil {
			return fmt.Errorf("ticket: key id %d: want each once and none 0", k.ID)
		}
	}
	r.keys, r.refs = keys, r.refs[:0]
	for i := range keys {
		r.refs = append(r.refs, referenceMAC(&keys[i]))
	}
	clear(r.refs[len(r.refs):cap(r.refs)])
	r.aeads.retain(keys)
	if find(keys, r.own.keyID()) == nil {
		r.own = sealing{}
	}
	return nil
}

// Format keeps the keys out of logs and errors.
func (*Ring) Format(f fmt.State, _ rune) { io.WriteString(f, "ticket.Ring") }

// sealKey is the key that seals at now: the newest that has been published long
// enough, or if there is none, the one that was published first.
func (r *Ring) sealKey(now int64) *Key {
	var best *Key
	for i := range r.keys {
		if k := &r.keys[i]; now < k.SealUntil && (best == nil || k.before(best, now)) {
			best = k
		}
	}
	return best
}

// before tells whether k rather than other seals at now.
func (k *Key) before(other *Key, now int64) bool {
	age := cmp.Compare(k.Created, other.Created)
	switch published := now - seconds(PublishDelay); {
	case k.Created > published && other.Created > published:
		return age < 0
	case k.Created > published || other.Created > published:
		return k.Created <= published
	}
	return age > 0
}

func find(keys []Key, id uint32) *Key {
	for i := range keys {
		if keys[i].ID == id {
			return &keys[i]
		}
	}
	return nil
}

// PublishDelay is how long a new key rests in the store before tickets are
// sealed under it, so that every member of a cluster has read it by then.
const PublishDelay = 60 * time.Second

// Rotate returns keys and a new one after them, which seals for the time seal
// once PublishDelay has passed, and opens for maxLife, the longest life of a
// ticket, longer. The older keys seal until then and open until the last
// ticket that they can have sealed has expired. keys stays as it is.
func Rotate(keys []Key, now int64, seal, maxLife time.Duration, rand io.Reader) ([]Key, error) {
	fresh, err := newKey(keys, rand)
	if err != nil {
		return keys, fmt.Errorf("ticket: no randomness for a key: %w", err)
	}
	fresh.Created = now
	fresh.SealUntil = now + seconds(seal) + seconds(PublishDelay)
	fresh.OpenUntil = fresh.SealUntil + seconds(maxLife) //rfc:5723-6.2-7
	next := make([]Key, 0, len(keys)+1)
	for _, k := range keys {
		k.SealUntil = min(k.SealUntil, now+seconds(PublishDelay))
		k.OpenUntil = min(k.OpenUntil, k.SealUntil+seconds(maxLife))
		next = append(next, k)
	}
	return append(next, fresh), nil //rfc:5723-9.5-4
}

// newKey is a secret under an id that no key of the ring has.
func newKey(keys []Key, rand io.Reader) (k Key, err error) {
	if _, err = io.ReadFull(rand, k.Secret[:]); err != nil { //rfc:5723-9.5-1 5723-9.5-2
		return Key{}, err
	}
	var id [4]byte
	for k.ID == 0 || find(keys, k.ID) != nil {
		if _, err = io.ReadFull(rand, id[:]); err != nil {
			return Key{}, err
		}
		k.ID = binary.BigEndian.Uint32(id[:])
	}
	return k, nil
}

// RotateAt is when the next Rotate is due, in Unix seconds: PublishDelay before
// the newest key stops sealing. Without a key it is 0.
func RotateAt(keys []Key) (at int64) {
	for _, k := range keys {
		at = max(at, k.SealUntil-seconds(PublishDelay))
	}
	return at
}

// Prune returns the keys whose last ticket has not expired at now. keys stays
// as it is.
func Prune(keys []Key, now int64) []Key {
	kept := make([]Key, 0, len(keys))
	for _, k := range keys {
		if now < k.OpenUntil {
			kept = append(kept, k)
		}
	}
	return kept
}

// CheckLife tells whether keys that seal for the time seal and tickets that
// live for maxLife make keys that live much longer than an IKE SA, as RFC 5723
// 6.2 demands: at least twice as long. Its error says what to change.
func CheckLife(seal, maxLife, ikeLife time.Duration) error {
	if life := seal + PublishDelay + maxLife; life < 2*ikeLife {
		return fmt.Errorf("%w: %v, which is not twice the life of an IKE SA, %v: rotate keys less often, or rekey IKE SAs more often", ErrKeyLife, life, ikeLife)
	}
	return nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
