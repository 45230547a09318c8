package qcd

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrFormat is of ParseGenerations: these octets are not an encoding of it.
	ErrFormat = errors.New("qcd: not a record of QCD secrets")
	// ErrLive is of Rotate: the slot of the next generation is still named by
	// live SAs.
	ErrLive = errors.New("qcd: oldest generation still has live SAs: rotate later, or revoke it after its SAs got a new token")
	// ErrCurrent is of Revoke.
	ErrCurrent = errors.New("qcd: current generation cannot be revoked: rotate first")
)

// Generations are the secrets of a maker. A generation is counted modulo 4, as
// a sealed SPI names it, and keeps its secret until the slot is used again or
// it is revoked.
type Generations struct {
	Current uint8       // makes the tokens of new SAs
	Kept    [Slots]bool // whose secret is still there
	Secrets [Slots]Secret
}

// NewGenerations is the first generation, number 0, of a new installation.
func NewGenerations(rand io.Reader) (g Generations, err error) {
	if _, err = io.ReadFull(rand, g.Secrets[0][:]); err != nil { //rfc:6290-5.1-2
		return Generations{}, fmt.Errorf("qcd: no randomness for a secret: %w", err)
	}
	g.Kept[0] = true
	return g, nil
}

// Rotate makes a new current generation in the slot after the current one, the
// oldest. It fails with ErrLive, and changes nothing, as long as live says that
// SAs name that slot: SAs of ours, or of peers who have not heard of our crash.
// Other generations stay (RFC 6290 5.1).
func (g *Generations) Rotate(rand io.Reader, live func(generation uint8) bool) error {
	next := (g.Current + 1) % Slots
	if live(next) {
		return ErrLive
	}
	var secret Secret
	if _, err := io.ReadFull(rand, secret[:]); err != nil {
		return fmt.Errorf("qcd: no randomness for a secret: %w", err)
	}
	g.Secrets[next] = secret
	g.Kept[next] = true
	g.Current = next //rfc:6290-5.1-1
	return nil
}

// Revoke forgets the secret of a generation. Its live SAs must be given the
// token that For now names, in a protected message (RFC 6290 4.4).
func (g *Generations) Revoke(generation uint8) error {
	generation %= Slots
	if generation == g.Current {
		return ErrCurrent
	}
	g.Kept[generation] = false
	g.Secrets[generation] = Secret{}
	return nil
}

// For is the generation that makes the token of an SA whose SPI names
// generation: that one, or if it was revoked the first later one that is kept.
// It reports false if there is none at all.
func (g *Generations) For(generation uint8) (uint8, bool) {
	for range Slots {
		generation %= Slots
		if g.Kept[generation] {
			return generation, true
		}
		generation++
	}
	return 0, false
}

const generationsVersion = 1

// Append appends the encoding for the store, which is secret: version 1,
// current 1, bits of the slots that are kept 1, their secrets in order of slot.
func (g Generations) Append(b []byte) []byte {
	kept := byte(0)
	for i, k := range g.Kept {
		if k {
			kept |= 1 << i
		}
	}
	b = append(b, generationsVersion, g.Current, kept)
	for i, k := range g.Kept {
		if k {
			b = append(b, g.Secrets[i][:]...)
		}
	}
	return b
}

// ParseGenerations reads exactly one encoding and keeps nothing of b. Its error
// is ErrFormat.
func ParseGenerations(b []byte) (Generations, error) {
	var g Generations
	if len(b) < 3 || b[0] != generationsVersion || b[1] >= Slots || b[2] >= 1<<Slots || b[2]&(1<<b[1]) == 0 {
		return g, ErrFormat
	}
	g.Current = b[1]
	kept, b := b[2], b[3:]
	for i := range g.Kept {
		if kept&(1<<i) == 0 {
			continue
		}
		if len(b) < len(Secret{}) {
			return Generations{}, ErrFormat
		}
		g.Kept[i] = true
		b = b[copy(g.Secrets[i][:], b):]
	}
	if len(b) != 0 {
		return Generations{}, ErrFormat
	}
	return g, nil
}
