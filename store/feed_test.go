package store

import (
	"context"
	"errors"
	"testing"
)

func nothing(context.Context, func(Entry) error) error { return nil }

// TestFeedSlow: a watcher that nobody reads holds one change per key, the last,
// in the order in which the keys first changed.
func TestFeedSlow(t *testing.T) {
	w := &watcher{prefix: []byte("a"), latest: make(map[string][]byte), wake: make(chan struct{}, 1)}
	for i := range 100 {
		w.add([]Change{{Key: []byte("ab"), Value: []byte{byte(i)}}, {Key: []byte("b"), Value: nil}, {Key: []byte("aa"), Value: nil}})
	}
	got := w.take()
	if len(got) != 2 || string(got[0].Key) != "ab" || got[0].Value[0] != 99 || string(got[1].Key) != "aa" || got[1].Value != nil {
		t.Errorf("held %q; want ab = 99, aa deleted", got)
	}
	w.add([]Change{{Key: []byte("a"), Value: []byte{1}}, {Key: []byte("a"), Value: nil}})
	if got := w.take(); len(got) != 1 || got[0].Value != nil {
		t.Errorf("held %q; want a deleted", got)
	}
	if again := w.take(); len(again) != 0 {
		t.Errorf("told %q twice", again)
	}
}

// TestFeedOrder: contents come first, though changes were published before them.
func TestFeedOrder(t *testing.T) {
	var f Feed
	published := make(chan struct{})
	c, err := f.Watch(t.Context(), nil, func(_ context.Context, tell func(Entry) error) error {
		<-published
		return tell(Entry{Key: []byte("k"), Value: []byte("content")})
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Publish([]Change{{Key: []byte("k"), Value: []byte("change")}})
	close(published)
	for _, want := range []string{"content", "change"} {
		if got := <-c; string(got.Value) != want {
			t.Errorf("%q; want %q", got.Value, want)
		}
	}
	f.Close()
}

// TestFeedFails: a watch whose contents cannot be listed is over.
func TestFeedFails(t *testing.T) {
	var f Feed
	c, err := f.Watch(t.Context(), nil, func(context.Context, func(Entry) error) error { return errors.New("no disk") })
	if err != nil {
		t.Fatal(err)
	}
	if change, ok := <-c; ok {
		t.Errorf("told %q", change)
	}
	f.Close()
	if _, err := f.Watch(t.Context(), nil, nothing); !errors.Is(err, ErrClosed) {
		t.Errorf("Watch after Close = %v; want ErrClosed", err)
	}
}

// TestFeedForgets: an ended watch costs nothing.
func TestFeedForgets(t *testing.T) {
	var f Feed
	ctx, cancel := context.WithCancel(t.Context())
	c, err := f.Watch(ctx, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range c {
	}
	f.running.Wait()
	if len(f.watchers) != 0 {
		t.Errorf("%d watchers left", len(f.watchers))
	}
}
