package sim

import (
	"testing"
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// scenario is a story about a world. It lets time pass and breaks things; what
// may never happen is watched meanwhile, and afterwards all must be at rest.
type scenario struct {
	name    string
	seeds   int
	options Options
	full    bool // more full handshakes than one for each client are no fault
	tell    func(w *World)
	judge   func(t *testing.T, w *World)
}

// rough is a path that nobody would like to have.
var rough = Network{Loss: 0.05, Double: 0.05, Late: 0.1, Delay: 20 * time.Millisecond}

var (
	small = Options{Shards: 3, Hosts: 4, Tunnels: 3, NAT: true}
	harsh = Options{Shards: 3, Hosts: 4, Tunnels: 3, NAT: true, Network: rough}
)

func (o Options) with(change func(*Options)) Options { change(&o); return o }

// up brings everybody up and lets all tickets reach the disks.
func up(w *World) {
	w.Connect(5 * time.Second)
	w.Run(time.Minute)
}

// crash is a crash with everybody up, and time to come back.
func crash(w *World) {
	up(w)
	w.Gateway.Crash(time.Second)
	w.Run(time.Minute)
}

// all wants n to be the number of clients.
func all(t *testing.T, w *World, what string, n int) {
	t.Helper()
	if n != len(w.Clients) {
		t.Errorf("%s: %d of %d clients", what, n, len(w.Clients))
	}
}

func none(t *testing.T, what string, n int) {
	t.Helper()
	if n != 0 {
		t.Errorf("%s: %d", what, n)
	}
}

// deaf loses what gateway sends in clear as a roll call.
func deaf(toGateway bool, p ike.Packet) bool {
	h, _ := wire.ParseHeader(p.Data)
	return !toGateway && h.Exchange == wire.ExchangeInformational && h.NextPayload == wire.PayloadNotify && h.Response() && h.MessageID == 0
}

var crashes = []scenario{
	{name: "nothing happens", seeds: 2, options: small,
		tell: func(w *World) { up(w); w.Run(10 * time.Minute) },
		judge: func(t *testing.T, w *World) {
			none(t, "resumes", w.Resumes())
			none(t, "tokens", w.Tokens())
		}},
	{name: "nothing happens on a rough road", seeds: 4, options: harsh,
		tell:  func(w *World) { up(w); w.Run(10 * time.Minute) },
		judge: func(t *testing.T, w *World) { none(t, "tokens", w.Tokens()) }},
	{name: "crash", seeds: 4, options: small, tell: crash,
		judge: func(t *testing.T, w *World) {
			all(t, w, "by roll call", w.Detected(ike.ByRollCall))
			all(t, w, "resumed", w.Resumes())
		}},
	{name: "crash on a rough road", seeds: 4, options: harsh, tell: crash},
	{name: "crash, no roll call", seeds: 4, options: small.with(func(o *Options) { o.NoRollCall = true }), tell: crash,
		judge: func(t *testing.T, w *World) { all(t, w, "by a token to a check", w.Detected(ike.ByQCDReply)) }},
	{name: "crash, no tokens", seeds: 4, options: small.with(func(o *Options) { o.NoTokens = true }), tell: crash,
		judge: func(t *testing.T, w *World) {
			all(t, w, "by silence", w.Detected(ike.ByTimeout))
			none(t, "tokens", w.Tokens())
		}},
	{name: "crash under traffic", seeds: 4, options: small.with(func(o *Options) { o.Traffic = time.Second; o.Network.Lose = deaf }), tell: crash,
		judge: func(t *testing.T, w *World) {
			if w.Detected(ike.ByESPReply) == 0 {
				t.Error("no client learned of the crash by its own ESP")
			}
		}},
	{name: "crash, in fragments", seeds: 4, options: harsh.with(func(o *Options) { o.Fragment = 400 }), tell: crash},
	{name: "two crashes within a minute", seeds: 5, options: harsh, tell: func(w *World) {
		up(w)
		w.Gateway.Crash(time.Second)
		w.Run(w.within(20 * time.Second))
		w.Gateway.Crash(time.Second)
		w.Run(time.Minute)
	}},
	{name: "crash while the roll is called", seeds: 5, options: harsh, tell: func(w *World) {
		up(w)
		w.Gateway.Crash(time.Second)
		w.Run(time.Second)
		w.Gateway.CrashWithin(1+w.Dice().IntN(8), time.Second)
		w.Run(time.Minute)
	}},
	{name: "killed between two outputs", seeds: 5, options: harsh, tell: func(w *World) {
		w.Connect(5 * time.Second)
		for range 12 {
			w.Gateway.CrashWithin(1+w.Dice().IntN(60), time.Second)
			w.Run(w.within(40 * time.Second))
		}
		w.Run(time.Minute)
	}, full: true}, // who has no ticket yet has nothing to resume with
	{name: "everybody is killed", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		w.Gateway.Crash(2 * time.Second)
		for _, h := range w.Hosts {
			h.Crash(w.within(4 * time.Second))
		}
		w.Run(time.Minute)
	}},
	{name: "other number of shards", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		for _, n := range []int{5, 1, 4} {
			w.Gateway.Resize(n)
			w.Gateway.Crash(time.Second)
			w.Run(2 * time.Minute)
		}
	}},
}

