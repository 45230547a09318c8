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

// Floors are the floors of the lineages of one shard (rule D5), in bounded
// memory: about 80 octets each. A list of the tickets that are no good any more
// is what RFC 5723 9.8 leaves to us. It is not for concurrent use.
type Floors struct {
	Dropped uint64 // floors that were forgotten before their time, for want of room

	max     int
	at      map[[16]byte]uint32 // lineage to slot
	slots   []floorSlot
	free    []uint32
	raised  expiry // slots of floors under Revoked
	revoked expiry
}

type floorSlot struct {
	Floor
	pos uint32 // in its expiry
}

// NewFloors remembers at most max lineages. When there are more, it forgets the
// one that expires first, and a revoked one only when all are revoked.
func NewFloors(max int) *Floors {
	return &Floors{max: max, at: make(map[[16]byte]uint32)}
}

// Raise lifts the floor of a lineage and reports whether that changed anything:
// a floor that is there already, or that found no room, does not.
func (f *Floors) Raise(lineage [16]byte, floor uint32, until int64) bool {
	if floor == 0 {
		return false
	}
	slot, known := f.at[lineage]
	if !known {
		slot = f.take(lineage)
	}
	s := &f.slots[slot]
	if s.Floor.Floor >= floor {
		return false
	}
	if known {
		f.remove(f.expiryOf(slot), s.pos)
	}
	s.Floor.Floor, s.Until = floor, max(s.Until, until)
	f.add(f.expiryOf(slot), slot)
	if len(f.at) > f.max {
		f.Dropped++
		first := &f.revoked
		if len(f.raised) > 0 {
			first = &f.raised
		}
		dropped := (*first)[0]
		f.forget(dropped)
		return dropped != slot
	}
	return true
}

// Below tells whether a ticket of this serial is refused.
func (f *Floors) Below(lineage [16]byte, serial uint32) bool {
	slot, known := f.at[lineage]
	if !known {
		return false
	}
	floor := f.slots[slot].Floor.Floor
	return serial < floor || floor == Revoked
}

// Len is the number of lineages with a floor.
func (f *Floors) Len() int { return len(f.at) }

// Expire forgets at most n floors whose time has passed, and reports how many.
func (f *Floors) Expire(now int64, n int) (forgotten int) {
	for _, first := range [...]*expiry{&f.raised, &f.revoked} {
		for len(*first) > 0 && f.slots[(*first)[0]].Until <= now {
			if forgotten == n {
				return forgotten
			}
			f.forget((*first)[0])
			forgotten++
		}
	}
	return forgotten
}

// All goes through the floors, in no order. They must not change meanwhile.
func (f *Floors) All() iter.Seq[Floor] {
	return func(yield func(Floor) bool) {
		for _, slot := range f.at {
			if !yield(f.slots[slot].Floor) {
				return
			}
		}
	}
}

func (f *Floors) take(lineage [16]byte) (slot uint32) {
	if n := len(f.free); n > 0 {
		slot, f.free = f.free[n-1], f.free[:n-1]
	} else {
		slot = uint32(len(f.slots))
		f.slots = append(f.slots, floorSlot{})
	}
	f.slots[slot].Floor = Floor{Lineage: lineage}
	f.at[lineage] = slot
	return slot
}

func (f *Floors) forget(slot uint32) {
	f.remove(f.expiryOf(slot), f.slots[slot].pos)
	delete(f.at, f.slots[slot].Lineage)
	f.free = append(f.free, slot)
}

func (f *Floors) expiryOf(slot uint32) *expiry {
	if f.slots[slot].Floor.Floor == Revoked {
		return &f.revoked
	}
	return &f.raised
}

// expiry is a heap of slots, the first to expire on top.
type expiry []uint32

func (f *Floors) add(h *expiry, slot uint32) {
	*h = append(*h, slot)
	f.slots[slot].pos = uint32(len(*h) - 1)
	f.up(*h, len(*h)-1)
}

func (f *Floors) remove(h *expiry, pos uint32) {
	last := len(*h) - 1
	f.swap(*h, int(pos), last)
	*h = (*h)[:last]
	if int(pos) < last {
		f.down(*h, int(pos))
		f.up(*h, int(pos))
	}
}

func (f *Floors) up(h expiry, i int) {
	for i > 0 && f.earlier(h, i, (i-1)/2) {
		f.swap(h, i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (f *Floors) down(h expiry, i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if f.earlier(h, child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		f.swap(h, i, least)
		i = least
	}
}

func (f *Floors) earlier(h expiry, i, j int) bool {
	return f.slots[h[i]].Until < f.slots[h[j]].Until
}

func (f *Floors) swap(h expiry, i, j int) {
	h[i], h[j] = h[j], h[i]
	f.slots[h[i]].pos, f.slots[h[j]].pos = uint32(i), uint32(j)
}
