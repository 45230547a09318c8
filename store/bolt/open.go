package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"blackswan/internal/durable"
	"blackswan/store"
)

// ErrRefused is in every error of Open that says: there should be a good store
// here, and there is none. Starting with an empty one in its place would forget
// epochs, keys and revocations, so it is never done.
var ErrRefused = errors.New("refusing to start on it")

// remedy ends every such error.
const remedy = "restore it from a backup, or move the whole state directory away to begin anew (every client then logs in again)"

// lockPatience is how long Open waits for another process to let go.
const lockPatience = 100 * time.Millisecond

// Open opens the store in the file at path and keeps it locked until Close.
// With mustExist a missing or empty file is refused; without, it is made, mode
// 0600, whole or not at all. A file that is cut, damaged or open to others is
// refused too (ErrRefused).
func Open(path string, mustExist bool) (store.Store, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("store/bolt: %w", err)
	case err != nil || info.Size() == 0:
		if mustExist {
			return nil, fmt.Errorf("store/bolt: %s is missing or empty: %w: %s", path, ErrRefused, remedy)
		}
		if err := create(path); err != nil {
			return nil, fmt.Errorf("store/bolt: create %s: %w", path, err)
		}
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("store/bolt: %s is not a regular file: %w", path, ErrRefused)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("store/bolt: %s has mode %04o, open to others: %w: chmod 600 it, and replace the keys in it if anyone read them", path, info.Mode().Perm(), ErrRefused)
	}
	if err := examine(path); err != nil {
		return nil, err
	}
	db, err := open(path, bbolt.Options{})
	if err != nil {
		return nil, err
	}
	return start(db)
}

// create makes an empty store beside path and moves it there, so that a crash
// in between leaves no half of one.
func create(path string) error {
	if err := durable.Discard(path); err != nil {
		return err
	}
	db, err := bbolt.Open(path+durable.Next, 0o600, &bbolt.Options{Timeout: lockPatience})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(contents)
		if err == nil {
			_, err = tx.CreateBucket(expiries)
		}
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return durable.Rename(path+durable.Next, path)
}

// examine reads the whole file before anything may write to it (rule F6).
func examine(path string) error {
	if err := checkLength(path); err != nil {
		return err
	}
	return reading(path, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if err := walk(tx); err != nil {
				return err
			}
			return checkPages(tx)
		})
	})
}

// checkLength compares the file with what its header claims, touching no other
// page: memory mapped beyond the end of a file kills the process.
func checkLength(path string) error {
	return reading(path, func(db *bbolt.DB) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return db.View(func(tx *bbolt.Tx) error {
			if tx.Size() > info.Size() {
				return fmt.Errorf("cut: its header speaks of %d octets and it has %d", tx.Size(), info.Size())
			}
			return nil
		})
	})
}

// walk reads every key and value from this goroutine, where a wild page number
// becomes a panic that guard catches.
func walk(tx *bbolt.Tx) error {
	for _, name := range [][]byte{contents, expiries} {
		b := tx.Bucket(name)
		if b == nil {
			return fmt.Errorf("no bucket %q", name)
		}
		var last, value []byte
		err := b.ForEach(func(k, v []byte) error {
			if bytes.Compare(last, k) >= 0 {
				return fmt.Errorf("key %q lies after %q in %q", k, last, name)
			}
			last, value = append(last[:0], k...), append(value[:0], v...)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPages runs the engine's own check of the page tree.
func checkPages(tx *bbolt.Tx) error {
	var first error
	for err := range tx.Check() {
		if first == nil {
			first = err
		}
	}
	return first
}

// reading opens the file read-only for f and calls any failure a refusal.
func reading(path string, f func(*bbolt.DB) error) error {
	db, err := open(path, bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	err = guard(func() error { return f(db) })
	if err != nil {
		err = fmt.Errorf("store/bolt: %s is damaged: %w: %w: %s", path, err, ErrRefused, remedy)
	}
	return errors.Join(err, db.Close())
}

// open opens an existing file.
func open(path string, opt bbolt.Options) (*bbolt.DB, error) {
	var file *os.File
	opt.Timeout = lockPatience
	opt.NoStatistics = true
	opt.FreelistType = bbolt.FreelistMapType
	opt.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		file, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
		return file, err
	}
	var db *bbolt.DB
	err := guard(func() error {
		var err error
		db, err = bbolt.Open(path, 0o600, &opt)
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("store/bolt: %s is in use by another process: stop it first", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("store/bolt: %w: run as the owner of the state directory", err)
	case err != nil:
		if file != nil {
			file.Close() // a panic leaves it open and locked
		}
		return nil, fmt.Errorf("store/bolt: %s does not open: %w: %w: %s", path, err, ErrRefused, remedy)
	}
	return db, nil
}

// guard turns the engine's panics, faults in its mapped memory included, into
// errors.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine gave up: %v", p)
		}
	}()
	return f()
}
