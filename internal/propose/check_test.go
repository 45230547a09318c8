package propose

import (
	"errors"
	"slices"
	"testing"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// RFC 7296 3.3.6: the initiator must look whether the answer is out of what it
// offered.
func TestCheckIKE(t *testing.T) {
	mine := ikeOf(t, "aes256gcm16-aes128-sha256-x25519-ecp256", "chacha20poly1305-sha384-ecp384")
	good := suiteOf(t, "aes256gcm16-sha256-ecp256")
	answer := func(text string, num uint8) []wire.ProposalSpec {
		return []wire.ProposalSpec{SpecOf(suiteOf(t, text), num)}
	}
	plus := func(ts ...wire.Transform) []wire.ProposalSpec {
		spec := SpecOf(good, 1)
		spec.Transforms = append(spec.Transforms, ts...)
		return []wire.ProposalSpec{spec}
	}
	for _, row := range []struct {
		what  string
		specs []wire.ProposalSpec
		want  string
	}{
		{"the first", answer("aes256gcm16-sha256-ecp256", 1), "aes256gcm16-sha256-ecp256"},
		{"the second half of the first entry", answer("aes128-sha256-x25519", 2), "aes128-sha256-x25519"},
		{"the second entry", answer("chacha20poly1305-sha384-ecp384", 3), "chacha20poly1305-sha384-ecp384"},
		{"INTEG NONE said aloud", plus(wire.Transform{Type: wire.TransformINTEG}), "aes256gcm16-sha256-ecp256"},
		{"a number that was not offered", answer("aes256gcm16-sha256-ecp256", 4), ""},
		{"the number of another proposal", answer("aes256gcm16-sha256-ecp256", 2), ""},
		{"mixed from two proposals", answer("aes256gcm16-sha384-ecp256", 1), ""},
		{"a cipher that was not offered", answer("aes128gcm16-sha256-x25519", 1), ""},
		{"a group that was not offered", answer("aes256gcm16-sha256-modp2048", 1), ""},
		{"two groups", plus(wire.Transform{Type: wire.TransformKE, ID: wire.KEX25519}), ""},
		{"two ciphers, one unknown", plus(wire.Transform{Type: wire.TransformENCR, ID: 3}), ""},
		{"integrity beside an AEAD", plus(wire.Transform{Type: wire.TransformINTEG, ID: wire.INTEGHMACSHA256}), ""},
		{"an additional key exchange", plus(wire.Transform{Type: 6, ID: 36}), ""},
		{"ESN", plus(wire.Transform{Type: wire.TransformESN}), ""},
		{"two proposals", append(answer("aes256gcm16-sha256-ecp256", 1), answer("aes128-sha256-x25519", 2)...), ""},
	} {
		got, err := CheckIKE(offered(t, row.specs...), mine)
		if row.want == "" {
			if !errors.Is(err, ErrAnswer) || got != (suite.Suite{}) {
				t.Errorf("%s: %v, %v", row.what, got, err)
			}
			continue
		}
		if err != nil || got != suiteOf(t, row.want) {
			t.Errorf("%s: %v, %v; want %s", row.what, got, err, row.want)
		}
	}
}

func TestCheckIKEWithoutTransform(t *testing.T) {
	spec := SpecOf(suiteOf(t, "aes128-sha256-x25519"), 1)
	for i := range spec.Transforms {
		less := spec
		less.Transforms = slices.Delete(slices.Clone(spec.Transforms), i, i+1)
		if got, err := CheckIKE(offered(t, less), ikeOf(t, "aes128-sha256-x25519")); !errors.Is(err, ErrAnswer) {
			t.Errorf("without transform type %d: %v, %v", spec.Transforms[i].Type, got, err)
		}
	}
}

func TestCheckESP(t *testing.T) {
	mine := espOf(t, "aes256gcm16-x25519-none-esn-noesn", "aes128-sha256")
	x := wire.KEX25519
	spi := uint32(0x12345678)
	for _, row := range []struct {
		what   string
		answer ESPSuite
		num    uint8
		ok     bool
	}{
		{"without a group", ESPSuite{wire.ENCRAESGCM16, 256, 0, true, 0}, 1, true},
		{"with a group", ESPSuite{wire.ENCRAESGCM16, 256, 0, false, x}, 1, false},
		{"the second", ESPSuite{wire.ENCRAESCBC, 128, wire.INTEGHMACSHA256, false, 0}, 2, true},
		{"the second with a group", ESPSuite{wire.ENCRAESCBC, 128, wire.INTEGHMACSHA256, false, x}, 2, false},
		{"the second with ESN", ESPSuite{wire.ENCRAESCBC, 128, wire.INTEGHMACSHA256, true, 0}, 2, false},
		{"the second, numbered first", ESPSuite{wire.ENCRAESCBC, 128, wire.INTEGHMACSHA256, false, 0}, 1, false},
		{"another key size", ESPSuite{wire.ENCRAESGCM16, 128, 0, true, 0}, 1, false},
	} {
		sa := offered(t, SpecOfESP(nil, row.answer, row.num, espSPIBytes))
		got, gotSPI, err := CheckESP(sa, mine)
		if row.ok && (err != nil || got != row.answer || gotSPI != spi) || !row.ok && !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v, %#x, %v", row.what, got, gotSPI, err)
		}
	}
}

