package ike

import (
	"crypto/subtle"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// scratch is memory that one input uses and the next one overwrites.
type scratch struct {
	iv        [16]byte
	key       []byte
	keys      suite.Keys
	macs      [2][64]byte
	ids       [2][]byte
	selectors [2][]wire.Selector
	dynamic   [2]wire.Selector
	chosen    [4]wire.Transform
	keymat    [2 * (36 + 64)]byte
	token     [32]byte
	nonce     [nonceLen]byte
	name      []byte
	session   []byte
}

// prf is the pseudorandom function of s, with its scratch.
func (e *Endpoint) prf(s suite.Suite) *suite.PRF {
	switch s.PRF {
	case wire.PRFHMACSHA384:
		return e.prfs[1]
	case wire.PRFHMACSHA512:
		return e.prfs[2]
	}
	return e.prfs[0]
}

// deriveInit makes the keys of a full handshake (RFC 7296 2.14).
func (e *Endpoint) deriveInit(sa *SA, shared []byte) {
	suite.DeriveInit(e.prf(sa.suite), sa.suite, &e.scratch.keys, sa.half.ni, sa.half.nr, shared, uint64(sa.spi.I), uint64(sa.spi.R))
	k := &e.scratch.keys
	sa.half.signs = new([2]mac)
	sa.half.signs[0].set(k.PI(sa.suite))
	sa.half.signs[1].set(k.PR(sa.suite))
	e.takeKeys(sa)
	clear(shared)
	sa.lastKE = e.wall
}

// takeKeys gives sa the keys that were just derived.
func (e *Endpoint) takeKeys(sa *SA) {
	k := &e.scratch.keys
	sa.keys = k.Held(sa.suite)
	*k = suite.Keys{}
}

// keyLog tells the keys of a new SA to a log that the operator asked for.
func (e *Endpoint) keyLog(sa *SA) {
	if !e.cfg.KeyLog {
		return
	}
	k, s := &sa.keys, sa.suite
	e.event(sa, Event{Kind: EventKeys, Suite: s, EI: e.keep(k.EI(s)), ER: e.keep(k.ER(s)), AI: e.keep(k.AI(s)), AR: e.keep(k.AR(s))})
}

// equal compares secrets in constant time.
func equal(a, b []byte) bool { return len(b) > 0 && subtle.ConstantTimeCompare(a, b) == 1 }

func permits(list []propose.IKE, s suite.Suite) bool { return propose.Permits(list, s) }

func (m *mac) set(b []byte) { m.n = uint8(copy(m.b[:], b)) }

// named is the configured connection of that name, or nil.
func (e *Endpoint) named(name []byte) *Connection {
	for _, c := range e.cfg.Connections {
		if c.Name == string(name) {
			return c
		}
	}
	return nil
}
