package suite

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/rand/v2"
	"strings"
	"testing"

	"blackswan/wire"
)

var prfIDs = []wire.TransformID{wire.PRFHMACSHA256, wire.PRFHMACSHA384, wire.PRFHMACSHA512}

// plainHMAC is the oracle: the standard library's HMAC, made anew each time.
func plainHMAC(id wire.TransformID, key []byte, parts ...[]byte) []byte {
	h := hmac.New(map[wire.TransformID]func() hash.Hash{
		wire.PRFHMACSHA256: sha256.New, wire.PRFHMACSHA384: sha512.New384, wire.PRFHMACSHA512: sha512.New,
	}[id], key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func TestRFC4231(t *testing.T) {
	type vector struct {
		Case                              int
		Key, Data, SHA256, SHA384, SHA512 octets
	}
	for _, v := range load[vector](t, "rfc4231.json") {
		for id, want := range map[wire.TransformID]octets{wire.PRFHMACSHA256: v.SHA256, wire.PRFHMACSHA384: v.SHA384, wire.PRFHMACSHA512: v.SHA512} {
			p := newPRF(t, id)
			p.Key(v.Key)
			p.Write(v.Data)
			if got := p.Sum(nil); len(want) < 16 || !bytes.HasPrefix(got, want) { // case 5 is truncated
				t.Errorf("case %d, PRF %d: %x, want %x", v.Case, id, got, want)
			}
		}
	}
}

// One PRF lives through any order of keys, writes, sums and resets.
func TestPRFAgainstHMAC(t *testing.T) {
	r := rand.New(rand.NewPCG(4231, 2104))
	random := func(n int) []byte {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for _, id := range prfIDs {
		p := newPRF(t, id)
		var key, written []byte
		for range 2000 {
			switch r.IntN(6) {
			case 0:
				key, written = random(300), nil
				p.Key(key)
			case 1, 2:
				b := random(400)
				written = append(written, b...)
				p.Write(b)
			case 3, 4:
				got := p.Sum([]byte("before"))
				if want := append([]byte("before"), plainHMAC(id, key, written)...); !bytes.Equal(got, want) {
					t.Fatalf("PRF %d, key of %d, message of %d octets: %x, want %x", id, len(key), len(written), got, want)
				}
				written = nil
			case 5:
				p.Reset()
				written = nil
			}
		}
	}
}

// RFC 7296 2.13: T1 = prf(K, S | 1), T2 = prf(K, T1 | S | 2), and so on.
func TestPlusAgainstDefinition(t *testing.T) {
	key, seed := []byte("key of prf+"), []byte("seed of prf+")
	for _, id := range prfIDs {
		p := newPRF(t, id)
		var want, last []byte
		for n := 1; n <= 255; n++ {
			last = plainHMAC(id, key, last, seed, []byte{byte(n)})
			want = append(want, last...)
		}
		p.Key(key)
		for _, n := range []int{0, 1, p.size - 1, p.size, p.size + 1, 5*p.size + 7, 255 * p.size} {
			p.Write([]byte("left over from another message"))
			got := make([]byte, n)
			p.plus(got, seed)
			if !bytes.Equal(got, want[:n]) {
				t.Errorf("PRF %d: prf+ of %d octets differs", id, n)
			}
		}
	}
}

func TestPlusBeyond255Blocks(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("prf+ of 255 blocks and one octet did not panic")
		}
	}()
	p := newPRF(t, wire.PRFHMACSHA256)
	p.plus(make([]byte, 255*32+1), nil)
}

func TestNewPRFRefuses(t *testing.T) {
	for _, id := range []wire.TransformID{0, 1, 2, 3, 4, 8, 9, 1024} { // MD5, SHA-1, Tiger, AES-XCBC, AES-CMAC, Streebog
		if _, err := NewPRF(id); err == nil || !strings.Contains(err.Error(), wire.TransformPRF.Name(id)) {
			t.Errorf("PRF %d: error %v does not name it", id, err)
		}
	}
}

func TestPRFDoesNotAllocate(t *testing.T) {
	message, out := make([]byte, 200), make([]byte, 400)
	for _, id := range prfIDs {
		p := newPRF(t, id)
		if n := testing.AllocsPerRun(100, func() {
			p.Key(message)
			p.Write(message)
			p.Sum(out[:0])
			p.plus(out, message)
			p.Reset()
		}); n != 0 {
			t.Errorf("PRF %d: %v allocations", id, n)
		}
	}
}
