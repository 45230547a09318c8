package sim

import (
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"blackswan/ike"
)

// TestStorm is the day that the program is built for: a thousand clients, a
// crash on a rough road, a second one when about half of them are back, and
// everybody comes back without a password.
func TestStorm(t *testing.T) {
	t.Parallel()
	o := Options{Seed: max(*seed, 1), Shards: 4, Hosts: 10, Tunnels: 100, NAT: true, Cheap: true, Network: rough}
	w := New(o)
	w.Connect(20 * time.Second)
	w.Run(50 * time.Second)
	w.Gateway.Crash(time.Second)
	for w.Err() == nil && w.Resumes() < len(w.Clients)/2 {
		w.Run(10 * time.Millisecond)
	}
	w.Gateway.Crash(time.Second)
	if err := w.Rest(5 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if w.Fulls() != len(w.Clients) || w.Fallbacks() != 0 || w.Resumes() < 3*len(w.Clients)/2 {
		t.Errorf("%d clients: %d full handshakes, %d fallbacks, %d resumes", len(w.Clients), w.Fulls(), w.Fallbacks(), w.Resumes())
	}
	if n := w.Detected(ike.ByTimeout); n > 0 {
		t.Errorf("%d clients learned by silence alone", n)
	}
}

// A client that began anew has no other SA: every shard hears of it at once
// (RFC 7296 2.4).
func TestInitialContactReachesAllShards(t *testing.T) {
	t.Parallel()
	w := New(Options{Seed: max(*seed, 1), Shards: 4, Hosts: 2, Tunnels: 20, Cheap: true})
	w.Connect(time.Second)
	w.Run(40 * time.Second) // between two liveness checks, which would find out too
	for _, h := range w.Hosts {
		h.LoseJar()
		h.Crash(time.Second)
	}
	w.Run(5 * time.Second)
	if n := w.Gateway.SAs(); n != len(w.Clients) || w.Fulls() != 2*n || w.Err() != nil {
		t.Errorf("%d SAs of %d clients after %d full handshakes (%v)", n, len(w.Clients), w.Fulls(), w.Err())
	}
}

// The same seed tells the same story to the octet, or a fault could not be looked
// into.
func TestSeedReplays(t *testing.T) {
	t.Parallel()
	story := func() (n [7]int) {
		said := fnv.New64a()
		w := New(harsh.with(func(o *Options) {
			o.Seed, o.Network.Forge = 7, 0.1
			o.Network.Lose = func(toGateway bool, p ike.Packet) bool {
				fmt.Fprintf(said, "%v %v %v %x\n", toGateway, p.Local, p.Remote, p.Data)
				return false
			}
		}))
		crash(w)
		return [7]int{w.Fulls(), w.Resumes(), w.Tokens(), w.Detected(ike.ByRollCall), int(w.order), int(w.Dice().Uint32()), int(said.Sum64())}
	}
	if a, b := story(), story(); a != b {
		t.Errorf("%v, then %v", a, b)
	}
}
