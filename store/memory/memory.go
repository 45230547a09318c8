// Package memory is a store that forgets: for tests, and for a client that
// wants nothing of it on a disk.
package memory

import (
	"bytes"
	"container/heap"
	"context"
	"strings"
	"sync"
	"time"

	"blackswan/store"
)

// Open returns an empty store. Behind and Durable writes are the same to it.
func Open() store.Store {
	s := &memory{records: make(map[string]record)}
	s.timer = time.AfterFunc(time.Hour, s.expire)
	s.timer.Stop()
	return s
}

type memory struct {
	feed store.Feed

	mu      sync.Mutex
	records map[string]record
	ends    ends        // one item per write with a TTL, even if overwritten since
	timer   *time.Timer // rings at ends[0]
	closed  bool
}

type record struct {
	value []byte
	ends  time.Time // zero: never
}

func (r record) live(now time.Time) bool { return r.ends.IsZero() || now.Before(r.ends) }

func (s *memory) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	r, ok := s.records[string(key)]
	if !ok || !r.live(time.Now()) {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, r.value...), nil
}

func (s *memory) List(ctx context.Context, prefix []byte, f func(store.Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := s.snapshot(prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// snapshot copies what f may not see change or write to.
func (s *memory) snapshot(prefix []byte) ([]store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	var entries []store.Entry
	now := time.Now()
	for k, r := range s.records {
		if strings.HasPrefix(k, string(prefix)) && r.live(now) {
			entries = append(entries, store.Entry{Key: []byte(k), Value: append([]byte{}, r.value...)})
		}
	}
	return entries, nil
}

func (s *memory) Apply(ctx context.Context, ops []store.Op, _ store.Durability) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := store.CheckAll(ops); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	s.write(ops)
	return nil
}

func (s *memory) Update(ctx context.Context, key, old, new []byte, ttl time.Duration) error {
	op := store.Op{Key: key, Value: new, TTL: ttl}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := op.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	r, ok := s.records[string(key)]
	present := ok && r.live(time.Now())
	if present != (old != nil) || present && !bytes.Equal(r.value, old) {
		return store.ErrConflict
	}
	s.write([]store.Op{op})
	return nil
}

// write carries out checked ops. It is called with mu held, so that the feed
// hears of writes in their order.
func (s *memory) write(ops []store.Op) {
	now := time.Now()
	changes := make([]store.Change, len(ops))
	for i, o := range ops {
		c := store.Change{Key: bytes.Clone(o.Key)}
		if o.Value == nil {
			delete(s.records, string(o.Key))
		} else {
			c.Value = append([]byte{}, o.Value...)
			r := record{value: c.Value}
			if o.TTL > 0 {
				r.ends = now.Add(o.TTL)
				heap.Push(&s.ends, end{r.ends, string(o.Key)})
			}
			s.records[string(o.Key)] = r
		}
		changes[i] = c
	}
	s.feed.Publish(changes)
	s.wind(now)
}

// expire drops what has ended and says so.
func (s *memory) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := time.Now()
	var changes []store.Change
	for len(s.ends) > 0 && !now.Before(s.ends[0].at) {
		e := heap.Pop(&s.ends).(end)
		if r, ok := s.records[e.key]; ok && !r.live(now) {
			delete(s.records, e.key)
			changes = append(changes, store.Change{Key: []byte(e.key)})
		}
	}
	s.feed.Publish(changes)
	s.wind(now)
}

// wind sets the timer to the earliest end.
func (s *memory) wind(now time.Time) {
	if len(s.ends) > 0 {
		s.timer.Reset(s.ends[0].at.Sub(now))
	}
}

func (s *memory) Watch(ctx context.Context, prefix []byte) (<-chan store.Change, error) {
	prefix = bytes.Clone(prefix)
	return s.feed.Watch(ctx, prefix, func(ctx context.Context, f func(store.Entry) error) error {
		return s.List(ctx, prefix, f)
	})
}

func (s *memory) Sync(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	return ctx.Err()
}

func (s *memory) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	s.closed = true
	s.timer.Stop()
	s.records, s.ends = nil, nil
	s.mu.Unlock()
	s.feed.Close()
	return nil
}

// end is a moment at which a key may have ended.
type end struct {
	at  time.Time
	key string
}

// ends is a heap, earliest first.
type ends []end

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h ends) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ends) Push(x any)        { *h = append(*h, x.(end)) }
func (h *ends) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
