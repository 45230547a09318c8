package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"blackswan/store"
	"blackswan/store/memory"
)

func openMemory(t testing.TB) store.Store {
	s := memory.Open()
	t.Cleanup(func() { s.Close() })
	return s
}

// loaded returns what the store holds below prefix.
func loaded(t *testing.T, s store.Store, key StateKey, prefix string, size int) map[int]string {
	t.Helper()
	all := make(map[int]string)
	err := NewPages(s, key, prefix, size).Load(t.Context(), func(slot int, rec []byte) {
		if _, twice := all[slot]; twice {
			t.Errorf("slot %d twice", slot)
		}
		all[slot] = string(rec)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPages compares a long random history with a map, flush by flush.
func TestPages(t *testing.T) {
	const size = 8
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s, key := openMemory(t), NewStateKey()
	p := NewPages(s, key, "table/", size)
	oracle := make(map[int]string)
	for range 50 {
		for range r.IntN(50) {
			slot := []int{0, 4095, 4096, 5 * 4096}[r.IntN(4)] + r.IntN(2)
			if r.IntN(2) == 0 {
				p.Clear(slot)
				delete(oracle, slot)
				continue
			}
			rec := binary.BigEndian.AppendUint64(nil, r.Uint64())
			p.Set(slot, rec)
			oracle[slot] = string(rec)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := loaded(t, s, key, "table/", size); !maps.Equal(got, oracle) {
			t.Fatalf("store holds %v; want %v", got, oracle)
		}
	}
}

// counter counts the batches and ops that reach a store.
type counter struct {
	store.Store
	batches, ops int
	err          error
}

func (c *counter) Apply(ctx context.Context, ops []store.Op, d store.Durability) error {
	c.batches++
	c.ops += len(ops)
	if d != store.Behind {
		return errors.New("a page was written durably")
	}
	if c.err != nil {
		return c.err
	}
	return c.Store.Apply(ctx, ops, d)
}

// TestPagesFlush: one batch, behind, of the changed pages only; a failed one is
// repeated; an empty page is no record.
func TestPagesFlush(t *testing.T) {
	s := &counter{Store: openMemory(t)}
	key := NewStateKey()
	p := NewPages(s, key, "t/", 1)
	flush := func(batches, ops int) {
		t.Helper()
		s.batches, s.ops = 0, 0
		if err := p.Flush(t.Context()); err != s.err && !errors.Is(err, s.err) {
			t.Fatal(err)
		}
		if s.batches != batches || s.ops != ops {
			t.Fatalf("%d batches of %d pages; want %d of %d", s.batches, s.ops, batches, ops)
		}
	}
	flush(0, 0)
	for slot := range 10_000 {
		p.Set(slot, []byte{1})
	}
	flush(1, 3)
	flush(0, 0)
	p.Set(9_999, []byte{2})
	p.Clear(20_000)
	flush(1, 1)
	s.err = errors.New("busy")
	p.Clear(0)
	flush(1, 1)
	s.err = nil
	flush(1, 1)
	for slot := range 4096 {
		p.Clear(slot)
	}
	flush(1, 1)
	if _, err := s.Get(t.Context(), []byte("t/00")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an empty page: %v", err)
	}
	if got := loaded(t, s, key, "t/", 1); len(got) != 10_000-4096 || got[9_999] != "\x02" {
		t.Errorf("%d records, the last %q", len(got), got[9_999])
	}
}

func TestPagesDropAll(t *testing.T) {
	s, key := openMemory(t), NewStateKey()
	for _, prefix := range []string{"t/1/", "t/2/", "u/"} {
		p := NewPages(s, key, prefix, 1)
		p.Set(3, []byte{1})
		p.Set(5000, []byte{2})
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p := NewPages(s, key, "t/", 1)
	p.Set(4, []byte{3})
	if err := p.DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, s, key, "t/", 1); len(got) != 0 {
		t.Errorf("t/ holds %v", got)
	}
	if got := loaded(t, s, key, "u/", 1); len(got) != 2 {
		t.Errorf("u/ holds %v; want two records", got)
	}
}

// TestPagesRefuse: a page that is not whole, not ours or not in its place is an
// error that names it, and none of its records is told.
func TestPagesRefuse(t *testing.T) {
	key := NewStateKey()
	p := NewPages(openMemory(t), key, "t/", 2)
	for slot := range 3 {
		p.Set(slot, []byte{1, 2})
	}
	good := p.encode(p.pages[0])
	for name, c := range map[string]struct {
		place string
		value func() []byte
	}{
		"flipped":     {"t/00", func() []byte { b := Wrap(key, []byte("t/00"), good); b[len(b)-1] ^= 1; return b }},
		"moved":       {"t/01", func() []byte { return Wrap(key, []byte("t/00"), good) }},
		"no number":   {"t/0x", func() []byte { return Wrap(key, []byte("t/0x"), good) }},
		"short":       {"t/00", func() []byte { return Wrap(key, []byte("t/00"), good[:len(good)-1]) }},
		"long":        {"t/00", func() []byte { return Wrap(key, []byte("t/00"), append(good, 0)) }},
		"headless":    {"t/00", func() []byte { return Wrap(key, []byte("t/00"), good[:pageHeader]) }},
		"empty":       {"t/00", func() []byte { return Wrap(key, []byte("t/00"), nil) }},
		"not wrapped": {"t/00", func() []byte { return good }},
		"version":     {"t/00", func() []byte { return Wrap(key, []byte("t/00"), append([]byte{2}, good[1:]...)) }},
		"reserved":    {"t/00", func() []byte { return Wrap(key, []byte("t/00"), append([]byte{1, 1}, good[2:]...)) }},
		"size":        {"t/00", func() []byte { return Wrap(key, []byte("t/00"), append([]byte{1, 0, 0, 1}, good[4:]...)) }},
	} {
		s := openMemory(t)
		if err := s.Apply(t.Context(), []store.Op{{Key: []byte(c.place), Value: c.value()}}, store.Behind); err != nil {
			t.Fatal(err)
		}
		err := NewPages(s, key, "t/", 2).Load(t.Context(), func(slot int, rec []byte) {
			t.Errorf("%s: told of slot %d", name, slot)
		})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.place)) {
			t.Errorf("%s: %v; want an error that names the page", name, err)
		}
	}
}

func TestPagesMisuse(t *testing.T) {
	p := NewPages(nil, StateKey{}, "t/", 2)
	for name, f := range map[string]func(){
		"record too short": func() { p.Set(0, []byte{1}) },
		"slot below":       func() { p.Set(-1, []byte{1, 2}) },
		"slot above":       func() { p.Set(MaxSlots, []byte{1, 2}) },
		"size 0":           func() { NewPages(nil, StateKey{}, "t/", 0) },
		"size too large":   func() { NewPages(nil, StateKey{}, "t/", MaxRecord+1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	p.Clear(0)
	p.Clear(MaxSlots)
}

// TestPagesLargest: a full page of the largest records fits the store.
func TestPagesLargest(t *testing.T) {
	s, key := openMemory(t), NewStateKey()
	p := NewPages(s, key, "t/", MaxRecord)
	for slot := range PageSlots {
		p.Set(MaxSlots-1-slot, make([]byte, MaxRecord))
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(loaded(t, s, key, "t/", MaxRecord)); n != PageSlots {
		t.Fatalf("%d records; want %d", n, PageSlots)
	}
}

func TestPagesSetAllocs(t *testing.T) {
	p := NewPages(openMemory(t), StateKey{}, "t/", RollCallSize)
	rec := make([]byte, RollCallSize)
	p.Set(0, rec)
	if n := testing.AllocsPerRun(100, func() { p.Set(1, rec); p.Clear(1) }); n != 0 {
		t.Errorf("Set and Clear: %v allocations; want 0", n)
	}
}

// BenchmarkPages is a resume's share of the roll call: one slot set, one
// cleared, a flush every thousand.
func BenchmarkPages(b *testing.B) {
	p := NewPages(openMemory(b), NewStateKey(), "t/", RollCallSize)
	rec := make([]byte, RollCallSize)
	for i := 0; b.Loop(); i++ {
		p.Set(i%100_000, rec)
		p.Clear((i + 50_000) % 100_000)
		if i%1000 == 0 {
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
