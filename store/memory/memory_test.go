package memory

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"blackswan/store"
	"blackswan/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s := Open()
		t.Cleanup(func() {
			if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
		})
		return s
	}, nil)
}

// TestEndedUnswept: what has ended is gone for every reader, swept or not.
func TestEndedUnswept(t *testing.T) {
	ctx := t.Context()
	s := Open().(*memory)
	defer s.Close()
	s.records["key"] = record{[]byte("ended"), time.Unix(1, 0)}
	if v, err := s.Get(ctx, []byte("key")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %q, %v; want ErrNotFound", v, err)
	}
	if err := s.List(ctx, nil, func(e store.Entry) error { return fmt.Errorf("told of %q", e.Key) }); err != nil {
		t.Errorf("List %v", err)
	}
	if err := s.Update(ctx, []byte("key"), []byte("ended"), []byte("new"), 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Update from what ended = %v; want ErrConflict", err)
	}
	if err := s.Update(ctx, []byte("key"), nil, []byte("new"), 0); err != nil {
		t.Errorf("Update from nothing = %v", err)
	}
}
