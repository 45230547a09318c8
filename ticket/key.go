package ticket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// PublishDelay is how long a new key rests in the store before tickets are
// sealed under it, so that every member of a cluster has read it by then.
const PublishDelay = 60 * time.Second

// Secret is 32 octets from the system's randomness. It prints as "redacted".
type Secret [32]byte

// String, GoString and Format keep the secret out of logs and errors.
func (Secret) String() string             { return "redacted" }
func (Secret) GoString() string           { return "redacted" }
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }

// Key is one key of a ring. It seals nothing itself: the keys of tickets are
// derived from it, and it is used for nothing else (RFC 5723 9.5). Times are
// Unix seconds.
type Key struct {
	ID        uint32 // random, not 0; stands in each ticket in clear
	Secret    Secret
	Created   int64
	SealUntil int64 // seals no ticket from then on
	OpenUntil int64 // its last ticket has expired by then
}

// ErrKeyLife is in the error of CheckLife.
var ErrKeyLife = errors.New("ticket: key life too short")

const (
	keyVersion = 1
	// KeySize is the length of an encoded Key in octets.
	KeySize = 1 + 4 + 32 + 3*timeSize
)

// Append appends KeySize octets for the store, which are secret: version 1,
// ID 4, secret 32, created, seal until and open until 5 each.
func (k Key) Append(b []byte) []byte {
	b = append(b, keyVersion)
	b = binary.BigEndian.AppendUint32(b, k.ID)
	b = append(b, k.Secret[:]...)
	b = appendTime(b, k.Created)
	b = appendTime(b, k.SealUntil)
	return appendTime(b, k.OpenUntil)
}

// ParseKey reads exactly one encoded key and keeps nothing of b. Its error is
// ErrFormat.
func ParseKey(b []byte) (Key, error) {
	if len(b) != KeySize || b[0] != keyVersion {
		return Key{}, ErrFormat
	}
	k := Key{ID: binary.BigEndian.Uint32(b[1:]), Secret: Secret(b[5:37])}
	if k.ID == 0 {
		return Key{}, ErrFormat
	}
	for i, t := range [...]*int64{&k.Created, &k.SealUntil, &k.OpenUntil} {
		*t = readTime(b[37+i*timeSize:])
	}
	return k, nil
}

// Rotate returns keys and a new one after them, which seals for the time seal
// once PublishDelay has passed, and opens for maxLife, the longest life of a
// ticket, longer. The older keys seal until then and open until the last
// ticket that they can have sealed has expired. keys stays as it is.
func Rotate(keys []Key, now int64, seal, maxLife time.Duration, rand io.Reader) ([]Key, error) {
	fresh := Key{
		Created:   now,
		SealUntil: now + seconds(seal) + seconds(PublishDelay),
	}
	fresh.OpenUntil = fresh.SealUntil + seconds(maxLife)
	if _, err := io.ReadFull(rand, fresh.Secret[:]); err != nil {
		return keys, fmt.Errorf("ticket: no randomness for a key: %w", err)
	}
	var id [4]byte
	for fresh.ID == 0 || find(keys, fresh.ID) != nil {
		if _, err := io.ReadFull(rand, id[:]); err != nil {
			return keys, fmt.Errorf("ticket: no randomness for a key: %w", err)
		}
		fresh.ID = binary.BigEndian.Uint32(id[:])
	}
	next := make([]Key, 0, len(keys)+1)
	for _, k := range keys {
		k.SealUntil = min(k.SealUntil, now+seconds(PublishDelay))
		k.OpenUntil = min(k.OpenUntil, k.SealUntil+seconds(maxLife))
		next = append(next, k)
	}
	return append(next, fresh), nil
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

func find(keys []Key, id uint32) *Key {
	for i := range keys {
		if keys[i].ID == id {
			return &keys[i]
		}
	}
	return nil
}
