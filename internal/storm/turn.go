package storm

import "time"

// turn walks over clients: each acts once, as fast as its pace allows.
type turn struct {
	act  func(now time.Time, i int)
	next int
	end  int
	pace
}

// pace says when the next client may act.
type pace struct {
	atOnce int           // so many may be under way; 0: any number
	every  time.Duration // so long between two of them; 0: no matter
	due    time.Time
}

// take is the client that may act now, while so many are under way.
func (t *turn) take(now time.Time, underWay int) (i int, ok bool) {
	if t.wait(now, underWay) > 0 {
		return 0, false
	}
	if t.every > 0 {
		t.due = t.due.Add(t.every)
	}
	t.next++
	return t.next - 1, true
}

// wait is how long nobody may act. Who waits for others waits for a packet.
func (t *turn) wait(now time.Time, underWay int) time.Duration {
	switch {
	case t.next == t.end, t.atOnce > 0 && underWay >= t.atOnce:
		return time.Hour
	case t.every == 0:
		return 0
	}
	return max(t.due.Sub(now), 0)
}
