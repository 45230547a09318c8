package qcd

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
)

// Maker makes the tokens of one shard. It is not for concurrent use.
type Maker struct {
	generations Generations
	mac         [Slots]hash.Hash // keyed; each remembers its states after the key
	spis        [16]byte
}

// NewMaker is a Maker of these generations.
func NewMaker(g Generations) *Maker {
	m := &Maker{generations: g}
	for i, kept := range g.Kept {
		if kept {
			secret := g.Secrets[i] //rfc:6290-5-2 6290-5-3 6290-9.1-1 6290-9.1-2 6290-9.1-3
			m.mac[i] = hmac.New(sha256.New, secret[:])
			m.mac[i].Reset() // now it has them
		}
	}
	return m
}

// Token appends the token of an SA to dst, TokenSize octets:
//
//	HMAC-SHA-256(QCD_SECRET, SPI-I | SPI-R)
//
// which is RFC 6290 5.1 with a keyed hash. generation is the one that our SPI
// names; if it was revoked, the first later one that is kept makes the token.
// It reports false if there is no secret at all. No allocation if dst has room.
func (m *Maker) Token(dst []byte, generation uint8, spii, spir uint64) ([]byte, bool) {
	generation, ok := m.generations.For(generation)
	if !ok {
		return dst, false
	}
	mac := m.mac[generation]
	binary.BigEndian.PutUint64(m.spis[:], spii) //rfc:6290-5-5
	binary.BigEndian.PutUint64(m.spis[8:], spir)
	mac.Reset() //rfc:6290-1.1-1
	mac.Write(m.spis[:])
	return mac.Sum(dst), true
}

// Format keeps the secrets out of logs and errors.
func (Maker) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }
