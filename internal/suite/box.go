package suite

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"

	"blackswan/wire"
)

// What Seal and Open say about a payload. Only ErrLength may come from Seal.
var (
	ErrLength  = errors.New("suite: encrypted payload of impossible length")
	ErrICV     = errors.New("suite: encrypted payload fails its integrity check")
	ErrPadding = errors.New("suite: pad length is larger than the encrypted payload")
)

// Box seals and opens SK and SKF payloads in place (RFC 7296 3.14, RFC 7383
// 2.5, RFC 5282). It holds scratch only: keys come with each call, and the zero
// Box is ready. It works with valid suites only. It is not for concurrent use;
// it prints as "redacted".
//
//	msg: | header .. SK header | IV | plaintext | padding | pad length | ICV |
//	     0                     ivAt plainAt     plainEnd                     len
type Box struct {
	redacted
	nonce [chacha20poly1305.NonceSize]byte
	icv   [maxHash]byte
	macs  [3]*PRF // HMAC-SHA2-256, -384, -512 for CBC, made at first use
}

// Seal encrypts msg[plainAt:plainEnd] in place and fills in the IV, padding of
// zeros, the Pad Length octet and the ICV. msg is the whole message with all
// lengths final; its end decides how much padding there is, 0 to 255 octets:
// s.Trailer gives the shortest, and a multiple of s.Block() more may be asked
// for. ek is SK_e, ak SK_a of the sending direction. iv has s.IVLen() octets:
// for an AEAD a value never used before under ek, a counter is fine (RFC 5282
// 3.1); for AES-CBC an unpredictable one (RFC 7296 3.14).
func (x *Box) Seal(s Suite, ek, ak, msg []byte, ivAt, plainAt, plainEnd int, iv []byte) error {
	end := len(msg) - s.ICVLen() // of the ciphertext
	pad := end - 1 - plainEnd
	if pad < 0 || pad > 255 || plainAt != ivAt+s.IVLen() || len(iv) != s.IVLen() || plainEnd < plainAt || (end-plainAt)%s.Block() != 0 {
		return ErrLength
	}
	copy(msg[ivAt:plainAt], iv)
	clear(msg[plainEnd : end-1])
	msg[end-1] = byte(pad)
	if s.AEAD() {
		a, err := x.aead(s, ek, iv)
		if err != nil {
			return err
		}
		a.Seal(msg[plainAt:plainAt], x.nonce[:], msg[plainAt:end], msg[:ivAt]) // RFC 5282 5.1: associated data up to the payload header
		return nil
	}
	block, err := aes.NewCipher(ek)
	if err != nil {
		return err
	}
	cipher.NewCBCEncrypter(block, msg[ivAt:plainAt]).CryptBlocks(msg[plainAt:end], msg[plainAt:end])
	copy(msg[end:], x.mac(s, ak, msg[:end]))
	return nil
}

// Open checks the ICV of msg, decrypts in place and returns the plaintext
// without padding, a view of msg. ek is SK_e, ak SK_a of the direction of the
// message. After an error the encrypted part of msg is no longer what it was.
// It tells ErrLength, ErrICV and ErrPadding; the last one can come only from
// the holder of the keys.
func (x *Box) Open(s Suite, ek, ak, msg []byte, ivAt int) (plain []byte, err error) {
	plainAt := ivAt + s.IVLen()
	end := len(msg) - s.ICVLen()
	if ivAt < 0 || ivAt > len(msg) || end <= plainAt || (end-plainAt)%s.Block() != 0 {
		return nil, ErrLength
	}
	iv := msg[ivAt:plainAt]
	if s.AEAD() {
		a, err := x.aead(s, ek, iv)
		if err != nil {
			return nil, err
		}
		if _, err = a.Open(msg[plainAt:plainAt], x.nonce[:], msg[plainAt:], msg[:ivAt]); err != nil { //rfc:7296-3.14-2
			return nil, ErrICV
		}
	} else {
		if !hmac.Equal(x.mac(s, ak, msg[:end]), msg[end:]) { // RFC 7296 3.14: the ICV is over the encrypted message, so it is checked first
			return nil, ErrICV
		}
		block, err := aes.NewCipher(ek)
		if err != nil {
			return nil, err
		}
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(msg[plainAt:end], msg[plainAt:end])
	}
	pad := int(msg[end-1]) // RFC 7296 3.14: any value that leaves a plaintext is accepted, and any octets as padding
	if pad > end-1-plainAt {
		return nil, ErrPadding
	}
	plainEnd := end - 1 - pad
	return msg[plainAt:plainEnd:plainEnd], nil
}

// aead sets up the cipher and its nonce: salt from the end of the key, then
// the IV (RFC 5282 4, RFC 7634 2).
func (x *Box) aead(s Suite, ek, iv []byte) (cipher.AEAD, error) {
	if len(ek) != s.KeyLen() {
		return nil, ErrLength
	}
	key, salt := ek[:len(ek)-saltLen], ek[len(ek)-saltLen:]
	copy(x.nonce[:saltLen], salt)
	copy(x.nonce[saltLen:], iv)
	if s.Encr == wire.ENCRChaCha20Poly1305 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// mac returns the truncated HMAC of b, in scratch.
func (x *Box) mac(s Suite, ak, b []byte) []byte {
	id := integHash(s.Integ)
	m := &x.macs[id-wire.PRFHMACSHA256]
	if *m == nil {
		p, err := NewPRF(id)
		must(err)
		*m = p
	}
	(*m).Key(ak)
	(*m).Write(b)
	return (*m).Sum(x.icv[:0])[:s.ICVLen()]
}
