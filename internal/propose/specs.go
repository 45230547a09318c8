package propose

import (
	"blackswan/internal/suite"
	"blackswan/wire"
)

// maxList is how many entries of a list are offered: each makes at most two
// proposals, and their numbers have one octet.
const maxList = 127

// Specs returns the proposals of an SA payload that offers list, numbered from
// 1. spi is empty in IKE_SA_INIT and our 8 octets in a rekey; it is not copied.
// Of a list of more than 127 entries the first 127 are offered.
func Specs(list []IKE, spi []byte) []wire.ProposalSpec {
	return specs(list, useIKE, spi)
}

// SpecsESP is Specs for the Child SA of IKE_AUTH, without groups (RFC 7296
// 1.2). spi is our ESP SPI of 4 octets.
func SpecsESP(list []ESP, spi []byte) []wire.ProposalSpec {
	return specs(list, useFirst, spi)
}

// SpecsChild is SpecsESP with groups, for CREATE_CHILD_SA.
func SpecsChild(list []ESP, spi []byte) []wire.ProposalSpec {
	return specs(list, useChild, spi)
}

func specs[P proposal](list []P, u use, spi []byte) []wire.ProposalSpec {
	var out []wire.ProposalSpec
	next := uint8(1)
	for _, p := range list[:min(len(list), maxList)] {
		m := p.terms().on(u)
		num := next
		aead, _, after := numbers(m.encr, next)
		for ; num < after; num++ {
			out = append(out, wire.ProposalSpec{Num: num, Protocol: u.protocol, SPI: spi, Transforms: m.transforms(num == aead)})
		}
		next = after
	}
	return out
}

// numbers gives the proposals that encr makes their numbers on the wire,
// counted from next, in the order in which the ciphers come; 0 stands for the
// kind that encr does not have. Ciphers that authenticate by themselves and
// others need two proposals (RFC 7296 3.3).
func numbers(encr []Alg, next uint8) (aead, plain, after uint8) {
	for _, a := range encr {
		switch {
		case a.aead() && aead == 0:
			aead, next = next, next+1
		case !a.aead() && plain == 0:
			plain, next = next, next+1
		}
	}
	return aead, plain, next
}

// transforms lists the half of t that authenticates by itself, or the other.
func (t terms) transforms(aead bool) []wire.Transform {
	var ts []wire.Transform
	add := func(kind wire.TransformType, ids []wire.TransformID) {
		for _, id := range ids {
			ts = append(ts, wire.Transform{Type: kind, ID: id})
		}
	}
	for _, a := range t.encr {
		if a.aead() == aead {
			ts = append(ts, wire.Transform{Type: wire.TransformENCR, ID: a.ID, KeyBits: a.KeyBits})
		}
	}
	add(wire.TransformPRF, t.prf)
	if !aead { // RFC 5282 8: none at all beside ciphers that authenticate by themselves
		add(wire.TransformINTEG, t.integ)
	}
	add(wire.TransformKE, t.ke)
	add(wire.TransformESN, t.esn)
	return ts
}

// SpecOf is the proposal that answers with s: the number of the chosen one and
// one transform of each type. The caller adds its SPI in a rekey.
func SpecOf(s suite.Suite, num uint8) wire.ProposalSpec {
	ts := append(make([]wire.Transform, 0, 4), wire.Transform{Type: wire.TransformENCR, ID: s.Encr, KeyBits: s.KeyBits}, wire.Transform{Type: wire.TransformPRF, ID: s.PRF})
	ts = appendUnlessNone(ts, wire.TransformINTEG, s.Integ)
	ts = append(ts, wire.Transform{Type: wire.TransformKE, ID: s.KE})
	return wire.ProposalSpec{Num: num, Protocol: wire.ProtocolIKE, Transforms: ts}
}

// SpecOfESP is the proposal that answers with e and our ESP SPI of 4 octets,
// which is not copied. Its transforms, four at most, are appended to ts.
func SpecOfESP(ts []wire.Transform, e ESPSuite, num uint8, spi []byte) wire.ProposalSpec {
	ts = append(ts, wire.Transform{Type: wire.TransformENCR, ID: e.Encr, KeyBits: e.KeyBits})
	ts = appendUnlessNone(ts, wire.TransformINTEG, e.Integ)
	ts = appendUnlessNone(ts, wire.TransformKE, e.KE)
	esn := wire.Transform{Type: wire.TransformESN, ID: wire.ESNNo}
	if e.ESN {
		esn.ID = wire.ESNYes
	}
	return wire.ProposalSpec{Num: num, Protocol: wire.ProtocolESP, SPI: spi, Transforms: append(ts, esn)}
}

func appendUnlessNone(ts []wire.Transform, t wire.TransformType, id wire.TransformID) []wire.Transform {
	if id == 0 {
		return ts
	}
	return append(ts, wire.Transform{Type: t, ID: id})
}
