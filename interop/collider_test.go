package interop

import (
	"regexp"
	"testing"
)

// collision is what one of us rekeys while the other does.
type collision struct {
	name     string
	lifetime string // makes us rekey: none when another does
	rekey    string // makes strongSwan rekey
	end      string // what strongSwan says of it
	rounds   int    // who was told to try again later does so, and disturbs a second one
}

// collisions are all there are: RFC 7296 2.8.1, 2.8.2 and 2.25.
var collisions = []collision{
	{"IKE SA and IKE SA", "lifetime: 12s\n", "--ike", `detected IKE_REKEY collision with IKE_REKEY`, 2},
	{"Child SA and Child SA", "child_lifetime: 18s\n", "--child", `detected CHILD_REKEY collision with CHILD_REKEY`, 2},
	{"our IKE SA and its Child SA", "lifetime: 16s\n", "--child", `(generating|parsed) CREATE_CHILD_SA response \d+ \[ N\(TEMP_FAIL\) \]`, 1},
	{"our Child SA and its IKE SA", "child_lifetime: 26s\n", "--ike", `(generating|parsed) CREATE_CHILD_SA response \d+ \[ N\(TEMP_FAIL\) \]`, 1},
}

// collider has strongSwan rekey, round after round, when our request for a rekey
// is on its way, which it does not hear before it has sent its own.
type collider struct {
	*tunnel
	collision
	done   int         // rounds in which they met
	before SA          // the round
	mark   int         // when strongSwan was told to rekey
	missed func() bool // strongSwan is deaf, and there was our request; nil: it hears
	hear   func()
}

// settle begins another round when the last one is over, and reports whether
// there is none to come.
func (x *collider) settle(t *testing.T) (over bool) {
	t.Helper()
	if x.done == x.rounds || x.missed != nil {
		return x.done == x.rounds
	}
	now, agreed := x.sa(t) // both have come to the same other SAs
	if !agreed || now.SPIi == x.before.SPIi && now.ChildIn == x.before.ChildIn {
		return false
	}
	if now.SPIi == x.before.SPIi && !x.charon.Said(x.mark, x.prefix()+`parsed CREATE_CHILD_SA response`) {
		return false // on this IKE SA it asks again: our answer has met its deaf ears
	}
	if x.before.SPIi != "" && x.met() > x.done { // else its request was answered before it had heard ours: once more
		x.done++
	}
	if x.before = now; x.done < x.rounds {
		x.missed, x.hear = x.charon.node.DeafenTo(t, now.SPIi)
		if still, agreed := x.sa(t); !agreed || still.SPIi != now.SPIi || still.ChildIn != now.ChildIn { // it was rekeyed meanwhile
			x.hear()
			x.missed, x.before = nil, SA{}
		}
	}
	return false
}

// collide has strongSwan rekey as soon as we have asked for ours, and then hear.
// What we rekey ends soon: there is no time to lose.
func (x *collider) collide(t *testing.T) {
	t.Helper()
	if x.missed == nil || !x.missed() {
		return
	}
	x.mark = x.charon.Mark()
	if out, err := x.charon.Swanctl(t, "--rekey", x.rekey, x.tunnel.name); err != nil {
		t.Errorf("strongSwan's rekey: %v\n%s", err, out)
	}
	x.charon.Await(t, x.mark, x.prefix()+`generating CREATE_CHILD_SA request`)
	x.hear()
	x.missed = nil
}

// prefix is how strongSwan begins what it says of the member.
func (x *collider) prefix() string { return `<` + x.tunnel.name + `\|\d+> ` }

// met is how often strongSwan noticed.
func (x *collider) met() (times int) {
	said := regexp.MustCompile(x.prefix() + x.collision.end)
	for _, line := range x.charon.log.since(0) {
		if said.MatchString(line) {
			times++
		}
	}
	return times
}
