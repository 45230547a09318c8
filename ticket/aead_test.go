package ticket

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

func TestD1_SaltIsFreshAtEachStart(t *testing.T) {
	keys, rand := oneKey(1, 5), source(1)
	first, second := sealed(t, ring(t, keys), typical(), rand), sealed(t, ring(t, keys), typical(), rand)
	if bytes.Equal(first[5:21], second[5:21]) {
		t.Error("two starts have one salt")
	}
	r := ring(t, keys)
	b := sealed(t, r, typical(), rand)
	r.own.left = 1
	if c := sealed(t, r, typical(), rand); !bytes.Equal(b[5:21], c[5:21]) {
		t.Error("the salt was renewed before its time")
	}
	if c := sealed(t, r, typical(), rand); bytes.Equal(b[5:21], c[5:21]) || r.own.left != 1<<28-1 {
		t.Errorf("the salt was not renewed: %d left", r.own.left)
	}
	for _, old := range [][]byte{first, second, b} { // all still open
		var s Session
		if err := r.Open(&s, old, start); err != nil {
			t.Error(err)
		}
	}
}

// TestRFC5723_9_3_ForgersFillNoCache: an AEAD is kept only after a ticket
// opened, and real ones are not pushed out by forged salts.
func TestRFC5723_9_3_ForgersFillNoCache(t *testing.T) {
	r := ring(t, oneKey(1, 5))
	b := sealed(t, r, typical(), source(1))
	rand := source(2)
	var s Session
	for range 1000 {
		forged := bytes.Clone(b)
		io.ReadFull(rand, forged[5:21])
		if err := r.Open(&s, forged, start); err != ErrForged {
			t.Fatal(err)
		}
	}
	if n := len(r.aeads.index); n != 1 {
		t.Errorf("%d AEADs after forged salts, want 1", n)
	}
}

func TestCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	keys := oneKey(1, 5)
	r := ring(t, keys)
	var s Session
	var tickets [][]byte
	for i := range uint64(3 * cached) { // starts of the gateway
		tickets = append(tickets, sealed(t, ring(t, keys), typical(), source(i)))
	}
	popular := sealed(t, r, typical(), source(9999))
	for i, b := range tickets {
		if err := r.Open(&s, popular, start); err != nil {
			t.Fatal(err)
		}
		if err := r.Open(&s, b, start); err != nil {
			t.Fatal(err)
		}
		if _, kept := r.aeads.index[saltID(popular[1:21])]; !kept {
			t.Fatalf("the AEAD in use went after %d others", i)
		}
		if _, kept := r.aeads.index[saltID(b[1:21])]; !kept {
			t.Fatal("a ticket that opened is not in the cache")
		}
	}
	if n := len(r.aeads.index); n != cached {
		t.Errorf("%d AEADs, want %d", n, cached)
	}
	for id, i := range r.aeads.index {
		if r.aeads.entries[i].id != id || r.aeads.entries[i].aead == nil {
			t.Errorf("entry %d is not of its index", i)
		}
	}
}

func TestD8_KeysThatAreGoneLeaveMemory(t *testing.T) {
	r := ring(t, oneKey(1, 5))
	b := sealed(t, r, typical(), source(1))
	if err := r.SetKeys(oneKey(2, 6)); err != nil {
		t.Fatal(err)
	}
	if len(r.aeads.index) != 0 || r.own.aead != nil || r.aeads.entries[0].aead != nil {
		t.Error("what was derived from a key that is gone is still there")
	}
	if c := sealed(t, r, typical(), source(1)); binary.BigEndian.Uint32(c[1:]) != 2 {
		t.Errorf("sealed under key %x", c[1:5])
	}
	r.SetKeys(append(oneKey(1, 5), oneKey(2, 6)...))
	if len(r.aeads.index) != 1 || r.own.aead == nil {
		t.Error("what was derived from a key that stays is gone")
	}
	var s Session
	if err := r.Open(&s, b, start); err != nil {
		t.Error(err)
	}
}

func BenchmarkSeal(b *testing.B) {
	r, s, rand := ring(b, oneKey(1, 5)), typical(), source(1)
	buf := make([]byte, 0, MaxSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Seal(buf, &s, start, rand); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	r := ring(b, oneKey(1, 5))
	t := sealed(b, r, typical(), source(1))
	var s Session
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Open(&s, t, start); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenForged is the worst that a stranger can ask for: a key id that
// is right and a salt that nobody has used.
func BenchmarkOpenForged(b *testing.B) {
	r := ring(b, oneKey(1, 5))
	t := sealed(b, r, typical(), source(1))
	t[5] ^= 1
	var s Session
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Open(&s, t, start); err != ErrForged {
			b.Fatal(err)
		}
	}
}
