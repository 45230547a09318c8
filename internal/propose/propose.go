// Package propose turns proposals between text, configuration and SA
// payloads, and selects one of them (RFC 7296 2.7 and 3.3, RFC 5282 8).
//
// An IKE or ESP value is one proposal text of a configuration: what is in it
// may be combined freely. On the wire a text that names both authenticated
// and plain ciphers becomes two proposals. The order of words is the order of
// preference. Selections do not allocate.
package propose

import (
	"errors"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// Alg is an encryption algorithm with the value of its Key Length attribute in
// bits, 0 for one that has a single key size.
type Alg struct {
	ID      wire.TransformID
	KeyBits uint16
}

// IKE is a proposal for an IKE SA. Integ serves the ciphers of Encr that do
// not authenticate by themselves, and is empty when there is none. ParseIKE
// makes a valid one.
type IKE struct {
	Encr           []Alg
	Integ, PRF, KE []wire.TransformID
}

// ESP is a proposal for a Child SA. KE are the groups of a key exchange in
// CREATE_CHILD_SA; KENone among them, or none at all, allows to do without.
// ParseESP makes a valid one.
type ESP struct {
	Encr           []Alg
	Integ, KE, ESN []wire.TransformID
}

// ESPSuite names the algorithms of one Child SA. It is comparable. KE is the
// group of its own key exchange, KENone for the keys of the IKE SA alone.
type ESPSuite struct {
	Encr    wire.TransformID
	KeyBits uint16
	Integ   wire.TransformID
	ESN     bool
	KE      wire.TransformID
}

var (
	// ErrNoProposal says that nothing offered is acceptable: the answer is
	// NO_PROPOSAL_CHOSEN.
	ErrNoProposal = errors.New("propose: no offered proposal is acceptable: compare the proposals configured at both ends")

	// ErrAnswer says that a responder chose what was not offered, or not
	// exactly one of each (RFC 7296 3.3.6).
	ErrAnswer = errors.New("propose: the responder's answer is not one proposal out of ours")
)

func (a Alg) aead() bool { return suite.Suite{Encr: a.ID}.AEAD() }

// terms are an IKE or ESP proposal seen alike. A list that is empty stands for
// a transform that must be NONE or absent.
type terms struct {
	encr                []Alg
	prf, integ, ke, esn []wire.TransformID
}

// proposal is what selection, offers and checks work on.
type proposal interface {
	IKE | ESP
	terms() terms
}

func (p IKE) terms() terms { return terms{encr: p.Encr, prf: p.PRF, integ: p.Integ, ke: p.KE} }
func (p ESP) terms() terms { return terms{encr: p.Encr, integ: p.Integ, ke: p.KE, esn: p.ESN} }

// use is what an SA payload is for.
type use struct {
	protocol wire.ProtocolID
	ke       bool // a key exchange may take part
}

var (
	useIKE   = use{wire.ProtocolIKE, true}
	useFirst = use{wire.ProtocolESP, false} // the Child SA of IKE_AUTH has no key exchange of its own (RFC 7296 1.2)
	useChild = use{wire.ProtocolESP, true}  // one of CREATE_CHILD_SA may
)

// on is what of t takes part in an SA payload.
func (t terms) on(u use) terms {
	if !u.ke {
		t.ke = nil
	}
	return t
}

// choice is one transform of each type, 0 for NONE.
type choice struct {
	encr                Alg
	prf, integ, ke, esn wire.TransformID
}

func (c choice) ike() suite.Suite {
	return suite.Suite{Encr: c.encr.ID, KeyBits: c.encr.KeyBits, Integ: c.integ, PRF: c.prf, KE: c.ke}
}

func (c choice) esp() ESPSuite {
	return ESPSuite{Encr: c.encr.ID, KeyBits: c.encr.KeyBits, Integ: c.integ, ESN: c.esn == wire.ESNYes, KE: c.ke}
}
