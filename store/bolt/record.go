package bolt

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"blackswan/store"
)

// The two buckets of the file.
var (
	// contents: key -> expiry 8 (Unix nanoseconds, 0 for ever) | value
	contents = []byte("contents")
	// expiries: expiry 8 | key -> nothing. An item may be older than the
	// record that it names: the record's own expiry decides.
	expiries = []byte("expiries")
)

const expirySize = 8

// record is a value and its end. A nil value is a deletion that is not yet
// committed.
type record struct {
	value []byte
	ends  int64  // Unix nanoseconds, 0: never
	saved []byte // as it lies in contents: value is its end
}

// newRecord copies the value once: a page of the roll call has a quarter of a
// megabyte.
func newRecord(o store.Op, now time.Time) record {
	r := record{}
	if o.TTL > 0 {
		r.ends = now.Add(o.TTL).UnixNano()
	}
	if o.Value != nil {
		r.saved = binary.BigEndian.AppendUint64(make([]byte, 0, expirySize+len(o.Value)), uint64(r.ends))
		r.saved = append(r.saved, o.Value...)
		r.value = r.saved[expirySize:]
	}
	return r
}

func (r record) live(now int64) bool {
	return r.value != nil && (r.ends == 0 || now < r.ends)
}

func (r record) copyOf(now int64) ([]byte, error) {
	if !r.live(now) {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, r.value...), nil
}

// parseRecord views b.
func parseRecord(key, b []byte) (record, error) {
	if len(b) < expirySize {
		return record{}, fmt.Errorf("store/bolt: value of key %q has %d octets, too few to be one of ours", key, len(b))
	}
	return record{value: b[expirySize:], ends: int64(binary.BigEndian.Uint64(b)), saved: b}, nil
}

// recordAt returns the record of key, a deletion if there is none. It views
// the transaction's memory.
func recordAt(b *bbolt.Bucket, key []byte) (record, error) {
	v := b.Get(key)
	if v == nil {
		return record{}, nil
	}
	return parseRecord(key, v)
}

// expiryKey is the item of expiries for key.
func expiryKey(ends int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(ends)), key...)
}
