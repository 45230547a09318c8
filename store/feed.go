package store

import (
	"bytes"
	"context"
	"sync"
)

// Feed is the Watch half of an embedded engine: the engine publishes what it
// wrote, the Feed hands it to the watchers. The zero value is ready for use.
//
// A watcher holds at most one undelivered change per key, so a slow reader
// costs as much memory as the keys that it watches and never holds up a writer.
type Feed struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	closed   bool
	running  sync.WaitGroup
}

// Watch begins a watch on prefix. contents lists what the engine holds now; it
// is called from the watch's own goroutine, after changes are being collected
// for it, so that nothing falls between the two.
func (f *Feed) Watch(ctx context.Context, prefix []byte, contents func(context.Context, func(Entry) error) error) (<-chan Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{
		prefix: bytes.Clone(prefix),
		latest: make(map[string][]byte),
		wake:   make(chan struct{}, 1),
		out:    make(chan Change),
		cancel: cancel,
	}
	if f.watchers == nil {
		f.watchers = make(map[*watcher]struct{})
	}
	f.watchers[w] = struct{}{}
	f.running.Add(1)
	go func() {
		defer f.running.Done()
		w.run(ctx, contents)
		f.mu.Lock()
		delete(f.watchers, w)
		f.mu.Unlock()
	}()
	return w.out, nil
}

// Publish tells the watchers of changes that readers of the engine can see
// already. The engine calls it in the order of its writes and does not touch
// the slices afterwards.
func (f *Feed) Publish(changes []Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watchers {
		w.add(changes)
	}
}

// Close ends all watches and waits for them. Later watches get ErrClosed.
func (f *Feed) Close() {
	f.mu.Lock()
	f.closed = true
	for w := range f.watchers {
		w.cancel()
	}
	f.mu.Unlock()
	f.running.Wait()
}

type watcher struct {
	prefix []byte
	out    chan Change
	wake   chan struct{}
	cancel context.CancelFunc

	mu     sync.Mutex
	order  []string          // keys of latest, by first undelivered change
	latest map[string][]byte // last undelivered value, nil: deleted
}

func (w *watcher) add(changes []Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range changes {
		if !bytes.HasPrefix(c.Key, w.prefix) {
			continue
		}
		k := string(c.Key)
		if _, waiting := w.latest[k]; !waiting {
			w.order = append(w.order, k)
		}
		w.latest[k] = c.Value
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the undelivered changes and forgets them.
func (w *watcher) take() []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := make([]Change, len(w.order))
	for i, k := range w.order {
		changes[i] = Change{Key: []byte(k), Value: w.latest[k]}
	}
	w.order = w.order[:0]
	clear(w.latest)
	return changes
}

func (w *watcher) run(ctx context.Context, contents func(context.Context, func(Entry) error) error) {
	defer w.cancel()
	defer close(w.out)
	err := contents(ctx, func(e Entry) error {
		return w.send(ctx, Change{Key: bytes.Clone(e.Key), Value: append([]byte{}, e.Value...)})
	})
	if err != nil {
		return
	}
	for {
		for _, c := range w.take() {
			if w.send(ctx, c) != nil {
				return
			}
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) send(ctx context.Context, c Change) error {
	select {
	case w.out <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
