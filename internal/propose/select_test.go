package propose

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"blackswan/internal/suite"
	"blackswan/wire"
)

var espSPIBytes = []byte{0x12, 0x34, 0x56, 0x78}

// offered is the SA payload of these proposals.
func offered(t testing.TB, specs ...wire.ProposalSpec) wire.SA {
	t.Helper()
	sa, err := wire.ParseSA(wire.AppendSA(nil, specs...))
	if err != nil {
		t.Fatalf("SA payload of %+v: %v", specs, err)
	}
	return sa
}

// selects tries to parse an SA payload of one proposal and to select from it:
// what must not be accepted may fall at either step.
func selects[S any](spec wire.ProposalSpec, choose func(wire.SA) (S, error)) (s S, err error) {
	sa, err := wire.ParseSA(wire.AppendSA(nil, spec))
	if err != nil {
		return s, err
	}
	return choose(sa)
}

func ikeOf(t testing.TB, texts ...string) (list []IKE) {
	t.Helper()
	for _, text := range texts {
		p, err := ParseIKE(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func espOf(t testing.TB, texts ...string) (list []ESP) {
	t.Helper()
	for _, text := range texts {
		p, err := ParseESP(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// suiteOf is the only suite of a text that has one word of each kind.
func suiteOf(t testing.TB, text string) suite.Suite {
	t.Helper()
	p := ikeOf(t, text)[0]
	s := suite.Suite{Encr: p.Encr[0].ID, KeyBits: p.Encr[0].KeyBits, PRF: p.PRF[0], KE: p.KE[0]}
	if len(p.Integ) > 0 {
		s.Integ = p.Integ[0]
	}
	return s
}

func TestSelectIKE(t *testing.T) {
	for _, row := range []struct {
		what         string
		theirs, mine []string
		have         wire.TransformID
		want         string // "": no proposal chosen
		num          uint8
	}{
		{"our order of entries (RFC 7296 2.7 leaves it to us)", []string{"aes128-sha256-modp2048", "aes256gcm16-sha256-x25519"}, []string{"aes256gcm16-sha256-x25519", "aes128-sha256-modp2048"}, 0, "aes256gcm16-sha256-x25519", 2},
		{"our order of ciphers, over two proposals of theirs", []string{"aes128-chacha20poly1305-sha256-x25519"}, []string{"chacha20poly1305-aes128-sha256-x25519"}, 0, "chacha20poly1305-prfsha256-x25519", 2},
		{"our order of hashes and groups", []string{"aes128-sha256-sha512-prfsha256-prfsha384-ecp256-x25519"}, []string{"aes128-sha512-sha256-prfsha384-prfsha256-x25519-ecp256"}, 0, "aes128-sha512-prfsha384-x25519", 1},
		{"the group at hand before our order of groups", []string{"aes256gcm16-sha256-x25519-ecp256"}, []string{"aes256gcm16-sha256-x25519-ecp256"}, wire.KEECP256, "aes256gcm16-sha256-ecp256", 1},
		{"the group at hand before our order of entries", []string{"aes256gcm16-sha256-x25519", "aes128-sha256-modp2048"}, []string{"aes256gcm16-sha256-x25519", "aes128-sha256-modp2048"}, wire.KEMODP2048, "aes128-sha256-modp2048", 2},
		{"a group of their payload that we do not take (RFC 7296 1.2)", []string{"aes256gcm16-sha256-modp2048-ecp384-x25519"}, []string{"aes256gcm16-sha256-x25519-ecp384"}, wire.KEMODP2048, "aes256gcm16-sha256-x25519", 1},
		{"a group of their payload that they did not offer", []string{"aes256gcm16-sha256-ecp384"}, []string{"aes256gcm16-sha256-x25519-ecp384"}, wire.KEX25519, "aes256gcm16-sha256-ecp384", 1},
		{"key sizes must match (RFC 7296 3.3.6)", []string{"aes128gcm16-sha256-x25519"}, []string{"aes256gcm16-sha256-x25519"}, 0, "", 0},
		{"no common group", []string{"aes128gcm16-sha256-x25519"}, []string{"aes128gcm16-sha256-ecp256"}, wire.KEX25519, "", 0},
		{"no common PRF", []string{"aes128gcm16-sha256-x25519"}, []string{"aes128gcm16-sha512-x25519"}, 0, "", 0},
		{"no common integrity", []string{"aes128-sha256-x25519"}, []string{"aes128-sha512-prfsha256-x25519"}, 0, "", 0},
		{"nothing is mixed from two of our entries", []string{"aes128gcm16-sha256-ecp256"}, []string{"aes128gcm16-sha256-x25519", "aes256gcm16-sha256-ecp256"}, 0, "", 0},
	} {
		s, num, err := SelectIKE(offered(t, Specs(ikeOf(t, row.theirs...), nil)...), ikeOf(t, row.mine...), row.have)
		if row.want == "" {
			if !errors.Is(err, ErrNoProposal) || num != 0 || s != (suite.Suite{}) {
				t.Errorf("%s: %v, %d, %v", row.what, s, num, err)
			}
			continue
		}
		if err != nil || s != suiteOf(t, row.want) || num != row.num {
			t.Errorf("%s: %v, %d, %v; want %s, %d", row.what, s, num, err, row.want, row.num)
		}
	}
}

// transforms of a proposal for AES-GCM, by type, with changes.
func ikeTransforms() []wire.Transform {
	return []wire.Transform{
		{Type: wire.TransformENCR, ID: wire.ENCRAESGCM16, KeyBits: 256},
		{Type: wire.TransformPRF, ID: wire.PRFHMACSHA256},
		{Type: wire.TransformKE, ID: wire.KEX25519},
	}
}

func TestSelectIKEProposalsNotAcceptable(t *testing.T) {
	mine := DefaultIKE()
	spec := func(protocol wire.ProtocolID, spi []byte, ts ...wire.Transform) wire.ProposalSpec {
		return wire.ProposalSpec{Num: 1, Protocol: protocol, SPI: spi, Transforms: ts}
	}
	cbc := []wire.Transform{{Type: wire.TransformENCR, ID: wire.ENCRAESCBC, KeyBits: 128}, {Type: wire.TransformPRF, ID: wire.PRFHMACSHA256}, {Type: wire.TransformKE, ID: wire.KEX25519}}
	with := func(ts []wire.Transform, more ...wire.Transform) []wire.Transform {
		return append(slices.Clone(ts), more...)
	}
	changed := func(n int, change func(*wire.Transform)) []wire.Transform {
		ts := ikeTransforms()
		change(&ts[n])
		return ts
	}
	ike := wire.ProtocolIKE
	for _, row := range []struct {
		what string
		spec wire.ProposalSpec
		ok   bool
	}{
		{"as it should be", spec(ike, nil, ikeTransforms()...), true},
		{"with an SPI of 8 octets, for a rekey (RFC 7296 3.3.1)", spec(ike, make([]byte, 8), ikeTransforms()...), true},
		{"with an SPI of 4 octets", spec(ike, make([]byte, 4), ikeTransforms()...), false},
		{"for ESP", spec(wire.ProtocolESP, espSPIBytes, ikeTransforms()...), false},
		{"with INTEG NONE beside the AEAD (RFC 7296 3.3)", spec(ike, nil, with(ikeTransforms(), wire.Transform{Type: wire.TransformINTEG, ID: wire.INTEGNone})...), true},
		{"with INTEG beside the AEAD (RFC 5282 8)", spec(ike, nil, with(ikeTransforms(), wire.Transform{Type: wire.TransformINTEG, ID: wire.INTEGHMACSHA256})...), false},
		{"CBC without INTEG", spec(ike, nil, cbc...), false},
		{"CBC with INTEG NONE", spec(ike, nil, with(cbc, wire.Transform{Type: wire.TransformINTEG, ID: wire.INTEGNone})...), false},
		{"CBC with HMAC-SHA-1", spec(ike, nil, with(cbc, wire.Transform{Type: wire.TransformINTEG, ID: 2})...), false},
		{"CBC with HMAC-SHA-1 or HMAC-SHA2-256", spec(ike, nil, with(cbc, wire.Transform{Type: wire.TransformINTEG, ID: 2}, wire.Transform{Type: wire.TransformINTEG, ID: wire.INTEGHMACSHA256})...), true},
		{"an unknown transform type: additional key exchange (RFC 7296 3.3.6)", spec(ike, nil, with(ikeTransforms(), wire.Transform{Type: 6, ID: 36})...), false},
		{"transform type 0", spec(ike, nil, with(ikeTransforms(), wire.Transform{})...), false},
		{"ESN in an IKE proposal", spec(ike, nil, with(ikeTransforms(), wire.Transform{Type: wire.TransformESN})...), false},
		{"no PRF (RFC 7296 3.3.3)", spec(ike, nil, ikeTransforms()[0], ikeTransforms()[2]), false},
		{"no KE", spec(ike, nil, ikeTransforms()[:2]...), false},
		{"KE NONE (RFC 7296 2.18)", spec(ike, nil, changed(2, func(t *wire.Transform) { t.ID = wire.KENone })...), false},
		{"no ENCR", spec(ike, nil, ikeTransforms()[1:]...), false},
		{"AES-GCM without key size", spec(ike, nil, changed(0, func(t *wire.Transform) { t.KeyBits = 0 })...), false},
		{"AES-192", spec(ike, nil, changed(0, func(t *wire.Transform) { t.KeyBits = 192 })...), false},
		{"ChaCha20 with a key size (RFC 7634 3)", spec(ike, nil, changed(0, func(t *wire.Transform) { t.ID = wire.ENCRChaCha20Poly1305 })...), false},
		{"ChaCha20", spec(ike, nil, changed(0, func(t *wire.Transform) { t.ID, t.KeyBits = wire.ENCRChaCha20Poly1305, 0 })...), true},
		{"a PRF with a key size (RFC 7296 3.3.5)", spec(ike, nil, changed(1, func(t *wire.Transform) { t.KeyBits = 256 })...), false},
		{"a group number that looks like ours in the low six bits", spec(ike, nil, changed(2, func(t *wire.Transform) { t.ID = 64 + wire.KEX25519 })...), false},
		{"MODP-1024", spec(ike, nil, changed(2, func(t *wire.Transform) { t.ID = 2 })...), false},
	} {
		s, err := selects(row.spec, func(sa wire.SA) (suite.Suite, error) {
			s, _, err := SelectIKE(sa, mine, wire.KENone)
			return s, err
		})
		if (err == nil) != row.ok {
			t.Errorf("%s: %v, %v", row.what, s, err)
		}
		if err == nil && s.Valid() != nil {
			t.Errorf("%s: %v", row.what, s.Valid())
		}
	}
}

// RFC 7296 3.3.6: a transform with an attribute that we do not know is not
// selected, its neighbours are.
func TestSelectUnknownAttribute(t *testing.T) {
	body := wire.AppendSA(nil, Specs(ikeOf(t, "aes256gcm16-aes128gcm16-sha256-x25519"), nil)...)
	keyLength := bytes.Index(body, []byte{0x80, 14, 1, 0})
	body[keyLength+1] = 17
	sa, err := wire.ParseSA(body)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := SelectIKE(sa, ikeOf(t, "aes256gcm16-aes128gcm16-sha256-x25519"), wire.KENone)
	if err != nil || s.KeyBits != 128 {
		t.Errorf("%v, %v", s, err)
	}
	if s, _, err := SelectIKE(sa, ikeOf(t, "aes256gcm16-sha256-x25519"), wire.KENone); !errors.Is(err, ErrNoProposal) {
		t.Errorf("%v, %v", s, err)
	}
}

func TestSelectESP(t *testing.T) {
	for _, row := range []struct {
		what         string
		theirs, mine string
		want         ESPSuite
		ok           bool
	}{
		{"the same", "aes256gcm16", "aes256gcm16", ESPSuite{Encr: wire.ENCRAESGCM16, KeyBits: 256}, true},
		{"another key size", "aes256gcm16", "aes128gcm16", ESPSuite{}, false},
		{"our order of ciphers", "aes256gcm16-aes128gcm16", "aes128gcm16-aes256gcm16", ESPSuite{Encr: wire.ENCRAESGCM16, KeyBits: 128}, true},
		{"our order of ESN", "aes256gcm16-noesn-esn", "aes256gcm16-esn-noesn", ESPSuite{Encr: wire.ENCRAESGCM16, KeyBits: 256, ESN: true}, true},
		{"no common ESN", "aes256gcm16-noesn", "aes256gcm16-esn", ESPSuite{}, false},
		{"CBC with integrity", "aes128-sha256-sha512", "aes128-sha512", ESPSuite{Encr: wire.ENCRAESCBC, KeyBits: 128, Integ: wire.INTEGHMACSHA512}, true},
	} {
		got, num, spi, err := SelectESP(offered(t, SpecsESP(espOf(t, row.theirs), espSPIBytes)...), espOf(t, row.mine))
		if !row.ok {
			if !errors.Is(err, ErrNoProposal) || num != 0 || spi != 0 || got != (ESPSuite{}) {
				t.Errorf("%s: %v, %d, %#x, %v", row.what, got, num, spi, err)
			}
			continue
		}
		if err != nil || got != row.want || num != 1 || spi != 0x12345678 {
			t.Errorf("%s: %v, %d, %#x, %v; want %v", row.what, got, num, spi, err, row.want)
		}
	}
}

// RFC 7296 1.2: in IKE_AUTH there is no KE payload, whatever SA payloads say.
func TestSelectESPIgnoresGroups(t *testing.T) {
	want := ESPSuite{Encr: wire.ENCRAESGCM16, KeyBits: 256}
	for _, group := range []wire.TransformID{wire.KENone, wire.KEX25519, wire.KEECP256} {
		for _, mine := range []string{"aes256gcm16", "aes256gcm16-x25519"} {
			e, _, _, err := SelectESP(offered(t, SpecOfESP(nil, ESPSuite{Encr: want.Encr, KeyBits: 256, KE: group}, 1, espSPIBytes)), espOf(t, mine))
			if err != nil || e != want {
				t.Errorf("they offer group %d, we take %s: %v, %v", group, mine, e, err)
			}
		}
	}
	for _, spec := range SpecsESP(DefaultESP(), espSPIBytes) {
		for _, tr := range spec.Transforms {
			if tr.Type == wire.TransformKE {
				t.Errorf("group %d is offered in IKE_AUTH", tr.ID)
			}
		}
	}
}

func TestSelectESPProposalsNotAcceptable(t *testing.T) {
	encr := wire.Transform{Type: wire.TransformENCR, ID: wire.ENCRAESGCM16, KeyBits: 128}
	esn := wire.Transform{Type: wire.TransformESN, ID: wire.ESNNo}
	for _, row := range []struct {
		what     string
		protocol wire.ProtocolID
		spi      []byte
		ts       []wire.Transform
		ok       bool
	}{
		{"as it should be", wire.ProtocolESP, espSPIBytes, []wire.Transform{encr, esn}, true},
		{"SPI 256", wire.ProtocolESP, []byte{0, 0, 1, 0}, []wire.Transform{encr, esn}, true},
		{"SPI 255, reserved (RFC 4303 2.1)", wire.ProtocolESP, []byte{0, 0, 0, 255}, []wire.Transform{encr, esn}, false},
		{"SPI 0", wire.ProtocolESP, []byte{0, 0, 0, 0}, []wire.Transform{encr, esn}, false},
		{"no SPI", wire.ProtocolESP, nil, []wire.Transform{encr, esn}, false},
		{"an SPI of 8 octets", wire.ProtocolESP, make([]byte, 8), []wire.Transform{encr, esn}, false},
		{"AH", wire.ProtocolAH, espSPIBytes, []wire.Transform{encr, esn}, false},
		{"no ESN (RFC 7296 3.3.3)", wire.ProtocolESP, espSPIBytes, []wire.Transform{encr}, false},
		{"a PRF", wire.ProtocolESP, espSPIBytes, []wire.Transform{encr, esn, {Type: wire.TransformPRF, ID: wire.PRFHMACSHA256}}, false},
		{"an unknown transform type", wire.ProtocolESP, espSPIBytes, []wire.Transform{encr, esn, {Type: 13, ID: 1}}, false},
	} {
		spec := wire.ProposalSpec{Num: 1, Protocol: row.protocol, SPI: row.spi, Transforms: row.ts}
		e, err := selects(spec, func(sa wire.SA) (ESPSuite, error) {
			e, _, _, err := SelectESP(sa, DefaultESP())
			return e, err
		})
		if (err == nil) != row.ok {
			t.Errorf("%s: %v, %v", row.what, e, err)
		}
	}
}

func TestSelectionsDoNotAllocate(t *testing.T) {
	ike, esp := DefaultIKE(), DefaultESP()
	ikeSA, espSA := offered(t, Specs(ike, nil)...), offered(t, SpecsESP(esp, espSPIBytes)...)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := SelectIKE(ikeSA, ike, wire.KEMODP2048); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := SelectESP(espSA, esp); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSelectIKE(b *testing.B) {
	mine := DefaultIKE()
	sa := offered(b, Specs(mine, nil)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := SelectIKE(sa, mine, wire.KEX25519); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelectESP(b *testing.B) {
	mine := DefaultESP()
	sa := offered(b, SpecsESP(mine, espSPIBytes)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := SelectESP(sa, mine); err != nil {
			b.Fatal(err)
		}
	}
}
