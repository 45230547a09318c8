package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"blackswan/store"
)

const (
	// behindDelay leaves the disk the other half of store.BehindLimit.
	behindDelay = store.BehindLimit / 2
	// hurry is how many octets behind are enough company.
	hurry = 4 << 20
	// full is how many octets may wait for a slow disk, or for one that fails.
	full = 64 << 20
	// sweepLimit bounds the expired records that one transaction removes.
	sweepLimit = 4096
	// sweepPause is the longest sleep towards an expiry: the wall clock may leap.
	sweepPause = time.Minute
)

// write is one batch on its way to the disk.
type write struct {
	ops     []op
	octets  int
	seq     uint64
	compare bool   // ops[0] only if the value is old
	old     []byte // nil: absent
	err     error  // this write's own fate within a good transaction
	done    chan error
}

type op struct {
	key []byte
	record
}

func (s *bolt) Apply(ctx context.Context, ops []store.Op, d store.Durability) error {
	if err := store.CheckAll(ops); err != nil {
		return err
	}
	w := newWrite(ops)
	if d == store.Durable {
		return s.await(ctx, w)
	}
	return s.enqueue(ctx, w)
}

func (s *bolt) Update(ctx context.Context, key, old, new []byte, ttl time.Duration) error {
	o := store.Op{Key: key, Value: new, TTL: ttl}
	if err := o.Check(); err != nil {
		return err
	}
	w := newWrite([]store.Op{o})
	w.compare = true
	if old != nil {
		w.old = append([]byte{}, old...)
	}
	return s.await(ctx, w)
}

// Sync is a batch of nothing that waits for its turn.
func (s *bolt) Sync(ctx context.Context) error { return s.await(ctx, newWrite(nil)) }

func newWrite(ops []store.Op) *write {
	now := time.Now()
	w := &write{ops: make([]op, len(ops))}
	for i, o := range ops {
		w.ops[i] = op{bytes.Clone(o.Key), newRecord(o, now)}
		w.octets += len(o.Key) + len(o.Value)
	}
	return w
}

// await queues w and waits for its commit.
func (s *bolt) await(ctx context.Context, w *write) error {
	w.done = make(chan error, 1)
	if err := s.enqueue(ctx, w); err != nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *bolt) enqueue(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	if w.done == nil && s.waiting+w.octets > full {
		return errors.Join(store.ErrBusy, s.failure)
	}
	s.seq++
	w.seq = s.seq
	s.queue = append(s.queue, w)
	if w.done == nil {
		s.showBehind(w)
	}
	if w.done != nil || s.waiting > hurry {
		s.ring()
	} else if !s.armed {
		s.armed = true
		s.behind.Reset(behindDelay)
	}
	return nil
}

// showBehind lets readers see w before it is committed.
func (s *bolt) showBehind(w *write) {
	s.waiting += w.octets
	for _, o := range w.ops {
		s.fresh[string(o.key)] = fresh{o.record, w.seq}
	}
}

func (s *bolt) ring() {
	select {
	case s.urgent <- struct{}{}:
	default:
	}
}

// run is the committer.
func (s *bolt) run() {
	defer close(s.done)
	for {
		select {
		case <-s.urgent:
		case <-s.behind.C:
		case <-s.expiry.C:
		case <-s.quit:
			s.behind.Stop()
			s.expiry.Stop()
			s.lost = s.commit()
			return
		}
		s.commit()
	}
}

// commit writes the whole queue in one transaction and tells everyone. What
// cannot be written fails if it is Durable and waits on if it is Behind.
func (s *bolt) commit() error {
	s.mu.Lock()
	writes := s.queue
	s.queue = nil
	s.armed = false
	s.mu.Unlock()

	changes, next, err := s.transact(writes)
	if err != nil {
		err = fmt.Errorf("store/bolt: %s: commit: %w", s.db.Path(), err)
		s.putBack(writes, err)
		s.expiry.Reset(sweepPause)
	} else {
		s.nextEnd = next
		s.settle(writes)
		s.feed.Publish(changes)
		s.wind()
	}
	for _, w := range writes {
		if w.done != nil {
			w.done <- errors.Join(err, w.err)
		}
	}
	return err
}

