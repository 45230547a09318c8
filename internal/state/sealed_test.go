package state

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

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
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range c {
	}
}
