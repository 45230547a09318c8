// Package spi makes sealed SPIs. Every IKE SPI of ours says, to the members of
// the installation and to nobody else, which node made it, in which boot epoch
// and under which generation of the QCD secret. So a gateway that has just
// lost everything can still tell an SA of its former life from one that lives
// somewhere else, and shows a token for the first alone (RFC 6290 9.2).
package spi

import (
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// MaxEpoch is the last boot epoch: 18 bits.
	MaxEpoch = 1<<epochBits - 1
	// MaxCounter is the last number of an epoch and shard: 28 bits.
	MaxCounter = 1<<halfBits - 1
	// MaxShard is the last shard: 6 bits.
	MaxShard = 1<<shardBits - 1

	keys        = 4 // key ids have 2 bits
	generations = 4 // a generation is the QCD secret's number modulo 4

	shardBits      = 6
	epochBits      = 18
	generationBits = 2
	halfBits       = 28
)

var (
	// ErrCounterFull is of Next: this shard has made MaxCounter+1 SPIs in this
	// epoch. The next epoch must be durable, then goes to SetEpoch.
	ErrCounterFull = errors.New("spi: counter of this epoch is full: store the next epoch, then use it")
	// ErrEpochFull is of Epoch: 2026 was 29 years ago, or the clock is wrong.
	ErrEpochFull = errors.New("spi: no boot epoch is left: check the clock; if it is right, change the spi secret and start epochs at 0")
)

// Key is one spi secret under its id. The secret lives as long as the
// installation; a change takes the next id, and the old one stays until no SA
// can carry it.
type Key struct {
	ID     uint8 // 0 to 3
	Secret Secret
}

// Secret is 32 octets from the system's randomness. It prints as "redacted".
type Secret [32]byte

// String, GoString and Format keep the secret out of logs and errors.
func (Secret) String() string             { return "redacted" }
func (Secret) GoString() string           { return "redacted" }
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }

// Made is what a sealed SPI says about its making.
type Made struct {
	Node       uint8
	Epoch      uint32 // boot epoch of the node, 18 bits
	Generation uint8  // of the QCD secret, modulo 4
	Counter    uint32 // 28 bits, from 0 in each epoch and shard
	Shard      uint8  // 6 bits
	KeyID      uint8  // 2 bits
}

// ShardOf is the shard in an SPI. It lies there in clear, so that a kernel can
// steer by it; it means nothing in an SPI that is not ours.
func ShardOf(spi uint64) uint8 { return uint8(spi) & MaxShard }

// birth is the hour that epochs are counted from.
var birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Epoch is the boot epoch to start with, after stored was the last: at least
// stored+1, and at least the hours since 2026, so that a lost state directory
// does not repeat one. It must be durable before an SPI is made of it.
func Epoch(stored uint32, now time.Time) (uint32, error) {
	epoch := uint64(stored) + 1
	if hours := int64(now.Sub(birth) / time.Hour); hours > int64(epoch) {
		epoch = uint64(hours)
	}
	if epoch > MaxEpoch {
		return 0, ErrEpochFull
	}
	return uint32(epoch), nil
}
