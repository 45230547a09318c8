// Package jar keeps a client's tickets on disk, rule D12: one file for each
// connection, locked while it is in use, replaced whole, wiped when it ends.
// Whoever has the file can resume the session until the ticket expires.
package jar

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"blackswan/internal/durable"
)

// Why there is no entry to be had.
var (
	ErrNone     = errors.New("jar: no ticket")
	ErrCorrupt  = errors.New("jar: the ticket is damaged")
	ErrHeld     = errors.New("jar: another process uses this connection")
	ErrMismatch = errors.New("jar: the ticket does not fit the profile any more")
	ErrExpired  = errors.New("jar: the ticket has expired")
)

// Jar is a directory of tickets. It may be used by several goroutines at once.
type Jar struct {
	dir string

	mu    sync.Mutex
	slots map[string]*slot
}

// slot is one entry: its lock is held from its first use until Close.
type slot struct {
	mu   sync.Mutex
	path string        // of the ticket
	lock *durable.Lock // nil: not held yet
}

// Open makes the directory if it is not there, mode 0700. One that others may
// enter is refused.
func Open(dir string) (*Jar, error) {
	if err := durable.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("jar: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("jar: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 { //rfc:5723-9.7-1
		return nil, fmt.Errorf("jar: %s has mode %04o and holds tickets: chmod 0700 it", dir, mode)
	}
	return &Jar{dir: dir, slots: make(map[string]*slot)}, nil
}

// Close lets go of all entries. The Jar is not used afterwards.
func (j *Jar) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, s := range j.slots {
		s.mu.Lock()
		if s.lock != nil {
			errs = append(errs, s.lock.Close())
			s.lock = nil
		}
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Load returns the entry of a connection and holds it for this process. The
// error is ErrNone, ErrHeld, ErrCorrupt (the file is moved aside, so that the
// next Load is ErrNone), or what the system said.
func (j *Jar) Load(name string) (*Entry, error) {
	s, err := j.hold(name)
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	e, err := read(s.path)
	if errors.Is(err, ErrCorrupt) {
		if moved := os.Rename(s.path, s.path+corrupt); moved != nil {
			return nil, fmt.Errorf("%w, and cannot be moved aside: %w", err, moved)
		}
		return nil, fmt.Errorf("%w; it is now %s", err, s.path+corrupt)
	}
	return e, err
}

// Peek returns the entry of a connection that another process may hold, and
// changes nothing. Errors are those of Load but ErrHeld.
func (j *Jar) Peek(name string) (*Entry, error) {
	path, err := j.path(name)
	if err != nil {
		return nil, err
	}
	return read(path)
}

// Save replaces the entry of a connection and holds it for this process. When
// it returns nil the new entry is on disk and the old one overwritten; killed
// at any moment, it leaves one of the two.
func (j *Jar) Save(name string, e *Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("jar: %s: %w", name, err)
	}
	s, err := j.hold(name)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	old, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("jar: %w", err)
	}
	if err := durable.Replace(s.path, e.Append(nil)); err != nil { //rfc:5723-9.7-1
		return errors.Join(fmt.Errorf("jar: %w", err), wipe(s.path+durable.Next), closeIf(old))
	}
	if old == nil {
		return nil
	}
	if err := errors.Join(overwrite(old), old.Close()); err != nil {
		return fmt.Errorf("jar: the old ticket of %s: %w", name, err)
	}
	return nil
}

// Wipe overwrites and removes all that is kept of a connection, if anything is.
// A file system that writes elsewhere, as many do on flash, may keep the octets
// for a while: the tickets' short lives are the other half of this.
func (j *Jar) Wipe(name string) error {
	s, err := j.hold(name)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	return s.wipe()
}

func (s *slot) wipe() error {
	var errs []error
	for _, path := range []string{s.path, s.path + durable.Next, s.path + corrupt} {
		errs = append(errs, wipe(path))
	}
	if err := errors.Join(append(errs, durable.SyncDir(filepath.Dir(s.path)))...); err != nil {
		return fmt.Errorf("jar: %w", err)
	}
	return nil
}

// Match loads the entry of a connection and judges it before it is shown
// (rules D12, E8): profile is the hash of the connection's authentication part
// as it is configured now, and trusted says whether a trust anchor still is.
// What does not fit or has expired is wiped: ErrMismatch, ErrExpired.
func (j *Jar) Match(name string, profile [32]byte, now time.Time, trusted func(anchor [32]byte) bool) (*Entry, error) {
	e, err := j.Load(name)
	if err != nil {
		return nil, err
	}
	switch {
	case e.Profile != profile: //rfc:5723-6.2-2
		err = fmt.Errorf("%w: its authentication was changed", ErrMismatch)
	case e.Anchor != [32]byte{} && !trusted(e.Anchor): //rfc:5723-6.2-2
		err = fmt.Errorf("%w: the gateway's authority is not trusted any more", ErrMismatch)
	case !e.NotAfter.IsZero() && now.After(e.NotAfter):
		err = fmt.Errorf("%w: the gateway's certificate ended %v", ErrMismatch, e.NotAfter.UTC())
	case !now.Before(e.Expires):
		err = ErrExpired
	default:
		return e, nil
	}
	return nil, errors.Join(err, j.Wipe(name))
}

// Suffixes of an entry's files. The lock is never removed: a process that waits
// for a lock must not get that of a file that is gone.
const (
	suffix  = ".ticket"
	corrupt = ".corrupt"
	locked  = ".lock"
)

// hold locks the slot and, the first time, the entry. The caller unlocks the
// slot.
func (j *Jar) hold(name string) (*slot, error) {
	path, err := j.path(name)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	s := j.slots[name]
	if s == nil {
		s = &slot{path: path}
		j.slots[name] = s
	}
	j.mu.Unlock()
	s.mu.Lock()
	if s.lock != nil {
		return s, nil
	}
	if err := s.take(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return s, nil
}

// take gets the kernel's lock, which ends with the process however it ends,
// and clears away what a killed Save left.
func (s *slot) take() error {
	l, err := durable.TakeLock(s.path + locked)
	switch {
	case errors.Is(err, durable.ErrHeld):
		return fmt.Errorf("%w: stop it first, or give this one a directory of its own (%s)", ErrHeld, s.path)
	case err != nil:
		return fmt.Errorf("jar: lock %s: %w", s.path, err)
	}
	if err := wipe(s.path + durable.Next); err != nil {
		return fmt.Errorf("jar: %w", errors.Join(err, l.Close()))
	}
	s.lock = l
	return nil
}

// maxName is the longest file name that every file system takes, without
// suffixes.
const maxName = 200

// path makes a file name of a connection's name: what is not a letter, a digit,
// - or _ becomes % and two hexadecimal digits, so that two names never meet.
func (j *Jar) path(name string) (string, error) {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	if name == "" || b.Len() > maxName {
		return "", fmt.Errorf("jar: the connection's name %.40q makes a file name of %d octets: want 1 to %d", name, b.Len(), maxName)
	}
	return filepath.Join(j.dir, b.String()+suffix), nil
}
