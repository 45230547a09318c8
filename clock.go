package blackswan

import (
	"runtime/metrics"
	"time"
)

// wall is the time that tickets and certificates are judged by: the clock's,
// but never before one that was kept, and when the clock is put back meanwhile
// that of our start and what has passed since (rule D11).
func (n *node) wall(now time.Time) time.Time {
	at, passed := now.Round(0), n.began.Add(now.Sub(n.began)).Round(0)
	if at.Before(passed) {
		at = passed
	}
	if at.Before(n.boot.Clock) {
		at = n.boot.Clock
	}
	return at
}

// sleepwatch notices that the machine was suspended: timers have not run
// meanwhile, and nobody knows which peers are still there (rule D11).
type sleepwatch struct {
	looked time.Time
	total  time.Duration
	known  bool
}

// shortSleep is not worth asking peers for a sign of life.
const shortSleep = 2 * time.Second

// slept is how long the machine slept since the last look, 0 for a short time.
// It looks once a second.
func (w *sleepwatch) slept(now time.Time) time.Duration {
	if now.Sub(w.looked) < time.Second {
		return 0
	}
	w.looked = now
	total, ok := asleep()
	return w.note(total, ok)
}

func (w *sleepwatch) note(total time.Duration, ok bool) time.Duration {
	was, known := w.total, w.known
	w.total, w.known = total, ok
	if d := total - was; known && ok && d >= shortSleep {
		return d
	}
	return 0
}

// gcTime is what this process has spent on garbage, but for what it did with
// CPUs that had nothing else to do.
func gcTime() time.Duration {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}}
	metrics.Read(s)
	return time.Duration((s[0].Value.Float64() - s[1].Value.Float64()) * float64(time.Second))
}
