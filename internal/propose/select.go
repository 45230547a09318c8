package propose

import (
	"encoding/binary"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// SelectIKE is the responder's choice out of sa. The order of mine decides,
// but what can be had with have, the group of the KE payload, comes before
// what needs another round trip; KENone is no group. If s.KE is not have, the
// machine asks for s.KE by INVALID_KE_PAYLOAD (RFC 7296 1.2). num is the number
// of the chosen proposal. It tells ErrNoProposal.
func SelectIKE(sa wire.SA, mine []IKE, have wire.TransformID) (s suite.Suite, num uint8, err error) {
	c, p, err := choose(sa, mine, wire.ProtocolIKE, have, false)
	return c.ike(), p.Num, err
}

// KEAcceptable reports whether an IKE SA can be had with that group, so that a
// KE payload of it is not refused by INVALID_KE_PAYLOAD.
func KEAcceptable(sa wire.SA, mine []IKE, group wire.TransformID) bool {
	s, _, err := SelectIKE(sa, mine, group)
	return err == nil && s.KE == group
}

// SelectESP is SelectIKE for the Child SA of IKE_AUTH. Groups are ignored on
// both sides: there is no KE payload (RFC 7296 1.2). spi is the peer's.
func SelectESP(sa wire.SA, mine []ESP) (e ESPSuite, num uint8, spi uint32, err error) {
	return selectESP(sa, mine, wire.KENone, true)
}

// SelectChild is SelectIKE for a Child SA of CREATE_CHILD_SA. have is KENone
// if the peer sent no KE payload. If e.KE is neither have nor KENone, the
// machine asks for it; if it is KENone, a KE payload is ignored (RFC 7296 3.3.6).
func SelectChild(sa wire.SA, mine []ESP, have wire.TransformID) (e ESPSuite, num uint8, spi uint32, err error) {
	return selectESP(sa, mine, have, false)
}

func selectESP(sa wire.SA, mine []ESP, have wire.TransformID, inAuth bool) (ESPSuite, uint8, uint32, error) {
	c, p, err := choose(sa, mine, wire.ProtocolESP, have, inAuth)
	if err != nil {
		return ESPSuite{}, 0, 0, err
	}
	return c.esp(), p.Num, espSPI(p), nil
}

// choose finds the best choice and the proposal that it is out of. inAuth
// leaves groups out on both sides.
func choose[P proposal](sa wire.SA, mine []P, protocol wire.ProtocolID, have wire.TransformID, inAuth bool) (best choice, from wire.Proposal, err error) {
	const unranked = 1 << 31
	rank := unranked
	for p := range sa.Proposals() {
		o, ok := read(p, protocol)
		if !ok {
			continue
		}
		if inAuth {
			o.ke = none
		}
		for i := range mine {
			m := mine[i].terms()
			if inAuth {
				m.ke = nil
			}
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

// SPI returns the IKE SPI in proposal num of an SA payload that rekeys an IKE
// SA. It is false if there is none of 8 octets (RFC 7296 3.3.1), or a zero.
func SPI(sa wire.SA, num uint8) (spi uint64, ok bool) {
	for p := range sa.Proposals() {
		if p.Num == num && len(p.SPI) == 8 {
			spi = binary.BigEndian.Uint64(p.SPI)
		}
	}
	return spi, spi != 0
}
