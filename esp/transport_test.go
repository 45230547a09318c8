package esp

import (
	"bytes"
	"testing"
)

// RFC 4303 3.1.1: in transport mode a packet carries what stood behind an IP
// header, whatever its protocol, and of any length.
func TestRFC4303_3_1_1_Transport(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		o, i := pair(t, suite, esn)
		for next := range 256 {
			payload := bytes.Repeat([]byte{byte(next)}, next)
			got, n, seq, err := i.OpenTransport(nil, seal(t, o, payload, uint8(next)))
			switch {
			case next == NextDummy:
				if err != ErrDummy || got != nil || seq != o.Sequence() {
					t.Errorf("a dummy: %x, %v", got, err)
				}
			case err != nil || int(n) != next || !bytes.Equal(got, payload) || seq != o.Sequence():
				t.Errorf("protocol %d: %x, next %d, packet %d, %v", next, got, n, seq, err)
			}
		}
		again := seal(t, o, []byte("once"), 17)
		if _, _, _, err := i.OpenTransport(nil, again); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := i.OpenTransport(nil, again); err != ErrReplay {
			t.Errorf("a replay: %v", err)
		}
		again[len(again)-1] ^= 1
		again[7]++
		if _, _, _, err := i.OpenTransport(nil, again); err != ErrICV {
			t.Errorf("a forged packet: %v", err)
		}
	})
}
