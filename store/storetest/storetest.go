// Package storetest is what every engine of the store must pass.
package storetest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"blackswan/store"
)

// patience ends a test that waits for something that never comes.
const patience = 30 * time.Second

// Run runs the kit. open returns an empty store and closes it when the test
// ends, if the test has not. reopen closes a store and opens the same contents
// again; nil for an engine that forgets.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen func(t *testing.T, s store.Store) store.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, k *kit)
	}{
		{"Get/absent", testGetAbsent},
		{"Get/copy", testGetCopy},
		{"Apply/values", testApplyValues},
		{"Apply/borrows", testApplyBorrows},
		{"Apply/order", testApplyOrder},
		{"Apply/all or nothing", testApplyAtomic},
		{"Apply/sizes", testApplySizes},
		{"Apply/oracle", testOracle},
		{"Apply/many at once", testManyAtOnce},
		{"List/prefix", testListPrefix},
		{"List/error", testListError},
		{"List/writes inside", testListWrites},
		{"List/many", testListMany},
		{"TTL/ends", testTTLEnds},
		{"TTL/written anew", testTTLAnew},
		{"TTL/conflict", testTTLUpdate},
		{"Update/conflict", testUpdate},
		{"Update/counter", testUpdateCounter},
		{"Watch/contents then changes", testWatch},
		{"Watch/prefix", testWatchPrefix},
		{"Watch/slow reader", testWatchSlow},
		{"Watch/no change lost", testWatchGap},
		{"Watch/ends with ctx", testWatchCtx},
		{"Watch/ends with Close", testWatchClose},
		{"ctx", testCtx},
		{"Close", testClose},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newKit(t, open(t))) })
	}
	if reopen == nil {
		return
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T, k *kit, reopen func(*testing.T, store.Store) store.Store)
	}{
		{"reopen/contents", testReopen},
		{"reopen/TTL", testReopenTTL},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newKit(t, open(t)), reopen) })
	}
}

// kit is a store with a short tongue.
type kit struct {
	t   *testing.T
	s   store.Store
	ctx context.Context
}

func newKit(t *testing.T, s store.Store) *kit {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &kit{t, s, ctx}
}

func (k *kit) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) apply(d store.Durability, ops ...store.Op) {
	k.t.Helper()
	k.must(k.s.Apply(k.ctx, ops, d))
}

func (k *kit) put(key, value string) { k.t.Helper(); k.apply(store.Durable, put(key, value)) }

// want checks the value of a key, "-" for none.
func (k *kit) want(key, value string) {
	k.t.Helper()
	got, err := k.s.Get(k.ctx, []byte(key))
	switch {
	case value == "-":
		if !errors.Is(err, store.ErrNotFound) {
			k.t.Fatalf("Get(%q) = %q, %v; want ErrNotFound", key, got, err)
		}
	case err != nil || string(got) != value || got == nil:
		k.t.Fatalf("Get(%q) = %q, %v; want %q", key, got, err, value)
	}
}

// list returns what List tells, and fails if it tells a key twice.
func (k *kit) list(prefix string) map[string]string {
	k.t.Helper()
	all := make(map[string]string)
	k.must(k.s.List(k.ctx, []byte(prefix), func(e store.Entry) error {
		if _, twice := all[string(e.Key)]; twice {
			k.t.Fatalf("List(%q) told %q twice", prefix, e.Key)
		}
		all[string(e.Key)] = string(e.Value)
		return nil
	}))
	return all
}

func (k *kit) wantList(prefix string, want map[string]string) {
	k.t.Helper()
	if got := k.list(prefix); !maps.Equal(got, want) {
		k.t.Fatalf("List(%q) = %q; want %q", prefix, got, want)
	}
}

func (k *kit) watch(prefix string) <-chan store.Change {
	k.t.Helper()
	c, err := k.s.Watch(k.ctx, []byte(prefix))
	k.must(err)
	return c
}

// await reads changes until key has the value, "-" for none.
func (k *kit) await(c <-chan store.Change, key, value string) {
	k.t.Helper()
	for change := range c {
		v := string(change.Value)
		if change.Value == nil {
			v = "-"
		}
		if string(change.Key) == key && v == value {
			return
		}
	}
	k.t.Fatalf("the watch ended before %q was %q", key, value)
}

func put(key, value string) store.Op { return store.Op{Key: []byte(key), Value: []byte(value)} }

func putTTL(key, value string, ttl time.Duration) store.Op {
	return store.Op{Key: []byte(key), Value: []byte(value), TTL: ttl}
}

func del(key string) store.Op { return store.Op{Key: []byte(key)} }
