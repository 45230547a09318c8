package propose

import (
	"encoding/binary"
	"slices"

	"blackswan/wire"
)

// offer is one proposal of an SA payload as sets: bit n of a set stands for
// transform number n, bit n of encr for ciphers[n]. Transforms that we do not
// know, or with an attribute that we do not know, are in no set.
type offer struct {
	encr, prf, integ, ke, esn uint64
	count                     [wire.TransformESN + 1]uint8 // transforms by type
}

// ciphers are the encryption algorithms that can be selected.
var ciphers = [...]Alg{
	{wire.ENCRAESGCM16, 256}, {wire.ENCRAESGCM16, 128}, {wire.ENCRChaCha20Poly1305, 0},
	{wire.ENCRAESCBC, 256}, {wire.ENCRAESCBC, 128},
}

const none = 1 << 0 // NONE, and ESN "no", in a set

// read gathers p. It is false for another protocol, an SPI of the wrong size,
// a transform type that we do not know (RFC 7296 3.3.6), one that the protocol
// must not have, and a missing one that it must have (3.3.3).
func read(p wire.Proposal, protocol wire.ProtocolID) (o offer, ok bool) {
	if p.Protocol != protocol {
		return o, false
	}
	for t := range p.Transforms() {
		if t.Type == 0 || int(t.Type) >= len(o.count) {
			return o, false
		}
		o.count[t.Type] = min(o.count[t.Type], 254) + 1
		o.add(t)
	}
	o.absent(wire.TransformPRF, &o.prf)
	o.absent(wire.TransformINTEG, &o.integ)
	o.absent(wire.TransformKE, &o.ke)
	o.absent(wire.TransformESN, &o.esn)
	if protocol == wire.ProtocolIKE {
		o.ke &^= none // RFC 7296 2.18: an IKE SA is never made without a key exchange
		return o, o.count[wire.TransformESN] == 0 && (len(p.SPI) == 0 || len(p.SPI) == 8)
	}
	return o, o.count[wire.TransformPRF] == 0 && o.count[wire.TransformESN] > 0 &&
		len(p.SPI) == 4 && espSPI(p) > 255 // RFC 4303 2.1: 0 to 255 are reserved
}

// absent makes a type that was left out the same as NONE.
func (o *offer) absent(t wire.TransformType, set *uint64) {
	if o.count[t] == 0 {
		*set = none
	}
}

// add puts t into its set, unless we do not know it.
func (o *offer) add(t wire.Transform) {
	if t.Unknown {
		return
	}
	if t.Type == wire.TransformENCR {
		if n := slices.Index(ciphers[:], Alg{t.ID, t.KeyBits}); n >= 0 {
			o.encr |= 1 << n
		}
		return
	}
	if t.KeyBits != 0 || t.ID > 63 { // RFC 7296 3.3.5: a fixed key size has no Key Length attribute
		return
	}
	bit := uint64(1) << t.ID
	switch t.Type {
	case wire.TransformPRF:
		o.prf |= bit
	case wire.TransformINTEG:
		o.integ |= bit
	case wire.TransformKE:
		o.ke |= bit
	case wire.TransformESN:
		o.esn |= bit
	}
}

func espSPI(p wire.Proposal) uint32 { return binary.BigEndian.Uint32(p.SPI) }

// pick is the choice that o and m have in common with the cipher a: of each
// list the first that is offered, and of the groups have if both sides take it.
func (o offer) pick(m terms, a Alg, have wire.TransformID) (c choice, ok bool) {
	n := slices.Index(ciphers[:], a)
	if n < 0 || o.encr&(1<<n) == 0 {
		return c, false
	}
	if a.aead() {
		m.integ = nil // RFC 5282 8: integrity must not be selected beside it
	} else {
		o.integ &^= none // RFC 7296 5: nor may it be missing where the cipher does not authenticate
	}
	c.encr = a
	ok = first(&c.prf, o.prf, m.prf) && first(&c.integ, o.integ, m.integ) && first(&c.esn, o.esn, m.esn) && first(&c.ke, o.ke, m.ke)
	if ok && have < 64 && o.ke&(1<<have) != 0 && slices.Contains(m.ke, have) {
		c.ke = have
	}
	return c, ok
}

// first sets id to the first transform of mine that is in set. An empty list
// wants NONE.
func first(id *wire.TransformID, set uint64, mine []wire.TransformID) bool {
	if len(mine) == 0 {
		return set&none != 0
	}
	for _, want := range mine {
		if want < 64 && set&(1<<want) != 0 {
			*id = want
			return true
		}
	}
	return false
}
