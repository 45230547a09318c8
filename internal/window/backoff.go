package window

import (
	"math/bits"
	"time"
)

// Jitter is the most by which a delay differs from its nominal length, in
// percent either way.
const Jitter = 15

// Backoff says when a request is sent again (RFC 7296 2.1 and 2.4) and when
// its sender gives up. Delays grow by Factor up to Max.
type Backoff struct {
	Initial time.Duration // nominal delay after the first transmission
	Max     time.Duration // longest nominal delay; 0: no limit
	Factor  uint16        // growth in hundredths: 180 is 1.8; below 100 counts as 100
	Tries   int           // transmissions in all, the first included
}

// longest keeps a delay with its jitter within an int64.
const longest = time.Duration(1<<62) / 100

// Delay is how long to wait after transmission number try (0 is the first),
// before the next one or, after the last, before giving up. The jitter is a
// uniformly random number; it moves the delay by at most Jitter percent. A
// delay is never longer than Max and its jitter, and never negative.
func (b Backoff) Delay(try int, jitter uint32) time.Duration {
	d := b.nominal(try)
	span := uint64(d) / 100 * (2 * Jitter)
	moved, _ := bits.Mul64(span, uint64(jitter)<<32) // span * jitter / 2^32
	return d - time.Duration(span/2) + time.Duration(moved)
}

// Total is the nominal time from the first transmission until the sender
// gives up.
func (b Backoff) Total() time.Duration {
	var sum time.Duration
	for try := range b.Tries {
		sum = min(sum+b.nominal(try), longest)
	}
	return sum
}

// nominal is Initial * (Factor/100)^try, at most Max.
func (b Backoff) nominal(try int) time.Duration {
	limit := longest
	if b.Max > 0 {
		limit = min(b.Max, longest)
	}
	factor := uint64(max(b.Factor, 100))
	d := min(max(b.Initial, 0), limit)
	for ; try > 0 && d < limit; try-- {
		hi, lo := bits.Mul64(uint64(d), factor)
		if hi >= 100 {
			return limit
		}
		grown, _ := bits.Div64(hi, lo, 100)
		if grown == uint64(d) {
			return d
		}
		d = time.Duration(min(grown, uint64(limit))) //rfc:7296-2.4-5
	}
	return d
}
