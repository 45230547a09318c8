package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"slices"
)

const (
	headerLen = 8  // SPI and Sequence Number, RFC 4303 2.1 and 2.2
	trailLen  = 2  // Pad Length and Next Header, RFC 4303 2.5 and 2.6
	saltLen   = 4  // at the end of the key of an AEAD: RFC 4106 4, RFC 7634 2
	ivLenAEAD = 8  // RFC 4106 3.1, RFC 7634 2
	tagLen    = 16 // of both AEADs
	alignment = 4  // the ICV begins on a boundary of 4 octets, RFC 4303 2.4

	// MaxHeadLen and MaxTailLen are the most octets that any algorithm puts
	// before and behind a payload.
	MaxHeadLen = headerLen + aes.BlockSize
	MaxTailLen = aes.BlockSize - 1 + trailLen + sha512.Size/2
)

// Algorithm says how the packets of an SA are protected. It is read only, and
// one value serves any number of SAs.
type Algorithm struct {
	name     string
	keyLens  []int // of the encryption key, in octets, with the salt of an AEAD
	integLen int   // of the integrity key, in octets
	ivLen    int
	block    int // payload, padding and trailer fill blocks of so many octets
	icvLen   int

	// newTransform makes the ciphers of one direction of an SA.
	newTransform func(k *keys, d direction, esn bool) (transform, error)
}

// The algorithms that need nothing but the standard library. Keys of AESGCM16
// have 20 or 36 octets, the last 4 are the salt (RFC 4106 8.1). The others have
// an encryption key of 16 or 32 octets (RFC 3602 2.3) and an integrity key as
// long as the hash (RFC 4868 2.1.1).
var (
	AESGCM16        = combinedMode("AES-GCM-16", []int{16, 32}, newGCM)
	AESCBCSHA256128 = separateModes("AES-CBC with HMAC-SHA2-256-128", sha256.New)
	AESCBCSHA384192 = separateModes("AES-CBC with HMAC-SHA2-384-192", sha512.New384)
	AESCBCSHA512256 = separateModes("AES-CBC with HMAC-SHA2-512-256", sha512.New)
)

// ChaCha20Poly1305 is the algorithm of RFC 7634. newAEAD makes the AEAD of
// RFC 8439 for a key of 32 octets, which it must not keep: the constructor of
// golang.org/x/crypto does. Keys have 36 octets, the last 4 are the salt.
func ChaCha20Poly1305(newAEAD func(key []byte) (cipher.AEAD, error)) *Algorithm {
	return combinedMode("ChaCha20-Poly1305", []int{32}, newAEAD)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func combinedMode(name string, keyLens []int, newAEAD func(key []byte) (cipher.AEAD, error)) *Algorithm {
	a := &Algorithm{name: name, ivLen: ivLenAEAD, block: alignment, icvLen: tagLen}
	for _, n := range keyLens {
		a.keyLens = append(a.keyLens, n+saltLen)
	}
	a.newTransform = func(k *keys, _ direction, esn bool) (transform, error) {
		return newCombined(k, newAEAD, esn)
	}
	return a
}

func separateModes(name string, newHash func() hash.Hash) *Algorithm {
	size := newHash().Size()
	return &Algorithm{
		name: name, keyLens: []int{16, 32}, integLen: size,
		ivLen: aes.BlockSize, block: aes.BlockSize,
		icvLen: size / 2, // RFC 4868 2.3
		newTransform: func(k *keys, d direction, esn bool) (transform, error) {
			return newSeparate(k, newHash, d, esn)
		},
	}
}

// String names the algorithm with the words of its RFC.
func (a *Algorithm) String() string { return a.name }

// HeadLen is how many octets stand before a payload: header and IV.
func (a *Algorithm) HeadLen() int { return headerLen + a.ivLen }

// TailLen is how many octets may stand behind a payload: the longest padding,
// Pad Length, Next Header and ICV.
func (a *Algorithm) TailLen() int { return a.block - 1 + trailLen + a.icvLen }

// Size is the length in octets of the ESP packet for a payload of n octets.
func (a *Algorithm) Size(n int) int {
	return a.HeadLen() + n + a.padLen(n) + trailLen + a.icvLen
}

// padLen is the shortest padding behind n octets of payload (RFC 4303 2.4).
func (a *Algorithm) padLen(n int) int { return -(n + trailLen) & (a.block - 1) }

// whole tells whether n octets can be an ESP packet: header, IV, ICV, and
// between the last two at least a trailer, in whole blocks of the cipher. For
// an AEAD any number of octets will do: the alignment is the sender's duty.
func (a *Algorithm) whole(n int) bool {
	n -= a.HeadLen() + a.icvLen
	return n >= trailLen && (a.block == alignment || n%a.block == 0)
}

// keys returns a copy of the keys of one direction, or says which has a length
// that is not of this algorithm.
func (a *Algorithm) keys(encr, integ []byte) (k keys, err error) {
	if !slices.Contains(a.keyLens, len(encr)) {
		return k, fmt.Errorf("esp: %v with an encryption key of %d octets: it takes %v, the salt of an AEAD included", a, len(encr), a.keyLens)
	}
	if len(integ) != a.integLen {
		return k, fmt.Errorf("esp: %v with an integrity key of %d octets: it takes %d", a, len(integ), a.integLen)
	}
	k.encrLen, k.integLen = uint8(copy(k.buf[:], encr)), uint8(len(integ))
	copy(k.buf[len(encr):], integ)
	return k, nil
}

// keys are the keys of one direction of an SA, in the order in which KEYMAT
// gives them (RFC 7296 2.17). They have no pointers; they print as "redacted".
type keys struct {
	redacted
	buf               [32 + sha512.Size]byte // AES-256 and HMAC-SHA2-512
	encrLen, integLen uint8
}

// transform makes the ciphers for one direction. It fails with ErrWiped where
// the keys are gone, and with what the constructor of an AEAD says.
func (k *keys) transform(a *Algorithm, d direction, esn bool) (transform, error) {
	if k.encrLen == 0 {
		return nil, ErrWiped
	}
	return a.newTransform(k, d, esn)
}

func (k *keys) encr() []byte  { return k.buf[:k.encrLen] }
func (k *keys) integ() []byte { return k.buf[k.encrLen:][:k.integLen] }
