package tunnel

import (
	"bytes"
	"testing"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
)

func TestPlane(t *testing.T) {
	planetest.Run(t, func(t *testing.T) dataplane.Plane {
		p, err := New(Config{Device: newDevice()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
}

func TestThrough(t *testing.T) {
	client, gateway := pair(t, Config{})
	want := udp4("10.1.0.1", "10.2.0.1", 1000, 2000, 100)
	client.inside(want)
	gateway.deliver(client.took(), client.udp.local)
	if got := <-gateway.device.out; !bytes.Equal(got, want) {
		t.Errorf("%x came out, %x went in", got, want)
	}
}
