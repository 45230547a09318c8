package storm

import (
	"math/rand/v2"
	"slices"

	"blackswan/internal/udp"
)

// Weather is what the network does to datagrams, in both directions: parts of 1.
type Weather struct {
	Loss      float64
	Duplicate float64
	Reorder   float64 // held back until others have passed
}

// weather applies a Weather to one direction. Its draws are the same in every
// run.
type weather struct {
	Weather
	draw *rand.Rand
	held []udp.Message // with data of their own
	late []udp.Message // held since the round before
}

func newWeather(w Weather, seed, direction int) weather {
	return weather{Weather: w, draw: rand.New(rand.NewPCG(uint64(seed), uint64(direction)))}
}

func (w *weather) calm() bool { return w.Weather == Weather{} }

// pass hands m on: once, twice, later or never.
func (w *weather) pass(m udp.Message, on func(udp.Message)) {
	if w.calm() {
		on(m)
		return
	}
	if w.draw.Float64() < w.Loss {
		return
	}
	if w.draw.Float64() < w.Reorder {
		w.hold(m)
		return
	}
	if w.draw.Float64() < w.Duplicate {
		w.hold(m)
	}
	on(m)
}

// hold keeps a copy of m for later.
func (w *weather) hold(m udp.Message) {
	m.Data = slices.Clone(m.Data)
	w.held = append(w.held, m)
}

func (w *weather) holds() bool { return len(w.held)+len(w.late) > 0 }

// release hands on what was held a round ago.
func (w *weather) release(on func(udp.Message)) {
	late := w.late
	w.late, w.held = w.held, nil
	for _, m := range late {
		on(m)
	}
}
