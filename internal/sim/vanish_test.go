package sim

import (
	"testing"
	"time"
)

// A network that vanishes, and is back after so long, costs no login. Who hears
// of its link is back at once, who does not within the longest wait of the
// back-off: a quarter of a minute and its jitter.
func TestBackFromAnOutage(t *testing.T) {
	for _, row := range []struct {
		name   string
		cut    time.Duration
		mobike bool
		told   bool
		within time.Duration
	}{
		{"ten minutes, the link tells", 10 * time.Minute, false, true, 2 * time.Second},
		{"ten minutes, nobody tells", 10 * time.Minute, false, false, 19 * time.Second},
		{"five hours, the link tells", 5 * time.Hour, false, true, 2 * time.Second},
		{"five hours, nobody tells", 5 * time.Hour, false, false, 19 * time.Second},
		{"ten minutes, mobile, the link tells", 10 * time.Minute, true, true, 2 * time.Second},
		{"five hours, mobile, nobody tells", 5 * time.Hour, true, false, 19 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for i := range uint64(3 * *long) {
				o := small.with(func(o *Options) { o.Seed, o.MOBIKE = i+1, row.mobike })
				w := New(o)
				up(w)
				w.Network.Cut = true
				w.Run(row.cut + w.within(time.Minute))
				none(t, "SAs that the gateway has not given up", w.Gateway.SAs())
				for _, h := range w.Hosts {
					h.Rebind() // no NAT keeps a mapping so long
				}
				w.Network.Cut = false
				if row.told {
					for _, h := range w.Hosts {
						h.LinkUp()
					}
				}
				w.Run(row.within)
				all(t, w, "resumed", w.Resumes())
				all(t, w, "full handshakes", w.Fulls())
				none(t, "fallbacks", w.Fallbacks())
				if err := w.Rest(5 * time.Minute); err != nil {
					t.Error(err)
				}
				all(t, w, "resumed, at rest", w.Resumes())
			}
		})
	}
}
