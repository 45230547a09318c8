package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"

	"blackswan/auth"
	"blackswan/wire"
)

// minRSA is the shortest RSA key, in bits, that signs for us or for a peer
// (RFC 8247 3.1.1), and maxRSA the longest that we spend time on.
const (
	minRSA = 2048
	maxRSA = 8192
)

// strong refuses keys that are too weak, too slow or of an unknown kind.
func strong(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("RSA key of %d bits: want %d to %d", n, minRSA, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		if _, ok := curves[k.Curve]; !ok {
			return fmt.Errorf("ECDSA key on the curve %s: want P-256, P-384 or P-521", k.Params().Name)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("key of kind %T: want RSA, ECDSA or Ed25519", key)
}

// curves binds each curve to its method of RFC 4754 and to the hash of its strength.
var curves = map[elliptic.Curve]struct {
	method wire.AuthMethod
	hash   crypto.Hash
}{
	elliptic.P256(): {wire.AuthECDSA256, crypto.SHA256},
	elliptic.P384(): {wire.AuthECDSA384, crypto.SHA384},
	elliptic.P521(): {wire.AuthECDSA521, crypto.SHA512},
}

type ecdsaSignature struct{ R, S *big.Int }

// verify checks an AUTH payload against the key of the peer's certificate.
func verify(key crypto.PublicKey, method wire.AuthMethod, data, octets []byte) error {
	switch method {
	case wire.AuthSignature:
		s, signature, err := unframe(data)
		if err != nil {
			return fmt.Errorf("%w: %w: want RSA, ECDSA or Ed25519 with SHA-2", auth.ErrMethod, err)
		}
		return s.verify(key, signature, octets)
	case wire.AuthECDSA256, wire.AuthECDSA384, wire.AuthECDSA521:
		return verifyRaw(key, method, data, octets)
	case wire.AuthRSA:
		return fmt.Errorf("%w: %v signs with SHA-1: switch the peer to RFC 7427 (method 14)", auth.ErrMethod, method) // rule G1
	}
	return fmt.Errorf("%w: %v is no signature that we know", auth.ErrMethod, method)
}

func (s scheme) verify(key crypto.PublicKey, signature, octets []byte) error {
	ok := false
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch s.form {
		case formPKCS1:
			ok = rsa.VerifyPKCS1v15(k, s.hash, digest(s.hash, octets), signature) == nil
		case formPSS:
			ok = rsa.VerifyPSS(k, s.hash, digest(s.hash, octets), signature, &rsa.PSSOptions{SaltLength: s.salt}) == nil
		}
	case *ecdsa.PublicKey:
		ok = s.form == formECDSA && ecdsa.VerifyASN1(k, digest(s.hash, octets), signature)
	case ed25519.PublicKey:
		ok = s.form == formEd25519 && ed25519.Verify(k, octets, signature)
	}
	if !ok {
		return auth.ErrSignature
	}
	return nil
}

// verifyRaw checks methods 9, 10 and 11, RFC 4754 7: r | s, each as long as the
// order of the curve.
func verifyRaw(key crypto.PublicKey, method wire.AuthMethod, data, octets []byte) error {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || curves[k.Curve].method != method {
		return fmt.Errorf("%w: %v needs a key on its curve", auth.ErrMethod, method)
	}
	n := (k.Params().BitSize + 7) / 8
	if len(data) != 2*n {
		return auth.ErrSignature
	}
	der := marshal(ecdsaSignature{new(big.Int).SetBytes(data[:n]), new(big.Int).SetBytes(data[n:])})
	if !ecdsa.VerifyASN1(k, digest(curves[k.Curve].hash, octets), der) {
		return auth.ErrSignature
	}
	return nil
}

// sign makes the signature value of the scheme.
func (s scheme) sign(key crypto.Signer, octets []byte) ([]byte, error) {
	switch s.form {
	case formEd25519:
		return key.Sign(rand.Reader, octets, crypto.Hash(0))
	case formPSS:
		return key.Sign(rand.Reader, digest(s.hash, octets), &rsa.PSSOptions{SaltLength: s.salt, Hash: s.hash})
	}
	return key.Sign(rand.Reader, digest(s.hash, octets), s.hash)
}

// signRaw makes r | s of RFC 4754.
func signRaw(key crypto.Signer, pub *ecdsa.PublicKey, octets []byte) (wire.AuthMethod, []byte, error) {
	curve := curves[pub.Curve]
	der, err := key.Sign(rand.Reader, digest(curve.hash, octets), curve.hash)
	if err != nil {
		return 0, nil, err
	}
	var sig ecdsaSignature
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return 0, nil, err
	}
	n := (pub.Params().BitSize + 7) / 8
	raw := make([]byte, 2*n)
	sig.R.FillBytes(raw[:n])
	sig.S.FillBytes(raw[n:])
	return curve.method, raw, nil
}

func digest(h crypto.Hash, octets []byte) []byte {
	w := h.New()
	w.Write(octets)
	return w.Sum(nil)
}
