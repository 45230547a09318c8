// Package ladder writes an exchange for people, the same way in logs, in the
// demo and in documents: a line for each message, an arrow for its direction.
//
//	0.0 ms  -> IKE_SESSION_RESUME {Ni, N(TICKET_OPAQUE)}            368 octets
//	0.3 ms  <- IKE_SESSION_RESUME {Nr}                               76 octets
package ladder

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// Keys open the encrypted payloads of one IKE SA, both directions. They print
// as "redacted".
type Keys struct {
	Suite          suite.Suite
	EI, ER, AI, AR []byte // SK_ei, SK_er, SK_ai, SK_ar; the last two empty for an AEAD
}

// Format prints "redacted" whatever the verb.
func (Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// KeyRing finds the keys of an SA.
type KeyRing func(wire.SPIs) (Keys, bool)

// Append appends the one-line form of an IKE message, without non-ESP marker.
// What is encrypted is named if keys, which may be nil, has the keys of its SA.
func Append(b, message []byte, keys KeyRing) []byte {
	h, err := wire.ParseHeader(message)
	if err != nil {
		return append(b, "no IKE message"...)
	}
	var plain []byte
	if k, ok := find(keys, h); ok {
		plain = k.open(h, message)
	}
	return wire.AppendLadder(b, h, message[wire.HeaderLen:], plain)
}

func find(keys KeyRing, h wire.Header) (Keys, bool) {
	if keys == nil || h.NextPayload != wire.PayloadSK {
		return Keys{}, false
	}
	return keys(h.SPIs())
}

// open returns the payloads within the SK payload of message, nil if these are
// not its keys.
func (k Keys) open(h wire.Header, message []byte) []byte {
	ek, ak := k.ER, k.AR
	if h.Initiator() {
		ek, ak = k.EI, k.AI
	}
	const genericHeader = 4
	var box suite.Box
	plain, err := box.Open(k.Suite, ek, ak, bytes.Clone(message), wire.HeaderLen+genericHeader)
	if err != nil {
		return nil
	}
	return plain
}

// Rung is one line of a ladder: a message, or a remark if it has no octets.
type Rung struct {
	At     time.Time
	Out    bool // it left; else it came
	Octets int
	Text   string
}

// width is where a rung is wrapped, in characters.
const width = 96

// Write writes rungs in their order, times counted from start.
func Write(w io.Writer, start time.Time, rungs []Rung) error {
	var b strings.Builder
	for _, r := range rungs {
		at := float64(r.At.Sub(start)) / float64(time.Millisecond)
		arrow, octets := "<-", fmt.Sprintf("%5d octets", r.Octets)
		switch {
		case r.Octets == 0:
			arrow, octets = "--", ""
		case r.Out:
			arrow = "->"
		}
		for i, line := range wrap(r.Text, width-len("123456.7 ms  -> ")-len(" 12345 octets")) {
			if i == 0 {
				line = fmt.Sprintf("%8.1f ms  %s %-*s%s", at, arrow, width-29, line, octets)
			} else {
				line = strings.Repeat(" ", 20) + line
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap breaks text after commas into lines of at most n characters, or more
// where no comma comes in time.
func wrap(text string, n int) []string {
	var lines []string
	for len(text) > n {
		cut := strings.LastIndex(text[:n], ", ")
		if cut < 0 {
			break
		}
		lines = append(lines, text[:cut+1])
		text = text[cut+2:]
	}
	return append(lines, text)
}
