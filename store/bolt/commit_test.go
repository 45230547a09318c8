package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"blackswan/store"
)

// transactions returns the number of the last one.
func transactions(t *testing.T, s *bolt) (n int) {
	t.Helper()
	if err := s.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGroupCommit: whatever arrives while the disk is busy shares one fsync.
func TestGroupCommit(t *testing.T) {
	const writers = 100
	s := openAt(t, filepath.Join(t.TempDir(), "store.db"), false).(*bolt)
	before := transactions(t, s)
	busy, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			op := store.Op{Key: fmt.Append(nil, i), Value: []byte{1}}
			if err := s.Apply(t.Context(), []store.Op{op}, store.Durable); err != nil {
				t.Error(err)
			}
		})
	}
	for arrived := uint64(0); arrived < writers; runtime.Gosched() {
		s.mu.RLock()
		arrived = s.seq
		s.mu.RUnlock()
	}
	if err := busy.Rollback(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if n := transactions(t, s) - before; n > 2 {
		t.Fatalf("%d writes took %d transactions; want the one under way and one more", writers, n)
	}
}

// TestBehindDuringCommit: a write behind that arrives while an earlier one of
// the same key is being committed is what readers see from then on.
func TestBehindDuringCommit(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, filepath.Join(t.TempDir(), "store.db"), false).(*bolt)
	busy, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	put := func(value string) {
		t.Helper()
		if err := s.Apply(ctx, []store.Op{{Key: []byte("key"), Value: []byte(value)}}, store.Behind); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	saved := make(chan error)
	go func() { saved <- s.Sync(ctx) }()
	// The committer may take the first write before Sync has come: then Sync
	// waits for the next commit, and the queue is not empty again until then.
	for taken := false; !taken; runtime.Gosched() {
		s.mu.RLock()
		taken = len(s.queue) == 0 || s.queue[0].seq > 1
		s.mu.RUnlock()
	}
	put("2")
	if err := busy.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, []byte("key")); err != nil || string(v) != "2" {
		t.Fatalf("Get = %q, %v; want 2", v, err)
	}
}

// ended is a record whose time was over at nanosecond 1.
var ended = newRecord(store.Op{Value: []byte("ended"), TTL: 1}, time.Unix(0, 0))

