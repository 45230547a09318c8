package hashtable

import (
	"maps"
	"testing"
)

// keys of a small world: that many of them meet in few places.
func small(k uint16) uint64 { return uint64(k % 64) }

// same fails unless t holds what want holds, and no more.
func same(t *testing.T, have *Table[uint16], want map[uint16]uint32) {
	t.Helper()
	if have.Len() != len(want) {
		t.Fatalf("%d keys, want %d", have.Len(), len(want))
	}
	for k := range uint16(512) {
		if have.Get(k) != want[k] {
			t.Fatalf("key %d has %d, want %d", k, have.Get(k), want[k])
		}
	}
}

// FuzzTable does to a Table and to a map of Go what the input says.
func FuzzTable(f *testing.F) {
	f.Add(uint64(1), []byte("put and delete, put and delete"))
	f.Add(uint64(0xfedcba9876543210), []byte{0, 0, 0, 64, 0, 128, 1, 0, 0, 64, 1, 64, 0, 0})
	f.Fuzz(func(t *testing.T, seed uint64, input []byte) {
		have, want := New(seed, small), map[uint16]uint32{}
		for i := 0; i+1 < len(input); i += 2 {
			k := (uint16(input[i])<<8 | uint16(input[i+1])) & 511
			if input[i]&128 == 0 {
				if before := have.Put(k, uint32(i+1)); before != want[k] {
					t.Fatalf("key %d had %d, want %d", k, before, want[k])
				}
				want[k] = uint32(i + 1)
			} else {
				have.Delete(k, want[k]+1) // it has another number
				have.Delete(k, want[k])
				delete(want, k)
			}
		}
		same(t, &have, want)
	})
}

// TestClusters fills a table with keys of one home and empties it in every
// order that the steps give.
func TestClusters(t *testing.T) {
	for step := 1; step < 40; step += 2 {
		have, want := New(uint64(step), small), map[uint16]uint32{}
		for i := range uint16(7) {
			for _, home := range []uint16{3, 5, 6} {
				k := home + 64*i
				have.Put(k, uint32(k))
				want[k] = uint32(k)
			}
		}
		same(t, &have, want)
		left := maps.Clone(want)
		for k := 0; len(left) > 0; k = (k + step) & 511 {
			have.Delete(uint16(k), left[uint16(k)])
			delete(left, uint16(k))
			same(t, &have, left)
		}
		if len(have.entries) != 0 {
			t.Errorf("an empty table keeps %d places", len(have.entries))
		}
	}
}

// TestPatterns: numbers that peers count up, or shift, lie as far from their homes
// as random ones, whatever the seed.
func TestPatterns(t *testing.T) {
	const n = 40000 // of 65,536 places
	for name, key := range map[string]func(i uint64) uint64{
		"counted":      func(i uint64) uint64 { return i },
		"by 256":       func(i uint64) uint64 { return i << 8 },
		"by 4096":      func(i uint64) uint64 { return i << 12 },
		"high octets":  func(i uint64) uint64 { return i << 40 },
		"both ends":    func(i uint64) uint64 { return i<<40 | i },
		"last octet 7": func(i uint64) uint64 { return i<<8 | 7 },
	} {
		for seed := range uint64(16) {
			table := New(seed*0x2545f4914f6cdd1d+seed, func(k uint64) uint64 { return k })
			for i := range uint64(n) {
				table.Put(key(i), 1)
			}
			steps := 0
			for at, x := range table.entries {
				if x.number != 0 {
					steps += (at - table.home(x.key)) & (len(table.entries) - 1)
				}
			}
			if mean := float64(steps) / n; mean > 1 { // of random keys: 0.8
				t.Errorf("%s, seed %d: %.1f steps from home", name, seed, mean)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	table := New(7, func(k uint64) uint64 { return k })
	for k := range uint64(100) {
		table.Put(k, 1)
	}
	if n := testing.AllocsPerRun(100, func() {
		table.Put(1000, 1)
		table.Delete(1000, 1)
		table.Get(50)
		table.Touch(50)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
