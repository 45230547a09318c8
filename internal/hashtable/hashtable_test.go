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
				have.Put(k, uint32(i+1))
				want[k] = uint32(i + 1)
			} else {
				have.Delete(k)
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
			have.Delete(uint16(k))
			delete(left, uint16(k))
			same(t, &have, left)
		}
		if len(have.entries) != 0 {
			t.Errorf("an empty table keeps %d places", len(have.entries))
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
		table.Delete(1000)
		table.Get(50)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
