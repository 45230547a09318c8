package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"slices"
)

// separate is AES-CBC with an HMAC over what it has encrypted: separate
// confidentiality and integrity algorithms (RFC 4303 3.3.2.1).
type separate struct {
	cbc    cbcMode
	mac    hash.Hash // remembers its states after the key
	icvLen int
	esn    bool
	high   [4]byte // of the sequence number
	sum    [sha512.Size]byte
}

// cbcMode is one direction of AES-CBC. Those of the standard library take the
// IV of the next packet.
type cbcMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

var zeroIV [aes.BlockSize]byte

func newSeparate(k *keys, newHash func() hash.Hash, d direction, esn bool) (transform, error) {
	block, err := aes.NewCipher(k.encr())
	if err != nil {
		return nil, err
	}
	newCBC := cipher.NewCBCDecrypter
	if d == sending {
		newCBC = cipher.NewCBCEncrypter
	}
	s := &separate{cbc: newCBC(block, zeroIV[:]).(cbcMode), mac: hmac.New(newHash, k.integ()), esn: esn}
	s.icvLen = s.mac.Size() / 2
	s.mac.Reset() // now it has them
	return s, nil
}

// seal makes an IV that nobody without the key can foretell (RFC 3602 3), and
// with no randomness: the number of the packet, encrypted with the key of the
// SA (NIST SP 800-38A appendix C). CBC from a zero IV over that number and the
// plaintext is the same as CBC over the plaintext from that IV.
func (s *separate) seal(packet []byte, seq uint64) {
	iv := packet[headerLen : headerLen+aes.BlockSize]
	clear(iv[:8])
	binary.BigEndian.PutUint64(iv[8:], seq)
	end := len(packet) - s.icvLen
	s.cbc.SetIV(zeroIV[:])
	s.cbc.CryptBlocks(packet[headerLen:end], packet[headerLen:end])
	copy(packet[end:], s.icv(packet[:end], seq))
}

func (s *separate) open(dst, packet []byte, seq uint64) ([]byte, error) {
	end := len(packet) - s.icvLen
	if !hmac.Equal(s.icv(packet[:end], seq), packet[end:]) { // RFC 4303 3.4.4.1: integrity first, a forgery is never decrypted
		return nil, ErrICV
	}
	iv, encrypted := packet[headerLen:headerLen+aes.BlockSize], packet[headerLen+aes.BlockSize:end]
	s.cbc.SetIV(iv)
	plain := slices.Grow(dst, len(encrypted))[len(dst):][:len(encrypted)]
	s.cbc.CryptBlocks(plain, encrypted)
	return plain, nil
}

// icv is the first half of the HMAC (RFC 4868 2.3) of header, IV, ciphertext
// and, with ESN, the high half of the sequence number (RFC 4303 2.2.1).
func (s *separate) icv(covered []byte, seq uint64) []byte {
	s.mac.Reset()
	s.mac.Write(covered)
	if s.esn {
		binary.BigEndian.PutUint32(s.high[:], uint32(seq>>32))
		s.mac.Write(s.high[:])
	}
	return s.mac.Sum(s.sum[:0])[:s.icvLen]
}
