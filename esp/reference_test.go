package esp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// reference makes an ESP packet of a plaintext with its trailer, the slow way
// and straight from the figures of the RFCs, with any IV. The vectors judge it,
// and it judges Seal; it also makes the packets that Seal would never make.
func reference(t testing.TB, a *Algorithm, encr, integ []byte, esn bool, spi uint32, seq uint64, iv, plain []byte) []byte {
	t.Helper()
	header := binary.BigEndian.AppendUint32(nil, spi)
	header = binary.BigEndian.AppendUint32(header, uint32(seq))
	high := binary.BigEndian.AppendUint32(nil, uint32(seq>>32))

	if a == AESGCM16 || a == chacha {
		key, salt := encr[:len(encr)-4], encr[len(encr)-4:]
		aad := header // RFC 4106 5, RFC 7634 2.1
		if esn {
			aad = slices.Concat(header[:4], high, header[4:])
		}
		return slices.Concat(header, iv, slowAEAD(t, a, key).Seal(nil, slices.Concat(salt, iv), plain, aad))
	}

	block, err := aes.NewCipher(encr)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(encrypted, plain)
	packet := slices.Concat(header, iv, encrypted)
	mac := hmac.New(slowHash(a), integ)
	mac.Write(packet)
	if esn {
		mac.Write(high) // RFC 4303 2.2.1
	}
	return append(packet, mac.Sum(nil)[:mac.Size()/2]...)
}

func slowAEAD(t testing.TB, a *Algorithm, key []byte) cipher.AEAD {
	t.Helper()
	if a == chacha {
		aead, err := chacha20poly1305.New(key)
		if err != nil {
			t.Fatal(err)
		}
		return aead
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func slowHash(a *Algorithm) func() hash.Hash {
	return map[*Algorithm]func() hash.Hash{
		AESCBCSHA256128: sha256.New, AESCBCSHA384192: sha512.New384, AESCBCSHA512256: sha512.New,
	}[a]
}

// trailed is a payload with padding of its own length, Pad Length and Next Header.
func trailed(payload []byte, padLen int, next uint8) []byte {
	plain := bytes.Clone(payload)
	for i := range padLen {
		plain = append(plain, byte(i+1))
	}
	return append(plain, byte(padLen), next)
}

// forge is a packet that authenticates under the keys of pair, with any
// plaintext. Its IV is anything.
func forge(t testing.TB, suite int, esn bool, seq uint64, plain []byte) []byte {
	t.Helper()
	s := suites[suite]
	iv := key(9, s.algorithm.ivLen)
	return reference(t, s.algorithm, key(1, s.encrLen), key(2, s.integLen), esn, testSPI, seq, iv, plain)
}
