package ticket

import (
	"encoding/binary"
	"fmt"
	"io"
)

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
