package spi

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	label  = "blackswan spi v1"
	rounds = 10
	half   = 1<<halfBits - 1
)

// Sealer makes and opens the SPIs of one shard. It is not for concurrent use.
type Sealer struct {
	blocks  [keys]cipher.Block // by key id; nil: unknown
	current uint8
	node    uint8
	shard   uint8
	epoch   uint32
	next    uint32 // counter
	in, out [aes.BlockSize]byte
}

// New is the Sealer of a shard (0 to 63) of a node, in a boot epoch that is
// durable. SPIs are made under the key current and opened under all keys.
func New(all []Key, current uint8, node uint8, epoch uint32, shard uint8) (*Sealer, error) {
	if epoch > MaxEpoch {
		return nil, fmt.Errorf("spi: epoch %d: the last is %d", epoch, MaxEpoch)
	}
	if shard > MaxShard {
		return nil, fmt.Errorf("spi: shard %d: the last is %d", shard, MaxShard)
	}
	s := &Sealer{current: current, node: node, shard: shard, epoch: epoch}
	for _, k := range all {
		if k.ID >= keys || s.blocks[k.ID] != nil {
			return nil, fmt.Errorf("spi: key id %d: want each of 0 to %d once at most", k.ID, keys-1)
		}
		key, err := hkdf.Key(sha256.New, k.Secret[:], nil, label, 32)
		if err != nil {
			return nil, fmt.Errorf("spi: key %d: %w", k.ID, err)
		}
		if s.blocks[k.ID], err = aes.NewCipher(key); err != nil {
			return nil, fmt.Errorf("spi: key %d: %w", k.ID, err)
		}
	}
	if current >= keys || s.blocks[current] == nil {
		return nil, fmt.Errorf("spi: there is no key %d to make SPIs with", current)
	}
	return s, nil
}

// Format keeps the keys out of logs and errors.
func (Sealer) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }

// SetEpoch goes on in a later boot epoch, which must be durable, and starts the
// counter anew. An epoch that is not later, or above MaxEpoch, changes nothing:
// it would repeat SPIs.
func (s *Sealer) SetEpoch(epoch uint32) {
	if epoch > s.epoch && epoch <= MaxEpoch {
		s.epoch, s.next = epoch, 0
	}
}

// Next makes an SPI that this installation has not made before, never 0, under
// a generation of the QCD secret modulo 4. Its error is ErrCounterFull.
func (s *Sealer) Next(generation uint8) (uint64, error) {
	for s.next <= MaxCounter {
		maker := uint32(s.node)<<(epochBits+generationBits) | s.epoch<<generationBits | uint32(generation%generations)
		low := s.current<<shardBits | s.shard
		spi := s.permute(s.blocks[s.current], low, maker, s.next)<<8 | uint64(low)
		s.next++
		if spi != 0 { // RFC 7296 3.1: an SPI of ours is not zero
			return spi, nil
		}
	}
	return 0, ErrCounterFull
}

// Open reads an SPI of any node and shard of this installation. It reports
// false for a key id that it does not have. A number that nobody made opens to
// a random maker, so the verdict on the maker is the test.
func (s *Sealer) Open(spi uint64) (Made, bool) {
	low := uint8(spi)
	block := s.blocks[low>>shardBits]
	if block == nil {
		return Made{}, false
	}
	maker, counter := s.restore(block, low, spi>>8)
	return Made{
		Node:       uint8(maker >> (epochBits + generationBits)),
		Epoch:      maker >> generationBits & MaxEpoch,
		Generation: uint8(maker % generations),
		Counter:    counter,
		Shard:      low & MaxShard,
		KeyID:      low >> shardBits,
	}, true
}

// permute is P: a balanced Feistel network over 56 bits.
//
//	left 28: node 8 | epoch 18 | generation 2      right 28: counter
func (s *Sealer) permute(k cipher.Block, tweak uint8, left, right uint32) uint64 {
	for round := range uint8(rounds) {
		left, right = right, left^s.f(k, round, tweak, right) //rfc:6290-9.3-1
	}
	return uint64(left)<<halfBits | uint64(right)
}

func (s *Sealer) restore(k cipher.Block, tweak uint8, p uint64) (left, right uint32) {
	left, right = uint32(p>>halfBits), uint32(p)&half
	for round := range uint8(rounds) {
		left, right = right^s.f(k, rounds-1-round, tweak, left), left
	}
	return left, right
}

// f is the round function: 28 bits of AES-256(K, round | tweak | half).
func (s *Sealer) f(k cipher.Block, round, tweak uint8, h uint32) uint32 {
	s.in[0], s.in[1] = round, tweak
	binary.BigEndian.PutUint32(s.in[2:], h)
	k.Encrypt(s.out[:], s.in[:])
	return binary.BigEndian.Uint32(s.out[:]) & half
}
