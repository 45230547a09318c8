package sim

import (
	"testing"
	"time"

	"blackswan/ike"
)

var outages = []scenario{
	{name: "away for a minute", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		w.Gateway.Crash(time.Minute)
		w.Run(5 * time.Minute)
	}},
	{name: "away for an hour", seeds: 2, options: harsh, tell: func(w *World) {
		up(w)
		w.Gateway.Crash(time.Hour)
		w.Run(70 * time.Minute)
	}},
	{name: "cut for five minutes", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		w.Network.Cut = true
		w.Run(5 * time.Minute)
	}},
	{name: "cut for five minutes, and it is traffic that brings nothing back", seeds: 3, options: harsh.with(func(o *Options) { o.OnDemand, o.Traffic = true, 10*time.Second }), tell: func(w *World) {
		up(w)
		w.Network.Cut = true
		w.Run(5 * time.Minute)
	}, judge: func(t *testing.T, w *World) { all(t, w, "by silence", w.Detected(ike.ByTimeout)) }},
	{name: "cut for five minutes, and nobody has anything to say", seeds: 3, options: harsh.with(func(o *Options) { o.OnDemand = true }), tell: func(w *World) {
		up(w)
		w.Network.Cut = true
		w.Run(5 * time.Minute)
	}, judge: func(t *testing.T, w *World) { none(t, "by silence", w.Detected(ike.ByTimeout)) }},
	{name: "cut, and a crash meanwhile", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		w.Network.Cut = true
		w.Run(w.within(3 * time.Minute))
		w.Gateway.Crash(time.Second)
		w.Run(2 * time.Minute)
	}},
	{name: "NATs forget, nobody dies", seeds: 2, options: small, tell: func(w *World) {
		up(w)
		for range 4 {
			for _, h := range w.Hosts {
				h.Rebind()
			}
			w.Run(2 * time.Minute)
		}
	}, judge: func(t *testing.T, w *World) { none(t, "resumes", w.Resumes()) }},
	{name: "NATs forget", seeds: 4, options: harsh.with(func(o *Options) { o.Traffic = 3 * time.Second }), tell: func(w *World) {
		up(w)
		for range 4 {
			for _, h := range w.Hosts {
				h.Rebind()
			}
			w.Run(w.within(time.Minute))
			w.Gateway.Crash(time.Second)
			w.Run(2 * time.Minute)
		}
	}},
	{name: "laptops sleep", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		for _, h := range w.Hosts {
			h.Sleep(10*time.Minute + w.within(50*time.Minute))
		}
		w.Run(15 * time.Minute)
		w.Gateway.Crash(time.Second)
		w.Run(50 * time.Minute)
	}},
	{name: "two days", seeds: 1, options: Options{Shards: 2, Hosts: 2, Network: rough}, tell: func(w *World) { // a ticket lives for one, and a rekey heals each resume (rule D8)
		up(w)
		for range 10 {
			w.Run(4*time.Hour + w.within(90*time.Minute))
			w.Gateway.Crash(time.Second)
		}
	}, judge: func(t *testing.T, w *World) {
		if w.Resumes() < 8*len(w.Clients) || w.Rekeys() < 8*len(w.Clients) {
			t.Errorf("%d resumes and %d rekeys of %d clients", w.Resumes(), w.Rekeys(), len(w.Clients))
		}
	}},
	{name: "laptops move", seeds: 4, options: harsh.with(func(o *Options) { o.MOBIKE = true }), tell: func(w *World) {
		up(w)
		for range 5 {
			for _, h := range w.Hosts {
				w.after(w.within(10*time.Second), h.Move)
			}
			w.Run(w.within(time.Minute))
		}
	}},
	{name: "laptops move on a smooth road", seeds: 2, options: small.with(func(o *Options) { o.MOBIKE = true }), tell: func(w *World) {
		up(w)
		for range 5 {
			for _, h := range w.Hosts {
				h.Move()
			}
			w.Run(time.Minute)
		}
	}, judge: func(t *testing.T, w *World) { none(t, "resumes", w.Resumes()) }},
	{name: "laptops move, no MOBIKE", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		for range 3 {
			for _, h := range w.Hosts {
				h.Move()
			}
			w.Run(w.within(time.Minute))
		}
	}},
	{name: "laptops sleep and wake up elsewhere", seeds: 4, options: harsh.with(func(o *Options) { o.MOBIKE = true }), tell: func(w *World) {
		up(w)
		for _, h := range w.Hosts {
			h.Sleep(w.within(50 * time.Minute))
			h.Move()
		}
		w.Run(15 * time.Minute)
		w.Gateway.Crash(time.Second)
		w.Run(50 * time.Minute)
	}},
	{name: "NATs change, MOBIKE", seeds: 4, options: small.with(func(o *Options) { o.MOBIKE = true }), tell: func(w *World) {
		up(w)
		for range 4 {
			for _, h := range w.Hosts {
				h.Rebind()
			}
			w.Run(2 * time.Minute)
		}
	}, judge: func(t *testing.T, w *World) { none(t, "resumes", w.Resumes()) }},
	{name: "logins end", seeds: 4, options: harsh.with(func(o *Options) { o.Login = 10 * time.Minute }), full: true, tell: func(w *World) {
		up(w)
		for range 3 {
			w.Run(w.within(20 * time.Minute))
			w.Gateway.Crash(time.Second)
			w.Run(time.Minute)
		}
	}, judge: func(t *testing.T, w *World) {
		if w.Resumes() < 2*len(w.Clients) || w.Fulls() < 2*len(w.Clients) {
			t.Errorf("%d resumes and %d full handshakes of %d clients", w.Resumes(), w.Fulls(), len(w.Clients))
		}
	}},
	{name: "clock went back", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		w.Gateway.Skew(-2 * time.Hour)
		w.Gateway.Crash(time.Second)
		w.Run(2 * time.Minute)
	}},
	{name: "clock leapt", seeds: 4, options: harsh, full: true, tell: func(w *World) { // over every ticket's life
		up(w)
		w.Gateway.Skew(400 * 24 * time.Hour)
		w.Gateway.Crash(time.Second)
		w.Run(2 * time.Minute)
	}},
}
