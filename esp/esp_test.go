package esp

import "testing"

// TestRoundTrip: what one half seals the other opens, whatever its length.
func TestRoundTrip(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		o, i := pair(t, suite, esn)
		for n := ipv6HeaderLen; n < 200; n++ {
			receives(t, i, seal(t, o, ipv4(n), NextIPv4), ipv4(n), NextIPv4, o.Sequence())
			receives(t, i, seal(t, o, ipv6(n), NextIPv6), ipv6(n), NextIPv6, o.Sequence())
		}
	})
}
