package tunnel

import (
	"bytes"
	"maps"
	"testing"
	"testing/synctest"

	"blackswan/dataplane/planetest"
	"blackswan/wire"
)

// Rule E9: on a client packets wait for their Child SA, in order, the oldest go
// first when there are too many, and none leaves in clear.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := newEnd(t, Config{Wait: 1000}, clientAt), newEnd(t, Config{}, gatewayAt)
		c, other := planetest.Child(spi), planetest.Child(spi+1)
		other.RemoteTS = []wire.Selector{sel("10.3.0.0/16")}
		gateway.install(mirror(c))
		gateway.install(mirror(other))

		var want [][]byte
		for i := range 12 { // of 100 octets: two are too many
			want = append(want, udp4(a4, "10.2.0.1", 1, uint16(i), 72))
		}
		want[5] = udp4(a4, "10.3.0.1", 1, 5, 72)
		client.inside(want[:3]...)
		client.inside(want[3:]...)
		if len(client.sent()) != 0 {
			t.Fatal("something was sent without a Child SA")
		}
		client.install(c)
		client.inside(udp4(a4, "10.2.0.1", 1, 99, 72))
		want = append(want, udp4(a4, "10.2.0.1", 1, 99, 72))
		var got [][]byte
		for _, s := range client.sent() {
			gateway.from(clientUDP, s.packets...)
			got = append(got, gateway.took()...)
		}
		late := want[5]
		want = append(want[2:5:5], want[6:]...)
		if !equal(got, want) {
			t.Errorf("%d packets arrived, not the %d in order", len(got), len(want))
		}
		client.install(other)
		gateway.from(clientUDP, client.packet())
		if got := gateway.took(); !equal(got, [][]byte{late}) {
			t.Errorf("%x waited for the second Child SA", got)
		}
		if got := client.dropped(); !maps.Equal(got, map[string]uint64{"wait_overflow": 2}) {
			t.Errorf("dropped %v, want the two oldest", got)
		}
		if err := client.Remove(spi); err != nil {
			t.Fatal(err)
		}
		client.inside(want[0])
		if w := &client.sender.wait; len(w.line) != 1 || w.octets != 100 || len(client.sent()) != 0 {
			t.Errorf("when the Child SA is gone: %d wait, of %d octets", len(w.line), w.octets)
		}
		client.inside(udp4(a4, "10.2.0.1", 1, 1, 1000)) // longer than all that may wait
		if got := client.dropped()["no_child_sa"]; got != 1 {
			t.Errorf("%d too long to wait, want 1", got)
		}
	})
}

// What has waited leaves before what comes, even if the device is quicker than
// who installs.
func TestWaitingGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := newEnd(t, Config{Wait: 1000}, clientAt), newEnd(t, Config{}, gatewayAt)
		c := planetest.Child(spi)
		gateway.install(mirror(c))
		first, second := udp4(a4, b4, 1, 1, 72), udp4(a4, b4, 1, 2, 72)
		client.inside(first)
		k, err := newChild(&c, defaultWindow)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Plane.install(k, &c); err != nil { // and no more of Install yet
			t.Fatal(err)
		}
		client.inside(second)
		for _, s := range client.sent() {
			gateway.from(clientUDP, s.packets...)
		}
		if got := gateway.took(); !equal(got, [][]byte{first, second}) {
			t.Errorf("%x arrived, want both in order", got)
		}
	})
}

// A gateway drops what fits no Child SA.
func TestNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gateway := newEnd(t, Config{}, gatewayAt)
		gateway.inside(udp4(b4, a4, 1, 2, 3))
		gateway.install(mirror(planetest.Child(spi)))
		if n := gateway.dropped()["no_child_sa"]; n != 1 || len(gateway.sent()) != 0 {
			t.Errorf("%d dropped, want 1 and nothing sent", n)
		}
	})
}

func equal(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, nil), bytes.Join(b, nil)) && len(a) == len(b)
}
