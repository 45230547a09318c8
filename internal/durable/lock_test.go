package durable

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TakeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Note("4711\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := TakeLock(path); !errors.Is(err, ErrHeld) {
		t.Fatal("taken twice:", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "4711\n" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A child between fork and exec has the descriptor too; the lock is free all
// the same when its holder lets go.
func TestLockIsFreeWhileAChildIsForked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TakeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := syscall.Dup(int(l.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(shared)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := TakeLock(path)
	if err != nil {
		t.Fatal("still held:", err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
}
