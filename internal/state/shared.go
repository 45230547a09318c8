package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"blackswan/internal/durable"
	"blackswan/ticket"
)

// A ring file holds the keys of tickets that several gateways share. What else
// a gateway keeps secret stays its own: who has the file opens the tickets of
// all, and makes neither SPIs nor tokens (rules B3, D2).
//
//	"blackswan ticket keys\n" | ring as in the store | SHA-256 of all that 32
//
// The hash finds a file that was cut or altered by accident. The file is a
// secret by its mode alone, as a private key is: the state key does not wrap
// it (rule D3 is about stores, which others may read), so that it is turned
// and copied by who has nothing but the file.
const ringMagic = "blackswan ticket keys\n"

const (
	// TurnEvery is how often a ring file is to be turned (rule D10). Its newest
	// key seals for twice as long: a turn that is a day late costs no tickets.
	TurnEvery = 24 * time.Hour

	// maxRingKeys keeps a ring file below maxLine.
	maxRingKeys = 64
)

// What is in the errors of TurnRing.
var (
	ErrTooSoon = errors.New("too soon for the other gateways")
	ErrTurned  = errors.New("its newest key is not used yet")
)

// CreateRing makes a ring file with a new key after the older ones, whose
// tickets stay good. Without older ones, the new key seals at once. The file is
// on disk when it is returned. One that is there is never replaced: the error
// is fs.ErrExist.
func CreateRing(path string, older []ticket.Key, now time.Time, rand io.Reader) ([]ticket.Key, error) {
	in := ticket.PublishDelay
	if len(older) == 0 {
		in = 0
	}
	keys, err := nextRing(path, older, now, in, rand)
	if err != nil {
		return nil, err
	}
	err = locked(path, func() error { return durable.Create(path, appendRingFile(nil, keys), 0o600) })
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("state: %s: %w: 'blackswan keys turn' adds a key to it; only if all its tickets shall die, remove it and make another", path, fs.ErrExist)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return keys, nil
}

// ReadRing reads a ring file. One that others may read is refused. Errors name
// the file.
func ReadRing(path string) ([]ticket.Key, error) {
	err := checkOwn(path, 0o077)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: make it with 'blackswan keys new', or copy it from a gateway that shares it", err)
	}
	if err != nil {
		return nil, err
	}
	b, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	keys, err := parseRingFile(b)
	if err != nil {
		return nil, fmt.Errorf("state: %s %w", path, err)
	}
	return keys, nil
}

// TurnRing adds a key to a ring file, which seals from now+in on: until then
// every gateway that shares the file must have read it (rule D10). in is at
// least ticket.PublishDelay. Keys whose last ticket has expired leave the file.
// It is on disk when it is returned.
func TurnRing(path string, now time.Time, in time.Duration, rand io.Reader) (keys []ticket.Key, err error) {
	if in < ticket.PublishDelay {
		return nil, fmt.Errorf("state: %s: a key that is used in %v is %w: give them %v at least", path, in, ErrTooSoon, ticket.PublishDelay)
	}
	if _, err := ReadRing(path); err != nil {
		return nil, err // before a lock file is left beside nothing
	}
	err = locked(path, func() error {
		old, err := ReadRing(path)
		if err == nil {
			keys, err = nextRing(path, old, now, in, rand)
		}
		if err != nil {
			return err
		}
		if err := durable.Replace(path, appendRingFile(nil, keys)); err != nil {
			return fmt.Errorf("state: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// TurnAt is when a ring file with these keys is to be turned.
func TurnAt(keys []ticket.Key) time.Time {
	return time.Unix(newest(keys).Created, 0).Add(ticket.PublishDelay + TurnEvery)
}

// nextRing is old with one more key, used from now+in on, and without those
// whose last ticket has expired.
func nextRing(path string, old []ticket.Key, now time.Time, in time.Duration, rand io.Reader) ([]ticket.Key, error) {
	old = ticket.Prune(old, now.Unix())
	published := now.Add(in - ticket.PublishDelay).Unix()
	last := newest(old)
	switch {
	case last.Created > published:
		return nil, fmt.Errorf("state: %s: %w, but from %s on: turn it after that, or set the clock of this machine",
			path, ErrTurned, time.Unix(last.Created, 0).Add(ticket.PublishDelay).UTC().Format(time.DateTime))
	case len(old) >= maxRingKeys:
		return nil, fmt.Errorf("state: %s: it has %d keys, because it was turned so often within the life of a ticket: the first goes at %s",
			path, len(old), time.Unix(old[0].OpenUntil, 0).UTC().Format(time.DateTime))
	}
	return ticket.Rotate(old, published, 2*TurnEvery, ticket.DefaultLife, rand)
}

func newest(keys []ticket.Key) (last ticket.Key) {
	for _, k := range keys {
		if k.Created >= last.Created {
			last = k
		}
	}
	return last
}

// locked calls f while no other process writes the file.
func locked(path string, f func() error) error {
	lock, err := durable.TakeLock(path + ".lock")
	if errors.Is(err, durable.ErrHeld) {
		return fmt.Errorf("another process writes %s just now: try again", path)
	}
	if err != nil {
		return err
	}
	return errors.Join(f(), lock.Close())
}

func appendRingFile(b []byte, keys []ticket.Key) []byte {
	b = appendRing(append(b, ringMagic...), keys)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// What parseRingFile says of a file.
var (
	errNoRing      = errors.New("is no file of ticket keys: 'blackswan keys new' makes one")
	errRingAltered = errors.New("was cut or altered: copy it again from a gateway that shares it")
)

func parseRingFile(b []byte) ([]ticket.Key, error) {
	record, ok := bytes.CutPrefix(b, []byte(ringMagic))
	if !ok {
		return nil, errNoRing
	}
	end := len(record) - sha256.Size
	if end < 1 {
		return nil, errRingAltered
	}
	if sum := sha256.Sum256(b[:len(ringMagic)+end]); !bytes.Equal(sum[:], record[end:]) {
		return nil, errRingAltered
	}
	if record[0] != recordVersion {
		return nil, fmt.Errorf("has format %d, this program reads %d: use the program that made it", record[0], recordVersion)
	}
	keys, err := parseRing(record[:end])
	if err == nil {
		_, err = ticket.NewRing(keys) // no id twice
	}
	if err != nil || len(keys) == 0 || len(keys) > maxRingKeys {
		return nil, errRingAltered
	}
	return keys, nil
}
