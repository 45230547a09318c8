package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/store"
	"blackswan/ticket"
)

// Places in the store.
var (
	ringKey    = []byte("keys/ticket")
	qcdKey     = []byte("keys/qcd")
	spiKey     = []byte("keys/spi")
	installKey = []byte("installation")
	clockKey   = []byte("clock")
	nodeKey    = []byte("node/000") // of this node: alone, it is number 0
)

// Boot is what a gateway starts with. All of it was on disk before it was
// returned (rule F6).
type Boot struct {
	Ring         []ticket.Key
	QCD          qcd.Generations
	SPIKeys      []spi.Key
	SPICurrent   uint8 // id of the one that makes SPIs
	SPI          spi.Boot
	Installation [16]byte  // random, made once
	Clock        time.Time // latest that was kept by an earlier process (rule D11); zero at the first start
	First        bool      // all of it was made just now
	Notes        []string  // for the log: what a person should know
}

// Boot takes the next boot epoch and loads the secrets of the installation, or
// makes them at the first start, from rand. One of them missing is a refusal:
// new ones in its place would turn every ticket into a NACK, every token into
// noise. now is the clock of the wall.
func (d *Dir) Boot(ctx context.Context, now time.Time, rand io.Reader) (*Boot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b Boot
	stored, err := d.loadNode(ctx)
	if b.First = errors.Is(err, store.ErrNotFound); b.First {
		err = d.first(ctx, &b, rand)
	} else if err == nil {
		err = d.load(ctx, &b)
	}
	if err != nil {
		return nil, err
	}
	if b.SPI.Epoch, err = spi.Epoch(stored, now); err != nil {
		return nil, fmt.Errorf("state: start at %v after epoch %d: %w", now.UTC().Format(time.DateTime), stored, err)
	}
	b.SPI.Base = b.SPI.Epoch
	if err := d.recogniseMachine(&b); err != nil {
		return nil, err
	}
	if err := d.turnRing(&b, now, rand); err != nil {
		return nil, err
	}
	if err := d.store.Apply(ctx, b.ops(now), store.Durable); err != nil {
		return nil, fmt.Errorf("state: write the new epoch: %w", err)
	}
	return &b, nil
}

// ThrowAway is the Boot of a client that keeps no state: it grants no tickets,
// and its secrets end with the process.
func ThrowAway(now time.Time, rand io.Reader) (*Boot, error) {
	b := &Boot{First: true, SPIKeys: make([]spi.Key, 1)}
	var err error
	if b.QCD, err = qcd.NewGenerations(rand); err != nil {
		return nil, err
	}
	if _, err = io.ReadFull(rand, b.SPIKeys[0].Secret[:]); err != nil {
		return nil, err
	}
	b.SPI.Epoch, err = spi.Epoch(0, now)
	b.SPI.Base = b.SPI.Epoch
	return b, err
}

// ops are all records of b.
func (b *Boot) ops(now time.Time) []store.Op {
	ops := []store.Op{
		{Key: nodeKey, Value: appendEpoch(nil, b.SPI.Epoch)},
		{Key: ringKey, Value: appendRing(nil, b.Ring)},
	}
	if b.First {
		ops = append(ops,
			store.Op{Key: qcdKey, Value: b.QCD.Append(nil)},
			store.Op{Key: spiKey, Value: appendSPIKeys(nil, b.SPIKeys, b.SPICurrent)},
			store.Op{Key: installKey, Value: b.Installation[:]},
			store.Op{Key: clockKey, Value: appendClock(nil, now)})
	}
	return ops
}

// first makes the secrets of a new installation.
func (d *Dir) first(ctx context.Context, b *Boot, rand io.Reader) error {
	for _, key := range [][]byte{ringKey, qcdKey, spiKey, installKey} {
		if _, err := d.store.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
			return errors.Join(missing(nodeKey), err)
		}
	}
	var err error
	if b.QCD, err = qcd.NewGenerations(rand); err != nil {
		return err
	}
	b.SPIKeys = make([]spi.Key, 1)
	if _, err := io.ReadFull(rand, b.SPIKeys[0].Secret[:]); err != nil {
		return fmt.Errorf("state: no randomness for the spi secret: %w", err)
	}
	if _, err := io.ReadFull(rand, b.Installation[:]); err != nil {
		return fmt.Errorf("state: no randomness for the installation's name: %w", err)
	}
	return nil
}

