package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"blackswan/store"
)

func testListPrefix(t *testing.T, k *kit) {
	k.apply(store.Durable, put("a", "1"), put("a/1", "2"), put("a/\xff", "3"), put("b", "4"))
	k.apply(store.Behind, put("a/2", "5"), put("b/1", "6"), del("a/1"), put("a", "7"))
	for prefix, want := range map[string]map[string]string{
		"":       {"a": "7", "a/\xff": "3", "a/2": "5", "b": "4", "b/1": "6"},
		"a":      {"a": "7", "a/\xff": "3", "a/2": "5"},
		"a/":     {"a/\xff": "3", "a/2": "5"},
		"a/\xff": {"a/\xff": "3"},
		"b/1":    {"b/1": "6"},
		"c":      {},
	} {
		k.wantList(prefix, want)
	}
}

func testListError(t *testing.T, k *kit) {
	k.apply(store.Durable, put("a", "1"), put("b", "1"), put("c", "1"))
	k.apply(store.Behind, put("d", "1"), put("e", "1"))
	enough := errors.New("enough")
	for stop := 1; stop <= 5; stop++ {
		calls := 0
		err := k.s.List(k.ctx, nil, func(store.Entry) error {
			if calls++; calls == stop {
				return enough
			}
			return nil
		})
		if err != enough || calls != stop {
			t.Errorf("List = %v after %d calls; want %v after %d", err, calls, enough, stop)
		}
	}
}

func testListWrites(t *testing.T, k *kit) {
	k.apply(store.Durable, put("a", "1"), put("b", "1"))
	k.apply(store.Behind, put("c", "1"))
	k.must(k.s.List(k.ctx, nil, func(e store.Entry) error {
		e.Value[0] = 'X'
		if err := k.s.Apply(k.ctx, []store.Op{del(string(e.Key))}, store.Durable); err != nil {
			return err
		}
		_, err := k.s.Get(k.ctx, e.Key)
		if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("what was deleted is still there: %w", err)
		}
		return nil
	}))
	k.wantList("", map[string]string{})
}

func testListMany(t *testing.T, k *kit) {
	want := make(map[string]string)
	var ops []store.Op
	for i := range 3000 { // more than one read of any engine
		key := fmt.Sprintf("many/%d", i)
		want[key] = fmt.Sprint(i)
		ops = append(ops, put(key, want[key]))
	}
	k.apply(store.Durable, ops[:2000]...)
	k.apply(store.Behind, ops[1500:]...)
	k.apply(store.Durable, put("man", ""), put("many0", ""))
	k.wantList("many/", want)
}

// short is a life time that ends while a test waits for the end.
const short = 40 * time.Millisecond

func testTTLEnds(t *testing.T, k *kit) {
	for _, d := range []store.Durability{store.Behind, store.Durable} {
		c := k.watch("key")
		k.apply(d, putTTL("key", "ends", short))
		k.await(c, "key", "-")
		k.want("key", "-")
		k.apply(d, put("other", "stays"), putTTL("key", "long", time.Hour))
		k.wantList("", map[string]string{"other": "stays", "key": "long"})
		k.apply(d, del("key"))
	}
}

func testTTLAnew(t *testing.T, k *kit) {
	c := k.watch("clock")
	k.apply(store.Durable, putTTL("a", "1", short), putTTL("b", "1", short), putTTL("c", "1", short))
	k.apply(store.Behind, put("a", "2"), putTTL("b", "2", time.Hour), del("c"))
	k.apply(store.Durable, putTTL("clock", "", 2*short))
	k.await(c, "clock", "-")
	k.wantList("", map[string]string{"a": "2", "b": "2"})
}

func testTTLUpdate(t *testing.T, k *kit) {
	c := k.watch("lease")
	k.must(k.s.Update(k.ctx, []byte("lease"), nil, []byte("mine"), short))
	k.await(c, "lease", "-")
	if err := k.s.Update(k.ctx, []byte("lease"), []byte("mine"), []byte("mine"), short); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("renewing what has ended = %v; want ErrConflict", err)
	}
	k.must(k.s.Update(k.ctx, []byte("lease"), nil, []byte("yours"), time.Hour))
	k.want("lease", "yours")
}

func testWatch(t *testing.T, k *kit) {
	k.put("a", "1")
	c := k.watch("")
	k.await(c, "a", "1")
	k.apply(store.Behind, put("a", "2"))
	k.await(c, "a", "2")
	k.must(k.s.Update(k.ctx, []byte("a"), []byte("2"), []byte("3"), 0))
	k.await(c, "a", "3")
	k.put("a", "")
	k.await(c, "a", "")
	k.apply(store.Behind, del("a"))
	k.await(c, "a", "-")
}

func testWatchPrefix(t *testing.T, k *kit) {
	k.put("a/1", "in")
	k.put("b/1", "out")
	c := k.watch("a/")
	k.await(c, "a/1", "in")
	k.put("b/2", "out")
	k.put("a/2", "in")
	k.put("a/end", "")
	for change := range c {
		if string(change.Key[:2]) != "a/" {
			t.Fatalf("told of %q", change.Key)
		}
		if string(change.Key) == "a/end" {
			return
		}
	}
	t.Fatal("the watch ended")
}

// testWatchSlow: nobody reads while a key changes many times; its last value
// comes, and nothing older after it.
func testWatchSlow(t *testing.T, k *kit) {
	c := k.watch("")
	for i := range 500 {
		k.apply(store.Behind, put("key", fmt.Sprintf("%03d", i)))
	}
	k.put("end", "")
	last := ""
	for ended := false; !ended || last != "499"; {
		change, ok := <-c
		switch {
		case !ok:
			t.Fatalf("the watch ended at %q", last)
		case string(change.Key) == "end":
			ended = true
		case string(change.Value) < last:
			t.Fatalf("%q came after %q", change.Value, last)
		default:
			last = string(change.Value)
		}
	}
}

// testWatchGap: a watch that begins among writes misses none.
func testWatchGap(t *testing.T, k *kit) {
	const n = 200
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range n {
			if err := k.s.Apply(k.ctx, []store.Op{put(fmt.Sprint(i), "")}, store.Behind); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 3 {
		c := k.watch("")
		seen := make(map[string]bool)
		for change := range c {
			if seen[string(change.Key)] = true; len(seen) == n {
				break
			}
		}
		if len(seen) != n {
			t.Fatalf("saw %d of %d", len(seen), n)
		}
	}
	<-written
}

func testWatchCtx(t *testing.T, k *kit) {
	k.put("a", "1")
	ctx, cancel := context.WithCancel(k.ctx)
	idle, err := k.s.Watch(ctx, nil)
	k.must(err)
	busy, err := k.s.Watch(ctx, nil)
	k.must(err)
	k.await(idle, "a", "1") // busy holds an undelivered change
	cancel()
	for range idle {
	}
	for range busy {
	}
	if k.ctx.Err() != nil {
		t.Fatal("the channels were closed by the test's end only")
	}
	k.put("a", "2")
}

func testWatchClose(t *testing.T, k *kit) {
	k.put("a", "1")
	c, read := k.watch(""), k.watch("")
	k.await(read, "a", "1")
	k.must(k.s.Close())
	for range c {
	}
	for range read {
	}
	if k.ctx.Err() != nil {
		t.Fatal("the channels were closed by the test's end only")
	}
}