// transact writes to the disk, if there is anything to write. It returns what
// changed and the earliest expiry afterwards.
func (s *bolt) transact(writes []*write) (changes []store.Change, next int64, err error) {
	if idle(writes) && !s.due() {
		return nil, s.nextEnd, nil
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		var err error
		changes, err = carryOut(tx, writes)
		next = earliest(tx)
		return err
	})
	return changes, next, err
}

// idle says that there is nothing to write.
func idle(writes []*write) bool {
	for _, w := range writes {
		if len(w.ops) > 0 {
			return false
		}
	}
	return true
}

// carryOut is the transaction: the expired leave, then each write in turn.
func carryOut(tx *bbolt.Tx, writes []*write) ([]store.Change, error) {
	now := time.Now().UnixNano()
	kv, exp := tx.Bucket(contents), tx.Bucket(expiries)
	changes, err := sweep(kv, exp, now)
	if err != nil {
		return nil, err
	}
	for _, w := range writes {
		if w.err, err = w.judge(kv, now); err != nil {
			return nil, err
		}
		if w.err != nil {
			continue
		}
		for _, o := range w.ops {
			if err := o.put(kv, exp); err != nil {
				return nil, err
			}
			changes = append(changes, store.Change{Key: o.key, Value: o.value})
		}
	}
	return changes, nil
}

// earliest returns the first expiry on disk, 0 if there is none.
func earliest(tx *bbolt.Tx) int64 {
	k, _ := tx.Bucket(expiries).Cursor().First()
	if k == nil {
		return 0
	}
	return int64(binary.BigEndian.Uint64(k))
}

// judge compares for Update: the first error is the write's, the second the file's.
func (w *write) judge(kv *bbolt.Bucket, now int64) (conflict, err error) {
	if !w.compare {
		return nil, nil
	}
	r, err := recordAt(kv, w.ops[0].key)
	if err != nil {
		return nil, err
	}
	if r.live(now) != (w.old != nil) || w.old != nil && !bytes.Equal(r.value, w.old) {
		return store.ErrConflict, nil
	}
	return nil, nil
}

func (o op) put(kv, exp *bbolt.Bucket) error {
	if o.value == nil {
		return kv.Delete(o.key)
	}
	if o.ends != 0 {
		if err := exp.Put(expiryKey(o.ends, o.key), nil); err != nil {
			return err
		}
	}
	return kv.Put(o.key, o.saved)
}

// sweep removes what ended before now.
func sweep(kv, exp *bbolt.Bucket, now int64) ([]store.Change, error) {
	var due [][]byte
	cur := exp.Cursor()
	for k, _ := cur.First(); k != nil && len(due) < sweepLimit; k, _ = cur.Next() {
		if int64(binary.BigEndian.Uint64(k)) > now {
			break
		}
		due = append(due, bytes.Clone(k))
	}
	var changes []store.Change
	for _, k := range due {
		if err := exp.Delete(k); err != nil {
			return nil, err
		}
		r, err := recordAt(kv, k[expirySize:])
		if err != nil {
			return nil, err
		}
		if r.value == nil || r.live(now) {
			continue // deleted, or written anew
		}
		if err := kv.Delete(k[expirySize:]); err != nil {
			return nil, err
		}
		changes = append(changes, store.Change{Key: k[expirySize:]})
	}
	return changes, nil
}

// settle forgets the fresh values that are on disk now.
func (s *bolt) settle(writes []*write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = nil
	for _, w := range writes {
		if w.done != nil {
			continue
		}
		s.waiting -= w.octets
		for _, o := range w.ops {
			if s.fresh[string(o.key)].seq == w.seq {
				delete(s.fresh, string(o.key))
			}
		}
	}
}

// putBack lets the Behind writes of a failed commit try again.
func (s *bolt) putBack(writes []*write, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
	var again []*write
	for _, w := range writes {
		if w.done == nil {
			again = append(again, w)
		}
	}
	s.queue = append(again, s.queue...)
	if len(s.queue) > 0 && !s.armed {
		s.armed = true
		s.behind.Reset(behindDelay)
	}
}

// due says that something on disk has ended.
func (s *bolt) due() bool { return s.nextEnd != 0 && s.nextEnd <= time.Now().UnixNano() }

// wind sets the expiry timer.
func (s *bolt) wind() {
	if s.nextEnd == 0 {
		s.expiry.Stop()
		return
	}
	s.expiry.Reset(min(sweepPause, time.Until(time.Unix(0, s.nextEnd))))
}
