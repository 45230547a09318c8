package durable

import (
	"errors"
	"os"
	"syscall"
)

// ErrHeld says that another process, or another part of this one, has the lock.
var ErrHeld = errors.New("durable: the lock is held")

// Lock is a lock file that is held. The kernel lets go when the process dies,
// however it dies.
type Lock struct{ file *os.File }

// TakeLock makes the file, mode 0600, if it is not there, and locks it. It does
// not wait: ErrHeld.
func TakeLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrHeld
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

// Note leaves text in the file, for whoever finds the lock held.
func (l *Lock) Note(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// Close lets go. It says so to the kernel: a child that is being forked shares
// the descriptor until it runs its program, and would hold the lock so long.
func (l *Lock) Close() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
