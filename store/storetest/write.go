package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"blackswan/store"
)

func testGetAbsent(t *testing.T, k *kit) {
	k.want("nothing", "-")
	k.put("key", "value")
	k.want("ke", "-")
	k.want("key2", "-")
}

func testGetCopy(t *testing.T, k *kit) {
	for _, d := range []store.Durability{store.Behind, store.Durable} {
		k.apply(d, put("key", "value"))
		v, err := k.s.Get(k.ctx, []byte("key"))
		k.must(err)
		v[0] = 'X'
		k.want("key", "value")
	}
}

func testApplyValues(t *testing.T, k *kit) {
	for _, d := range []store.Durability{store.Behind, store.Durable} {
		k.apply(d, put("a", "1"), put("b", ""), put("\x00\xff", "\x00"))
		k.want("a", "1")
		k.want("b", "")
		k.want("\x00\xff", "\x00")
		k.apply(d, put("a", "2"), del("b"), del("never there"))
		k.want("a", "2")
		k.want("b", "-")
		k.apply(d)
	}
}

func testApplyBorrows(t *testing.T, k *kit) {
	for _, d := range []store.Durability{store.Behind, store.Durable} {
		ops := []store.Op{put("key", "value")}
		k.apply(d, ops...)
		ops[0].Key[0], ops[0].Value[0] = 'X', 'X'
		k.must(k.s.Sync(k.ctx))
		k.wantList("", map[string]string{"key": "value"})
	}
}

func testApplyOrder(t *testing.T, k *kit) {
	k.apply(store.Durable, put("a", "1"), put("a", "2"), put("b", "1"), del("b"), del("c"), put("c", "1"))
	k.wantList("", map[string]string{"a": "2", "c": "1"})
	for i := range 20 { // the last one counts, however it is written
		k.apply(store.Durability(i%2), put("a", strconv.Itoa(i)))
		k.want("a", strconv.Itoa(i))
	}
	k.apply(store.Behind, put("a", "behind"))
	k.apply(store.Durable, put("a", "durable"))
	k.apply(store.Behind, del("a"))
	k.want("a", "-")
	k.must(k.s.Sync(k.ctx))
	k.want("a", "-")
}

func testApplyAtomic(t *testing.T, k *kit) {
	k.put("a", "old")
	for _, d := range []store.Durability{store.Behind, store.Durable} {
		err := k.s.Apply(k.ctx, []store.Op{put("a", "new"), put("b", "new"), put("", "no key")}, d)
		if err == nil {
			t.Fatal("an empty key was taken")
		}
		k.must(k.s.Sync(k.ctx))
		k.wantList("", map[string]string{"a": "old"})
	}
}

func testApplySizes(t *testing.T, k *kit) {
	longest := bytes.Repeat([]byte{'k'}, store.MaxKey)
	largest := bytes.Repeat([]byte{'v'}, store.MaxValue-store.MaxWrap)
	k.apply(store.Durable, store.Op{Key: longest, Value: largest})
	k.want(string(longest), string(largest))
	for name, op := range map[string]store.Op{
		"long key":    {Key: append(longest, 'k')},
		"large value": {Key: longest, Value: bytes.Repeat([]byte{'v'}, store.MaxValue+1)},
		"ended":       {Key: longest, Value: largest, TTL: -1},
	} {
		if k.s.Apply(k.ctx, []store.Op{op}, store.Durable) == nil {
			t.Errorf("%s: taken", name)
		}
		if k.s.Update(k.ctx, op.Key, nil, op.Value, op.TTL) == nil {
			t.Errorf("%s: taken by Update", name)
		}
	}
}

// testOracle compares a long random history with a map.
func testOracle(t *testing.T, k *kit) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	oracle := make(map[string]string)
	key := func() string { return fmt.Sprintf("%c/%d", 'a'+r.IntN(3), r.IntN(8)) }
	for i := range 300 {
		switch n := r.IntN(10); {
		case n < 6:
			var ops []store.Op
			for range r.IntN(4) {
				if k := key(); r.IntN(3) == 0 {
					ops = append(ops, del(k))
					delete(oracle, k)
				} else {
					ops = append(ops, put(k, strconv.Itoa(i)))
					oracle[k] = strconv.Itoa(i)
				}
			}
			d := store.Behind
			if n == 0 {
				d = store.Durable
			}
			k.apply(d, ops...)
		case n == 6:
			key := key()
			var old []byte
			v, present := oracle[key]
			if present {
				old = []byte(v)
			}
			k.must(k.s.Update(k.ctx, []byte(key), old, []byte(strconv.Itoa(i)), 0))
			oracle[key] = strconv.Itoa(i)
		case n == 7:
			k.wantList("", oracle)
		default:
			key := key()
			v, present := oracle[key]
			if !present {
				v = "-"
			}
			k.want(key, v)
		}
	}
	k.wantList("", oracle)
	k.must(k.s.Sync(k.ctx))
	k.wantList("", oracle)
}

func testManyAtOnce(t *testing.T, k *kit) {
	const writers, each = 32, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				mine := fmt.Sprintf("%d/%d", w, i)
				d := store.Durability(i % 2)
				if err := k.s.Apply(k.ctx, []store.Op{put(mine, mine), put("last", mine)}, d); err != nil {
					t.Error(err)
				}
				if v, err := k.s.Get(k.ctx, []byte(mine)); err != nil || string(v) != mine {
					t.Errorf("own write: Get(%q) = %q, %v", mine, v, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(k.list("")); n != writers*each+1 {
		t.Fatalf("%d keys; want %d", n, writers*each+1)
	}
}

func testUpdate(t *testing.T, k *kit) {
	key := []byte("key")
	conflict := func(old, new []byte) {
		t.Helper()
		if err := k.s.Update(k.ctx, key, old, new, 0); !errors.Is(err, store.ErrConflict) {
			t.Fatalf("Update from %q = %v; want ErrConflict", old, err)
		}
	}
	conflict([]byte("1"), []byte("2"))
	conflict([]byte{}, []byte("2"))
	k.must(k.s.Update(k.ctx, key, nil, []byte("1"), 0))
	conflict(nil, []byte("2"))
	conflict([]byte("0"), []byte("2"))
	k.want("key", "1")
	k.apply(store.Behind, put("key", "2"))
	conflict([]byte("1"), []byte("3"))
	k.must(k.s.Update(k.ctx, key, []byte("2"), []byte{}, 0))
	conflict(nil, []byte("3"))
	k.must(k.s.Update(k.ctx, key, []byte{}, nil, 0))
	k.want("key", "-")
}

func testUpdateCounter(t *testing.T, k *kit) {
	const writers, each = 8, 8
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := increment(k.ctx, k.s, []byte("counter")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	k.want("counter", strconv.Itoa(writers*each))
}

func increment(ctx context.Context, s store.Store, key []byte) error {
	for {
		old, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(old))
		err = s.Update(ctx, key, old, []byte(strconv.Itoa(n+1)), 0)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