var crowds = []scenario{
	{name: "more handshakes than workers", seeds: 2, options: Options{Shards: 2, Hosts: 4, Tunnels: 50, Cheap: true, Network: rough, Workers: 2}, full: true, tell: func(w *World) {
		w.Connect(time.Millisecond)
		w.Run(time.Minute)
		w.Gateway.NewKeys()
		w.Gateway.Crash(time.Second)
		w.Run(time.Minute)
	}, judge: func(t *testing.T, w *World) { none(t, "resumes", w.Resumes()) }},
}

// upgrade is a gateway that sends everybody to the other, stops, and is back.
func upgrade(w *World, g, other *Gateway) {
	g.Drain(other)
	w.Run(90 * time.Second)
	g.Stop()
	w.Run(w.within(time.Minute))
	g.Start()
}

// served fails unless everybody is with that gateway.
func served(t *testing.T, w *World, by *Gateway) {
	t.Helper()
	all(t, w, "served by that gateway", by.SAs())
}

var drains = []scenario{
	{name: "a gateway drains", seeds: 4, options: small.with(func(o *Options) { o.Pair = true }), tell: func(w *World) {
		up(w)
		w.Gateway.Drain(w.Second)
		w.Run(time.Minute)
		w.Gateway.Stop()
		w.Run(5 * time.Minute)
	}, judge: func(t *testing.T, w *World) {
		served(t, w, w.Second)
		all(t, w, "resumed", w.Resumes())
		none(t, "learned of a crash", w.Detected(ike.ByTimeout)+w.Detected(ike.ByQCDReply)+w.Detected(ike.ByRollCall))
	}},
	{name: "a gateway drains on a rough road", seeds: 4, options: harsh.with(func(o *Options) { o.Pair = true }), tell: func(w *World) {
		up(w)
		w.Gateway.Drain(w.Second)
		w.Run(time.Minute)
		w.Gateway.Stop()
		w.Run(5 * time.Minute)
	}, judge: func(t *testing.T, w *World) { served(t, w, w.Second) }},
	{name: "both are upgraded in turn", seeds: 4, options: harsh.with(func(o *Options) { o.Pair, o.MOBIKE = true, true }), tell: func(w *World) {
		up(w)
		upgrade(w, w.Gateway, w.Second)
		w.Run(time.Minute)
		upgrade(w, w.Second, w.Gateway)
		w.Run(time.Minute)
	}},
	{name: "the drain itself is killed", seeds: 4, options: harsh.with(func(o *Options) { o.Pair = true }), tell: func(w *World) {
		up(w)
		w.Gateway.CrashWithin(1+w.Dice().IntN(30), time.Second)
		w.Gateway.Drain(w.Second)
		w.Run(2 * time.Minute)
		w.Second.Crash(time.Second)
		w.Run(2 * time.Minute)
	}},
	{name: "clients come while it drains", seeds: 4, options: harsh.with(func(o *Options) { o.Pair = true }), tell: func(w *World) {
		w.Connect(3 * time.Second)
		w.Run(time.Second)
		w.Gateway.Drain(w.Second)
		w.Run(3 * time.Minute)
	}, judge: func(t *testing.T, w *World) { served(t, w, w.Second) }, full: true},
	{name: "each sends to the other", seeds: 4, options: harsh.with(func(o *Options) { o.Pair = true }), tell: func(w *World) {
		up(w)
		w.Gateway.Drain(w.Second)
		w.Second.Drain(w.Gateway)
		w.Run(10 * time.Minute)
		w.Gateway.Drain(nil)
		w.Second.Drain(nil)
	}, full: true},
	{name: "a gateway is gone for good", seeds: 2, options: small.with(func(o *Options) { o.Pair = true }), tell: func(w *World) {
		up(w)
		w.Gateway.Stop()
		w.Run(10 * time.Minute)
	}, judge: func(t *testing.T, w *World) {
		served(t, w, w.Second)
		all(t, w, "resumed", w.Resumes())
	}},
}

