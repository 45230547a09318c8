package jar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// read reads an entry's file. One that others may read is refused: the ticket
// in it may be theirs by now.
func read(path string) (*Entry, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNone
	case err != nil:
		return nil, fmt.Errorf("jar: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("jar: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("jar: %s has mode %04o and holds a ticket: remove it, others may have it too", path, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(maxFile)+1))
	if err != nil {
		return nil, fmt.Errorf("jar: %w", err)
	}
	e, err := ParseEntry(b)
	clear(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return e, nil
}

// wipe overwrites and removes a file, if it is there.
func wipe(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return errors.Join(overwrite(f), f.Close(), os.Remove(path))
}

// overwrite puts zeros over all of a file, on disk when it returns.
func overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 4096)
	for at := int64(0); at < info.Size(); at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), info.Size()-at)], at); err != nil {
			return err
		}
	}
	return f.Sync()
}

func closeIf(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
