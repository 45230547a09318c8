package ticket

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// source is a seeded source of randomness.
func source(seed uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// broken is a source of randomness that ends after n octets.
type broken struct{ n int }

func (b *broken) Read(p []byte) (int, error) {
	if b.n < len(p) {
		return 0, fmt.Errorf("no entropy")
	}
	b.n -= len(p)
	return len(p), nil
}

// oneKey is a ring's keys with one that seals at start.
func oneKey(id uint32, seed byte) []Key {
	return []Key{{ID: id, Secret: Secret(bytes.Repeat([]byte{seed}, 32)), Created: start - 1000, SealUntil: start + 86400, OpenUntil: start + 2*86400}}
}

func ring(t testing.TB, keys []Key) *Ring {
	t.Helper()
	r, err := NewRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sealed(t testing.TB, r *Ring, s Session, rand io.Reader) []byte {
	t.Helper()
	b, err := r.Seal(nil, &s, start, rand)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestD1_Format takes a ticket apart with the standard library and a HKDF
// spelt out.
func TestD1_Format(t *testing.T) {
	keys, s := oneKey(0xa1b2c3d4, 5), typical()
	b, err := ring(t, keys).Seal([]byte("kept"), &s, start, source(1))
	if err != nil || string(b[:4]) != "kept" {
		t.Fatalf("%v, %q", err, b[:4])
	}
	b = b[4:]
	if b[0] != 1 || binary.BigEndian.Uint32(b[1:]) != 0xa1b2c3d4 || len(b)%64 != 0 {
		t.Fatalf("version %d, key id %x, %d octets", b[0], b[1:5], len(b))
	}
	mac := func(key []byte, data ...byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(data)
		return h.Sum(nil)
	}
	block, _ := aes.NewCipher(mac(mac(b[5:21], keys[0].Secret[:]...), append([]byte("blackswan ticket v1"), 1)...))
	aead, _ := cipher.NewGCM(block)
	plain, err := aead.Open(nil, b[21:33], b[33:], b[:21])
	if err != nil {
		t.Fatal(err)
	}
	want := s.Append(nil)
	if n := int(binary.BigEndian.Uint16(plain)); n != len(want) || !bytes.Equal(plain[2:2+n], want) {
		t.Errorf("%d octets %x, want %x", n, plain, want)
	}
	if rest := plain[2+len(want):]; len(rest) >= 64 || len(bytes.Trim(rest, "\x00")) > 0 {
		t.Errorf("padding %x", rest)
	}
}

// A new version of the program must open what an old one has sealed: a change
// of the format needs a new version octet, and the old one goes on opening.
func TestD1_Pinned(t *testing.T) {
	keys, s := oneKey(0xa1b2c3d4, 5), typical()
	sum := sha256.Sum256(sealed(t, ring(t, keys), s, source(1)))
	if got, pinned := fmt.Sprintf("%x", sum), "56cd069655106a1bc254497495eb026da42cf9f9ff9f329ffbe482e50de8b998"; got != pinned {
		t.Errorf("its hash is %s, pinned is %s", got, pinned)
	}
}

// The kernel sees which shard a ticket belongs to, and nothing else of the
// lineage. What is sealed by other nonces opens as well.
func TestTicketShowsItsShard(t *testing.T) {
	r, s := ring(t, oneKey(1, 5)), typical()
	seen := map[byte]bool{}
	for home := range 256 {
		s.Lineage[0] = byte(home)
		b := sealed(t, r, s, source(uint64(home)))
		if b[HomeAt]&HomeBits != byte(home)&HomeBits {
			t.Errorf("lineage %02x..: octet %02x", home, b[HomeAt])
		}
		seen[b[HomeAt]&^HomeBits] = true
	}
	if len(seen) != 4 {
		t.Errorf("the high bits are not random: %v", seen)
	}
}

func TestD1_Size(t *testing.T) {
	r := ring(t, oneKey(1, 5))
	if n := len(sealed(t, r, typical(), source(1))); n > 256 {
		t.Errorf("a typical session makes a ticket of %d octets", n)
	}
	s := typical()
	longest := 0
	for n := range 1200 {
		s.IDi.Data = bytes.Repeat([]byte{'a'}, n)
		want := (21 + 12 + 2 + len(s.Append(nil)) + 16 + 63) / 64 * 64
		b, err := r.Seal(nil, &s, start, source(1))
		switch {
		case want > 896:
			if err != ErrTooLong || b != nil {
				t.Fatalf("%d octets wanted: %v, %d", want, err, len(b))
			}
		case err != nil || len(b) != want:
			t.Fatalf("a name of %d octets: %v, %d octets, want %d", n, err, len(b), want)
		default:
			longest = max(longest, len(b))
			var got Session
			if err := r.Open(&got, b, start); err != nil || !same(got, s) {
				t.Fatalf("a name of %d octets: %v", n, err)
			}
		}
	}
	if longest != MaxSize {
		t.Errorf("the longest ticket has %d octets", longest)
	}
}

// TestRFC5723_6_1_TicketIsEncryptedAndIntegrityProtected: nothing of the
// session is to be seen, and no octet can be changed.
func TestRFC5723_6_1_TicketIsEncryptedAndIntegrityProtected(t *testing.T) {
	r, s := ring(t, oneKey(1, 5)), full()
	b := sealed(t, r, s, source(1))
	plain := s.Append(nil)
	for at := 0; at+6 <= len(plain); at++ {
		if bytes.Contains(b, plain[at:at+6]) {
			t.Errorf("octets %d to %d of the session are in the ticket", at, at+6)
		}
	}
	for i := range b {
		for bit := range 8 {
			forged := bytes.Clone(b)
			forged[i] ^= 1 << bit
			var got Session
			err := r.Open(&got, forged, start)
			want := ErrForged
			switch {
			case i == 0:
				want = ErrFormat
			case i < 5:
				want = ErrUnknownKey
			}
			if err != want || !reflect.ValueOf(got).IsZero() {
				t.Fatalf("bit %d of octet %d: %v, %+v; want %v", bit, i, err, got, want)
			}
		}
	}
	if err := r.Open(&s, b, start); err != nil {
		t.Errorf("the ticket itself: %v", err)
	}
}

func TestRFC5723_9_2_ForgedTicketsDoNotOpen(t *testing.T) {
	r := ring(t, oneKey(1, 5))
	b := sealed(t, r, typical(), source(1))
	other := sealed(t, r, full(), source(2))
	graft := append(bytes.Clone(b[:33]), other[33:]...)
	for name, c := range map[string]struct {
		ticket []byte
		ring   *Ring
		want   error
	}{
		"no octet":                        {nil, r, ErrFormat},
		"cut by a block":                  {b[:len(b)-64], r, ErrForged},
		"cut by an octet":                 {b[:len(b)-1], r, ErrFormat},
		"an octet more":                   {append(bytes.Clone(b), 0), r, ErrFormat},
		"a block more":                    {append(bytes.Clone(b), make([]byte, 64)...), r, ErrForged},
		"64 octets":                       {append([]byte{1, 0, 0, 0, 1}, make([]byte, 59)...), r, ErrForged},
		"960 octets":                      {append([]byte{1, 0, 0, 0, 1}, make([]byte, 955)...), r, ErrFormat},
		"body of another ticket":          {graft, r, ErrForged},
		"of another gateway, same key id": {b, ring(t, oneKey(1, 6)), ErrForged},
		"of another ring":                 {b, ring(t, oneKey(2, 5)), ErrUnknownKey},
		"no ring":                         {b, ring(t, nil), ErrUnknownKey},
	} {
		s := full()
		if err := c.ring.Open(&s, c.ticket, start); err != c.want || !reflect.ValueOf(s).IsZero() {
			t.Errorf("%s: %v, want %v; session %+v", name, err, c.want, s)
		}
	}
}

// What is sealed under the right key and is no session, or is padded in
// another way than ours, is refused all the same.
func TestD1_PlaintextIsStrict(t *testing.T) {
	keys, s := oneKey(1, 5), typical()
	r, session := ring(t, keys), s.Append(nil)
	header := append([]byte{1, 0, 0, 0, 1}, bytes.Repeat([]byte{7}, 16)...)
	aead := derive(&keys[0], saltID(header[1:]))
	fit := (overhead+len(session)+63)/64*64 - overhead - len(session) // zeros
	for _, c := range []struct {
		name    string
		n       int // the length that it says
		session []byte
		zeros   []byte
		want    error
	}{
		{"ours", len(session), session, make([]byte, fit), nil},
		{"a block of zeros more", len(session), session, make([]byte, fit+64), ErrFormat},
		{"another padding", len(session), session, append(make([]byte, fit-1), 1), ErrFormat},
		{"too long", len(session) + fit + 1, session, make([]byte, fit), ErrFormat},
		{"no session", len(session), make([]byte, len(session)), make([]byte, fit), ErrFormat},
		{"a session cut", len(session) - 1, session, make([]byte, fit), ErrFormat},
	} {
		plain := binary.BigEndian.AppendUint16(nil, uint16(c.n))
		plain = append(append(plain, c.session...), c.zeros...)
		b := append(bytes.Clone(header), make([]byte, nonceSize)...)
		b = aead.Seal(b, b[headerSize:], plain, header)
		var got Session
		if err := r.Open(&got, b, start); err != c.want || (err != nil && !reflect.ValueOf(got).IsZero()) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestRFC5723_6_1_ExpiryIsAbsoluteAndProtected(t *testing.T) {
	r, s := ring(t, oneKey(1, 5)), typical()
	b := sealed(t, r, s, source(1))
	for _, c := range []struct {
		now  int64
		want error
	}{{start, nil}, {s.Expires - 1, nil}, {s.Expires, ErrExpired}, {s.Expires + 1000, ErrExpired}, {start - 10_000, nil}} {
		var got Session
		if err := r.Open(&got, b, c.now); err != c.want || !same(got, s) {
			t.Errorf("%d s after its issue: %v, want %v, with the session: %+v", c.now-start, err, c.want, got)
		}
	}
	var got Session
	if err := r.Open(&got, b, start+2*86400); err != ErrExpired || !reflect.ValueOf(got).IsZero() {
		t.Errorf("after the end of its key: %v, %+v", err, got)
	}
	s.Expires = 0
	if err := r.Open(&got, sealed(t, r, s, source(1)), start); err != ErrExpired {
		t.Errorf("without an expiry: %v", err)
	}
}

func TestRFC5723_6_1_TicketNamesItsKey(t *testing.T) {
	old, s := oneKey(0x01020304, 5), typical()
	b := sealed(t, ring(t, old), s, source(1))
	if got := binary.BigEndian.Uint32(b[1:]); got != 0x01020304 {
		t.Fatalf("key id %08x", got)
	}
	fresh := oneKey(0x0a0b0c0d, 6)
	r := ring(t, slices.Concat(fresh, old)) // both keys, in either order
	var got Session
	if err := r.Open(&got, b, start); err != nil || !same(got, s) {
		t.Errorf("under the key that it names: %v", err)
	}
	if err := r.SetKeys(fresh); err != nil {
		t.Fatal(err)
	}
	if err := r.Open(&got, b, start); err != ErrUnknownKey {
		t.Errorf("without that key: %v, want ErrUnknownKey", err)
	}
}

func TestRFC5723_9_10_NothingLinksTwoTickets(t *testing.T) {
	r, rand := ring(t, oneKey(1, 5)), source(1)
	a, b := sealed(t, r, typical(), rand), sealed(t, r, typical(), rand)
	if !bytes.Equal(a[:21], b[:21]) || bytes.Equal(a[21:33], b[21:33]) {
		t.Errorf("want the header of this start and a nonce of its own: %x, %x", a[:33], b[:33])
	}
	for at := 33; at+4 <= len(a); at++ {
		if bytes.Equal(a[at:at+4], b[at:at+4]) {
			t.Errorf("octets %d to %d are the same in two tickets of one session", at, at+4)
		}
	}
	var got Session
	if s := typical(); r.Open(&got, a, start) != nil || bytes.Contains(a, s.IDi.Data) || bytes.Contains(a, s.IDr.Data) || !same(got, s) {
		t.Errorf("want the identities inside and out of sight: %+v", got)
	}
	// The names are hidden, and so is their length within a block.
	s := typical()
	s.IDi.Data = s.IDi.Data[:15]
	if c := sealed(t, r, s, rand); len(c) != len(a) {
		t.Errorf("a name of 15 octets makes %d octets, one of 20 makes %d", len(c), len(a))
	}
}

func TestSealNeedsRandomness(t *testing.T) {
	s := typical()
	for n := range saltSize + nonceSize {
		if b, err := ring(t, oneKey(1, 5)).Seal([]byte("kept"), &s, start, &broken{n}); err == nil || string(b) != "kept" {
			t.Errorf("with %d octets of randomness: %v, %x", n, err, b)
		}
	}
}

func TestRingIsRedacted(t *testing.T) {
	keys := oneKey(1, 0x5a)
	r := ring(t, keys)
	for _, v := range []any{r, keys, keys[0], &keys[0], keys[0].Secret, &keys[0].Secret} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(strings.ToLower(text), "5a5a") || strings.Contains(text, "90 90") || strings.Contains(text, "0x5a, 0x5a") || strings.Contains(text, "ZZ") {
				t.Errorf("%s of %T shows a key: %s", verb, v, text)
			}
		}
	}
	if k := keys[0].Secret; k.String() != "redacted" || k.GoString() != "redacted" || fmt.Sprint(k) != "redacted" {
		t.Error("a secret does not print as redacted")
	}
}

func TestRingAllocatesNothing(t *testing.T) {
	r, s, rand := ring(t, oneKey(1, 5)), typical(), source(1)
	buf := sealed(t, r, s, rand)
	var opened Session
	if n := testing.AllocsPerRun(100, func() { buf, _ = r.Seal(buf[:0], &s, start, rand) }); n != 0 {
		t.Errorf("Seal: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { r.Open(&opened, buf, start) }); n != 0 {
		t.Errorf("Open: %v allocations", n)
	}
	var id [16]byte
	ref, _ := r.SealRef(nil, id, start)
	if n := testing.AllocsPerRun(100, func() { ref, _ = r.SealRef(ref[:0], id, start); r.OpenRef(ref) }); n != 0 {
		t.Errorf("SealRef and OpenRef: %v allocations", n)
	}
}

func FuzzOpen(f *testing.F) {
	r := ring(f, oneKey(1, 5))
	for _, s := range []Session{typical(), full()} {
		f.Add(sealed(f, r, s, source(1)))
	}
	ref, _ := r.SealRef(nil, [16]byte{1}, start)
	f.Add(ref)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Session
		if err := r.Open(&s, b, start); err == nil && s.Expires <= start {
			t.Error("an expired ticket opened")
		}
		if _, err := r.OpenRef(b); err == nil && len(b) != RefSize {
			t.Error("a reference of another length")
		}
	})
}
