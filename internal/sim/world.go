// Package sim is a world in a test: a gateway of several shards, many clients,
// and between them a network that loses, doubles, delays, reorders and forges.
// Processes are killed and start again from what their disks kept; NATs forget;
// clocks leap. It drives the same ike.Endpoints as the program does, in time
// that only the world moves, so that a seed replays all of it.
//
// After every step the watch (watch.go) judges what may never happen; World.Rest
// judges what must be true once the network has healed (rest.go).
package sim

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Options are what a World is made of. Zero values mean one shard, one host,
// one client, a perfect network and real key agreement.
type Options struct {
	Seed     uint64
	Shards   int     // of the gateway
	Hosts    int     // client processes
	Tunnels  int     // clients in each of them
	NAT      bool    // every other host is behind a NAT of its own
	Fragment int     // largest IKE datagram of both ends in octets; 0: 1252
	Cheap    bool    // key agreement without curves: all pairs are one pair
	Network  Network // at the beginning
	Workers  int     // key agreements that the gateway's shards admit at once; 0: as the program

	NoTokens   bool          // nobody makes or shows QCD tokens
	NoRollCall bool          // no table is written
	Pair       bool          // two gateways that share their secrets
	Traffic    time.Duration // each client sends ESP about that often; 0: never
	MOBIKE     bool          // both ends move (RFC 4555)
	Login      time.Duration // how long a login holds (RFC 4478); 0: for ever
	Keys       time.Duration // how long an IKE SA's are used, a Child SA's a quarter of it; 0: for ever
	OnDemand   bool          // silence counts after traffic only
}

// World is the whole of it. It is not for concurrent use.
type World struct {
	Network Network
	Gateway *Gateway
	Second  *Gateway // nil: there is one
	Hosts   []*Host
	Clients []*Client

	gateways []*Gateway
	options  Options
	now      time.Time
	dice     *rand.Rand // the network's and the disks'
	secret   io.Reader  // the machines'
	agenda   agenda
	order    uint64
	watch    *watch
	natted   map[natKey]*Host // who has which public address and port
	cheap    cheapGroup

	message, agreement time.Duration // what they cost a gateway (line.go)

	fault error
}

// New builds a world in which nobody has connected yet.
func New(o Options) *World {
	o.Shards, o.Hosts, o.Tunnels = max(o.Shards, 1), max(o.Hosts, 1), max(o.Tunnels, 1)
	w := &World{
		Network: o.Network, options: o, now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC),
		dice: rand.New(rand.NewPCG(o.Seed, 1)), natted: map[natKey]*Host{},
	}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(o.Seed >> (8 * i))
	}
	w.secret = rand.NewChaCha8(key)
	w.watch = newWatch(w)
	w.Gateway = newGateway(w, gatewayAddr)
	if o.Pair {
		w.Second = newGateway(w, secondAddr)
	}
	for i := range o.Hosts {
		w.Hosts = append(w.Hosts, newHost(w, i))
	}
	for _, g := range w.gateways {
		g.start()
	}
	w.Gateway.keepHouse()
	for _, h := range w.Hosts {
		h.start()
	}
	return w
}

// Now is the world's time.
func (w *World) Now() time.Time { return w.now }

// Dice is the world's own chance, for scenarios: it repeats with the seed.
func (w *World) Dice() *rand.Rand { return w.dice }

// Err is the first thing that may never happen and did, or nil. A world with a
// fault stands still.
func (w *World) Err() error { return w.fault }

// fail stops the world.
func (w *World) fail(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf("seed %d, %v: %s", w.options.Seed, w.now.Sub(w.Gateway.first), fmt.Sprintf(format, args...))
	}
}

// Connect lets every client that is not connected begin, spread over d.
func (w *World) Connect(d time.Duration) {
	for _, c := range w.Clients {
		if !c.wanted {
			c.wanted = true
			w.after(w.within(d), c.Begin)
		}
	}
}

// Slow makes each shard of a gateway need so long for a message that it answers
// and, beside that, for each key agreement. Zero is no time at all.
func (w *World) Slow(message, agree time.Duration) { w.message, w.agreement = message, agree }

// Run lets time pass. It returns early when there is a fault.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	for w.fault == nil {
		at, ok := w.next()
		if !ok || at.After(end) {
			break
		}
		w.now = later(at, w.now)
		w.step()
	}
	if w.fault == nil {
		w.now = end
	}
}

// next is when something happens.
func (w *World) next() (at time.Time, ok bool) {
	if len(w.agenda) > 0 {
		at, ok = w.agenda[0].at, true
	}
	for _, m := range w.machines() {
		if d, due := m.deadline(); due && (!ok || d.Before(at)) {
			at, ok = d, true
		}
	}
	return at, ok
}

// step does one thing that is due.
func (w *World) step() {
	if len(w.agenda) > 0 && !w.agenda[0].at.After(w.now) {
		heap.Pop(&w.agenda).(item).do()
	} else {
		for _, m := range w.machines() {
			if d, due := m.deadline(); due && !d.After(w.now) {
				m.advance()
				break
			}
		}
	}
	w.watch.check()
}

// gatewayAt is the gateway of an address, or nil.
func (w *World) gatewayAt(a netip.Addr) *Gateway {
	for _, g := range w.gateways {
		if g.addr == a {
			return g
		}
	}
	return nil
}

func (w *World) machines() []*machine { return w.watch.machines }

// after plans something. What a process planned for itself goes through
// machine.after, which forgets it when the process dies.
func (w *World) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.agenda, item{w.now.Add(d), w.order, do})
}

// within is a random time from 0 to d.
func (w *World) within(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.dice.Int64N(int64(d)))
}

// chance happens with probability p.
func (w *World) chance(p float64) bool { return p > 0 && w.dice.Float64() < p }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// item is one thing that will happen. What was planned first happens first.
type item struct {
	at    time.Time
	order uint64
	do    func()
}

type agenda []item

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at.Before(a[j].at) || a[i].at.Equal(a[j].at) && a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(item)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = item{}
	*a = old[:len(old)-1]
	return x
}
