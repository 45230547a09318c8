package propose

import (
	"blackswan/internal/suite"
	"blackswan/wire"
)

// SelectIKE is the responder's choice out of sa. The order of mine decides,
// but what can be had with have, the group of the KE payload, comes before
// what needs another round trip; KENone is no group. If s.KE is not have, the
// machine asks for s.KE by INVALID_KE_PAYLOAD (RFC 7296 1.2). num is the number
// of the chosen proposal. It tells ErrNoProposal.
func SelectIKE(sa wire.SA, mine []IKE, have wire.TransformID) (s suite.Suite, num uint8, err error) {
	c, p, err := choose(sa, mine, useIKE, have)
	return c.ike(), p.Num, err
}

// SelectESP is SelectIKE for the Child SA of IKE_AUTH. Groups are ignored on
// both sides: there is no KE payload (RFC 7296 1.2). spi is the peer's.
func SelectESP(sa wire.SA, mine []ESP) (e ESPSuite, num uint8, spi uint32, err error) {
	return selectESP(sa, mine, useFirst, wire.KENone)
}

// SelectChild is SelectIKE for a Child SA of CREATE_CHILD_SA: have is the group
// of the KE payload, KENone without one. spi is the peer's.
func SelectChild(sa wire.SA, mine []ESP, have wire.TransformID) (e ESPSuite, num uint8, spi uint32, err error) {
	return selectESP(sa, mine, useChild, have)
}

func selectESP(sa wire.SA, mine []ESP, u use, have wire.TransformID) (e ESPSuite, num uint8, spi uint32, err error) {
	c, p, err := choose(sa, mine, u, have)
	if err != nil {
		return ESPSuite{}, 0, 0, err
	}
	return c.esp(), p.Num, espSPI(p), nil
}

// choose finds the best choice and the proposal that it is out of.
func choose[P proposal](sa wire.SA, mine []P, u use, have wire.TransformID) (best choice, from wire.Proposal, err error) {
	const unranked = 1 << 31
	rank := unranked
	for p := range sa.Proposals() {
		o, ok := read(p, u.protocol)
		if !ok { //rfc:7296-3.3.6-2
			continue
		}
		if !u.ke {
			o.ke = none
		}
		for i := range mine {
			m := mine[i].terms().on(u)
			for j, a := range m.encr {
				c, ok := o.pick(m, a, have)
				r := i<<8 | j // our order: of the list, then of the ciphers
				if c.ke != have {
					r |= 1 << 30
				}
				if ok && r < rank {
					rank, best, from = r, c, p
				}
			}
		}
	}
	if rank == unranked {
		return choice{}, wire.Proposal{}, ErrNoProposal
	}
	return best, from, nil
}
