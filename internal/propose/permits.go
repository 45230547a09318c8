package propose

import (
	"slices"

	"blackswan/internal/suite"
)

// Permits reports whether s is one of the choices that list offers: a ticket's
// algorithms must still be allowed when it is shown (RFC 5723 5), and those
// chosen before the peer was known must be allowed for it.
func Permits(list []IKE, s suite.Suite) bool {
	return slices.ContainsFunc(list, func(p IKE) bool {
		return slices.Contains(p.Encr, Alg{s.Encr, s.KeyBits}) && (s.AEAD() || slices.Contains(p.Integ, s.Integ)) &&
			slices.Contains(p.PRF, s.PRF) && slices.Contains(p.KE, s.KE)
	})
}
