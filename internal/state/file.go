package state

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"blackswan/internal/durable"
)

// maxLine is how much of a small file is read, in octets.
const maxLine = 4096

// checkOwn refuses what belongs to another user or has one of the mode bits
// forbidden.
func checkOwn(path string, forbidden fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if bits := info.Mode().Perm() & forbidden; bits != 0 {
		return fmt.Errorf("state: %s has mode %04o and is open to others: chmod %04o it, and replace what is in it if anyone used that",
			path, info.Mode().Perm(), info.Mode().Perm()&^0o077)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return fmt.Errorf("state: %s belongs to user %d and this process is user %d: chown it", path, st.Uid, os.Geteuid())
	}
	return nil
}

// ReadStateKey reads a key file, such as a systemd credential. A file that
// others may read is refused.
func ReadStateKey(path string) (StateKey, error) {
	if err := checkOwn(path, 0o077); err != nil {
		return StateKey{}, err
	}
	b, err := readSmall(path)
	if err != nil {
		return StateKey{}, fmt.Errorf("state: %w", err)
	}
	k, err := ParseStateKey(b)
	if err != nil {
		return StateKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// readKey returns the key in the file or the one that is given, nil if there is
// neither.
func readKey(path string, given *StateKey) (*StateKey, error) {
	inFile, err := exists(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("state: %w", err)
	case !inFile && given != nil:
		k := *given
		return &k, nil
	case !inFile:
		return nil, nil
	}
	k, err := ReadStateKey(path)
	if err != nil {
		return nil, err
	}
	if given != nil && subtle.ConstantTimeCompare(given[:], k[:]) == 0 {
		return nil, fmt.Errorf("state: the configured state key is not the one in %s: remove one of the two, the other wrapped the store", path)
	}
	return &k, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxLine))
}

// firstLine returns "" for a file that is not there.
func firstLine(path string) (string, error) {
	b, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimSpace(string(line)), err
}

// takeLock locks the file and leaves our number in it.
func takeLock(path string) (*durable.Lock, error) {
	l, err := durable.TakeLock(path)
	if errors.Is(err, durable.ErrHeld) {
		holder, _ := firstLine(path)
		if holder == "" {
			holder = "that starts just now"
		}
		return nil, fmt.Errorf("state: %s is in use by process %s: stop it first, or give this one a directory of its own", filepath.Dir(path), holder)
	}
	if err != nil {
		return nil, fmt.Errorf("state: lock %s: %w", path, err)
	}
	if err := l.Note(fmt.Sprintf("%d\n", os.Getpid())); err != nil {
		return nil, fmt.Errorf("state: lock %s: %w", path, errors.Join(err, l.Close()))
	}
	return l, nil
}
