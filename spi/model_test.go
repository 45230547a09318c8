package spi

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"math/big"
	"testing"
)

// model makes an SPI as rule B1 says it, with big numbers and a HKDF spelt out.
func model(t *testing.T, k Key, node uint8, epoch uint32, generation uint8, counter uint32, shard uint8) uint64 {
	t.Helper()
	mac := func(key []byte, data ...byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(data)
		return h.Sum(nil)
	}
	prk := mac(make([]byte, 32), k.Secret[:]...)
	key := mac(prk, append([]byte("blackswan spi v1"), 1)...)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}

	tweak := k.ID<<6 | shard
	mask := big.NewInt(1<<28 - 1)
	left := new(big.Int).SetUint64(uint64(node)<<20 | uint64(epoch)<<2 | uint64(generation))
	right := new(big.Int).SetUint64(uint64(counter))
	for round := range 10 {
		in := make([]byte, 16)
		in[0], in[1] = byte(round), tweak
		right.FillBytes(in[2:6])
		block.Encrypt(in, in)
		f := new(big.Int).SetBytes(in[:4])
		f.And(f, mask)
		left, right = right, f.Xor(f, left)
	}
	p := new(big.Int).Lsh(left, 28)
	p.Or(p, right).Lsh(p, 8)
	return p.Uint64() | uint64(tweak)
}
