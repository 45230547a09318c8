package wire

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// capture is one message that another implementation has sent.
type capture struct {
	where  string // file:line
	ladder string
	msg    []byte
	first  PayloadType // of plain
	plain  []byte      // of SK, or of all SKF together in the last; nil where the key is not known
}

func (c capture) header(t testing.TB) Header {
	h, err := ParseHeader(c.msg)
	if err != nil {
		t.Fatalf("%s: %v", c.where, err)
	}
	return h
}

// last reports whether plain is that of all fragments, of which this is the
// last one.
func (c capture) last() bool { return c.plain != nil && PayloadType(c.msg[16]) == PayloadSKF }

// captures reads testdata/*.txt.
func captures(t testing.TB) []capture {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) != 3 {
		t.Fatalf("testdata: %d files, %v", len(files), err)
	}
	var all []capture
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			fields := strings.Fields(line)
			switch {
			case line == "" || line[0] == '#':
			case line[0] != ' ':
				all = append(all, capture{where: file + ":" + strconv.Itoa(n+1), ladder: line})
			case len(fields) == 1:
				all[len(all)-1].msg = unhex(t, fields[0])
			default:
				number, _ := strconv.Atoi(fields[0])
				all[len(all)-1].first = PayloadType(number)
				all[len(all)-1].plain = unhex(t, strings.TrimPrefix(fields[1], "-"))
			}
		}
	}
	if len(all) < 60 {
		t.Fatalf("only %d captured messages", len(all))
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What others have sent parses to the last octet, and is what we would have
// sent for the same values.
func TestCapturesRoundTrip(t *testing.T) {
	for _, c := range captures(t) {
		h := c.header(t)
		if !h.Fits(len(c.msg)) || h.Major() != 2 {
			t.Errorf("%s: header %+v of %d octets", c.where, h, len(c.msg))
		}
		again, err := rewrite(c.msg)
		if err != nil {
			t.Errorf("%s: %v", c.where, err)
		} else if want := notCritical(c.msg, h.NextPayload, HeaderLen); !bytes.Equal(again, want) {
			t.Errorf("%s: written again\n got %x\nwant %x", c.where, again, want)
		}
		if c.plain == nil {
			continue
		}
		inside := wrap(c.first, c.plain)
		again, err = rewrite(inside)
		if err != nil {
			t.Errorf("%s: inside SK: %v", c.where, err)
		} else if want := notCritical(inside, c.first, HeaderLen); !bytes.Equal(again, want) {
			t.Errorf("%s: inside SK, written again\n got %x\nwant %x", c.where, again, want)
		}
	}
}

// The ladder lines in testdata name the payloads that other decoders saw.
func TestCapturesLadder(t *testing.T) {
	for _, c := range captures(t) {
		h := c.header(t)
		if got := string(AppendLadder(nil, h, c.msg[HeaderLen:], c.plain)); got != c.ladder && !c.last() {
			t.Errorf("%s:\n got %s\nwant %s", c.where, got, c.ladder)
		}
		if c.plain == nil {
			continue
		}
		if got := string(AppendLadderSK(nil, h, c.first, c.plain)); got != c.ladder {
			t.Errorf("%s: from plaintext:\n got %s\nwant %s", c.where, got, c.ladder)
		}
	}
}

// No strict prefix of a message parses, not even when its header says that it
// is no longer than that.
func TestNoPrefixParses(t *testing.T) {
	for _, c := range captures(t) {
		messages := [][]byte{c.msg}
		if c.plain != nil {
			messages = append(messages, wrap(c.first, c.plain))
		}
		for _, m := range messages {
			for n := range len(m) {
				if err := check(m[:n]); err == nil {
					t.Fatalf("%s: the first %d of %d octets parse", c.where, n, len(m))
				}
				if n < HeaderLen {
					continue
				}
				if err := check(relength(m[:n])); err == nil {
					t.Fatalf("%s: the first %d of %d octets parse with a header that fits", c.where, n, len(m))
				}
			}
			if err := check(relength(append(bytes.Clone(m), 0))); err == nil {
				t.Fatalf("%s: parses with an octet too many", c.where)
			}
		}
	}
}

// wrap puts a chain behind a header of its own, in the clear.
func wrap(first PayloadType, chain []byte) []byte {
	h := Header{SPIi: 1, SPIr: 2, NextPayload: first, Version: Version, Exchange: ExchangeIKEAuth}
	return relength(append(h.Append(nil), chain...))
}

// relength returns a copy of m whose header gives its size.
func relength(m []byte) []byte {
	h, _ := ParseHeader(m)
	h.Length = uint32(len(m))
	return append(h.Append(nil), m[HeaderLen:]...)
}

// notCritical returns a copy of m without C in the chain that begins at offset
// at: we never set it.
func notCritical(m []byte, first PayloadType, at int) []byte {
	m = bytes.Clone(m)
	walk := Walk(first, m[at:])
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		m[at+1] = 0
		at += 4 + len(p.Body)
	}
	return m
}