var thefts = []scenario{
	{name: "clients start again", seeds: 4, options: harsh, tell: func(w *World) {
		up(w)
		for range 3 {
			for _, h := range w.Hosts {
				h.Crash(w.within(10 * time.Second))
			}
			w.Run(time.Minute)
		}
	}},
	{name: "clients start again with nothing", seeds: 4, options: harsh, full: true, tell: func(w *World) {
		up(w)
		for _, h := range w.Hosts {
			h.LoseJar()
			h.Crash(w.within(10 * time.Second))
		}
		w.Run(2 * time.Minute)
	}, judge: func(t *testing.T, w *World) {
		if w.Fulls() < 2*len(w.Clients) {
			t.Errorf("%d full handshakes of %d clients", w.Fulls(), len(w.Clients))
		}
	}},
	{name: "old jars", seeds: 4, options: harsh, full: true, tell: func(w *World) { // a spent ticket is shown again
		up(w)
		var restore []func()
		for _, h := range w.Hosts {
			restore = append(restore, h.Jar())
		}
		for range 2 {
			w.Gateway.Crash(time.Second)
			w.Run(2 * time.Minute)
		}
		for i, h := range w.Hosts {
			h.Crash(time.Second)
			restore[i]()
		}
		w.Run(2 * time.Minute)
	}},
	{name: "deleted SAs", seeds: 4, options: harsh, full: true, tell: func(w *World) {
		up(w)
		var restore []func()
		for _, h := range w.Hosts {
			restore = append(restore, h.Jar())
		}
		for i, c := range w.Clients {
			if i%2 == 0 {
				c.Close()
			} else {
				w.Gateway.Delete(c)
			}
		}
		w.Run(w.within(100 * time.Millisecond))
		w.Gateway.Crash(time.Second)
		for i, h := range w.Hosts {
			h.Crash(time.Second)
			w.Run(time.Millisecond)
			restore[i]()
		}
		w.Connect(time.Second)
		w.Run(2 * time.Minute)
	}},
	{name: "keys are lost", seeds: 3, options: harsh, full: true, tell: func(w *World) {
		up(w)
		w.Gateway.NewKeys()
		w.Gateway.Crash(time.Second)
		w.Run(5 * time.Minute)
	}, judge: func(t *testing.T, w *World) {
		none(t, "resumes", w.Resumes())
		none(t, "tokens", w.Tokens())
	}},
	{name: "state older than the network remembers", seeds: 4, options: harsh, tell: func(w *World) {
		w.Run(time.Second)
		restore := w.Gateway.Backup()
		for range 3 {
			w.Gateway.Crash(time.Second)
			w.Run(2 * time.Second)
		}
		up(w) // SPIs of an epoch that the backup has not reached
		w.Gateway.Crash(time.Second)
		restore()
		w.Run(2 * time.Minute)
	}, judge: func(t *testing.T, w *World) {
		none(t, "tokens", w.Tokens())
		all(t, w, "by silence", w.Detected(ike.ByTimeout))
	}},
	{name: "state of another machine", seeds: 2, options: harsh, tell: func(w *World) {
		up(w)
		w.Gateway.Move()
		w.Gateway.Crash(time.Second)
		w.Run(2 * time.Minute)
	}, judge: func(t *testing.T, w *World) {
		none(t, "tokens", w.Tokens())
		all(t, w, "by silence", w.Detected(ike.ByTimeout))
	}},
	{name: "liars", seeds: 4, options: small.with(func(o *Options) { o.Network = Network{Delay: 200 * time.Millisecond, Double: 0.1, Liar: true} }), tell: func(w *World) {
		up(w)
		for range 3 {
			w.Gateway.Crash(time.Second)
			w.Run(2 * time.Minute)
		}
	}},
	{name: "forgers", seeds: 5, options: harsh.with(func(o *Options) { o.Network.Forge = 0.2 }), full: true, tell: func(w *World) {
		up(w)
		for range 4 {
			w.Gateway.Crash(time.Second)
			w.Run(2 * time.Minute)
		}
	}},
}
