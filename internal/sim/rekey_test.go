package sim

import (
	"testing"
	"time"
)

// young is a world in which keys are soon too old.
func young(o Options) Options {
	return o.with(func(o *Options) { o.Keys, o.Traffic = 15*time.Minute, 10*time.Second })
}

// rekeyed wants so many rekeys of IKE SAs of each client.
func rekeyed(t *testing.T, w *World, least int) {
	t.Helper()
	if n := w.Rekeys(); n < least*len(w.Clients) {
		t.Errorf("%d rekeys of %d clients", n, len(w.Clients))
	}
}

// rekeys are days in which SAs are rekeyed by time while the world does its worst.
var rekeys = []scenario{
	{name: "half a day", seeds: 1, options: young(small),
		tell: func(w *World) { up(w); w.Run(12 * time.Hour) },
		judge: func(t *testing.T, w *World) {
			rekeyed(t, w, 50)
			none(t, "resumes", w.Resumes())
			none(t, "tokens", w.Tokens())
		}},
	{name: "a rough day", seeds: 4, options: young(harsh),
		tell:  func(w *World) { up(w); w.Run(8 * time.Hour) },
		judge: func(t *testing.T, w *World) { rekeyed(t, w, 30); none(t, "tokens", w.Tokens()) }},
	{name: "in fragments", seeds: 2, options: young(harsh).with(func(o *Options) { o.Fragment = 400 }),
		tell:  func(w *World) { up(w); w.Run(4 * time.Hour) },
		judge: func(t *testing.T, w *World) { rekeyed(t, w, 14) }},
	{name: "the gateway crashes", seeds: 3, options: young(harsh), tell: func(w *World) {
		up(w)
		for range 12 {
			w.Run(w.within(25 * time.Minute))
			w.Gateway.CrashWithin(1+w.Dice().IntN(40), time.Second)
			w.Run(time.Minute)
		}
	}, judge: func(t *testing.T, w *World) { rekeyed(t, w, 4) }},
	{name: "everybody crashes", seeds: 3, options: young(harsh), full: true, tell: func(w *World) {
		up(w)
		for range 12 {
			w.Run(w.within(20 * time.Minute))
			for _, h := range w.Hosts {
				if w.chance(0.5) {
					w.after(w.within(time.Minute), func() { h.Crash(w.within(10 * time.Second)) })
				}
			}
			w.Gateway.CrashWithin(1+w.Dice().IntN(40), time.Second)
			w.Run(2 * time.Minute)
		}
	}},
	{name: "NATs change", seeds: 3, options: young(harsh).with(func(o *Options) { o.MOBIKE = true }), tell: func(w *World) {
		up(w)
		for range 40 {
			w.Run(w.within(6 * time.Minute))
			for _, h := range w.Hosts {
				w.after(w.within(time.Minute), h.Rebind)
			}
		}
	}, judge: func(t *testing.T, w *World) { rekeyed(t, w, 6) }},
	{name: "laptops sleep and move", seeds: 3, options: young(harsh).with(func(o *Options) { o.MOBIKE = true }), full: true, tell: func(w *World) {
		up(w)
		for range 12 {
			for _, h := range w.Hosts {
				h.Sleep(w.within(20 * time.Minute))
				h.Move()
			}
			w.Run(w.within(40 * time.Minute))
		}
		w.Run(20 * time.Minute)
	}},
	{name: "the network goes away", seeds: 4, options: young(harsh), tell: func(w *World) {
		up(w)
		for range 8 {
			w.Run(w.within(20 * time.Minute))
			w.Network.Cut = true
			w.Run(w.within(3 * time.Minute))
			w.Network.Cut = false
		}
	}},
	{name: "all at once", seeds: 4, options: young(harsh).with(func(o *Options) { o.MOBIKE, o.Login = true, 40*time.Minute }), full: true, tell: func(w *World) {
		w.Connect(time.Minute)
		for range 20 {
			w.Run(w.within(10 * time.Minute))
			for _, h := range w.Hosts {
				switch w.Dice().IntN(5) {
				case 0:
					h.Move()
				case 1:
					h.Rebind()
				case 2:
					h.Crash(w.within(time.Minute))
				case 3:
					h.Sleep(w.within(10 * time.Minute))
				}
			}
			if w.chance(0.3) {
				w.Gateway.CrashWithin(1+w.Dice().IntN(60), time.Second)
			}
		}
	}},
}
