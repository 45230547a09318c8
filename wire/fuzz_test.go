package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode"
)

// FuzzMessage: whatever a stranger sends, Walk agrees with the naive reader
// below, and a message that is understood is written back to an equal one.
func FuzzMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		h, err := ParseHeader(message)
		if err != nil {
			if len(message) >= HeaderLen {
				t.Fatalf("%d octets: %v", len(message), err)
			}
			return
		}
		if got := h.Append(nil); !bytes.Equal(got, message[:HeaderLen]) {
			t.Fatalf("header %x became %x", message[:HeaderLen], got)
		}
		chain := message[HeaderLen:]
		walkNaively(t, h.NextPayload, chain)
		if line := string(AppendLadder(nil, h, chain, nil)); !oneLine(line) {
			t.Fatalf("ladder %q would break a log line", line)
		}
		once, err := rewrite(relength(message))
		if err != nil {
			return
		}
		twice, err := rewrite(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x: rewritten %x, then %x, %v", message, once, twice, err)
		}
		if len(once) != len(message) {
			t.Fatalf("%x became %x: not of one size", message, once)
		}
	})
}

// oneLine: s cannot end a line of a log, nor steer a terminal.
func oneLine(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// walkNaively compares Walk with section 3.2 read aloud.
func walkNaively(t *testing.T, first PayloadType, chain []byte) {
	t.Helper()
	var want []PayloadType
	whole, next, rest := true, first, chain
	for next != PayloadNone {
		if len(rest) < 4 || int(binary.BigEndian.Uint16(rest[2:])) < 4 || int(binary.BigEndian.Uint16(rest[2:])) > len(rest) {
			whole = false
			break
		}
		want = append(want, next)
		encrypted := next == PayloadSK || next == PayloadSKF
		next, rest = PayloadType(rest[0]), rest[binary.BigEndian.Uint16(rest[2:]):]
		if encrypted { // 3.14: the last payload of the message
			next = PayloadNone
			if len(rest) > 0 {
				want = want[:len(want)-1]
			}
		}
	}
	whole = whole && len(rest) == 0
	var got []PayloadType
	walk := Walk(first, chain)
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		got = append(got, p.Type)
	}
	if (walk.Err() == nil) != whole || len(got) != len(want) {
		t.Fatalf("walk found %v, %v; the naive reader %v, whole %v", got, walk.Err(), want, whole)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("payload %d is %v, the naive reader says %v", i, got[i], want[i])
		}
	}
}
