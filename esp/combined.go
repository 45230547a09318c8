package esp

import (
	"crypto/cipher"
	"encoding/binary"
)

// combined is a combined mode algorithm (RFC 4303 3.3.2.2): an AEAD with
// nonces of 12 octets and tags of 16.
type combined struct {
	aead       cipher.AEAD
	esn        bool
	nonce      [saltLen + ivLenAEAD]byte
	associated [headerLen + 4]byte
}

func newCombined(k *keys, newAEAD func(key []byte) (cipher.AEAD, error), esn bool) (transform, error) {
	key, salt := k.encr()[:k.encrLen-saltLen], k.encr()[k.encrLen-saltLen:]
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	c := &combined{aead: aead, esn: esn}
	copy(c.nonce[:], salt)
	return c, nil
}

func (c *combined) seal(packet []byte, seq uint64) {
	iv := packet[headerLen : headerLen+ivLenAEAD]
	binary.BigEndian.PutUint64(iv, seq) // RFC 4106 3.1: a counter never repeats under a key, and this one never wraps
	plain := packet[headerLen+ivLenAEAD : len(packet)-tagLen]
	c.aead.Seal(plain[:0], c.nonceOf(iv), plain, c.associatedData(packet, seq))
}

func (c *combined) open(dst, packet []byte, seq uint64) ([]byte, error) {
	iv, sealed := packet[headerLen:headerLen+ivLenAEAD], packet[headerLen+ivLenAEAD:]
	out, err := c.aead.Open(dst, c.nonceOf(iv), sealed, c.associatedData(packet, seq))
	if err != nil {
		return nil, ErrICV
	}
	return out[len(dst):], nil
}

// nonceOf is the salt and the IV (RFC 4106 4, RFC 7634 2).
func (c *combined) nonceOf(iv []byte) []byte {
	copy(c.nonce[saltLen:], iv)
	return c.nonce[:]
}

// associatedData is the SPI and the sequence number, all 64 bits of it with
// ESN although the packet has only 32 (RFC 4106 5, RFC 7634 2.1).
func (c *combined) associatedData(packet []byte, seq uint64) []byte {
	if !c.esn {
		return packet[:headerLen]
	}
	copy(c.associated[:4], packet)
	binary.BigEndian.PutUint64(c.associated[4:], seq)
	return c.associated[:]
}
