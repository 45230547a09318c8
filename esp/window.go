package esp

import "math/bits"

// MinWindow and MaxWindow bound a replay window, in packets. RFC 4303 3.4.3
// wants 32 at least and suggests 64; the higher the speed, the later the
// packets that a path with several queues brings.
const (
	MinWindow = 64
	MaxWindow = 4096
)

const wordBits = 64

// window remembers which of the last sequence numbers were received. As in
// RFC 6479, nothing is ever shifted: a number always has the same bit of a
// ring, and when the window moves on, the bits of the numbers that come into it
// are cleared.
type window struct {
	top  uint64   // highest number that was marked
	size uint64   // numbers size and more below top are too old
	ring []uint64 // a power of two of words, size bits at least
}

func newWindow(size int) window {
	words := (size + wordBits - 1) / wordBits
	return window{size: uint64(size), ring: make([]uint64, 1<<bits.Len(uint(words-1)))}
}

// bit returns the word of a number in the ring, and its bit in that word.
func (w *window) bit(seq uint64) (word *uint64, mask uint64) {
	return &w.ring[seq/wordBits&uint64(len(w.ring)-1)], 1 << (seq % wordBits)
}

// fresh tells whether a packet with that number may be new. 0 is nobody's
// number (RFC 4303 3.3.3).
func (w *window) fresh(seq uint64) bool {
	if seq > w.top {
		return true
	}
	if seq == 0 || w.top-seq >= w.size {
		return false
	}
	word, mask := w.bit(seq)
	return *word&mask == 0
}

// mark records a packet that is fresh and authenticated.
func (w *window) mark(seq uint64) {
	if seq > w.top {
		w.forget(w.top+1, seq-w.top)
		w.top = seq
	}
	word, mask := w.bit(seq)
	*word |= mask
}

// forget clears the bits of n numbers, of all if there are more than bits.
func (w *window) forget(from, n uint64) {
	if n >= uint64(len(w.ring))*wordBits {
		clear(w.ring)
		return
	}
	for n > 0 {
		word, mask := w.bit(from)
		run := min(n, wordBits-from%wordBits) // that lie in this word
		*word &^= mask<<run - mask
		from, n = from+run, n-run
	}
}

// extend returns the number whose low 32 bits a packet carries (RFC 4303
// A2.2): the lowest one with these bits that is not too old. If there is none
// below 2^64 it returns one that is not fresh. After 2^32 lost packets in a row
// it is wrong for good (A3): nothing opens any more, and IKE replaces the SA.
func (w *window) extend(low uint32) uint64 {
	bottom := w.top - min(w.top, w.size-1)
	return bottom + uint64(low-uint32(bottom))
}
