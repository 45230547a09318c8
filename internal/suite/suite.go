package suite

import (
	"fmt"

	"blackswan/wire"
)

// Suite names the algorithms of one IKE SA. It is comparable. Integ is
// INTEGNone when Encr authenticates by itself (RFC 5282 8). KeyBits is the
// Key Length attribute: 128 or 256 for AES, 0 for ChaCha20-Poly1305, whose key
// has one size only (RFC 7634 3).
type Suite struct {
	Encr           wire.TransformID
	KeyBits        uint16
	Integ, PRF, KE wire.TransformID
}

const (
	saltLen   = 4  // AEAD keys end in a salt: RFC 4106 4, RFC 5282 4, RFC 7634 2
	ivLenAEAD = 8  // explicit part of the nonce, RFC 5282 3.1
	icvLen16  = 16 // tag of both AEADs
	aesBlock  = 16
)

// Valid returns nil for a suite that this package can do and that nobody needs
// to be ashamed of (RFC 8247): AES-GCM-16 or AES-CBC of 128 or 256 bits or
// ChaCha20-Poly1305, HMAC-SHA-2, and a group that KnownGroup lists. The error
// names the first algorithm that is weaker or unknown.
func (s Suite) Valid() error {
	if keyLen(s.Encr, s.KeyBits) == 0 {
		return fmt.Errorf("suite: encryption %s with a key of %d bits: unknown or too weak", wire.TransformENCR.Name(s.Encr), s.KeyBits)
	}
	if s.AEAD() && s.Integ != wire.INTEGNone {
		return fmt.Errorf("suite: %s beside %s, which authenticates by itself (RFC 5282 8)", wire.TransformINTEG.Name(s.Integ), wire.TransformENCR.Name(s.Encr))
	}
	if !s.AEAD() && hashLen(integHash(s.Integ)) == 0 {
		return fmt.Errorf("suite: integrity %s: unknown or too weak", wire.TransformINTEG.Name(s.Integ))
	}
	if hashLen(s.PRF) == 0 {
		return fmt.Errorf("suite: %s: unknown or too weak", wire.TransformPRF.Name(s.PRF))
	}
	if !KnownGroup(s.KE) {
		return fmt.Errorf("suite: key exchange %s: unknown or too weak", wire.TransformKE.Name(s.KE))
	}
	return nil
}

// AEAD reports whether Encr authenticates by itself.
func (s Suite) AEAD() bool { return aead(s.Encr) }

// KeyLen is the size of SK_e in octets, with the 4 octets of salt of an AEAD.
func (s Suite) KeyLen() int { return keyLen(s.Encr, s.KeyBits) }

// IntegLen is the size of SK_a in octets, 0 for an AEAD (RFC 5282 7).
func (s Suite) IntegLen() int {
	if s.AEAD() {
		return 0
	}
	return hashLen(integHash(s.Integ))
}

// ICVLen is the size of the Integrity Checksum Data in octets: the tag of an
// AEAD, or half of the hash (RFC 4868 2.1).
func (s Suite) ICVLen() int {
	if s.AEAD() {
		return icvLen16
	}
	return s.IntegLen() / 2
}

// IVLen is the size of the Initialization Vector in octets.
func (s Suite) IVLen() int {
	if s.AEAD() {
		return ivLenAEAD
	}
	return aesBlock
}

// Block is what the plaintext with padding and Pad Length must be a multiple
// of, in octets: 1 for an AEAD (RFC 5282 3), 16 for AES-CBC.
func (s Suite) Block() int {
	if s.AEAD() {
		return 1
	}
	return aesBlock
}

// PRFLen is the size in octets of the PRF's output and of its preferred key,
// and so of SK_d, SK_pi and SK_pr (RFC 7296 2.14).
func (s Suite) PRFLen() int { return hashLen(s.PRF) }

// Trailer is how many octets follow a plaintext of that size: the shortest
// padding, the Pad Length octet and the ICV (RFC 7296 3.14).
func (s Suite) Trailer(plain int) int {
	block := s.Block()
	pad := (block - (plain+1)%block) % block
	return pad + 1 + s.ICVLen()
}

// String names the suite with the words of the IANA registries.
func (s Suite) String() string {
	encr := wire.TransformENCR.Name(s.Encr)
	if s.KeyBits != 0 {
		encr = fmt.Sprintf("%s-%d", encr, s.KeyBits)
	}
	if !s.AEAD() {
		encr += "/" + wire.TransformINTEG.Name(s.Integ)
	}
	return encr + "/" + wire.TransformPRF.Name(s.PRF) + "/" + wire.TransformKE.Name(s.KE)
}

// ChildKeyLen returns the sizes in octets of the keys of one direction of an
// ESP SA: the encryption key with the 4 octets of salt of an AEAD, and the
// integrity key. Zero for what this package does not know.
func ChildKeyLen(encr wire.TransformID, keyBits uint16, integ wire.TransformID) (encrLen, integLen int) {
	s := Suite{Encr: encr, KeyBits: keyBits, Integ: integ}
	return s.KeyLen(), s.IntegLen()
}

func aead(encr wire.TransformID) bool {
	return encr == wire.ENCRAESGCM16 || encr == wire.ENCRChaCha20Poly1305
}

// keyLen is the key size in octets with salt, 0 for what is unknown or weak.
func keyLen(encr wire.TransformID, bits uint16) int {
	switch {
	case encr == wire.ENCRAESGCM16 && (bits == 128 || bits == 256):
		return int(bits)/8 + saltLen
	case encr == wire.ENCRAESCBC && (bits == 128 || bits == 256):
		return int(bits) / 8
	case encr == wire.ENCRChaCha20Poly1305 && bits == 0:
		return 32 + saltLen
	}
	return 0
}

// integHash is the PRF with the same HMAC as an integrity algorithm, before
// truncation (RFC 4868 2.1): the two registries number one construction twice.
func integHash(integ wire.TransformID) wire.TransformID {
	switch integ {
	case wire.INTEGHMACSHA256:
		return wire.PRFHMACSHA256
	case wire.INTEGHMACSHA384:
		return wire.PRFHMACSHA384
	case wire.INTEGHMACSHA512:
		return wire.PRFHMACSHA512
	}
	return 0
}

// hashLen is the size in octets of the output of a PRF, 0 for an unknown one.
func hashLen(prf wire.TransformID) int {
	switch prf {
	case wire.PRFHMACSHA256:
		return 32
	case wire.PRFHMACSHA384:
		return 48
	case wire.PRFHMACSHA512:
		return 64
	}
	return 0
}