// load reads the secrets of an earlier start.
func (d *Dir) load(ctx context.Context, b *Boot) (err error) {
	if b.Ring, err = get(ctx, d.store, ringKey, parseRing); err != nil {
		return err
	}
	if b.QCD, err = get(ctx, d.store, qcdKey, qcd.ParseGenerations); err != nil { //rfc:6290-5-4
		return err
	}
	keys, err := get(ctx, d.store, spiKey, parseSPIKeys)
	if err != nil {
		return err
	}
	b.SPIKeys, b.SPICurrent = keys.all, keys.current
	if b.Installation, err = get(ctx, d.store, installKey, parseInstallation); err != nil {
		return err
	}
	b.Clock, err = get(ctx, d.store, clockKey, parseClock)
	return err
}

// get reads a record that must be there.
func get[T any](ctx context.Context, s store.Store, key []byte, parse func([]byte) (T, error)) (T, error) {
	var none T
	b, err := s.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return none, missing(key)
	}
	if err != nil {
		return none, err
	}
	v, err := parse(b)
	if err != nil {
		return none, fmt.Errorf("state: record %q: %w", key, err)
	}
	return v, nil
}

// errMissing is of a record that others prove was there.
var errMissing = errors.New("is missing and others of the same start are there: restore the state directory from a backup, or move it away to begin anew (every client then logs in again)")

func missing(key []byte) error { return fmt.Errorf("state: record %q %w", key, errMissing) }

// recogniseMachine judges whether the epochs before this one were this
// machine's (rule B4). At the first start there are none.
func (d *Dir) recogniseMachine(b *Boot) error {
	id, err := d.machine()
	if err != nil {
		return fmt.Errorf("state: machine-id: %w", err)
	}
	if b.First {
		return d.rememberMachine(id)
	}
	remembered, err := firstLine(d.file(machineFile))
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	switch {
	case id == "":
		b.note("this machine has no machine-id: after a crash its clients get no token. Make one with systemd-machine-id-setup, then run 'blackswan state adopt'")
	case id != remembered:
		b.note("%s is from another machine, or this one's machine-id is new: SAs of earlier starts get no token and no roll call. If no other gateway runs on a copy of it, run 'blackswan state adopt'", d.path)
	default:
		b.SPI.Earlier = true
	}
	return nil
}

func (b *Boot) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

// turnRing rotates the ring if no key seals, and drops keys that open nothing.
// After a leap of the clock it drops none: a wrong one would log everybody out.
func (d *Dir) turnRing(b *Boot, now time.Time, rand io.Reader) (err error) {
	at := now
	switch {
	case b.First:
	case now.Before(b.Clock):
		at = b.Clock
		b.note("the clock went back by %v since the last run: tickets are judged by the later time", b.Clock.Sub(now).Round(time.Second))
	case now.Sub(b.Clock) > leap:
		b.note("the clock is %v ahead of the last run: ring keys are kept until the next rotation", now.Sub(b.Clock).Round(time.Second))
	default:
		b.Ring = ticket.Prune(b.Ring, at.Unix())
	}
	if ticket.RotateAt(b.Ring) <= at.Unix() {
		b.Ring, err = ticket.Rotate(b.Ring, at.Unix(), d.seal, d.ticketLife, rand)
	}
	return err
}

// leap is how far ahead of the last run a clock may be and be believed.
const leap = 7 * 24 * time.Hour

func (d *Dir) loadNode(ctx context.Context) (uint32, error) {
	b, err := d.store.Get(ctx, nodeKey)
	if err != nil {
		return 0, err
	}
	epoch, err := parseEpoch(b)
	if err != nil {
		return 0, fmt.Errorf("state: record %q: %w", nodeKey, err)
	}
	return epoch, nil
}

// NextEpoch takes the next epoch while running, because a counter is full
// (rule B1) or the machine was cloned under us (rule B4). It is on disk when it
// is returned. The base of this start stays.
func (d *Dir) NextEpoch(ctx context.Context) (uint32, error) {
	return change(ctx, d, nodeKey, parseEpoch, func(stored uint32) (uint32, error) {
		return spi.Epoch(stored, time.Time{})
	}, func(epoch uint32) []byte { return appendEpoch(nil, epoch) })
}

// KeepClock keeps t, behind, for the next start, unless a later time is kept
// already.
func (d *Dir) KeepClock(ctx context.Context, t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !t.After(d.kept) {
		return nil
	}
	kept, err := get(ctx, d.store, clockKey, parseClock)
	if err != nil {
		return err
	}
	if d.kept = kept; !t.After(kept) {
		return nil
	}
	if err := d.store.Apply(ctx, []store.Op{{Key: clockKey, Value: appendClock(nil, t)}}, store.Behind); err != nil {
		return fmt.Errorf("state: keep the clock: %w", err)
	}
	d.kept = t
	return nil
}
