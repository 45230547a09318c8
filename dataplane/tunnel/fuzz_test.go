package tunnel

import (
	"bytes"
	"testing"

	"blackswan/dataplane/planetest"
	"blackswan/esp"
	"blackswan/internal/udp"
)

// receiverOf is a receiver of a plane with the gateway's end of a Child SA.
func receiverOf(t testing.TB) *receiver {
	p, err := New(Config{Device: newDevice()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.Install(mirror(planetest.Child(spi))); err != nil {
		t.Fatal(err)
	}
	return newReceiver(p)
}

// FuzzStranger: who has no keys brings nothing in and changes nothing.
func FuzzStranger(f *testing.F) {
	r := receiverOf(f)
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		r.run(&udp.Run{Data: data, Size: max(int(size), 1)})
		if n, _ := r.p.Totals(); len(r.batch) != 0 || n.InPackets != 0 {
			t.Fatal("a stranger's packet went to the inside")
		}
		for _, c := range r.p.children {
			if c.in.sa.Highest() != 0 {
				t.Fatal("the window moved")
			}
		}
	})
}

// FuzzPeer: whatever the peer seals, only whole IP packets of the selectors
// go to the inside.
func FuzzPeer(f *testing.F) {
	r := receiverOf(f)
	c := planetest.Child(spi)
	out, err := esp.NewOut(c.SPIOut, esp.AESGCM16, c.EncrOut, nil, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte, next, class uint8) {
		if len(payload) > 9000 {
			return
		}
		buf := make([]byte, headroom+len(payload)+tailroom)
		copy(buf[headroom:], payload)
		packet, err := out.Seal(buf, headroom, len(payload), next)
		if err != nil {
			t.Fatal(err)
		}
		r.batch = r.batch[:0]
		r.run(&udp.Run{Data: packet, Size: len(packet), Class: class})
		if len(r.batch) == 0 {
			return
		}
		b := r.batch[0][writeRoom:]
		var p inner
		if !p.parse(b) || p.size != len(b) {
			t.Fatalf("%x went to the inside", b)
		}
		about, isError := culprit(&p, b)
		local, remote := c.RemoteTS[0], c.LocalTS[0]
		own := within(&remote, p.src) && within(&local, p.dst)
		if !own && !(isError && within(&remote, about.src) && within(&local, about.dst)) {
			t.Fatalf("%v to %v went to the inside", p.src, p.dst)
		}
		if len(payload) < len(b) || !bytes.Equal(b[12:], payload[12:len(b)]) && p.protocol != protoTCP {
			t.Fatal("more than the traffic class changed")
		}
	})
}
