package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"blackswan/internal/state"
	"blackswan/ticket"
)

// ringOf reads the keys of a gateway's tickets: from the file that it shares
// with others, or from a copy of its state directory, which lies within it: a
// running gateway is not disturbed, and nothing of its own is changed.
func ringOf(dir string) (keys []ticket.Key, err error) {
	if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() {
		return state.ReadRing(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "store.db")); err != nil {
		return nil, usage(fmt.Errorf("blackswan: %w: is %s the state directory of a gateway?", err, dir))
	}
	// A copy that was taken amid a write does not open: take another one.
	for range 3 {
		if keys, err = ringOfCopy(dir); err == nil {
			return keys, nil
		}
	}
	return nil, err
}

func ringOfCopy(dir string) (keys []ticket.Key, err error) {
	copied, err := os.MkdirTemp(dir, "inspect-")
	if err != nil {
		return nil, fmt.Errorf("blackswan: %w: look as the user of the gateway, or as root", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	for _, name := range []string{"state.key", "store.db", "machine-id"} {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(copied, name)); err != nil {
			return nil, err
		}
	}
	d, err := state.Open(copied, state.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	boot, err := d.Boot(context.Background(), time.Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return boot.Ring, nil
}

// copyFile copies a file, if it is there, for our eyes only.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
