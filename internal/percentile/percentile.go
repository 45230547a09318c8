// Package percentile sums up many times in three figures.
package percentile

import (
	"math"
	"slices"
	"time"
)

// Spread of a time, in milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Of sorts times. Of none it is zero.
func Of(times []time.Duration) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	slices.Sort(times)
	at := func(part float64) float64 {
		i := int(math.Ceil(part*float64(len(times)))) - 1
		return Milliseconds(times[max(i, 0)])
	}
	return Spread{P50: at(0.50), P99: at(0.99), Max: at(1)}
}

// Milliseconds are rounded to a microsecond.
func Milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
