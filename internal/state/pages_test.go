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

// openMemory returns a sealed store.
func openMemory(t testing.TB) *Sealed {
	s := Seal(memory.Open(), NewStateKey())
	t.Cleanup(func() { s.Close() })
	return s
}

// loaded returns what the store holds below prefix.
func loaded(t *testing.T, s store.Store, prefix string, size int) map[int]string {
	t.Helper()
	all := make(map[int]string)
	err := NewPages(s, prefix, size).Load(t.Context(), func(slot int, rec []byte) {
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
	s := openMemory(t)
	p := NewPages(s, "table/", size)
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
		if got := loaded(t, s, "table/", size); !maps.Equal(got, oracle) {
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
	p := NewPages(s, "t/", 1)
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
	if got := loaded(t, s, "t/", 1); len(got) != 10_000-4096 || got[9_999] != "\x02" {
		t.Errorf("%d records, the last %q", len(got), got[9_999])
	}
}

func TestPagesDropAll(t *testing.T) {
	s := openMemory(t)
	for _, prefix := range []string{"t/1/", "t/2/", "u/"} {
		p := NewPages(s, prefix, 1)
		p.Set(3, []byte{1})
		p.Set(5000, []byte{2})
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p := NewPages(s, "t/", 1)
	p.Set(4, []byte{3})
	if err := p.DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, s, "t/", 1); len(got) != 0 {
		t.Errorf("t/ holds %v", got)
	}
	if got := loaded(t, s, "u/", 1); len(got) != 2 {
		t.Errorf("u/ holds %v; want two records", got)
	}
}

// TestPagesRefuse: a page that is not whole, not ours or not in its place is an
// error that names it, and none of its records is told.
func TestPagesRefuse(t *testing.T) {
	p := NewPages(openMemory(t), "t/", 2)
	for slot := range 3 {
		p.Set(slot, []byte{1, 2})
	}
	good := p.encode(p.pages[0])
	for name, c := range map[string]struct {
		place string
		value []byte
	}{
		"no number": {"t/0x", good},
		"short":     {"t/00", good[:len(good)-1]},
		"long":      {"t/00", append(good[:len(good):len(good)], 0)},
		"headless":  {"t/00", good[:pageHeader]},
		"empty":     {"t/00", []byte{}},
		"version":   {"t/00", append([]byte{2}, good[1:]...)},
		"reserved":  {"t/00", append([]byte{1, 1}, good[2:]...)},
		"size":      {"t/00", append([]byte{1, 0, 0, 1}, good[4:]...)},
	} {
		s := openMemory(t)
		if err := s.Apply(t.Context(), []store.Op{{Key: []byte(c.place), Value: c.value}}, store.Behind); err != nil {
			t.Fatal(err)
		}
		err := NewPages(s, "t/", 2).Load(t.Context(), func(slot int, rec []byte) {
			t.Errorf("%s: told of slot %d", name, slot)
		})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.place)) {
			t.Errorf("%s: %v; want an error that names the page", name, err)
		}
	}
}

func TestPagesMisuse(t *testing.T) {
	p := NewPages(nil, "t/", 2)
	for name, f := range map[string]func(){
		"record too short": func() { p.Set(0, []byte{1}) },
		"slot below":       func() { p.Set(-1, []byte{1, 2}) },
		"slot above":       func() { p.Set(MaxSlots, []byte{1, 2}) },
		"size 0":           func() { NewPages(nil, "t/", 0) },
		"size too large":   func() { NewPages(nil, "t/", MaxRecord+1) },
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
	s := openMemory(t)
	p := NewPages(s, "t/", MaxRecord)
	for slot := range PageSlots {
		p.Set(MaxSlots-1-slot, make([]byte, MaxRecord))
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(loaded(t, s, "t/", MaxRecord)); n != PageSlots {
		t.Fatalf("%d records; want %d", n, PageSlots)
	}
}

func TestPagesSetAllocs(t *testing.T) {
	p := NewPages(openMemory(t), "t/", RollCallSize)
	rec := make([]byte, RollCallSize)
	p.Set(0, rec)
	if n := testing.AllocsPerRun(100, func() { p.Set(1, rec); p.Clear(1) }); n != 0 {
		t.Errorf("Set and Clear: %v allocations; want 0", n)
	}
}

// BenchmarkPages is a resume's share of the roll call: one slot set, one
// cleared, a flush every thousand.
func BenchmarkPages(b *testing.B) {
	p := NewPages(openMemory(b), "t/", RollCallSize)
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