// plant writes a record that has ended into the file, with or without the item
// that lets the sweep find it.
func plant(t *testing.T, s *bolt, key string, item bool) {
	t.Helper()
	planted := op{[]byte(key), ended}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if err := planted.put(tx.Bucket(contents), tx.Bucket(expiries)); err != nil || item {
			return err
		}
		return tx.Bucket(expiries).Delete(expiryKey(1, []byte(key)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEndedUnswept: what has ended is gone for every reader, swept or not.
func TestEndedUnswept(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, filepath.Join(t.TempDir(), "store.db"), false).(*bolt)
	for _, how := range []string{"saved", "behind"} {
		if how == "saved" {
			plant(t, s, "key", false)
		} else {
			s.mu.Lock()
			s.fresh["key"] = fresh{ended, 0}
			s.mu.Unlock()
		}
		if v, err := s.Get(ctx, []byte("key")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: Get = %q, %v; want ErrNotFound", how, v, err)
		}
		err := s.List(ctx, nil, func(e store.Entry) error { return fmt.Errorf("told of %q", e.Key) })
		if err != nil {
			t.Errorf("%s: List %v", how, err)
		}
	}
	if err := s.Update(ctx, []byte("key"), []byte("ended"), []byte("new"), 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Update from what ended = %v; want ErrConflict", err)
	}
	if err := s.Update(ctx, []byte("key"), nil, []byte("new"), 0); err != nil {
		t.Errorf("Update from nothing = %v", err)
	}
}

// TestSweepAtStart: what ended while nobody ran leaves the file unasked.
func TestSweepAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path, false).(*bolt)
	for i := range 50 {
		plant(t, s, fmt.Sprint(i), true)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, true).(*bolt)
	for left := 1; left > 0; runtime.Gosched() {
		err := s.db.View(func(tx *bbolt.Tx) error {
			left = tx.Bucket(contents).Stats().KeyN + tx.Bucket(expiries).Stats().KeyN
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tooLarge says that err is the disk's refusal; the engine drops its number.
func tooLarge(err error) bool {
	return err != nil && strings.Contains(err.Error(), syscall.EFBIG.Error())
}

// most is the largest file while files are limited: more than go test writes of
// the files that the tests opened, which it cannot do without.
const most = 3 << 20

// limitFiles lets no file of this process grow beyond most, until lifted.
func limitFiles(t *testing.T) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	lift = sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(lift)
	return lift
}

// TestFullDisk: a Durable write fails and leaves nothing, a write behind is
// seen, waits, and is saved when there is room again.
func TestFullDisk(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path, false)
	large := bytes.Repeat([]byte("large"), most/5+1)
	lift := limitFiles(t)

	if err := s.Apply(ctx, []store.Op{{Key: []byte("durable"), Value: large}}, store.Durable); !tooLarge(err) {
		t.Fatalf("Durable on a full disk = %v; want %v", err, syscall.EFBIG)
	}
	if _, err := s.Get(ctx, []byte("durable")); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get of what was not written = %v", err)
	}
	if err := s.Apply(ctx, []store.Op{{Key: []byte("small"), Value: []byte("1")}}, store.Durable); err != nil {
		t.Fatalf("what fits: %v", err)
	}
	if err := s.Apply(ctx, []store.Op{{Key: []byte("behind"), Value: large}}, store.Behind); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx); !tooLarge(err) || !strings.Contains(err.Error(), path) {
		t.Fatalf("Sync = %v; want %v and the file's name", err, syscall.EFBIG)
	}
	const first = "first to wait"
	if err := s.Apply(ctx, []store.Op{{Key: []byte(first), Value: []byte("1")}}, store.Behind); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx); !tooLarge(err) {
		t.Fatalf("Sync = %v; want %v", err, syscall.EFBIG)
	}
	var refused error
	for i := 0; refused == nil && i < full/len(large)+1; i++ {
		refused = s.Apply(ctx, []store.Op{{Key: []byte("behind"), Value: large}}, store.Behind)
	}
	if !errors.Is(refused, store.ErrBusy) || !tooLarge(refused) {
		t.Fatalf("%d octets wait and one more is not refused: %v", full, refused)
	}
	lift()
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	b := s.(*bolt)
	b.mu.RLock()
	if b.waiting != 0 || b.failure != nil || len(b.fresh) != 0 {
		t.Errorf("after all is saved %d octets and %d keys wait, failure %v", b.waiting, len(b.fresh), b.failure)
	}
	b.mu.RUnlock()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, true)
	if v, err := s.Get(ctx, []byte(first)); err != nil || string(v) != "1" {
		t.Fatalf("the first write that waited: %q, %v", v, err)
	}
	if v, err := s.Get(ctx, []byte("behind")); err != nil || !bytes.Equal(v, large) {
		t.Fatalf("the write behind: %d octets, %v", len(v), err)
	}
}

// TestCloseTellsLoss: writes behind that Close cannot save are not lost in silence.
func TestCloseTellsLoss(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "store.db"), false)
	limitFiles(t)
	op := store.Op{Key: []byte("behind"), Value: make([]byte, most+1)}
	if err := s.Apply(t.Context(), []store.Op{op}, store.Behind); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !tooLarge(err) {
		t.Fatalf("Close = %v; want %v", err, syscall.EFBIG)
	}
}

// BenchmarkDurable is one fsync per write alone, shared among 64 writers.
func BenchmarkDurable(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		s := openAt(b, filepath.Join(b.TempDir(), "store.db"), false)
		op := []store.Op{{Key: []byte("key"), Value: make([]byte, 300)}}
		for b.Loop() {
			if err := s.Apply(b.Context(), op, store.Durable); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 writers", func(b *testing.B) {
		s := openAt(b, filepath.Join(b.TempDir(), "store.db"), false)
		var n atomic.Uint64
		b.SetParallelism(64 / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				op := store.Op{Key: fmt.Append(nil, n.Add(1)%10_000), Value: make([]byte, 300)}
				if err := s.Apply(b.Context(), []store.Op{op}, store.Durable); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkBehind(b *testing.B) {
	s := openAt(b, filepath.Join(b.TempDir(), "store.db"), false)
	value := make([]byte, 300)
	var key []byte
	for i := 0; b.Loop(); i++ {
		key = fmt.Append(key[:0], i%10_000)
		err := s.Apply(b.Context(), []store.Op{{Key: key, Value: value}}, store.Behind)
		if errors.Is(err, store.ErrBusy) {
			err = s.Sync(b.Context()) // the disk is part of the price
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkGet(b *testing.B) {
	s := openAt(b, filepath.Join(b.TempDir(), "store.db"), false)
	var ops []store.Op
	for i := range 10_000 {
		ops = append(ops, store.Op{Key: fmt.Append(nil, i), Value: make([]byte, 300)})
	}
	if err := s.Apply(b.Context(), ops, store.Durable); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := s.Get(b.Context(), ops[i%len(ops)].Key); err != nil {
			b.Fatal(err)
		}
	}
}
