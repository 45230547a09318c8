package wire

import (
	"bytes"
	"math"
	"testing"
)

// fuzzBody is the law for every payload: no panic, and a body that parses is
// written as one of the same size, which is written as itself. also sees only
// what parses.
func fuzzBody(f *testing.F, kind PayloadType, also func(t *testing.T, body []byte)) {
	f.Fuzz(func(t *testing.T, body []byte) {
		once, err := rewriteBody(kind, body)
		if err != nil {
			return
		}
		twice, err := rewriteBody(kind, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x: rewritten %x, then %x, %v", body, once, twice, err)
		}
		if len(once) != len(body) {
			t.Fatalf("%x became %x: not of one size", body, once)
		}
		if also != nil {
			also(t, body)
		}
	})
}

// rewriteBody parses one body and writes what it has understood.
func rewriteBody(kind PayloadType, body []byte) ([]byte, error) {
	if len(body) > math.MaxUint16-4 {
		return nil, errLength // no payload is that long
	}
	w := NewWriter(nil, Header{})
	err := rewritePayload(&w, Payload{Type: kind, Body: body})
	return w.Buf[min(HeaderLen+4, len(w.Buf)):], err
}

// 3.3.1: proposals count up by one from the first; all of an accepted payload's
// octets are in its proposals.
func FuzzSA(f *testing.F) {
	fuzzBody(f, PayloadSA, func(t *testing.T, body []byte) {
		sa, _ := ParseSA(body)
		size, last := 0, uint8(0)
		for p := range sa.Proposals() {
			if p.Num == 0 || last != 0 && p.Num != last+1 {
				t.Fatalf("%x: proposal %d after %d", body, p.Num, last)
			}
			last = p.Num
			size += 8 + len(p.SPI)
			for range p.Transforms() {
				size += 8 // and its attributes
			}
		}
		if size == 0 || size > len(body) {
			t.Fatalf("%x: proposals take %d octets of %d", body, size, len(body))
		}
	})
}

func FuzzKE(f *testing.F)      { fuzzBody(f, PayloadKE, nil) }
func FuzzCert(f *testing.F)    { fuzzBody(f, PayloadCERT, nil) }
func FuzzCertReq(f *testing.F) { fuzzBody(f, PayloadCERTREQ, nil) }
func FuzzAuth(f *testing.F)    { fuzzBody(f, PayloadAUTH, nil) }
func FuzzNonce(f *testing.F)   { fuzzBody(f, PayloadNonce, nil) }
func FuzzEAP(f *testing.F)     { fuzzBody(f, PayloadEAP, nil) }
func FuzzNotify(f *testing.F)  { fuzzBody(f, PayloadNotify, nil) }
func FuzzCP(f *testing.F)      { fuzzBody(f, PayloadCP, nil) }

// An identity is printed into logs: a peer must not write lines of its own.
func FuzzID(f *testing.F) {
	fuzzBody(f, PayloadIDi, func(t *testing.T, body []byte) {
		id, _ := ParseID(body)
		if s := id.String(); s == "" || !oneLine(s) {
			t.Fatalf("%x prints as %q", body, s)
		}
	})
}

func FuzzDelete(f *testing.F) {
	fuzzBody(f, PayloadDelete, func(t *testing.T, body []byte) {
		d, _ := ParseDelete(body)
		if d.Count()*int(d.SPISize) != len(d.SPIs) {
			t.Fatalf("%x: %d SPIs of %d octets in %d", body, d.Count(), d.SPISize, len(d.SPIs))
		}
		if d.Protocol == ProtocolESP {
			for i := range d.Count() {
				d.SPI32(i)
			}
		}
	})
}

// Selectors that end before they start would make every policy decision wrong.
func FuzzTS(f *testing.F) {
	fuzzBody(f, PayloadTSi, func(t *testing.T, body []byte) {
		ts, _ := ParseTS(body)
		n := 0
		for s := range ts.Selectors() {
			n++
			if !s.Start.IsValid() || s.Start.BitLen() != s.End.BitLen() || s.End.Less(s.Start) {
				t.Fatalf("%x: selector %v", body, s)
			}
			if text := s.String(); !oneLine(text) {
				t.Fatalf("%x prints as %q", body, text)
			}
		}
		if n != ts.Len() || n+ts.Unknown() != int(body[0]) {
			t.Fatalf("%x: %d selectors, Len %d, Unknown %d", body, n, ts.Len(), ts.Unknown())
		}
	})
}

// Not a payload of a chain's middle: SKF has its own writer.
func FuzzSKF(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		piece, err := ParseSKF(body)
		if err != nil {
			return
		}
		if piece.Number == 0 || piece.Number > piece.Total {
			t.Fatalf("%x: fragment %d of %d", body, piece.Number, piece.Total)
		}
		if got := piece.Append(nil); !bytes.Equal(got, body) {
			t.Fatalf("%x became %x", body, got)
		}
	})
}
