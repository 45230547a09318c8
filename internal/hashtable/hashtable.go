// Package hashtable finds the slot of an SA by a key, with one look at memory:
// among 100,000 SAs no table is in a cache, and each look costs more than the
// hash of a key.
package hashtable

import "math/bits"

// Table maps keys to numbers above 0. It is open addressing with linear
// probing, at most two thirds full, and without marks of what has left: who
// stood behind moves up. It is not for concurrent use.
type Table[K comparable] struct {
	entries []entry[K] // a power of two of them, or none
	n       int
	seed    uint64
	word    func(K) uint64
}

type entry[K comparable] struct {
	key    K
	number uint32 // 0: nothing is here
}

// least is how many places a Table begins with, and keeps when it is empty.
const least = 16

// New makes an empty Table. word gives 64 bits of a key that tell it from most
// others. seed is random: who chooses keys must not know where they go.
func New[K comparable](seed uint64, word func(K) uint64) Table[K] {
	return Table[K]{seed: seed, word: word}
}

// Len is how many keys there are.
func (t *Table[K]) Len() int { return t.n }

// Get returns the number of k, or 0.
func (t *Table[K]) Get(k K) uint32 {
	if t.n == 0 {
		return 0
	}
	return t.entries[t.find(k)].number
}

// Touch reads the place where k belongs: Get, Put and Delete find it in a cache
// then. What it returns means nothing.
func (t *Table[K]) Touch(k K) uint32 {
	if t.n == 0 {
		return 0
	}
	return t.entries[t.home(k)].number
}

// Put gives k a number above 0, and returns the one that it had, or 0.
func (t *Table[K]) Put(k K, number uint32) (before uint32) {
	if 3*(t.n+1) > 2*len(t.entries) {
		t.grow()
	}
	x := &t.entries[t.find(k)]
	if before = x.number; before == 0 {
		t.n++
	}
	*x = entry[K]{k, number}
	return before
}

// Delete forgets k, if it has this number. A Table that becomes empty gives its
// memory back.
func (t *Table[K]) Delete(k K, number uint32) {
	if t.n == 0 || number == 0 {
		return
	}
	at, last := t.find(k), len(t.entries)-1
	if t.entries[at].number != number {
		return
	}
	if t.n--; t.n == 0 && len(t.entries) > least {
		t.entries = nil
		return
	}
	for next := (at + 1) & last; t.entries[next].number != 0; next = (next + 1) & last {
		// Who stands at next moves up to at, unless at lies before its home.
		if home := t.home(t.entries[next].key); (next-home)&last >= (next-at)&last {
			t.entries[at], at = t.entries[next], next
		}
	}
	t.entries[at] = entry[K]{}
}

// home is the place where k belongs. One product spreads numbers that follow each
// other well for most seeds, and for some not at all: there are two.
func (t *Table[K]) home(k K) int {
	hi, lo := bits.Mul64(t.word(k)^t.seed, 0x9e3779b97f4a7c15)
	hi, lo = bits.Mul64(hi^lo^bits.RotateLeft64(t.seed, 32), 0xd6e8feb86659fd93)
	return int(hi^lo) & (len(t.entries) - 1)
}

// find is the place where k is, or where it would be put.
func (t *Table[K]) find(k K) int {
	at := t.home(k)
	for t.entries[at].number != 0 && t.entries[at].key != k {
		at = (at + 1) & (len(t.entries) - 1)
	}
	return at
}

func (t *Table[K]) grow() {
	old := t.entries
	t.entries = make([]entry[K], max(2*len(old), least))
	for _, x := range old {
		if x.number != 0 {
			t.entries[t.find(x.key)] = x
		}
	}
}
