package state

import (
	"context"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"blackswan/store"
)

// Sealed is a store whose values are wrapped by the state key on their way in
// and unwrapped on their way out (rule D3). Keys, life times and sizes stay
// readable. Where a value does not open, the error names its key and is
// ErrForged; a watch that meets one ends.
type Sealed struct {
	inner store.Store
	key   func() StateKey // a function: fmt prints no result of it
	done  chan struct{}   // closed by Close
	once  sync.Once

	watches sync.WaitGroup
}

// Seal puts the wrapping around s. Close closes s.
func Seal(s store.Store, key StateKey) *Sealed {
	return &Sealed{inner: s, key: func() StateKey { return key }, done: make(chan struct{})}
}

// Get is store.Store's.
func (s *Sealed) Get(ctx context.Context, key []byte) ([]byte, error) {
	b, err := s.inner.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return Unwrap(s.key(), key, b)
}

// List is store.Store's.
func (s *Sealed) List(ctx context.Context, prefix []byte, f func(store.Entry) error) error {
	return s.inner.List(ctx, prefix, func(e store.Entry) error {
		plain, err := Unwrap(s.key(), e.Key, e.Value)
		if err != nil {
			return err
		}
		return f(store.Entry{Key: e.Key, Value: plain})
	})
}

// Apply is store.Store's.
func (s *Sealed) Apply(ctx context.Context, ops []store.Op, d store.Durability) error {
	if err := store.CheckAll(ops); err != nil {
		return err
	}
	wrapped := make([]store.Op, len(ops))
	for i, o := range ops {
		wrapped[i] = store.Op{Key: o.Key, Value: s.wrap(o.Key, o.Value), TTL: o.TTL}
	}
	return s.inner.Apply(ctx, wrapped, d)
}

// wrap leaves nil, a deletion, as it is.
func (s *Sealed) wrap(key, plain []byte) []byte {
	if plain == nil {
		return nil
	}
	return Wrap(s.key(), key, plain)
}

// Update is store.Store's. No two wraps of a value are alike, so it compares
// what is unwrapped and lets the store compare what is wrapped.
func (s *Sealed) Update(ctx context.Context, key, old, new []byte, ttl time.Duration) error {
	if err := (store.Op{Key: key, Value: new, TTL: ttl}).Check(); err != nil {
		return err
	}
	if old == nil {
		return s.inner.Update(ctx, key, nil, s.wrap(key, new), ttl)
	}
	for {
		present, err := s.inner.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return store.ErrConflict
		}
		if err != nil {
			return err
		}
		plain, err := Unwrap(s.key(), key, present)
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare(plain, old) == 0 {
			return store.ErrConflict
		}
		err = s.inner.Update(ctx, key, present, s.wrap(key, new), ttl)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// Watch is store.Store's.
func (s *Sealed) Watch(ctx context.Context, prefix []byte) (<-chan store.Change, error) {
	ctx, cancel := context.WithCancel(ctx)
	in, err := s.inner.Watch(ctx, prefix)
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan store.Change)
	s.watches.Go(func() {
		defer close(out)
		defer cancel()
		for c := range in {
			if c.Value != nil {
				if c.Value, err = Unwrap(s.key(), c.Key, c.Value); err != nil {
					return
				}
			}
			select {
			case out <- c:
			case <-ctx.Done():
				return
			case <-s.done:
				return
			}
		}
	})
	return out, nil
}

// Sync is store.Store's.
func (s *Sealed) Sync(ctx context.Context) error { return s.inner.Sync(ctx) }

// Close closes the store inside.
func (s *Sealed) Close() error {
	s.once.Do(func() { close(s.done) })
	err := s.inner.Close()
	s.watches.Wait()
	return err
}
