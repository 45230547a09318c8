package suite

import (
	"bytes"
	"encoding/binary"
	"testing"

	"blackswan/wire"
)

// sa is one IKE SA that foreign implementations agreed on.
type sa struct {
	Name, Kind, Form, PSK                              string
	Encr, Integ, PRF, KE                               wire.TransformID
	Bits                                               uint16
	SPIi, SPIr                                         octets
	Ni, Nr, Shared, SKdOld, SKEYSEED                   octets
	D, AI, AR, EI, ER, PI, PR                          octets
	Message1, Message2, IDi, IDr, AuthI, AuthR, Keymat octets
	SignedI                                            octets
}

func (v sa) suite() Suite {
	return Suite{Encr: v.Encr, KeyBits: v.Bits, Integ: v.Integ, PRF: v.PRF, KE: v.KE}
}

func (v sa) spis() (i, r uint64) {
	return binary.BigEndian.Uint64(v.SPIi), binary.BigEndian.Uint64(v.SPIr)
}

// derive makes the keys of v by the rule of its exchange.
func (v sa) derive(t *testing.T, p *PRF, k *Keys) {
	t.Helper()
	s := v.suite()
	spii, spir := v.spis()
	switch v.Kind {
	case "init":
		DeriveInit(p, s, k, v.Ni, v.Nr, v.Shared, spii, spir)
	case "resume":
		DeriveResume(p, s, k, v.SKdOld, v.Ni, v.Nr, spii, spir)
	case "rekey":
		DeriveRekey(p, p, s, k, v.SKdOld, v.Shared, v.Ni, v.Nr, spii, spir)
	case "seed": // no g^ir is known: from SKEYSEED on
		p.Key(v.SKEYSEED)
		p.plus(k.buf[:s.keymat()], v.Ni, v.Nr, p.spiBytes(spii, spir))
	default:
		t.Fatalf("%s: unknown kind %q", v.Name, v.Kind)
	}
}

func TestForeignKeys(t *testing.T) {
	kinds := map[string]int{}
	for _, v := range load[sa](t, "keys.json") {
		kinds[v.Kind]++
		s := v.suite()
		if err := s.Valid(); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		p, k := newPRF(t, s.PRF), new(Keys)
		v.derive(t, p, k)
		for name, pair := range map[string][2][]byte{
			"SK_d": {k.D(s), v.D}, "SK_ai": {k.AI(s), v.AI}, "SK_ar": {k.AR(s), v.AR}, "SK_ei": {k.EI(s), v.EI},
			"SK_er": {k.ER(s), v.ER}, "SK_pi": {k.PI(s), v.PI}, "SK_pr": {k.PR(s), v.PR},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Errorf("%s: %s = %x, want %x", v.Name, name, pair[0], pair[1])
			}
		}
		if len(v.Keymat) > 0 {
			got := make([]byte, len(v.Keymat))
			DeriveChild(p, got, k.D(s), nil, v.Ni, v.Nr)
			if !bytes.Equal(got, v.Keymat) {
				t.Errorf("%s: KEYMAT = %x, want %x", v.Name, got, v.Keymat)
			}
		}
	}
	if kinds["init"] < 2 || kinds["resume"] < 3 || kinds["rekey"] < 1 || kinds["seed"] < 1 {
		t.Errorf("vectors are missing: %v", kinds)
	}
}

func TestForeignAuth(t *testing.T) {
	forms := map[string]int{}
	for _, v := range load[sa](t, "keys.json") {
		forms[v.Form]++
		if v.Form == "" {
			continue
		}
		s, p, k := v.suite(), newPRF(t, v.PRF), new(Keys)
		v.derive(t, p, k)
		i := AuthInput{Message: v.Message1, Nonce: v.Nr, MACedID: MACedID(p, nil, k.PI(s), v.IDi)}
		r := AuthInput{Message: v.Message2, Nonce: v.Ni, MACedID: MACedID(p, nil, k.PR(s), v.IDr)}
		var gotI, gotR []byte
		switch v.Form {
		case "psk":
			gotI, gotR = AuthPSK(p, nil, []byte(v.PSK), i), AuthPSK(p, nil, []byte(v.PSK), r)
		case "rfc":
			gotI, gotR = AuthResume(p, nil, k.PI(s), i), AuthResume(p, nil, k.PR(s), r)
		case "short":
			gotI, gotR = AuthResumeShort(p, nil, k.PI(s), v.Message1), AuthResumeShort(p, nil, k.PR(s), v.Message2)
		}
		if !bytes.Equal(gotI, v.AuthI) {
			t.Errorf("%s: initiator's AUTH = %x, want %x", v.Name, gotI, v.AuthI)
		}
		if !bytes.Equal(gotR, v.AuthR) {
			t.Errorf("%s: responder's AUTH = %x, want %x", v.Name, gotR, v.AuthR)
		}
		if len(v.SignedI) > 0 && !bytes.Equal(i.Append(nil), v.SignedI) {
			t.Errorf("%s: the initiator's signed octets differ", v.Name)
		}
	}
	if forms["psk"] < 2 || forms["rfc"] < 2 || forms["short"] < 1 {
		t.Errorf("vectors are missing: %v", forms)
	}
}

