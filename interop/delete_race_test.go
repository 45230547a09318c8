package interop

import (
	"strings"
	"sync"
	"testing"
)

// settled waits until both ends have the same IKE SA with the same Child SA or
// none, or no SA at all, and reports whether there is one.
func (x *tunnel) settled(t *testing.T) (there bool) {
	t.Helper()
	until(t, "both ends to have the same", func() bool {
		status, err := x.ours.Status(t)
		if err != nil {
			t.Fatal(err)
		}
		if len(status.SAs) == 0 && len(x.charon.SAs(t)) == 0 {
			there = false
			return true
		}
		_, there = x.sa(t)
		return there
	})
	return there
}

// Whatever strongSwan does with an SA in the moment in which we delete it,
// nothing is left of it at either end, and the next connection works
// (RFC 7296 1.4.1, 2.25).
func TestStrongSwanDeleteRaces(t *testing.T) {
	f := meetSwan(t)
	const rounds = 10
	deeds := []string{"--terminate --ike", "--rekey --ike", "--terminate --child", "--rekey --child"}
	does := func(t *testing.T, deed string) {
		// What is gone before it begins is no error here.
		_, _ = f.charon.Swanctl(t, append(strings.Fields(deed), "office")...)
	}
	p := usual.carrying()
	p.timers = hasty
	for _, deed := range deeds {
		t.Run("our gateway deletes, and its client does "+deed, func(t *testing.T) {
			ours, _ := f.swanDials(t, f.charon, p)
			x := &tunnel{charon: f.charon, ours: ours, name: "office"}
			for range rounds {
				spi := x.Agreed(t).SPIr
				var race sync.WaitGroup
				race.Go(func() { does(t, deed) })
				race.Go(func() { _, _ = f.gateway.Run(t, nil, ours.about("delete", spi)...) })
				race.Wait()
				if x.settled(t) { // its rekey came first: that SA was not there any more
					terminate(t, f.charon, "--ike", "office")
					ours.AwaitNone(t)
					f.charon.AwaitNone(t)
				}
				if out, err := f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err != nil {
					t.Fatalf("strongSwan's initiate: %v\n%s", err, out)
				}
			}
			ours.AwaitTunnel(t, ourGatewayInner)
			f.gateway.Ping(t, ourGatewayInner[0], swanClientInner[0])
		})
		t.Run("our client leaves, and its gateway does "+deed, func(t *testing.T) {
			p.swanGateway(t, f.charon)
			for range rounds {
				ours := f.client.Connect(t, p.ourClient(f.swan), nil)
				ours.AwaitUp(t)
				f.charon.AwaitUp(t, "office")
				var race sync.WaitGroup
				race.Go(func() { does(t, deed) })
				race.Go(ours.Interrupt)
				race.Wait()
				f.charon.AwaitNone(t)
			}
		})
	}
}

// strongSwan deletes what we are rekeying: its DELETE comes when our request is
// on its way (RFC 7296 2.25.1, 2.25.2).
func TestStrongSwanDeletesWhatWeRekey(t *testing.T) {
	f := meetSwan(t)
	for _, c := range []struct{ name, lifetime, deed string }{
		{"our Child SA, its DELETE of it", "child_lifetime: 6s\n", "--child"},
		{"our Child SA, its DELETE of the IKE SA", "child_lifetime: 6s\n", "--ike"},
		{"our IKE SA, its DELETE of it", "lifetime: 6s\n", "--ike"},
		{"our IKE SA, its DELETE of the Child SA", "lifetime: 6s\n", "--child"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := usual.carrying()
			p.timers, p.more = hasty, c.lifetime
			ours, _ := f.swanDials(t, f.charon, p)
			x := &tunnel{charon: f.charon, ours: ours, name: "office"}
			missed, hear := f.swan.DeafenTo(t, x.Agreed(t).SPIi)
			until(t, "our rekey", missed)
			mark := f.charon.Mark()
			var deleted sync.WaitGroup
			deleted.Go(func() { _, _ = f.charon.Swanctl(t, "--terminate", c.deed, "office", "--timeout", "20") })
			f.charon.Await(t, mark, `generating INFORMATIONAL request \d+ \[ D \]`)
			hear()
			deleted.Wait()
			if there := x.settled(t); there != (c.deed == "--child") {
				t.Errorf("there is an IKE SA at both ends: %v", there)
			}
			if out, err := f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err != nil {
				t.Fatalf("strongSwan's initiate: %v\n%s", err, out)
			}
			ours.AwaitTunnel(t, ourGatewayInner)
			f.gateway.Ping(t, ourGatewayInner[0], swanClientInner[0])
		})
	}
}
