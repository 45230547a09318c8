package suite

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"blackswan/wire"
)

var knownGroups = []wire.TransformID{wire.KEMODP2048, wire.KEMODP3072, wire.KEMODP4096, wire.KEECP256, wire.KEECP384, wire.KEECP521, wire.KEX25519}

// everySuite lists all valid suites with Curve25519.
func everySuite() (list []Suite) {
	for _, prf := range prfIDs {
		list = append(list,
			Suite{Encr: wire.ENCRAESGCM16, KeyBits: 128, PRF: prf, KE: wire.KEX25519},
			Suite{Encr: wire.ENCRAESGCM16, KeyBits: 256, PRF: prf, KE: wire.KEX25519},
			Suite{Encr: wire.ENCRChaCha20Poly1305, PRF: prf, KE: wire.KEX25519})
		for _, integ := range []wire.TransformID{wire.INTEGHMACSHA256, wire.INTEGHMACSHA384, wire.INTEGHMACSHA512} {
			list = append(list,
				Suite{Encr: wire.ENCRAESCBC, KeyBits: 128, Integ: integ, PRF: prf, KE: wire.KEX25519},
				Suite{Encr: wire.ENCRAESCBC, KeyBits: 256, Integ: integ, PRF: prf, KE: wire.KEX25519})
		}
	}
	return list
}

func TestValid(t *testing.T) {
	for _, s := range everySuite() {
		for _, s.KE = range knownGroups {
			if err := s.Valid(); err != nil {
				t.Errorf("%v: %v", s, err)
			}
		}
	}
}

func TestValidRefuses(t *testing.T) {
	with := func(s Suite, change func(*Suite)) Suite { change(&s); return s }
	for what, s := range map[string]Suite{
		"AES-192":            with(gcm256, func(s *Suite) { s.KeyBits = 192 }),
		"AES without size":   with(gcm256, func(s *Suite) { s.KeyBits = 0 }),
		"ChaCha20 with size": with(chacha, func(s *Suite) { s.KeyBits = 256 }),
		"DES":                with(cbc128, func(s *Suite) { s.Encr = 2 }),
		"3DES":               with(cbc128, func(s *Suite) { s.Encr, s.KeyBits = 3, 0 }),
		"NULL":               with(cbc128, func(s *Suite) { s.Encr, s.KeyBits = 11, 0 }),
		"GCM with ICV of 8":  with(gcm128, func(s *Suite) { s.Encr = 18 }),
		"AEAD and integrity": with(gcm128, func(s *Suite) { s.Integ = wire.INTEGHMACSHA256 }),
		"CBC alone":          with(cbc128, func(s *Suite) { s.Integ = wire.INTEGNone }),
		"HMAC-SHA-1-96":      with(cbc128, func(s *Suite) { s.Integ = 2 }),
		"HMAC-MD5-96":        with(cbc128, func(s *Suite) { s.Integ = 1 }),
		"PRF of MD5":         with(gcm128, func(s *Suite) { s.PRF = 1 }),
		"PRF of SHA-1":       with(gcm128, func(s *Suite) { s.PRF = 2 }),
		"no PRF":             with(gcm128, func(s *Suite) { s.PRF = 0 }),
		"no group":           with(gcm128, func(s *Suite) { s.KE = wire.KENone }),
		"MODP-1024":          with(gcm128, func(s *Suite) { s.KE = 2 }),
		"MODP-1536":          with(gcm128, func(s *Suite) { s.KE = 5 }),
		"nothing":            {},
	} {
		if s.Valid() == nil {
			t.Errorf("%s is valid", what)
		}
	}
	if err := with(gcm128, func(s *Suite) { s.KE = 2 }).Valid(); !strings.Contains(err.Error(), wire.TransformKE.Name(2)) {
		t.Errorf("error %q does not name the group", err)
	}
}

func TestSizes(t *testing.T) {
	for _, row := range []struct {
		suite                           Suite
		key, integ, icv, iv, block, prf int
		source                          string
	}{
		{gcm128, 20, 0, 16, 8, 1, 32, "RFC 5282 7.1"},
		{gcm256, 36, 0, 16, 8, 1, 32, "RFC 5282 7.1"},
		{chacha, 36, 0, 16, 8, 1, 32, "RFC 7634 2"},
		{cbc128, 16, 32, 16, 16, 16, 32, "RFC 4868 2.1.2"},
		{cbc384, 32, 48, 24, 16, 16, 48, "RFC 4868 2.1.2"},
		{largest, 32, 64, 32, 16, 16, 64, "RFC 4868 2.1.2"},
	} {
		s := row.suite
		got := [...]int{s.KeyLen(), s.IntegLen(), s.ICVLen(), s.IVLen(), s.Block(), s.PRFLen()}
		want := [...]int{row.key, row.integ, row.icv, row.iv, row.block, row.prf}
		if got != want {
			t.Errorf("%v: sizes %v, want %v (%s)", s, got, want, row.source)
		}
		encr, integ := ChildKeyLen(s.Encr, s.KeyBits, s.Integ)
		if encr != row.key || integ != row.integ {
			t.Errorf("%v: child keys of %d and %d octets", s, encr, integ)
		}
	}
	if encr, integ := ChildKeyLen(3, 0, 2); encr != 0 || integ != 0 {
		t.Errorf("3DES with SHA-1 has child keys of %d and %d octets", encr, integ)
	}
}

func TestTrailer(t *testing.T) {
	for _, s := range someSuites {
		for plain := range 70 {
			n := s.Trailer(plain) - s.ICVLen()
			if n < 1 || n > s.Block() || (plain+n)%s.Block() != 0 {
				t.Errorf("%v: trailer of %d octets after %d", s, n, plain)
			}
		}
	}
}

// Whatever verb prints it, nothing that holds a key shows one.
func TestRedacted(t *testing.T) {
	pair, err := NewKeyPair(wire.KEX25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, k, x := newPRF(t, wire.PRFHMACSHA256), new(Keys), new(Box)
	DeriveInit(p, cbc128, k, []byte("Ni"), []byte("Nr"), []byte("g^ir"), 1, 2)
	type outer struct {
		Keys *Keys
		PRF  *PRF
	}
	for _, v := range []any{p, *k, k, x, *x, pair, *pair} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			if got := fmt.Sprintf(verb, v); got != "redacted" {
				t.Errorf("%s of %T prints %.40q", verb, v, got)
			}
		}
		if got := fmt.Sprint(v.(fmt.Stringer).String(), v.(fmt.GoStringer).GoString()); got != "redacted redacted" && got != "redactedredacted" {
			t.Errorf("%T: %q", v, got)
		}
	}
	if got := fmt.Sprintf("%+v", outer{k, p}); got != "{Keys:redacted PRF:redacted}" {
		t.Errorf("inside a struct: %s", got)
	}
}

func TestString(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range everySuite() {
		text := s.String()
		if seen[text] || !strings.Contains(text, wire.TransformENCR.Name(s.Encr)) || !strings.Contains(text, wire.TransformPRF.Name(s.PRF)) {
			t.Errorf("%q names two suites, or not its algorithms", text)
		}
		seen[text] = true
	}
}
