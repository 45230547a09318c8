package cert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"blackswan/auth"
	"blackswan/wire"
)

// rfc4754 are the examples of RFC 4754 8: a public key, and the signature of "abc".
var rfc4754 = []struct {
	section    string
	curve      elliptic.Curve
	method     wire.AuthMethod
	x, y, r, s string
}{
	{"8.1", elliptic.P256(), wire.AuthECDSA256,
		"2442a5cc0ecd015fa3ca31dc8e2bbc70bf42d60cbca20085e0822cb04235e970",
		"6fc98bd7e50211a4a27102fa3549df79ebcb4bf246b80945cddfe7d509bbfd7d",
		"cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e97566ea1c066957c",
		"86fa3bb4e26cad5bf90b7f81899256ce7594bb1ea0c89212748bff3b3d5b0315"},
	{"8.2", elliptic.P384(), wire.AuthECDSA384,
		"96281bf8dd5e0525ca049c048d345d3082968d10fedf5c5aca0c64e6465a97ea5ce10c9dfec21797415710721f437922",
		"447688ba94708eb6e2e4d59f6ab6d7edff9301d249fe49c33096655f5d502fad3d383b91c5e7edaa2b714cc99d5743ca",
		"fb017b914e29149432d8bac29a514640b46f53ddab2c69948084e2930f1c8f7e08e07c9c63f2d21a07dcb56a6af56eb3",
		"b263a1305e057f984d38726a1b46874109f417bca112674c528262a40a629af1cbb9f516ce0fa7d2ff630863a00e8b9f"},
	{"8.3", elliptic.P521(), wire.AuthECDSA521,
		"0151518f1af0f563517edd5485190df95a4bf57b5cba4cf2a9a3f6474725a35f7afe0a6ddeb8bedbcd6a197e592d40188901cecd650699c9b5e456aea5add19052a8",
		"006f3b142ea1bfff7e2837ad44c9e4ff6d2d34c73184bbad90026dd5e6e85317d9df45cad7803c6c20035b2f3ff63aff4e1ba64d1c077577da3f4286c58f0aeae643",
		"0154fd3836af92d0dca57dd5341d3053988534fde8318fc6aaaab68e2e6f4339b19f2f281a7e0b22c269d93cf8794a9278880ed7dbb8d9362caeacee544320552251",
		"017705a7030290d1ceb605a9a1bb03ff9cdd521e87a696ec926c8c10c8362df4975367101f67d1cf9bccbf2f3d239534fa509e70aac851ae01aac68d62f866472660"}}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC4754_8_Examples(t *testing.T) {
	for _, row := range rfc4754 {
		key, err := ecdsa.ParseUncompressedPublicKey(row.curve, slices.Concat([]byte{4}, unhex(t, row.x), unhex(t, row.y)))
		if err != nil {
			t.Fatal(row.section, err)
		}
		data := slices.Concat(unhex(t, row.r), unhex(t, row.s))
		if err := verify(key, row.method, data, []byte("abc")); err != nil {
			t.Errorf("%s: %v", row.section, err)
		}
		if err := verify(key, row.method, data, []byte("abd")); !errors.Is(err, auth.ErrSignature) {
			t.Errorf("%s, another message: %v", row.section, err)
		}
		// RFC 4754 7: both numbers have the length of the order, no more, no less.
		for _, bad := range [][]byte{data[1:], append(bytes.Clone(data), 0), slices.Concat([]byte{0, 0}, data)} {
			if err := verify(key, row.method, bad, []byte("abc")); !errors.Is(err, auth.ErrSignature) {
				t.Errorf("%s, %d octets: %v", row.section, len(bad), err)
			}
		}
		for _, other := range rfc4754 {
			if other.method == row.method {
				continue
			}
			if err := verify(key, other.method, data, []byte("abc")); !errors.Is(err, auth.ErrMethod) {
				t.Errorf("%s with %v: %v", row.section, other.method, err)
			}
		}
	}
}

// TestRuleG1 refuses the old RSA method, whose hash is SHA-1 in the field, even
// where the signature is right.
func TestRuleG1_NoOldRSA(t *testing.T) {
	key := rsaKey(2048)
	octets := []byte("octets")
	signature, err := scheme{form: formPKCS1, hash: hashes[0].hash}.sign(key, octets)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(key.Public(), wire.AuthRSA, signature, octets); !errors.Is(err, auth.ErrMethod) {
		t.Errorf("method 1: %v", err)
	}
}

// FuzzVerify: no data of a stranger passes for a signature, and none panics.
func FuzzVerify(f *testing.F) {
	keys := []any{rsaKey(2048).Public(), newKey("P-256").Public(), newKey("P-521").Public(), newKey("ed25519").Public()}
	for _, k := range []string{"P-256", "ed25519"} {
		s := scheme{form: formECDSA, hash: hashes[0].hash}
		if k == "ed25519" {
			s = scheme{form: formEd25519}
		}
		signature, err := s.sign(newKey(k), []byte("octets"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(14), s.frame(signature))
	}
	f.Add(uint8(9), make([]byte, 64))
	f.Add(uint8(11), bytes.Repeat([]byte{0xff}, 132))
	f.Add(uint8(14), slices.Concat([]byte{67}, scheme{form: formPSS, hash: hashes[0].hash, salt: 32}.identifier(), make([]byte, 256)))
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		for _, key := range keys {
			if err := verify(key, wire.AuthMethod(method), data, []byte("octets of nobody")); err == nil {
				t.Errorf("accepted %x", data)
			}
		}
	})
}