// RFC 7296 2.17: g^ir comes before the nonces; 2.18: SKEYSEED is the old SA's
// PRF's work, the keys are the new one's.
func TestDerivationAgainstDefinition(t *testing.T) {
	ni, nr, shared, skd := []byte("nonce of the initiator"), []byte("nonce of the responder"), []byte("g^ir"), bytes.Repeat([]byte{7}, 48)
	old, p := newPRF(t, wire.PRFHMACSHA384), newPRF(t, wire.PRFHMACSHA512)
	k := new(Keys)
	DeriveRekey(old, p, largest, k, skd, shared, ni, nr, 1, 2)
	skeyseed := plainHMAC(wire.PRFHMACSHA384, skd, shared, ni, nr)
	spis := []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2}
	want := plainHMAC(wire.PRFHMACSHA512, skeyseed, ni, nr, spis, []byte{1})
	if got := k.D(largest); !bytes.Equal(got, want) {
		t.Errorf("SK_d after a rekey with another PRF = %x, want %x", got, want)
	}
	child := make([]byte, 48)
	DeriveChild(old, child, skd, shared, ni, nr)
	if want := plainHMAC(wire.PRFHMACSHA384, skd, shared, ni, nr, []byte{1}); !bytes.Equal(child, want) {
		t.Errorf("KEYMAT with g^ir = %x, want %x", child, want)
	}
}

// An SA is rekeyed and resumed in place: the old SK_d may lie in the new Keys.
func TestDeriveInPlace(t *testing.T) {
	p := newPRF(t, largest.PRF)
	ni, nr := []byte("Ni"), []byte("Nr")
	var apart, inPlace Keys
	DeriveInit(p, largest, &inPlace, ni, nr, []byte("g^ir"), 1, 2)
	skd := bytes.Clone(inPlace.D(largest))
	DeriveResume(p, largest, &apart, skd, ni, nr, 3, 4)
	DeriveResume(p, largest, &inPlace, inPlace.D(largest), ni, nr, 3, 4)
	if apart != inPlace {
		t.Error("DeriveResume in place gives other keys")
	}
	skd = bytes.Clone(inPlace.D(largest))
	DeriveRekey(p, p, largest, &apart, skd, []byte("new g^ir"), ni, nr, 5, 6)
	DeriveRekey(p, p, largest, &inPlace, inPlace.D(largest), []byte("new g^ir"), ni, nr, 5, 6)
	if apart != inPlace {
		t.Error("DeriveRekey in place gives other keys")
	}
}

func TestDeriveWithAnotherPRF(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("keys of an SHA-512 suite were derived with SHA-256")
		}
	}()
	DeriveInit(newPRF(t, wire.PRFHMACSHA256), largest, new(Keys), nil, nil, nil, 0, 0)
}

// The seven keys lie side by side, fill the keying material and cannot be
// appended to over their neighbour; the largest suite just fits.
func TestKeysLayout(t *testing.T) {
	for _, s := range everySuite() {
		k := new(Keys)
		views := [][]byte{k.D(s), k.AI(s), k.AR(s), k.EI(s), k.ER(s), k.PI(s), k.PR(s)}
		for n, v := range views {
			if len(v) != cap(v) {
				t.Errorf("%v: key %d can be appended to", s, n)
			}
			for i := range v {
				v[i] = byte(n + 1)
			}
		}
		var want []byte
		for n, v := range views {
			want = append(want, bytes.Repeat([]byte{byte(n + 1)}, len(v))...)
		}
		if !bytes.Equal(k.buf[:len(want)], want) || !bytes.Equal(k.buf[len(want):], make([]byte, MaxKeymat-len(want))) {
			t.Errorf("%v: keys overlap or leave gaps", s)
		}
		held := k.Held(s)
		for n, v := range [][]byte{held.D(s), held.AI(s), held.AR(s), held.EI(s), held.ER(s)} {
			if !bytes.Equal(v, views[n]) || len(v) != cap(v) {
				t.Errorf("%v: key %d that an SA keeps is %x", s, n, v)
			}
		}
		if n := s.keymat() - 2*s.PRFLen(); len(held.buf) != n || cap(held.buf) != n {
			t.Errorf("%v: an SA keeps %d octets of %d, and AUTH alone needs the others", s, cap(held.buf), n)
		}
		kept := held
		if held.Wipe(); !bytes.Equal(kept.buf, make([]byte, len(kept.buf))) || bytes.Equal(k.D(s), held.D(s)) {
			t.Errorf("%v: Wipe leaves keys of a copy, or takes those that AUTH needs", s)
		}
	}
	if largest.keymat() != MaxKeymat {
		t.Errorf("MaxKeymat is %d, the largest suite needs %d", MaxKeymat, largest.keymat())
	}
}

func TestDeriveDoesNotAllocate(t *testing.T) {
	for _, s := range someSuites {
		p, k := newPRF(t, s.PRF), new(Keys)
		nonce, skd, out := make([]byte, 32), make([]byte, s.PRFLen()), make([]byte, 0, 64)
		in := AuthInput{Message: make([]byte, 300), Nonce: nonce, MACedID: skd}
		if n := testing.AllocsPerRun(100, func() {
			DeriveInit(p, s, k, nonce, nonce, skd, 1, 2)
			DeriveResume(p, s, k, skd, nonce, nonce, 1, 2)
			DeriveRekey(p, p, s, k, skd, skd, nonce, nonce, 1, 2)
			DeriveChild(p, k.PI(s), k.D(s), nil, nonce, nonce)
			MACedID(p, out, k.PI(s), nonce)
			AuthPSK(p, out, skd, in)
			AuthResume(p, out, skd, in)
			AuthResumeShort(p, out, skd, in.Message)
		}); n != 0 {
			t.Errorf("%v: %v allocations", s, n)
		}
	}
}
