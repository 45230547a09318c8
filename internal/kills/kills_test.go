// Package kills is a test: a gateway process that dies at any moment forgets
// nothing that it promised (rule F6). The real program is killed and started
// again on one state directory, while clients connect, resume and delete.
package kills

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	killsFlag   = flag.Int("kills", 200, "how often the gateway is killed")
	clientsFlag = flag.Int("clients", 50, "how many clients it has meanwhile, at most 250")
	seedFlag    = flag.Uint64("seed", 0, "of the random moments; 0: another one each time")
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "blackswan-kills-")
	if err == nil {
		err = build(filepath.Join(dir, "blackswan"))
	}
	end := func(code int) {
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	if err != nil {
		end(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(end))
}

// rotateEvery so many kills the keys are turned, a moment before the next.
const rotateEvery = 50

// TestRuleF6_Kills: after each kill the disk has every key, secret and
// revocation of before, and a later epoch; the tickets of deleted SAs stay
// dead; in the end every client has one SA, on which both sides agree, and none
// had to log in anew because of a kill.
func TestRuleF6_Kills(t *testing.T) {
	kills := *killsFlag
	if testing.Short() {
		kills = min(kills, 20)
	}
	random := seeded(t)
	s := newSite(t)
	var m memory
	c := newCrowd(t, s, *clientsFlag, random.Uint64())
	for n := range kills {
		g := s.start(t)
		early := random.IntN(5) == 0 // while it starts, more or less
		if !early {
			g.listens(t)
			c.stolen.show(t, s, random)
			if n%rotateEvery == rotateEvery-1 {
				s.run(t, nil, "keys", "rotate")
				m.rotated = true
			}
		}
		pause(t, span(random, early))
		g.kill(t)
		m.survived(t, s.dir, !early)
	}
	g := s.start(t)
	g.listens(t)
	c.agree(t, s)
	c.control(t, s)
	c.leave()
	s.nobodyLeft(t)
	g.kill(t)
	m.survived(t, s.dir, true)
	g = s.start(t)
	g.listens(t)
	c.stolen.showAll(t, s)
	g.kill(t)
	m.survived(t, s.dir, true)
	c.report(t)
	cutStore(t, s, &m, random)
}

// span is how long a gateway lives: after its start or, not early, after it
// was seen to listen.
func span(random *rand.Rand, early bool) time.Duration {
	if early {
		return time.Duration(random.IntN(60)) * time.Millisecond
	}
	return time.Duration(40+random.IntN(120)) * time.Millisecond
}

func seeded(t *testing.T) *rand.Rand {
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test ./internal/kills -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// pause waits, but not beyond the end of the test.
func pause(t *testing.T, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// until asks again and again whether what was waited for is there; the answer
// "" is yes. After half a minute it tells the last answer.
func until(t *testing.T, ask func() string) {
	t.Helper()
	late := time.Now().Add(30 * time.Second)
	for {
		answer := ask()
		if answer == "" {
			return
		}
		if time.Now().After(late) {
			t.Fatal(answer)
		}
		pause(t, 200*time.Millisecond)
	}
}
