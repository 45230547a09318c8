package propose

import (
	"reflect"
	"strings"
	"testing"

	"blackswan/internal/suite"
	"blackswan/wire"
)

var (
	cbc256 = Alg{wire.ENCRAESCBC, 256}
	cbc128 = Alg{wire.ENCRAESCBC, 128}
)

func ids(list ...wire.TransformID) []wire.TransformID { return list }

func TestParseIKE(t *testing.T) {
	for _, row := range []struct {
		text, back string
		want       IKE
	}{
		{"aes256gcm16-sha256-x25519", "aes256gcm16-prfsha256-x25519",
			IKE{Encr: []Alg{gcm256}, PRF: ids(wire.PRFHMACSHA256), KE: ids(wire.KEX25519)}},
		{"aes256gcm16-prfsha384-ecp384", "",
			IKE{Encr: []Alg{gcm256}, PRF: ids(wire.PRFHMACSHA384), KE: ids(wire.KEECP384)}},
		{"aes128-sha256-prfsha256-ecp256-modp2048", "aes128-sha256-ecp256-modp2048",
			IKE{Encr: []Alg{cbc128}, Integ: ids(wire.INTEGHMACSHA256), PRF: ids(wire.PRFHMACSHA256), KE: ids(wire.KEECP256, wire.KEMODP2048)}},
		{"aes128-aes256-sha512-sha384-prfsha512-ecp521-modp3072-modp4096", "",
			IKE{Encr: []Alg{cbc128, cbc256}, Integ: ids(wire.INTEGHMACSHA512, wire.INTEGHMACSHA384), PRF: ids(wire.PRFHMACSHA512), KE: ids(wire.KEECP521, wire.KEMODP3072, wire.KEMODP4096)}},
		{"chacha20poly1305-aes256-aes128gcm16-sha256-x25519", "",
			IKE{Encr: []Alg{chacha, cbc256, gcm128}, Integ: ids(wire.INTEGHMACSHA256), PRF: ids(wire.PRFHMACSHA256), KE: ids(wire.KEX25519)}},
		{" X25519-SHA256-AES256gcm16 ", "aes256gcm16-prfsha256-x25519",
			IKE{Encr: []Alg{gcm256}, PRF: ids(wire.PRFHMACSHA256), KE: ids(wire.KEX25519)}},
	} {
		got, err := ParseIKE(row.text)
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%q: %+v, %v; want %+v", row.text, got, err, row.want)
		}
		back := row.back
		if back == "" {
			back = row.text
		}
		if got.String() != back {
			t.Errorf("%q prints as %q, want %q", row.text, got, back)
		}
	}
}

func TestParseESP(t *testing.T) {
	no, yes := ids(wire.ESNNo), ids(wire.ESNYes)
	for _, row := range []struct {
		text, back string
		want       ESP
	}{
		{"aes256gcm16", "", ESP{Encr: []Alg{gcm256}, ESN: no}},
		{"aes256gcm16-noesn", "aes256gcm16", ESP{Encr: []Alg{gcm256}, ESN: no}},
		{"chacha20poly1305-aes128gcm16-x25519-none-esn-noesn", "",
			ESP{Encr: []Alg{chacha, gcm128}, KE: ids(wire.KEX25519, wire.KENone), ESN: ids(wire.ESNYes, wire.ESNNo)}},
		{"aes128-sha256-modp2048-esn", "", ESP{Encr: []Alg{cbc128}, Integ: ids(wire.INTEGHMACSHA256), KE: ids(wire.KEMODP2048), ESN: yes}},
	} {
		got, err := ParseESP(row.text)
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%q: %+v, %v; want %+v", row.text, got, err, row.want)
		}
		back := row.back
		if back == "" {
			back = row.text
		}
		if got.String() != back {
			t.Errorf("%q prints as %q, want %q", row.text, got, back)
		}
	}
}

// An error names the proposal, the word, and what to write instead.
func TestParseRefuses(t *testing.T) {
	ike := func(text string) error { _, err := ParseIKE(text); return err }
	esp := func(text string) error { _, err := ParseESP(text); return err }
	for _, row := range []struct {
		parse func(string) error
		text  string
		says  []string
	}{
		{ike, "", []string{`""`, "aes256gcm16"}},
		{ike, "aes256gcm16-sha256-x25518", []string{`"x25518"`, "x25519", "modp2048"}},
		{ike, "aes256gcm16--x25519", []string{`""`, "x25519"}},
		{ike, "3des-sha256-modp2048", []string{`"3des" is refused: weaker than aes128`}},
		{ike, "des-sha256-modp2048", []string{`"des" is refused: weaker than aes128`}},
		{ike, "aes128-sha1-modp2048", []string{`"sha1" is refused: weaker than sha256`}},
		{ike, "aes128-md5-modp2048", []string{`"md5" is refused: weaker than sha256`}},
		{ike, "aes128-sha256-modp1024", []string{`"modp1024" is refused: weaker than modp2048`}},
		{ike, "aes128-sha256-modp1536", []string{`"modp1536" is refused: weaker than modp2048`}},
		{ike, "aes128-sha256-sha256-x25519", []string{`"sha256" stands there twice`}},
		{ike, "aes256gcm16-sha256", []string{"no key exchange", "x25519"}},
		{ike, "aes256gcm16-x25519", []string{"no pseudorandom function", "prfsha256"}},
		{ike, "sha256-x25519", []string{"no encryption", "aes256gcm16"}},
		{ike, "aes128-prfsha256-x25519", []string{"no integrity", "sha256"}},
		{ike, "aes256gcm16-sha256-prfsha384-x25519", []string{"aes256gcm16 authenticates by itself", `"sha256"`}},
		{ike, "aes256gcm16-sha256-x25519-none", []string{`"none"`, "ESP"}},
		{ike, "aes256gcm16-sha256-x25519-esn", []string{`"esn"`}},
		{esp, "aes256gcm16-sha256", []string{"aes256gcm16 authenticates by itself", `"sha256"`}},
		{esp, "aes256", []string{"no integrity"}},
		{esp, "aes256gcm16-prfsha256", []string{`"prfsha256"`, "noesn"}},
		{esp, "null-sha256", []string{`"null" is refused`}},
		{esp, "x25519-esn", []string{"no encryption"}},
	} {
		err := row.parse(row.text)
		if err == nil {
			t.Errorf("%q is accepted", row.text)
			continue
		}
		for _, want := range append(row.says, row.text) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error %q does not say %q", row.text, err, want)
			}
		}
	}
}

