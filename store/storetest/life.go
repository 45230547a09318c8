package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"blackswan/store"
)

// calls are all methods that take a context.
func calls(s store.Store) map[string]func(context.Context) error {
	key := []byte("key")
	return map[string]func(context.Context) error{
		"Get":     func(ctx context.Context) error { _, err := s.Get(ctx, key); return err },
		"List":    func(ctx context.Context) error { return s.List(ctx, nil, func(store.Entry) error { return nil }) },
		"Behind":  func(ctx context.Context) error { return s.Apply(ctx, []store.Op{put("key", "new")}, store.Behind) },
		"Durable": func(ctx context.Context) error { return s.Apply(ctx, []store.Op{put("key", "new")}, store.Durable) },
		"Update":  func(ctx context.Context) error { return s.Update(ctx, key, []byte("old"), []byte("new"), 0) },
		"Sync":    s.Sync,
	}
}

func testCtx(t *testing.T, k *kit) {
	k.put("key", "old")
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	for name, call := range calls(k.s) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context = %v; want %v", name, err, context.Canceled)
		}
	}
	k.must(k.s.Sync(k.ctx))
	k.want("key", "old")
}

func testClose(t *testing.T, k *kit) {
	k.put("key", "old")
	k.must(k.s.Close())
	for name, call := range calls(k.s) {
		if err := call(k.ctx); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close = %v; want ErrClosed", name, err)
		}
	}
	if _, err := k.s.Watch(k.ctx, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Watch after Close = %v; want ErrClosed", err)
	}
	if err := k.s.Close(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Close after Close = %v; want ErrClosed", err)
	}
}

func testReopen(t *testing.T, k *kit, reopen func(*testing.T, store.Store) store.Store) {
	k.put("durable", "1")
	k.put("gone", "1")
	k.apply(store.Behind, put("behind", "1"), del("gone"))
	k.must(k.s.Update(k.ctx, []byte("updated"), nil, []byte("1"), 0))
	k.apply(store.Behind, put("behind", "2"))
	for range 2 {
		k.s = reopen(t, k.s)
		k.wantList("", map[string]string{"durable": "1", "behind": "2", "updated": "1"})
		k.want("gone", "-")
		k.await(k.watch(""), "behind", "2")
	}
}

func testReopenTTL(t *testing.T, k *kit, reopen func(*testing.T, store.Store) store.Store) {
	k.apply(store.Durable, putTTL("a", "ends", short), putTTL("b", "stays", time.Hour))
	k.s = reopen(t, k.s)
	c := k.watch("")
	k.apply(store.Durable, putTTL("clock", "", 2*short))
	k.await(c, "clock", "-")
	k.wantList("", map[string]string{"b": "stays"})
}
