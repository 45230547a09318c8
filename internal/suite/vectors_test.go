package suite

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"blackswan/wire"
)

// The vectors under testdata come from elsewhere: rfc4231.json and groups.json
// from RFC 4231 4, RFC 5903 8 and RFC 8031 Appendix A; keys.json and
// messages.json from runs of libreswan 5.2 and Rockhopper VPN 0.2 with all
// their secrets, and from the captures of Wireshark's test suite.

// octets are written in hexadecimal.
type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

func load[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var list []T
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(list) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return list
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var o octets
	if err := o.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return o
}

func newPRF(t testing.TB, id wire.TransformID) *PRF {
	t.Helper()
	p, err := NewPRF(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var (
	gcm128  = Suite{Encr: wire.ENCRAESGCM16, KeyBits: 128, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
	gcm256  = Suite{Encr: wire.ENCRAESGCM16, KeyBits: 256, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
	chacha  = Suite{Encr: wire.ENCRChaCha20Poly1305, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
	cbc128  = Suite{Encr: wire.ENCRAESCBC, KeyBits: 128, Integ: wire.INTEGHMACSHA256, PRF: wire.PRFHMACSHA256, KE: wire.KEMODP2048}
	cbc384  = Suite{Encr: wire.ENCRAESCBC, KeyBits: 256, Integ: wire.INTEGHMACSHA384, PRF: wire.PRFHMACSHA384, KE: wire.KEECP384}
	largest = Suite{Encr: wire.ENCRAESCBC, KeyBits: 256, Integ: wire.INTEGHMACSHA512, PRF: wire.PRFHMACSHA512, KE: wire.KEMODP4096}
)

var someSuites = []Suite{gcm128, gcm256, chacha, cbc128, cbc384, largest}
