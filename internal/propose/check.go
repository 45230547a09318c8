package propose

import (
	"fmt"
	"math/bits"
	"slices"

	"blackswan/internal/suite"
	"blackswan/wire"
)

var (
	errCount     = fmt.Errorf("%w: it does not have exactly one proposal", ErrAnswer)
	errTransform = fmt.Errorf("%w: it does not have exactly one known transform of each type", ErrAnswer)
	errUnoffered = fmt.Errorf("%w: what it combines was not offered under that number", ErrAnswer)
)

// CheckIKE is the initiator's look at a responder's SA payload (RFC 7296
// 3.3.6): one proposal, one transform of each type, all of them out of the
// proposal with its number among Specs(mine). It tells ErrAnswer.
func CheckIKE(sa wire.SA, mine []IKE) (suite.Suite, error) {
	c, _, err := check(sa, mine, useIKE)
	return c.ike(), err
}

// CheckESP is CheckIKE for the Child SA of IKE_AUTH, which has no group. spi is
// the peer's.
func CheckESP(sa wire.SA, mine []ESP) (e ESPSuite, spi uint32, err error) {
	return checkESP(sa, mine, useFirst)
}

// CheckChild is CheckIKE for a Child SA of CREATE_CHILD_SA. spi is the peer's.
func CheckChild(sa wire.SA, mine []ESP) (e ESPSuite, spi uint32, err error) {
	return checkESP(sa, mine, useChild)
}

func checkESP(sa wire.SA, mine []ESP, u use) (e ESPSuite, spi uint32, err error) {
	c, p, err := check(sa, mine, u)
	if err != nil {
		return ESPSuite{}, 0, err
	}
	return c.esp(), espSPI(p), nil
}

func check[P proposal](sa wire.SA, mine []P, u use) (choice, wire.Proposal, error) {
	var p wire.Proposal
	n := 0
	for p = range sa.Proposals() {
		n++
	}
	if n != 1 { //rfc:7296-3.3.6-1
		return choice{}, p, errCount
	}
	o, ok := read(p, u.protocol)
	if !ok || slices.Max(o.count[:]) > 1 || o.encr == 0 {
		return choice{}, p, errTransform
	}
	a := ciphers[bits.TrailingZeros64(o.encr)]
	next := uint8(1)
	for i := range mine[:min(len(mine), maxList)] {
		m := mine[i].terms().on(u)
		var aead, plain uint8
		aead, plain, next = numbers(m.encr, next)
		num := plain
		if a.aead() {
			num = aead
		}
		if p.Num != num || !slices.Contains(m.encr, a) {
			continue
		}
		if c, ok := o.pick(m, a, wire.KENone); ok {
			return c, p, nil
		}
	}
	return choice{}, p, errUnoffered
}