// What is called weak names a better word, and no word is both.
func TestWeakWords(t *testing.T) {
	for text, instead := range weak {
		if _, ok := lookup(text); ok {
			t.Errorf("%q is weak and a word", text)
		}
		if _, ok := lookup(instead); !ok {
			t.Errorf("instead of %q there should stand %q, which is no word", text, instead)
		}
	}
}

// Every word stands for something that suite knows, and reads back.
func TestWords(t *testing.T) {
	for _, w := range words {
		if got := textOf(w.kind, w.id, w.bits); got != w.text {
			t.Errorf("%q reads back as %q", w.text, got)
		}
		s := suite.Suite{Encr: wire.ENCRAESCBC, KeyBits: 128, Integ: wire.INTEGHMACSHA256, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
		switch w.kind {
		case wire.TransformENCR:
			s.Encr, s.KeyBits = w.id, w.bits
			if s.AEAD() {
				s.Integ = wire.INTEGNone
			}
		case wire.TransformINTEG:
			s.Integ = w.id
		case wire.TransformPRF:
			s.PRF = w.id
		case wire.TransformKE:
			if w.id == wire.KENone {
				continue
			}
			s.KE = w.id
		}
		if err := s.Valid(); err != nil {
			t.Errorf("%q: %v", w.text, err)
		}
	}
}

func TestDefaultsAreTexts(t *testing.T) {
	for _, p := range DefaultIKE() {
		if got, err := ParseIKE(p.String()); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%v reads back as %v, %v", p, got, err)
		}
	}
	for _, p := range DefaultESP() {
		if got, err := ParseESP(p.String()); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%v reads back as %v, %v", p, got, err)
		}
	}
}

func TestESPSuiteString(t *testing.T) {
	for want, e := range map[string]ESPSuite{
		"aes256gcm16-esn":      {Encr: wire.ENCRAESGCM16, KeyBits: 256, ESN: true},
		"aes128-sha384-x25519": {Encr: wire.ENCRAESCBC, KeyBits: 128, Integ: wire.INTEGHMACSHA384, KE: wire.KEX25519},
		"chacha20poly1305":     {Encr: wire.ENCRChaCha20Poly1305},
	} {
		if e.String() != want {
			t.Errorf("%+v prints as %q, want %q", e, e.String(), want)
		}
	}
}

// What parses is valid, prints to a text that parses to the same, and makes an
// SA payload out of which a peer of the same mind selects.
func FuzzParseIKE(f *testing.F) {
	for _, text := range []string{"aes256gcm16-sha256-x25519", "aes128-sha256-prfsha256-ecp256-modp2048", "aes128-chacha20poly1305-sha512-x25519", "3des-md5-modp1024", "aes256gcm16-none", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseIKE(text)
		if err != nil {
			return
		}
		again, err := ParseIKE(p.String())
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%q prints as %q, which reads as %+v, %v", text, p, again, err)
		}
		list := []IKE{p}
		s, num, err := SelectIKE(offered(t, Specs(list, nil)...), list, wire.KENone)
		if err != nil {
			t.Fatalf("%q does not agree with itself: %v", text, err)
		}
		if err := s.Valid(); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got, err := CheckIKE(offered(t, SpecOf(s, num)), list); err != nil || got != s {
			t.Fatalf("%q: the initiator sees %v, %v; the responder chose %v", text, got, err, s)
		}
	})
}

// FuzzParseESP is the same for Child SAs.
func FuzzParseESP(f *testing.F) {
	for _, text := range []string{"aes256gcm16", "aes256-sha256-esn", "aes128gcm16-x25519-none-esn-noesn", "aes128-aes256gcm16-sha256", "null", "-"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseESP(text)
		if err != nil {
			return
		}
		again, err := ParseESP(p.String())
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%q prints as %q, which reads as %+v, %v", text, p, again, err)
		}
		list := []ESP{p}
		e, num, spi, err := SelectESP(offered(t, SpecsESP(list, espSPIBytes)...), list)
		if err != nil || spi != 0x12345678 {
			t.Fatalf("%q does not agree with itself: %#x, %v", text, spi, err)
		}
		if got, _, err := CheckESP(offered(t, SpecOfESP(nil, e, num, espSPIBytes)), list); err != nil || got != e {
			t.Fatalf("%q: the initiator sees %v, %v; the responder chose %v", text, got, err, e)
		}
	})
}
