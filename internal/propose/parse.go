package propose

import (
	"fmt"
	"slices"
	"strings"

	"blackswan/wire"
)

// prfOf pairs an integrity algorithm with the PRF of the same hash: a text
// that names no PRF means that one.
var prfOf = map[wire.TransformID]wire.TransformID{
	wire.INTEGHMACSHA256: wire.PRFHMACSHA256,
	wire.INTEGHMACSHA384: wire.PRFHMACSHA384,
	wire.INTEGHMACSHA512: wire.PRFHMACSHA512,
}

// ParseIKE reads a proposal for an IKE SA, words joined by "-", several of a
// kind in order of preference: "aes256gcm16-sha256-x25519",
// "aes128-aes256-sha256-prfsha384-ecp256-modp2048". A hash stands for the
// integrity and, if no prf word is there, for the PRF. Errors name the word and
// what may stand there.
func ParseIKE(text string) (IKE, error) {
	t, err := parse(text, wire.TransformENCR, wire.TransformINTEG, wire.TransformPRF, wire.TransformKE)
	if err != nil {
		return IKE{}, err
	}
	if slices.Contains(t.ke, wire.KENone) {
		return IKE{}, refuse(text, "\"none\" is for ESP: an IKE SA always needs a key exchange (RFC 7296 2.18)")
	}
	if len(t.ke) == 0 {
		return IKE{}, refuse(text, "no key exchange: add one or more of "+vocabulary(wire.TransformKE))
	}
	named := len(t.prf) > 0
	if !named {
		for _, integ := range t.integ {
			t.prf = append(t.prf, prfOf[integ])
		}
	}
	if len(t.prf) == 0 {
		return IKE{}, refuse(text, "no pseudorandom function: add one or more of "+vocabulary(wire.TransformPRF))
	}
	if t.onlyAEAD() && !named {
		t.integ = nil
	}
	if err := t.balanced(text); err != nil {
		return IKE{}, err
	}
	return IKE{Encr: t.encr, Integ: t.integ, PRF: t.prf, KE: t.ke}, nil
}

// ParseESP reads a proposal for a Child SA: "aes256gcm16", "aes256-sha256-esn".
// Groups ask for a key exchange of its own in CREATE_CHILD_SA, and "none" among
// them makes it optional: "aes256gcm16-x25519-none-esn-noesn". Without esn or
// noesn it means noesn.
func ParseESP(text string) (ESP, error) {
	t, err := parse(text, wire.TransformENCR, wire.TransformINTEG, wire.TransformKE, wire.TransformESN)
	if err != nil {
		return ESP{}, err
	}
	if err := t.balanced(text); err != nil {
		return ESP{}, err
	}
	if len(t.esn) == 0 {
		t.esn = []wire.TransformID{wire.ESNNo}
	}
	return ESP{Encr: t.encr, Integ: t.integ, KE: t.ke, ESN: t.esn}, nil
}

// parse sorts the words of text by kind.
func parse(text string, kinds ...wire.TransformType) (t terms, err error) {
	seen := map[string]bool{}
	for s := range strings.SplitSeq(strings.ToLower(strings.TrimSpace(text)), "-") {
		w, ok := lookup(s)
		switch {
		case weak[s] != "":
			return t, refuse(text, fmt.Sprintf("%q is refused: weaker than %s, the least that is accepted", s, weak[s]))
		case !ok || !slices.Contains(kinds, w.kind):
			return t, refuse(text, fmt.Sprintf("%q does not belong here: the words are %s", s, vocabulary(kinds...)))
		case seen[s]:
			return t, refuse(text, fmt.Sprintf("%q stands there twice", s))
		}
		seen[s] = true
		switch w.kind {
		case wire.TransformENCR:
			t.encr = append(t.encr, Alg{w.id, w.bits})
		case wire.TransformINTEG:
			t.integ = append(t.integ, w.id)
		case wire.TransformPRF:
			t.prf = append(t.prf, w.id)
		case wire.TransformKE:
			t.ke = append(t.ke, w.id)
		case wire.TransformESN:
			t.esn = append(t.esn, w.id)
		}
	}
	if len(t.encr) == 0 {
		return t, refuse(text, "no encryption: add one or more of "+vocabulary(wire.TransformENCR))
	}
	return t, nil
}

// balanced checks that integrity is there where a cipher needs it, and only
// there.
func (t terms) balanced(text string) error {
	if t.onlyAEAD() && len(t.integ) > 0 {
		return refuse(text, fmt.Sprintf("%s authenticates by itself: take out %q", textOf(wire.TransformENCR, t.encr[0].ID, t.encr[0].KeyBits), textOf(wire.TransformINTEG, t.integ[0], 0)))
	}
	if !t.onlyAEAD() && len(t.integ) == 0 {
		return refuse(text, "no integrity beside AES-CBC: add one or more of "+vocabulary(wire.TransformINTEG))
	}
	return nil
}

func (t terms) onlyAEAD() bool {
	return !slices.ContainsFunc(t.encr, func(a Alg) bool { return !a.aead() })
}

func refuse(text, why string) error { return fmt.Errorf("propose: proposal %q: %s", text, why) }

// String is a text that ParseIKE reads back to p.
func (p IKE) String() string {
	t := p.terms()
	implied := make([]wire.TransformID, 0, len(p.Integ))
	for _, integ := range p.Integ {
		implied = append(implied, prfOf[integ])
	}
	if slices.Equal(implied, p.PRF) {
		t.prf = nil
	}
	return t.text()
}

// String is a text that ParseESP reads back to p.
func (p ESP) String() string {
	t := p.terms()
	if slices.Equal(t.esn, []wire.TransformID{wire.ESNNo}) {
		t.esn = nil
	}
	return t.text()
}

// String names the choice as a proposal text.
func (e ESPSuite) String() string {
	t := terms{encr: []Alg{{e.Encr, e.KeyBits}}}
	if e.Integ != wire.INTEGNone {
		t.integ = []wire.TransformID{e.Integ}
	}
	if e.KE != wire.KENone {
		t.ke = []wire.TransformID{e.KE}
	}
	if e.ESN {
		t.esn = []wire.TransformID{wire.ESNYes}
	}
	return t.text()
}

func (t terms) text() string {
	var list []string
	for _, a := range t.encr {
		list = append(list, textOf(wire.TransformENCR, a.ID, a.KeyBits))
	}
	add := func(kind wire.TransformType, ids []wire.TransformID) {
		for _, id := range ids {
			list = append(list, textOf(kind, id, 0))
		}
	}
	add(wire.TransformINTEG, t.integ)
	add(wire.TransformPRF, t.prf)
	add(wire.TransformKE, t.ke)
	add(wire.TransformESN, t.esn)
	return strings.Join(list, "-")
}
