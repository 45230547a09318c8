package state

import (
	"bytes"
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

// change reads a record, changes it and writes it, durably, unless another
// writer was faster: then it begins again. It returns what was written.
func change[T any](ctx context.Context, d *Dir, key []byte, parse func([]byte) (T, error), edit func(T) (T, error), encode func(T) []byte) (T, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var none T
	for {
		old, err := d.store.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return none, fmt.Errorf("state: no record %q: start the gateway once", key)
		}
		if err != nil {
			return none, err
		}
		v, err := parse(old)
		if err != nil {
			return none, fmt.Errorf("state: record %q: %w", key, err)
		}
		if v, err = edit(v); err != nil {
			return none, err
		}
		err = d.store.Update(ctx, key, old, encode(v), 0)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return none, fmt.Errorf("state: write record %q: %w", key, err)
		}
	}
}

func (d *Dir) changeRing(ctx context.Context, edit func([]ticket.Key) ([]ticket.Key, error)) ([]ticket.Key, error) {
	return change(ctx, d, ringKey, parseRing, edit, func(keys []ticket.Key) []byte { return appendRing(nil, keys) })
}

// RotateTickets drops the ring keys whose last ticket has expired and makes a
// new one. The ring that it returns is on disk: publish it, then it is used
// (rule D10). Call it at ticket.RotateAt.
func (d *Dir) RotateTickets(ctx context.Context, now time.Time, rand io.Reader) ([]ticket.Key, error) {
	return d.changeRing(ctx, func(keys []ticket.Key) ([]ticket.Key, error) {
		return ticket.Rotate(ticket.Prune(keys, now.Unix()), now.Unix(), d.seal, d.ticketLife, rand)
	})
}

// PruneTickets drops the ring keys whose last ticket has expired and returns
// the others.
func (d *Dir) PruneTickets(ctx context.Context, now time.Time) ([]ticket.Key, error) {
	return d.changeRing(ctx, func(keys []ticket.Key) ([]ticket.Key, error) {
		return ticket.Prune(keys, now.Unix()), nil
	})
}

// RevokeTickets replaces the whole ring by one new key: no ticket that was ever
// granted opens again. It returns that ring, on disk, and how many keys went.
func (d *Dir) RevokeTickets(ctx context.Context, now time.Time, rand io.Reader) (ring []ticket.Key, dropped int, err error) {
	ring, err = d.changeRing(ctx, func(keys []ticket.Key) ([]ticket.Key, error) {
		dropped = len(keys)
		return ticket.Rotate(nil, now.Unix(), d.seal, d.ticketLife, rand)
	})
	if err != nil {
		return nil, 0, err
	}
	return ring, dropped, nil
}

func (d *Dir) changeQCD(ctx context.Context, edit func(*qcd.Generations) error) (qcd.Generations, error) {
	return change(ctx, d, qcdKey, qcd.ParseGenerations, func(g qcd.Generations) (qcd.Generations, error) {
		err := edit(&g)
		return g, err
	}, func(g qcd.Generations) []byte { return g.Append(nil) })
}

// RotateQCD makes a new current generation of the QCD secret, on disk when it
// is returned. live says whether SAs name a generation; if they name the one
// whose place is needed, it is qcd.ErrLive and nothing changes (rule B2).
func (d *Dir) RotateQCD(ctx context.Context, rand io.Reader, live func(generation uint8) bool) (qcd.Generations, error) {
	return d.changeQCD(ctx, func(g *qcd.Generations) error { return g.Rotate(rand, live) })
}

// RevokeQCD forgets a generation early, on disk when it returns. Its SAs then
// get the token of the next one that is kept (rule B2).
func (d *Dir) RevokeQCD(ctx context.Context, generation uint8) (qcd.Generations, error) {
	return d.changeQCD(ctx, func(g *qcd.Generations) error { return g.Revoke(generation) })
}

// ErrSPIKeyLive is of RotateSPI.
var ErrSPIKeyLive = errors.New("state: oldest spi key still opens SPIs of live SAs: rotate later")

// RotateSPI makes a new spi secret under the next key id, on disk when it is
// returned; the others still open. live says whether live SAs carry SPIs of a
// key id; if they carry those of the next, it is ErrSPIKeyLive (rule B2).
func (d *Dir) RotateSPI(ctx context.Context, rand io.Reader, live func(id uint8) bool) (keys []spi.Key, current uint8, err error) {
	v, err := change(ctx, d, spiKey, parseSPIKeys, func(old spiKeys) (spiKeys, error) {
		next := spiKeys{current: (old.current + 1) % spiKeyIDs}
		if live(next.current) {
			return old, ErrSPIKeyLive
		}
		for _, k := range old.all {
			if k.ID != next.current {
				next.all = append(next.all, k)
			}
		}
		fresh := spi.Key{ID: next.current}
		if _, err := io.ReadFull(rand, fresh.Secret[:]); err != nil {
			return old, fmt.Errorf("state: no randomness for the spi secret: %w", err)
		}
		next.all = append(next.all, fresh)
		return next, nil
	}, func(k spiKeys) []byte { return appendSPIKeys(nil, k.all, k.current) })
	return v.all, v.current, err
}

var revokedPrefix = "revoked/"

// Revoke keeps floors that must not be forgotten, on disk when it returns
// (rule D5): a record each, that goes when the last ticket of its lineage has
// expired.
func (d *Dir) Revoke(ctx context.Context, now time.Time, floors ...ticket.Floor) error {
	var ops []store.Op
	for _, f := range floors {
		ttl := time.Unix(f.Until, 0).Sub(now)
		if ttl <= 0 {
			continue
		}
		ops = append(ops, store.Op{Key: fmt.Appendf(nil, "%s%x", revokedPrefix, f.Lineage), Value: AppendFloor(nil, f), TTL: ttl})
	}
	if err := d.store.Apply(ctx, ops, store.Durable); err != nil {
		return fmt.Errorf("state: revoke: %w", err)
	}
	return nil
}

// Revoked calls f with every floor that Revoke keeps.
func (d *Dir) Revoked(ctx context.Context, f func(ticket.Floor)) error {
	return d.store.List(ctx, []byte(revokedPrefix), func(e store.Entry) error {
		floor, err := ParseFloor(e.Value)
		if err == nil && !bytes.HasSuffix(e.Key, fmt.Appendf(nil, "%x", floor.Lineage)) {
			err = ErrRecord
		}
		if err != nil {
			return fmt.Errorf("state: record %q: %w", e.Key, err)
		}
		f(floor)
		return nil
	})
}
