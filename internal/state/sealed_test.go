package state

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"blackswan/store"
	"blackswan/store/bolt"
	"blackswan/store/memory"
	"blackswan/store/storetest"
)

// TestRuleD3_SealedStore: a sealed store is a store.
func TestRuleD3_SealedStore(t *testing.T) {
	key := NewStateKey()
	sealed := func(t *testing.T, s store.Store, err error) store.Store {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
		})
		return Seal(s, key)
	}
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return sealed(t, memory.Open(), nil) }, nil)
	})
	t.Run("bolt", func(t *testing.T) {
		paths := make(map[store.Store]string)
		open := func(t *testing.T, path string, mustExist bool) store.Store {
			engine, err := bolt.Open(path, mustExist)
			s := sealed(t, engine, err)
			paths[s] = path
			return s
		}
		storetest.Run(t,
			func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "store.db"), false) },
			func(t *testing.T, s store.Store) store.Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, paths[s], true)
			})
	})
}

// TestRuleD3_StoreForges: who can write the store can neither read a value, nor
// make one, nor put one in another's place; every reader gets an error that
// names the record.
func TestRuleD3_StoreForges(t *testing.T) {
	inner := memory.Open()
	defer inner.Close()
	s := Seal(inner, NewStateKey())
	put := func(s store.Store, key string, value []byte) {
		t.Helper()
		if err := s.Apply(t.Context(), []store.Op{{Key: []byte(key), Value: value}}, store.Durable); err != nil {
			t.Fatal(err)
		}
	}
	put(s, "user/alice", []byte("may log in"))
	put(s, "user/mallory", []byte("may not"))
	alice, err := inner.Get(t.Context(), []byte("user/alice"))
	if err != nil || bytes.Contains(alice, []byte("may")) {
		t.Fatalf("the store holds %q, %v", alice, err)
	}
	flipped := bytes.Clone(alice)
	flipped[len(flipped)/2] ^= 1
	for name, forged := range map[string][]byte{
		"of another place": alice,
		"in clear":         []byte("may log in"),
		"flipped":          flipped,
		"empty":            {},
	} {
		put(inner, "user/mallory", forged)
		_, getErr := s.Get(t.Context(), []byte("user/mallory"))
		for call, err := range map[string]error{
			"Get":    getErr,
			"List":   s.List(t.Context(), []byte("user/m"), func(store.Entry) error { return nil }),
			"Update": s.Update(t.Context(), []byte("user/mallory"), []byte("may not"), []byte("may"), 0),
		} {
			if !errors.Is(err, ErrForged) || !strings.Contains(err.Error(), "user/mallory") {
				t.Errorf("%s: %s = %v; want ErrForged and the name", name, call, err)
			}
		}
		c, err := s.Watch(t.Context(), []byte("user/m"))
		if err != nil {
			t.Fatal(err)
		}
		for change := range c {
			t.Errorf("%s: Watch told %q", name, change)
		}
	}
}

// TestSealedWatchClose: an undelivered change does not outlive the store.
func TestSealedWatchClose(t *testing.T) {
	s := openMemory(t)
	c, err := s.Watch(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if err := s.Apply(t.Context(), []store.Op{{Key: []byte(key), Value: []byte{}}}, store.Behind); err != nil {
			t.Fatal(err)
		}
	}
	<-c
	if err := s.Close(); err != nil { // waits for the watch
		t.Fatal(err)
	}
	for range c {
	}
}

// racing is a store in which somebody writes a value anew, wrapped otherwise,
// before each of the first Updates.
type racing struct {
	store.Store
	left  int
	again func() error
}

func (r *racing) Update(ctx context.Context, key, old, new []byte, ttl time.Duration) error {
	if r.left--; r.left >= 0 {
		if err := r.again(); err != nil {
			return err
		}
	}
	return r.Store.Update(ctx, key, old, new, ttl)
}

// TestSealedUpdateSameValue: a value that was written anew and is the same is
// no conflict.
func TestSealedUpdateSameValue(t *testing.T) {
	inner := &racing{Store: memory.Open(), left: 2}
	s := Seal(inner, NewStateKey())
	defer s.Close()
	put := func() error {
		return s.Apply(t.Context(), []store.Op{{Key: []byte("key"), Value: []byte("old")}}, store.Durable)
	}
	inner.again = put
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), []byte("key"), []byte("old"), []byte("new"), 0); err != nil {
		t.Errorf("Update = %v", err)
	}
	if v, err := s.Get(t.Context(), []byte("key")); err != nil || string(v) != "new" || inner.left >= 0 {
		t.Errorf("Get = %q, %v after %d races left; want new", v, err, inner.left)
	}
}
