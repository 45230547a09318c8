package suite

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"

	"blackswan/wire"
)

const (
	maxHash  = 64  // output of SHA-512, octets
	maxBlock = 128 // block of SHA-384 and SHA-512, octets
	maxState = 256 // a saved digest of crypto/sha256 (108) or crypto/sha512 (204)
)

// digest is what the hashes of crypto/sha256 and crypto/sha512 can do.
type digest interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// PRF is one of the pseudorandom functions HMAC-SHA2-256, -384 and -512
// (RFC 7296 2.13, RFC 4868) with all its scratch. One digest serves for both
// passes of HMAC: the two states after the key's pads are saved when a key is
// set and restored for each message. Nothing is allocated once the longest
// seed of prf+ has been seen. A PRF is not for concurrent use; it prints as
// "redacted".
type PRF struct {
	redacted
	id           wire.TransformID
	hash         digest
	size         int
	begun        bool // hash holds the inner state and what was written since
	inner, outer []byte
	states       [2][maxState]byte
	kept         [maxHash]byte // the key, if it is short
	keyLen       int
	pad          [maxBlock]byte
	out          [maxHash]byte // SKEYSEED, the padded shared secret
	spis         [16]byte
	chain        []byte // T | S | n of prf+
}

// NewPRF returns the PRF with that number, keyed with nothing yet.
func NewPRF(id wire.TransformID) (*PRF, error) {
	p := &PRF{id: id, size: hashLen(id)}
	switch id {
	case wire.PRFHMACSHA256:
		p.hash = sha256.New().(digest)
	case wire.PRFHMACSHA384:
		p.hash = sha512.New384().(digest)
	case wire.PRFHMACSHA512:
		p.hash = sha512.New().(digest)
	default:
		return nil, fmt.Errorf("suite: %s is no pseudorandom function of ours: use HMAC-SHA2-256, -384 or -512", wire.TransformPRF.Name(id))
	}
	p.Key(nil)
	return p, nil
}

// Key sets the key for all messages until the next Key. Setting the same key
// again costs nothing: SK_p makes prf(SK_p, IDx') and AUTH one after the other.
func (p *PRF) Key(k []byte) {
	if len(k) > 0 && len(k) == p.keyLen && subtle.ConstantTimeCompare(k, p.kept[:len(k)]) == 1 {
		p.Reset()
		return
	}
	p.key(k, nil)
	if p.keyLen = 0; len(k) <= len(p.kept) {
		p.keyLen = copy(p.kept[:], k)
	}
}

// key sets the key a | b.
func (p *PRF) key(a, b []byte) {
	p.keyLen = 0
	clear(p.pad[:])
	block := p.hash.BlockSize()
	if len(a)+len(b) > block { // RFC 2104 2: a longer key is hashed first
		p.hash.Reset()
		p.hash.Write(a)
		p.hash.Write(b)
		p.hash.Sum(p.pad[:0])
	} else {
		n := copy(p.pad[:], a)
		copy(p.pad[n:], b)
	}
	p.inner = p.keyed(p.states[0][:0], &innerPad, block)
	p.outer = p.keyed(p.states[1][:0], &outerPad, block)
	p.begun = false
}

// The pads of HMAC (RFC 2104 2). The outer one is laid over the inner one.
var innerPad, outerPad [maxBlock]byte

func init() {
	for i := range innerPad {
		innerPad[i], outerPad[i] = 0x36, 0x36^0x5c
	}
}

// keyed lays a pad over the key and appends the state after it to dst.
func (p *PRF) keyed(dst []byte, pad *[maxBlock]byte, block int) []byte {
	subtle.XORBytes(p.pad[:], p.pad[:], pad[:])
	p.hash.Reset()
	p.hash.Write(p.pad[:block])
	dst, err := p.hash.AppendBinary(dst)
	must(err)
	return dst
}

// Write adds b to the message.
func (p *PRF) Write(b []byte) {
	p.begin()
	p.hash.Write(b)
}

// Sum appends prf(key, message) to dst. The key stays, for the next message.
func (p *PRF) Sum(dst []byte) []byte {
	p.begin()
	p.hash.Sum(p.pad[:0])
	p.restore(p.outer)
	p.hash.Write(p.pad[:p.size])
	p.begun = false
	return p.hash.Sum(dst)
}

// Reset drops what was written since the last Key, Sum or Reset.
func (p *PRF) Reset() { p.begun = false }

func (p *PRF) begin() {
	if !p.begun {
		p.restore(p.inner)
		p.begun = true
	}
}

func (p *PRF) restore(state []byte) { must(p.hash.UnmarshalBinary(state)) }

// must holds what the standard library promises: a digest can be saved, and
// its own saved state can be restored.
func must(err error) {
	if err != nil {
		panic("suite: the hash does not keep its state: " + err.Error())
	}
}

// plus fills dst with prf+(key, seed) (RFC 7296 2.13), the seed in parts. dst is
// at most 255 times as long as the PRF's output.
//
//	T1 = prf (K, S | 0x01)
//	T2 = prf (K, T1 | S | 0x02)
//
// It lays out T | S | n once, where each T is summed into its place.
func (p *PRF) plus(dst []byte, seed ...[]byte) {
	if len(dst) > 255*p.size {
		panic("suite: prf+ gives at most 255 blocks (RFC 7296 2.13)")
	}
	p.Reset()
	p.chain = append(p.chain[:0], p.out[:p.size]...)
	for _, s := range seed {
		p.chain = append(p.chain, s...)
	}
	p.chain = append(p.chain, 0)
	message := p.chain[p.size:] // T1 has no T before it
	for len(dst) > 0 {
		message[len(message)-1]++
		p.Write(message)
		dst = dst[copy(dst, p.Sum(p.chain[:0])):]
		message = p.chain
	}
}

// spiBytes returns SPIi | SPIr in scratch.
func (p *PRF) spiBytes(spii, spir uint64) []byte {
	binary.BigEndian.PutUint64(p.spis[:8], spii)
	binary.BigEndian.PutUint64(p.spis[8:], spir)
	return p.spis[:]
}
