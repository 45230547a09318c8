// Package store is the port to what outlives a process: key rings and secrets
// (sealed before they come here), boot epochs, tickets by reference, floors,
// the roll call, address leases.
//
// The operations are those of the stub bank in the draft on synchronising IKE
// SAs among peers: get, put with a life time, delete, compare-and-set, and a
// download followed by changes. An engine is a package below this one; every
// engine passes the kit in storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors that every engine returns, bare or wrapped.
var (
	ErrNotFound = errors.New("store: no such key")
	ErrConflict = errors.New("store: the value is not the expected one")
	ErrClosed   = errors.New("store: closed")
	ErrBusy     = errors.New("store: too much is waiting to be written behind")
)

// Sizes that every engine accepts, in octets. An empty key is refused, an
// empty value is a value. A wrapper around an engine may keep MaxWrap octets
// of a value for itself.
const (
	MaxKey   = 1024
	MaxValue = 4 << 20
	MaxWrap  = 64
)

// BehindLimit is how long a write with durability Behind may stay in memory.
const BehindLimit = 200 * time.Millisecond

// Durability says when a write reaches the disk.
type Durability uint8

const (
	// Behind is seen by readers of this Store at once and is on disk at most
	// BehindLimit later, after every write that was applied before it.
	Behind Durability = iota
	// Durable is on disk when the call returns.
	Durable
)

// Entry is a key and its value.
type Entry struct{ Key, Value []byte }

// Op is one write of a batch.
type Op struct {
	Key   []byte
	Value []byte        // nil deletes the key; a key that is not there is no error
	TTL   time.Duration // 0: for ever
}

// Change is what became of a key. Its slices are shared: read them, keep them,
// never write to them.
type Change struct {
	Key   []byte
	Value []byte // nil: deleted or expired
}

// Store is safe for concurrent use. Key, value and batch slices given to it are
// borrowed for the call. After Close every method returns ErrClosed.
type Store interface {
	// Get returns a copy of the value, owned by the caller. A key that is
	// absent or has expired is ErrNotFound.
	Get(ctx context.Context, key []byte) ([]byte, error)

	// List calls f for the entries whose key begins with prefix, in no
	// particular order; their slices are valid for that call only. An error of
	// f ends the listing and is returned. A key that nobody writes meanwhile is
	// seen exactly once; others may be seen before or after that write. f may
	// use the Store.
	List(ctx context.Context, prefix []byte, f func(Entry) error) error

	// Apply writes a batch: all of it or nothing. Batches take effect in the
	// order in which they were given; of two ops on one key the later counts.
	// When ctx ends while a Durable batch is under way, its outcome is unknown.
	// A Behind batch never waits for the disk: it is ErrBusy, and not taken, when
	// the disk has fallen too far behind.
	Apply(ctx context.Context, ops []Op, d Durability) error

	// Update sets key to new if its value is old, and is ErrConflict otherwise.
	// A nil old wants the key absent, a nil new deletes it. Always Durable.
	Update(ctx context.Context, key, old, new []byte, ttl time.Duration) error

	// Watch tells the present contents below prefix, then every change, until
	// ctx ends or the Store is closed; then the channel is closed. A change may
	// be told twice. A reader that falls behind misses intermediate values of a
	// key, never its last one.
	Watch(ctx context.Context, prefix []byte) (<-chan Change, error)

	// Sync returns when every write applied before it is on disk.
	Sync(ctx context.Context) error

	// Close writes what is still behind, ends the watches and frees the engine.
	Close() error
}

// Check returns an error if an engine must refuse o.
func (o Op) Check() error {
	switch {
	case len(o.Key) == 0 || len(o.Key) > MaxKey:
		return fmt.Errorf("store: key of %d octets: want 1 to %d", len(o.Key), MaxKey)
	case len(o.Value) > MaxValue:
		return fmt.Errorf("store: value of %d octets for key %q: want at most %d", len(o.Value), o.Key, MaxValue)
	case o.TTL < 0:
		return fmt.Errorf("store: life time %v for key %q: want 0 or more", o.TTL, o.Key)
	}
	return nil
}

// CheckAll returns the first error of Check among ops.
func CheckAll(ops []Op) error {
	for _, o := range ops {
		if err := o.Check(); err != nil {
			return err
		}
	}
	return nil
}
