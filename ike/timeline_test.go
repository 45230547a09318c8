package ike

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A timeline gives what is in it in the order of time, whatever came between.
func TestTimeline(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	var l timeline[int]
	var left []int64 // sorted
	for n := range 5000 {
		if len(left) == 0 || draw.IntN(5) < 3 {
			at := 1 + draw.Int64N(1000)
			l.put(at, int(at)+n<<32)
			i, _ := slices.BinarySearch(left, at)
			left = slices.Insert(left, i, at)
			continue
		}
		next := l.next()
		x := l.take()
		if next != left[0] || x.at != next || int64(x.what&(1<<32-1)) != x.at {
			t.Fatalf("the next is due at %d, taken %+v, want %d", next, x, left[0])
		}
		left = left[1:]
	}
	for range left {
		l.take()
	}
	if l.next() != 0 {
		t.Errorf("%d are left", len(l))
	}
}

// Who waits for a full handshake is not looked at until its time: so do a
// hundred thousand when no ticket is good.
func TestAttemptsByTime(t *testing.T) {
	w := newWorld(t, "attempts")
	e := w.cl.e
	e.at(w.now)
	for i := range int64(200) {
		tun := &tunnel{conn: w.cl.conn}
		e.later(tun, e.now+1+i)
		if i%2 == 0 {
			tun.at = 0 // planned no more
		}
	}
	for e.attempts.next() != 0 {
		e.Advance(e.time(e.attempts.next()))
		for _, ok := e.Next(); ok; _, ok = e.Next() {
		}
	}
	if n := len(e.asked); n != 100 {
		t.Errorf("%d of 100 attempts began", n)
	}
}
