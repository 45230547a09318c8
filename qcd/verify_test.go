package qcd

import (
	"bytes"
	"testing"
)

func TestRFC6290_5_Verify(t *testing.T) {
	tok := func(n int) []byte { return bytes.Repeat([]byte{0xa5}, n) }
	flipped := tok(32)
	flipped[31] ^= 1
	for _, c := range []struct {
		name          string
		stored, shown []byte
		want          bool
	}{
		{"same", tok(32), tok(32), true},
		{"shortest", tok(MinToken), tok(MinToken), true},
		{"longest", tok(MaxToken), tok(MaxToken), true},
		{"RFC 6290 5: 15 octets", tok(15), tok(15), false},
		{"RFC 6290 5: 129 octets", tok(129), tok(129), false},
		{"none", nil, nil, false},
		{"empty against stored", tok(32), nil, false},
		{"one bit", tok(32), flipped, false},
		{"prefix", tok(32), tok(31), false},
		{"longer", tok(32), tok(33), false},
		{"RFC 6290 9.1: none stored", nil, tok(32), false},
	} {
		d, ok := DigestOf(c.stored)
		if ok != (len(c.stored) >= 16 && len(c.stored) <= 128) {
			t.Errorf("%s: DigestOf %d octets = %v", c.name, len(c.stored), ok)
		}
		if got := d.Verify(c.shown); got != c.want {
			t.Errorf("%s: Digest.Verify = %v", c.name, got)
		}
	}
}

// TestRFC6290_9_1_TakerStoresNoToken: the digest is not what verifies.
func TestRFC6290_9_1_TakerStoresNoToken(t *testing.T) {
	d, _ := DigestOf(bytes.Repeat([]byte{0xa5}, 32))
	if d.Verify(d[:]) {
		t.Error("the stored digest verifies as a token")
	}
	zero := Digest{}
	if zero.Verify(zero[:]) {
		t.Error("a zero token verifies against an SA without one")
	}
}

func TestVerifyAllocatesNothing(t *testing.T) {
	shown := bytes.Repeat([]byte{0xa5}, 32)
	d, _ := DigestOf(shown)
	if n := testing.AllocsPerRun(100, func() { d.Verify(shown) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	shown := bytes.Repeat([]byte{0xa5}, 32)
	d, _ := DigestOf(shown)
	b.ReportAllocs()
	for b.Loop() {
		d.Verify(shown)
	}
}
