package interop

import (
	"regexp"
	"testing"
	"time"
)

// tally counts the SAs that a strongSwan gets in the place of others, by their
// SPIs, and who asks for them.
type tally struct {
	charon       *Charon
	at           int // what was said before is counted
	ike, child   map[string]bool
	ours, theirs int
}

var (
	heirSA  = regexp.MustCompile(`IKE_SA \w+\[(\d+)\] rekeyed between`)
	childSA = regexp.MustCompile(`CHILD_SA \w+\{\d+\} established with SPIs (\w{8})_i`)
	asked   = regexp.MustCompile(`(parsed|generating) CREATE_CHILD_SA request`)
)

// tally begins to count.
func (c *Charon) tally() *tally {
	return &tally{charon: c, at: c.Mark(), ike: map[string]bool{}, child: map[string]bool{}}
}

// rekeys is how many SAs were made until now.
func (r *tally) rekeys() int {
	for _, line := range r.charon.log.since(r.at) {
		r.at++
		if m := heirSA.FindStringSubmatch(line); m != nil {
			r.ike[m[1]] = true
		}
		if m := childSA.FindStringSubmatch(line); m != nil {
			r.child[m[1]] = true
		}
		switch m := asked.FindStringSubmatch(line); {
		case m == nil:
		case m[1] == "parsed":
			r.ours++
		default:
			r.theirs++
		}
	}
	return len(r.ike) + len(r.child)
}

// Two hundred rekeys, of IKE and Child SAs, by us, by strongSwan, and by both at
// once, with and without a key exchange of the Child SA: all the while a ping
// goes through each tunnel, and not one of it is lost.
func TestStrongSwanRekeyStorm(t *testing.T) {
	const (
		we      = "child_lifetime: 6s\nlifetime: 10s\n"
		it      = "rekey_time = 3s\nrand_time = 0\nover_time = 60s\n"
		itChild = "rekey_time = 2s\nrand_time = 0\nlife_time = 60s\n"
	)
	var profiles []profile
	add := func(who profile, esp ...string) {
		for _, esp := range esp {
			p := usual.carrying()
			p.esp, p.timers, p.more, p.swan, p.swanChild = esp, hasty, who.more, who.swan, who.swanChild
			profiles = append(profiles, p)
		}
	}
	const plain, own = "aes256gcm16", "aes256gcm16-x25519"
	add(profile{more: we}, plain, own)
	add(profile{swan: it, swanChild: itChild}, plain, own, plain)
	last := len(profiles)
	for _, c := range collisions {
		add(profile{more: c.lifetime}, own)
	}
	crowds := map[string]*crowd{"our gateway": swanCrowd(t, profiles), "our client": ourCrowd(t, profiles)}
	tallies := map[string]*tally{}
	var colliders []*collider
	for name, c := range crowds {
		tallies[name] = c.charon.tally()
		for i, what := range collisions {
			colliders = append(colliders, &collider{tunnel: c.tunnels[last+i], collision: what})
		}
	}
	const long = 3 * patience // lifetimes pass, and a round may have to be repeated
	if !within(t, long, func() bool {
		sum, over := 0, true
		for _, r := range tallies {
			sum += r.rekeys()
		}
		for _, x := range colliders {
			for _, each := range colliders {
				each.collide(t)
			}
			over = x.settle(t) && over
		}
		return sum >= 200 && over
	}) {
		t.Error("waited in vain for 200 rekeys, and enough at once")
	}
	for _, x := range colliders {
		if n := x.met(); n < x.rounds {
			t.Errorf("%s: %s have met %d times", x.tunnel.name, x.collision.name, n)
		}
	}
	for name, c := range crowds {
		r := tallies[name]
		t.Logf("%s: %d IKE SAs and %d Child SAs; we have asked %d times, strongSwan %d", name, len(r.ike), len(r.child), r.ours, r.theirs)
		if min(len(r.ike), len(r.child), r.ours, r.theirs) < 15 {
			t.Error("there were too few of one kind")
		}
		for _, x := range c.tunnels {
			x.Agreed(t)
			x.pulse.Beat(t, time.Now())
			if n := x.pulse.Missed(); n > 0 {
				t.Errorf("%s, %s: %d pings were not answered", name, x.name, n)
			}
			want := 1
			if x.among {
				want = len(c.tunnels)
			}
			if status, err := x.ours.Status(t); err != nil || int(status.Totals.Full) != want {
				t.Errorf("%s, %s: %d logins, want %d; %v", name, x.name, status.Totals.Full, want, err)
			}
		}
	}
}
