package tunnel

import (
	"testing"
	"testing/synctest"
	"time"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/esp"
	"blackswan/wire"
)

// RFC 7296 1.4.1: nothing leaves by a Child SA that was retired, not even if the
// other one still waits to be used, and what comes in is taken for a moment.
func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pair(t, Config{})
		next := mirror(planetest.Child(spi + 1))
		next.Waits = true
		gateway.install(next)
		early := [3][]byte{}
		for i := range early {
			client.inside(udp4(a4, b4, 1, uint16(i), 3))
			early[i] = client.packet()
		}
		if err := gateway.Retire(spi ^ 0xffff); err != nil {
			t.Fatal(err)
		}
		took := func(packet []byte) int {
			gateway.from(clientUDP, packet)
			return len(gateway.took())
		}
		if took(early[0]) != 1 || took(early[0]) != 0 {
			t.Error("what was on its way is not taken, or taken twice")
		}
		gateway.inside(udp4(b4, a4, 2, 1, 3))
		if got, _, _ := esp.ParseSPI(gateway.packet()); got != spi+1 {
			t.Errorf("sent by %08x", got)
		}
		time.Sleep(dataplane.Linger - time.Millisecond)
		if took(early[1]) != 1 {
			t.Error("what came a little later is not taken")
		}
		gateway.seen()
		time.Sleep(2 * time.Millisecond)
		if took(early[2]) != 0 || gateway.kinds() != "unknown" {
			t.Error("it takes packets for ever")
		}
	})
}

// One that nothing of its peer has replaced takes no more: the peer is gone.
func TestRetiredAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pair(t, Config{})
		elsewhere, another := mirror(planetest.Child(spi+1)), mirror(planetest.Child(spi+2))
		elsewhere.RemoteTS = []wire.Selector{sel("10.3.0.0/16")}
		another.Connection = "of somebody else"
		gateway.install(elsewhere)
		gateway.install(another)
		client.inside(udp4(a4, b4, 1, 2, 3))
		if err := gateway.Retire(spi ^ 0xffff); err != nil {
			t.Fatal(err)
		}
		gateway.from(clientUDP, client.packet())
		if n := len(gateway.took()); n != 0 || gateway.kinds() != "unknown" {
			t.Errorf("%d packets taken after the end", n)
		}
	})
}

// An SPI that was retired may be installed again, and stays then; nobody keeps the
// NAT mapping of one that was retired.
func TestRetiredAndInstalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newEnd(t, Config{}, clientAt)
		client.install(planetest.Child(spi + 1)) // it replaces what is retired
		c := planetest.Child(spi)
		c.Behind = true
		for range 2 {
			client.install(c)
			if err := client.Retire(spi); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if n := len(client.sent()); n != 0 || len(client.children) != 1 {
			t.Errorf("%d keepalives, and %d Child SAs are there", n, len(client.children))
		}
		client.install(c)
		if err := client.Retire(spi); err != nil {
			t.Fatal(err)
		}
		client.install(c)
		time.Sleep(2 * dataplane.Linger)
		if _, err := client.Traffic(spi); err != nil {
			t.Errorf("the end of the first is that of the second: %v", err)
		}
	})
}

// What lingers goes with the last of its owner that stands in its place: a peer that
// was sent away sends nothing more inside, and its address is free for another one
// (rule F5).
func TestRetiredEndsWithItsSuccessor(t *testing.T) {
	first, second := sel("10.1.0.0/24"), sel("10.1.1.0/24")
	for _, row := range []struct {
		name  string
		next  [][]wire.Selector // what its successors reach, all of which end but the last
		ends  func(e *end, spi uint32) error
		takes bool
	}{
		{"removed", [][]wire.Selector{{first, second}, {}}, (*end).Remove, false},
		{"retired", [][]wire.Selector{{first, second}, {}}, (*end).Retire, false},
		{"another one is there", [][]wire.Selector{{first, second}, {second, first}}, (*end).Remove, true},
		{"another one is there for the one that was retired", [][]wire.Selector{{first, second}, {second, first}}, (*end).Retire, true},
		{"a wider one is there", [][]wire.Selector{{first, second}, {sel("10.1.0.0/16")}}, (*end).Remove, true},
		{"each stands in a part of its place", [][]wire.Selector{{second}, {first}}, (*end).Remove, false},
		{"the other one reaches a part of it", [][]wire.Selector{{first, second}, {first}}, (*end).Remove, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := planetest.Child(spi)
				c.Peer, c.LocalTS = 1, []wire.Selector{first, second}
				client, gateway := pairOf(t, Config{}, c)
				in := func(n int) uint32 { return (spi + 1 + uint32(n)) ^ 0xffff }
				for n, ts := range row.next {
					if next := mirror(planetest.Child(in(n) ^ 0xffff)); len(ts) > 0 {
						next.Peer, next.RemoteTS = 1, ts
						gateway.install(next)
					}
				}
				took := func() int {
					client.inside(udp4(a4, b4, 1, 2, 3))
					gateway.from(clientUDP, client.packet())
					return len(gateway.took())
				}
				if err := gateway.Retire(spi ^ 0xffff); err != nil || took() != 1 {
					t.Fatalf("nothing is taken while a successor stands: %v", err)
				}
				if err := row.ends(gateway, in(0)); err != nil {
					t.Fatal(err)
				}
				if got := took() == 1; got != row.takes {
					t.Errorf("taken: %v", got)
				}
				time.Sleep(2 * dataplane.Linger) // the timer of one that has gone does nothing
				if took() != 0 || len(gateway.retired) != 0 {
					t.Errorf("%d owners have some that linger for ever", len(gateway.retired))
				}
			})
		})
	}
}

// A peer that ends one Child SA after the other makes the plane keep few of them.
func TestFewOfAnOwnerLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newEnd(t, Config{}, clientAt)
		client.install(planetest.Child(spi))
		for n := range uint32(2 * mostRetired) {
			client.install(planetest.Child(spi + 1 + n))
			if err := client.Retire(spi + 1 + n); err != nil {
				t.Fatal(err)
			}
		}
		if len(client.children) != 1+mostRetired || client.children[spi+1] != nil || client.children[spi+2*mostRetired] == nil {
			t.Errorf("%d Child SAs are there, want the last %d", len(client.children), 1+mostRetired)
		}
		if err := client.Remove(spi); err != nil || len(client.children) != 0 {
			t.Errorf("%d Child SAs are there without what has replaced them: %v", len(client.children), err)
		}
	})
}
