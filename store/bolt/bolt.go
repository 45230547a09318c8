// Package bolt is the embedded engine of the store: one file, written by one
// process, made to survive a crash of it at any moment.
//
// One goroutine commits. Whatever was asked for while the disk was busy shares
// the next transaction and its fsync; writes behind wait for company, a tenth
// of a second at most.
package bolt

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"blackswan/store"
)

type bolt struct {
	db   *bbolt.DB
	feed store.Feed

	mu      sync.RWMutex
	closed  bool
	queue   []*write // in order of arrival
	waiting int      // octets of the Behind writes in queue
	armed   bool     // behind will ring for the queue
	failure error    // why the last commit left Behind writes waiting
	// fresh holds the last Behind value of each key until it is committed.
	fresh map[string]fresh
	seq   uint64

	behind *time.Timer   // rings when the queue has waited long enough
	urgent chan struct{} // rings when it must not wait
	quit   chan struct{}
	done   chan struct{} // closed by the committer
	lost   error         // its last words, read after done

	nextEnd int64       // the committer's: earliest expiry on disk, 0 for none
	expiry  *time.Timer // rings at nextEnd
}

// fresh is a record with its place in the order of writes.
type fresh struct {
	record
	seq uint64
}

func start(db *bbolt.DB) (store.Store, error) {
	s := &bolt{
		db:     db,
		fresh:  make(map[string]fresh),
		behind: time.NewTimer(0),
		expiry: time.NewTimer(0), // at once: sweep what ended while nobody ran
		urgent: make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	s.behind.Stop()
	err := db.View(func(tx *bbolt.Tx) error {
		s.nextEnd = earliest(tx)
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go s.run()
	return s, nil
}

func (s *bolt) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	closed := s.closed
	f, ok := s.fresh[string(key)]
	s.mu.RUnlock()
	if closed {
		return nil, store.ErrClosed
	}
	now := time.Now().UnixNano()
	if ok {
		return f.copyOf(now)
	}
	var value []byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		r, err := recordAt(tx.Bucket(contents), key)
		if err != nil {
			return err
		}
		value, err = r.copyOf(now)
		return err
	})
	return value, word(err)
}

func (s *bolt) List(ctx context.Context, prefix []byte, f func(store.Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now().UnixNano()
	unsaved := make(map[string]record)
	s.mu.RLock()
	closed := s.closed
	for k, v := range s.fresh {
		if strings.HasPrefix(k, string(prefix)) {
			unsaved[k] = v.record
		}
	}
	s.mu.RUnlock()
	if closed {
		return store.ErrClosed
	}
	for k, r := range unsaved {
		if !r.live(now) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(store.Entry{Key: []byte(k), Value: bytes.Clone(r.value)}); err != nil {
			return err
		}
	}
	return s.listSaved(ctx, prefix, func(e store.Entry) error {
		if _, told := unsaved[string(e.Key)]; told {
			return nil
		}
		return f(e)
	})
}

// Sizes of one read of listSaved: f runs outside a transaction, because an
// open one would hold up a commit that f itself may be waiting for.
const (
	chunkEntries = 256
	chunkOctets  = 1 << 20
)

// listSaved is List over what is committed.
func (s *bolt) listSaved(ctx context.Context, prefix []byte, f func(store.Entry) error) error {
	var chunk []store.Entry
	for from := append([]byte{}, prefix...); from != nil; {
		chunk = chunk[:0]
		err := s.db.View(func(tx *bbolt.Tx) error {
			var err error
			chunk, from, err = readChunk(chunk, tx, prefix, from)
			return err
		})
		if err != nil {
			return word(err)
		}
		for _, e := range chunk {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// readChunk appends copies of live entries from key from on, and returns the
// key at which the next chunk begins, nil at the end.
func readChunk(chunk []store.Entry, tx *bbolt.Tx, prefix, from []byte) ([]store.Entry, []byte, error) {
	now := time.Now().UnixNano()
	octets := 0
	cur := tx.Bucket(contents).Cursor()
	for k, v := cur.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		if len(chunk) == chunkEntries || octets >= chunkOctets {
			return chunk, bytes.Clone(k), nil
		}
		r, err := parseRecord(k, v)
		if err != nil {
			return chunk, nil, err
		}
		if !r.live(now) {
			continue
		}
		octets += len(k) + len(r.value)
		chunk = append(chunk, store.Entry{Key: bytes.Clone(k), Value: bytes.Clone(r.value)})
	}
	return chunk, nil, nil
}

// Watch lists what is committed and hears of every commit: both in the same
// order, so a watcher never sees a key go back in time.
func (s *bolt) Watch(ctx context.Context, prefix []byte) (<-chan store.Change, error) {
	prefix = append([]byte{}, prefix...)
	return s.feed.Watch(ctx, prefix, func(ctx context.Context, f func(store.Entry) error) error {
		return s.listSaved(ctx, prefix, f)
	})
}

func (s *bolt) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	close(s.quit)
	<-s.done
	s.feed.Close()
	return errors.Join(s.lost, s.db.Close())
}

// word turns the engine's own error for a closed file into the port's.
func word(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}
