// Package state is the state directory: what a gateway must not forget when it
// dies. A lock says that one process works in it, the state key wraps what its
// store holds, and a copy of the machine-id tells whether the directory is
// still on the machine that wrote it (rules B4, D3, F6).
//
//	lock        held while a process works here; its number is inside
//	state.key   32 random octets in hexadecimal, mode 0600
//	store.db    the store
//	machine-id  the machine that this directory belongs to
package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"blackswan/internal/durable"
	"blackswan/store"
	"blackswan/store/bolt"
	"blackswan/ticket"
)

const (
	lockFile    = "lock"
	keyFile     = "state.key"
	storeFile   = "store.db"
	machineFile = "machine-id"
)

// Options of Open.
type Options struct {
	// Engine opens the store in a file; with mustExist a missing or empty file
	// is an error. Nil: bolt.Open.
	Engine func(path string, mustExist bool) (store.Store, error)
	// Key is the state key if the configuration or a systemd credential gives
	// one. Nil: the one in the directory, made at the first start.
	Key *StateKey
	// MachineID names the files of which the first that is not empty holds the
	// machine-id. Nil: /etc/machine-id, then /var/lib/dbus/machine-id.
	MachineID []string
	// SealPeriod is how long a ring key seals tickets, TicketLife the longest
	// life of one. 0: 24 hours (rule D10), ticket.DefaultLife.
	SealPeriod, TicketLife time.Duration
}

// Dir is an open state directory. It is safe for concurrent use.
type Dir struct {
	path      string
	machineID []string
	lock      *durable.Lock
	store     *Sealed
	once      sync.Once
	closed    error

	seal, ticketLife time.Duration

	mu   sync.Mutex // one change of keys or epoch at a time
	kept time.Time  // latest that this process knows to be kept
}

// Open locks the directory at path and opens what is in it, or makes it at the
// first start. A directory, key or store that others may write to or, but for
// the directory, read is refused. So is a directory that lost its key or its
// store: an empty one in its place would forget epochs, keys and revocations.
func Open(path string, opt Options) (*Dir, error) {
	if err := durable.MakeDir(path); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if err := checkOwn(path, 0o022); err != nil {
		return nil, err
	}
	lock, err := takeLock(filepath.Join(path, lockFile))
	if err != nil {
		return nil, err
	}
	d := &Dir{
		path:       path,
		lock:       lock,
		machineID:  opt.MachineID,
		seal:       cmp.Or(opt.SealPeriod, 24*time.Hour),
		ticketLife: cmp.Or(opt.TicketLife, ticket.DefaultLife),
	}
	if opt.Engine == nil {
		opt.Engine = bolt.Open
	}
	if d.machineID == nil {
		d.machineID = []string{"/etc/machine-id", "/var/lib/dbus/machine-id"}
	}
	if err := d.open(opt); err != nil {
		return nil, errors.Join(err, d.lock.Close())
	}
	return d, nil
}

// open makes, at the first start, the store before the key: a key says that
// there was a store.
func (d *Dir) open(opt Options) error {
	key, err := readKey(d.file(keyFile), opt.Key)
	if err != nil {
		return err
	}
	begun, err := exists(d.file(machineFile))
	if err != nil {
		return err
	}
	inFile, err := exists(d.file(keyFile))
	if err != nil {
		return err
	}
	engine, err := opt.Engine(d.file(storeFile), begun || inFile)
	if err != nil {
		return err
	}
	if key == nil {
		key, err = d.makeKey(engine)
	}
	if err != nil {
		return errors.Join(err, engine.Close())
	}
	d.store = Seal(engine, *key)
	return nil
}

// makeKey makes the key of a first start.
func (d *Dir) makeKey(engine store.Store) (*StateKey, error) {
	something := errors.New("something")
	err := engine.List(context.Background(), nil, func(store.Entry) error { return something })
	if err == something {
		return nil, fmt.Errorf("state: %s is missing and %s cannot be read without it: restore the key, or move the whole directory away to begin anew (every client then logs in again)",
			d.file(keyFile), storeFile)
	}
	if err != nil {
		return nil, err
	}
	k := NewStateKey()
	if err := durable.Replace(d.file(keyFile), fmt.Appendf(nil, "%x\n", k[:])); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return &k, nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// Store is the directory's; it is closed with it. Its values are sealed: what
// goes in need not be wrapped.
func (d *Dir) Store() store.Store { return d.store }

// Pages is NewPages in the directory's store.
func (d *Dir) Pages(prefix string, recordSize int) *Pages {
	return NewPages(d.store, prefix, recordSize)
}

// Close writes what is behind, closes the store and lets go of the lock.
func (d *Dir) Close() error {
	d.once.Do(func() { d.closed = errors.Join(d.store.Close(), d.lock.Close()) })
	return d.closed
}

// machine returns the machine-id, "" if this machine has none.
func (d *Dir) machine() (string, error) {
	for _, path := range d.machineID {
		id, err := firstLine(path)
		if err != nil || id != "" {
			return id, err
		}
	}
	return "", nil
}

// Adopt says that this machine is the one that the directory belongs to from
// now on (rule B4). It counts at the next Boot.
//
// Use it after a move of the machine or a new machine-id, never on a copy while
// the original may still run: two gateways would answer for each other's SAs.
func (d *Dir) Adopt(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id, err := d.machine()
	if err != nil {
		return fmt.Errorf("state: adopt: %w", err)
	}
	if id == "" {
		return fmt.Errorf("state: adopt: this machine has no machine-id (%v): make one with systemd-machine-id-setup", d.machineID)
	}
	return d.rememberMachine(id)
}

func (d *Dir) rememberMachine(id string) error {
	if err := durable.Replace(d.file(machineFile), []byte(id+"\n")); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