// Proposals on the wire: RFC 7296 3.3.1 numbers them from 1; RFC 5282 8 and
// RFC 7296 3.3 keep ciphers that authenticate by themselves apart.
func TestSpecs(t *testing.T) {
	spi := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for i, spec := range Specs(append(DefaultIKE(), ikeOf(t, "aes128-aes256gcm16-sha256-x25519")...), spi) {
		if int(spec.Num) != i+1 || spec.Protocol != wire.ProtocolIKE || !slices.Equal(spec.SPI, spi) {
			t.Errorf("proposal %d: %+v", i+1, spec)
		}
		mixesKinds(t, spec)
	}
	for i, spec := range SpecsESP(append(DefaultESP(), espOf(t, "aes128-aes256gcm16-sha256")...), espSPIBytes) {
		if int(spec.Num) != i+1 || spec.Protocol != wire.ProtocolESP || !slices.Equal(spec.SPI, espSPIBytes) {
			t.Errorf("proposal %d: %+v", i+1, spec)
		}
		mixesKinds(t, spec)
	}
	if n := len(Specs(ikeOf(t, "aes128-aes256gcm16-sha256-x25519", "aes128gcm16-sha256-x25519"), nil)); n != 3 {
		t.Errorf("%d proposals, want 3", n)
	}
}

func mixesKinds(t *testing.T, spec wire.ProposalSpec) {
	t.Helper()
	aead, plain, integ := false, false, false
	for _, tr := range spec.Transforms {
		switch tr.Type {
		case wire.TransformENCR:
			aead = aead || Alg{ID: tr.ID}.aead()
			plain = plain || !Alg{ID: tr.ID}.aead()
		case wire.TransformINTEG:
			integ = true
		}
	}
	if aead == plain || integ != plain {
		t.Errorf("proposal %d: AEAD %v, other ciphers %v, integrity %v", spec.Num, aead, plain, integ)
	}
}

// A long list never wraps the number of a proposal.
func TestSpecsOfLongLists(t *testing.T) {
	list := make([]IKE, 300)
	for i := range list {
		list[i] = ikeOf(t, "aes128-aes256gcm16-sha256-x25519")[0]
	}
	specs := Specs(list, nil)
	if len(specs) != 2*maxList || specs[len(specs)-1].Num != 2*maxList {
		t.Errorf("%d proposals, the last is number %d", len(specs), specs[len(specs)-1].Num)
	}
}
