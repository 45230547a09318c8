package bolt

import (
	"errors"
	"path/filepath"
	"testing"

	"blackswan/store"
	"blackswan/store/storetest"
)

// openAt opens a store that is closed when the test ends, if not before.
func openAt(t testing.TB, path string, mustExist bool) store.Store {
	t.Helper()
	s, err := Open(path, mustExist)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func TestBolt(t *testing.T) {
	storetest.Run(t,
		func(t *testing.T) store.Store {
			return openAt(t, filepath.Join(t.TempDir(), "store.db"), false)
		},
		func(t *testing.T, s store.Store) store.Store {
			path := s.(*bolt).db.Path()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openAt(t, path, true)
		})
}
