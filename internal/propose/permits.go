package propose

import (
	"slices"

	"blackswan/internal/suite"
	"blackswan/wire"
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

// PermitsESP reports whether e is one of the choices that list offers. Keys that
// come from the IKE SA, or from a key exchange that is not asked for, are as good.
func PermitsESP(list []ESP, e ESPSuite) bool {
	esn := wire.ESNNo
	if e.ESN {
		esn = wire.ESNYes
	}
	aead := suite.Suite{Encr: e.Encr}.AEAD()
	return slices.ContainsFunc(list, func(p ESP) bool {
		return slices.Contains(p.Encr, Alg{e.Encr, e.KeyBits}) && (aead || slices.Contains(p.Integ, e.Integ)) &&
			slices.Contains(p.ESN, esn) && (e.KE == wire.KENone || len(p.KE) == 0 || slices.Contains(p.KE, e.KE))
	})
}
