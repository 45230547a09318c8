package esp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// oracle is a replay window the naive way: it forgets nothing.
type oracle struct {
	size, top uint64
	seen      map[uint64]bool
}

func (o *oracle) fresh(seq uint64) bool {
	return seq != 0 && !o.seen[seq] && (seq > o.top || o.top-seq < o.size)
}

func (o *oracle) mark(seq uint64) {
	o.seen[seq], o.top = true, max(o.top, seq)
}

// newSeed is a new seed each time; the name of the subtest tells it.
func newSeed() (seed uint64, r *rand.Rand) {
	seed = rand.Uint64()
	return seed, rand.New(rand.NewPCG(seed, 0))
}

// TestWindow plays packets that come late, twice or never to a window and to
// the oracle. It begins at 0, before 2^32 and near the end of all numbers.
func TestWindow(t *testing.T) {
	for _, size := range []int{64, 65, 127, 128, 192, 1000, 1024, 4096} {
		for _, start := range []uint64{0, math.MaxUint32 - 3000, math.MaxUint64 - 60000} {
			seed, r := newSeed()
			t.Run(fmt.Sprintf("size %d from %d seed %d", size, start, seed), func(t *testing.T) {
				w := newWindow(size)
				o := oracle{size: uint64(size), seen: make(map[uint64]bool)}
				if start > 0 {
					w.mark(start)
					o.mark(start)
				}
				for n := range 20000 {
					seq := wander(r, o.top, uint64(size))
					got, want := w.fresh(seq), o.fresh(seq)
					if got != want {
						t.Fatalf("step %d: fresh(%d) is %v with top %d, want %v", n, seq, got, o.top, want)
					}
					if want && r.IntN(8) > 0 { // one in eight is a forgery
						w.mark(seq)
						o.mark(seq)
					}
					if w.top != o.top {
						t.Fatalf("step %d: top %d, want %d", n, w.top, o.top)
					}
				}
			})
		}
	}
}

// wander is the number of the next packet: most are near the top, some far
// ahead by one, a word, the window, or much more.
func wander(r *rand.Rand, top, size uint64) uint64 {
	room := math.MaxUint64 - top
	switch r.IntN(16) {
	case 0:
		return top + min(room, r.Uint64N(2*size)+1)
	case 1:
		return top + min(room, r.Uint64N(130)+1)
	case 2:
		return top - min(top, size-2+r.Uint64N(5)) // about the edge
	case 3, 4, 5, 6, 7, 8:
		return top - min(top, r.Uint64N(size+size/4))
	}
	return top + min(room, 1)
}

// TestWindowFarJump: a jump over all the ring, to the last number of all.
func TestWindowFarJump(t *testing.T) {
	for _, jump := range []uint64{127, 128, 129, 1 << 20, math.MaxUint64 - 100} {
		w := newWindow(128)
		for seq := range uint64(100) {
			w.mark(seq + 1)
		}
		w.mark(100 + jump)
		for back := uint64(1); back < 128; back++ {
			seq := 100 + jump - back
			if want := seq > 100; w.fresh(seq) != want {
				t.Fatalf("jump %d: fresh(%d) is %v", jump, seq, !want)
			}
		}
	}
}

// TestExtend holds the number that a receiver infers against the pseudo code of
// RFC 4303 A2.3, written with the 32-bit arithmetic of the RFC.
func TestExtend(t *testing.T) {
	seed, r := newSeed()
	edges := []uint32{0, 1, 62, 63, 64, 65, 1 << 31, math.MaxUint32 - 64, math.MaxUint32 - 63, math.MaxUint32 - 62, math.MaxUint32}
	number := func() uint32 {
		if r.IntN(2) == 0 {
			return edges[r.IntN(len(edges))] + r.Uint32N(3) - 1
		}
		return r.Uint32()
	}
	const size = 64
	for range 200000 {
		th, tl, low := r.Uint32N(3)+1, number(), number()
		w := window{top: uint64(th)<<32 | uint64(tl), size: size}
		high := th
		if tl >= size-1 { // case A
			if low < tl-size+1 {
				high = th + 1
			}
		} else if low >= tl-size+1 { // case B
			high = th - 1
		}
		if got, want := w.extend(low), uint64(high)<<32|uint64(low); got != want {
			t.Fatalf("seed %d: top %#x, low %#x: %#x, want %#x", seed, w.top, low, got, want)
		}
	}
}

// TestExtendAtBothEnds: before the first 2^32 there is nothing, so that the
// numbers of a young SA are never taken for old ones, and past 2^64 nothing is
// fresh.
func TestExtendAtBothEnds(t *testing.T) {
	for _, test := range []struct {
		top   uint64
		low   uint32
		want  uint64
		fresh bool
	}{
		{0, 1, 1, true},
		{0, math.MaxUint32, math.MaxUint32, true},
		{0, 0, 0, false},
		{10, math.MaxUint32, math.MaxUint32, true},
		{63, 0, 0, false},
		{64, 0, 1 << 32, true},
		{1 << 32, math.MaxUint32, math.MaxUint32, true},
		{math.MaxUint64, math.MaxUint32, math.MaxUint64, false},
		{math.MaxUint64, 0, 0, false},
		{math.MaxUint64, 5, 5, false},
		{math.MaxUint64 - 1, math.MaxUint32, math.MaxUint64, true},
	} {
		w := newWindow(64)
		if test.top > 0 {
			w.mark(test.top)
		}
		got := w.extend(test.low)
		if got != test.want || w.fresh(got) != test.fresh {
			t.Errorf("top %#x, low %#x: %#x, fresh %v; want %#x, %v", test.top, test.low, got, w.fresh(got), test.want, test.fresh)
		}
	}
}
