// Package durable puts small files in place whole or not at all. What a
// function here has returned nil for is on disk: it outlives kill -9 and a
// power cut.
//
// Errors come from the system and name the path. A function that fails has
// changed nothing but two things: what it had begun may lie beside the file
// under the name path+[Next], where the next call removes it; and if only the
// sync of the directory failed, the new file is in place, but a power cut may
// still undo that.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Next ends the name of a file that is being written. One file has one writer
// at a time: the callers hold a lock.
const Next = ".new"

// Replace makes a file of mode 0600, in place of the one at path if there is
// one.
func Replace(path string, b []byte) error {
	if err := begin(path, b, 0o600); err != nil {
		return err
	}
	return Rename(path+Next, path)
}

// Create makes a file and never replaces one: the error is [fs.ErrExist].
func Create(path string, b []byte, mode fs.FileMode) error {
	err := begin(path, b, mode)
	if err == nil {
		err = os.Link(path+Next, path) // a rename would replace
	}
	if err = errors.Join(err, Discard(path)); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Rename gives a file that is on disk another name in its directory, in place
// of what had it.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// Discard removes what a call for path that failed or was killed has left, if
// anything.
func Discard(path string) error {
	if err := os.Remove(path + Next); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// begin writes and syncs path+Next.
func begin(path string, b []byte, mode fs.FileMode) error {
	if err := Discard(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path+Next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// MakeDir makes a directory and those above it that are not there, mode 0700.
// One that is there stays as it is.
func MakeDir(path string) error {
	if there, err := isDir(path); there || err != nil {
		return err
	}
	parent := filepath.Dir(path)
	if err := MakeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		if there, _ := isDir(path); !there { // else another process was faster
			return err
		}
	}
	return SyncDir(parent)
}

func isDir(path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err == nil && !info.IsDir():
		return false, &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	return err == nil, err
}

// SyncDir puts on disk which files a directory has.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
