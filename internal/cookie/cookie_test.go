package cookie

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// counted is a predictable reader: octets 0, 1, 2, ...
type counted struct{ next byte }

func (c *counted) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

var (
	src   = netip.MustParseAddr("192.0.2.7")
	nonce = bytes.Repeat([]byte{0xa5}, 32)
)

const spii = 0x1122334455667788

func TestCookieIsTheMACOfTheRequest(t *testing.T) {
	s := New(&counted{}, 0)
	got := s.Make([]byte("kept"), 0, nonce, src, spii, []byte("ticket"))

	key := make([]byte, 32) // the reader gave the version first: 0
	for i := range key {
		key[i] = byte(i + 1)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprint(mac, "\x11\x22\x33\x44\x55\x66\x77\x88")
	fmt.Fprint(mac, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07")
	fmt.Fprint(mac, "\x00\x00\x00\x20")
	mac.Write(nonce)
	fmt.Fprint(mac, "ticket")
	want := append([]byte("kept\x00"), mac.Sum(nil)[:16]...)
	if !bytes.Equal(got, want) {
		t.Errorf("Make = %x, want %x", got, want)
	}
	if n := len(got) - 4; n != Size || n < 1 || n > 64 {
		t.Errorf("%d octets: RFC 7296 2.6 allows 1 to 64, ours has %d", n, Size)
	}
}

func TestRFC7296_2_6_CookieBindsTheRequest(t *testing.T) {
	s := New(&counted{}, 0)
	c := s.Make(nil, 0, nonce, src, spii, []byte("ticket"))
	if !s.Check(0, c, nonce, src, spii, []byte("ticket")) {
		t.Fatal("the cookie of this very request is refused")
	}
	if !s.Check(0, c, nonce, netip.AddrFrom16(src.As16()), spii, []byte("ticket")) {
		t.Error("the same address in its IPv6-mapped form is refused")
	}
	other := bytes.Clone(nonce)
	other[31] ^= 1
	for name, accepted := range map[string]bool{
		"other Ni":            s.Check(0, c, other, src, spii, []byte("ticket")),
		"shorter Ni":          s.Check(0, c, nonce[:31], src, spii, []byte("ticket")),
		"other address":       s.Check(0, c, nonce, src.Next(), spii, []byte("ticket")),
		"other SPIi":          s.Check(0, c, nonce, src, spii+1, []byte("ticket")),
		"other ticket":        s.Check(0, c, nonce, src, spii, []byte("Ticket")),
		"no ticket":           s.Check(0, c, nonce, src, spii, nil),
		"octets moved to Ni":  s.Check(0, c, append(bytes.Clone(nonce), 't'), src, spii, []byte("icket")),
		"octets moved off Ni": s.Check(0, c, nonce[:31], src, spii, append([]byte{0xa5}, "ticket"...)),
		"cut":                 s.Check(0, c[:Size-1], nonce, src, spii, []byte("ticket")),
		"longer":              s.Check(0, append(c, 0), nonce, src, spii, []byte("ticket")),
		"empty":               s.Check(0, nil, nonce, src, spii, []byte("ticket")),
		"of another gateway":  New(&counted{next: 0x80}, 0).Check(0, c, nonce, src, spii, []byte("ticket")),
	} {
		if accepted {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range len(c) * 8 {
		flipped := bytes.Clone(c)
		flipped[i/8] ^= 1 << (i % 8)
		if s.Check(0, flipped, nonce, src, spii, []byte("ticket")) {
			t.Errorf("bit %d flipped: accepted", i)
		}
	}
}

func TestRFC7296_2_6_SecretChanges(t *testing.T) {
	for _, row := range []struct {
		name        string
		made, shown int64
		want        bool
	}{
		{"at once", 0, 0, true},
		{"end of its period", 0, Period - 1, true},
		{"start of the next period", 0, Period, true},
		{"end of the next period", 0, 2*Period - 1, true},
		{"two periods later", 0, 2 * Period, false},
		{"made late, just within the next period", Period - 1, 2*Period - 1, true},
		{"made late, gone with its secret", Period - 1, 2 * Period, false},
		{"long after", 0, 100 * Period, false},
		{"256 periods later, when the version comes round", 0, 256 * Period, false},
		{"clock went back", Period / 2, 0, true},
	} {
		s := New(&counted{}, 0)
		c := s.Make(nil, row.made, nonce, src, spii, nil)
		if got := s.Check(row.shown, c, nonce, src, spii, nil); got != row.want {
			t.Errorf("%s: Check = %v, want %v", row.name, got, row.want)
		}
	}
}

func TestRFC7296_2_6_VersionChangesWithTheSecret(t *testing.T) {
	s := New(&counted{}, 0)
	last := s.Make(nil, 0, nonce, src, spii, nil)
	for period := int64(1); period < 600; period++ { // past 256, where the version wraps
		c := s.Make(nil, period*Period, nonce, src, spii, nil)
		if c[0] != last[0]+1 || bytes.Equal(c[1:], last[1:]) {
			t.Fatalf("period %d: %x after %x", period, c, last)
		}
		if !s.Check(period*Period, last, nonce, src, spii, nil) {
			t.Fatalf("period %d: the cookie of the period before is refused", period)
		}
		last = c
	}
}

func TestSecretLivesOnWithoutRandomness(t *testing.T) {
	s := New(io.LimitReader(&counted{}, 33), 0)
	c := s.Make(nil, 0, nonce, src, spii, nil)
	if !s.Check(5*Period, c, nonce, src, spii, nil) {
		t.Error("without a new secret the present one must go on")
	}
}

func TestNewPanicsWithoutRandomness(t *testing.T) {
	for _, octets := range []int64{0, 1, 32} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d octets of randomness: no panic", octets)
				}
			}()
			New(io.MultiReader(io.LimitReader(&counted{}, octets), broken{}), 0)
		}()
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestSecretIsNeverPrinted(t *testing.T) {
	s := New(&counted{}, 0)
	s.Make(nil, Period, nonce, src, spii, nil)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for name, v := range map[string]any{"pointer": s, "value": *s} {
			if got := fmt.Sprintf(verb, v); got != "redacted" {
				t.Errorf("%s of the %s: %q", verb, name, got)
			}
		}
		// fmt cannot call the methods of an unexported field.
		type holder struct{ s *Secret }
		got := strings.ToLower(fmt.Sprintf(verb, holder{s}))
		for _, leak := range []string{"01020304", "1, 2, 3, 4", "1 2 3 4", "0x1, 0x2, 0x3"} {
			if strings.Contains(got, leak) {
				t.Errorf("%s of a struct around it: %s", verb, got)
			}
		}
	}
	if s.String() != "redacted" || s.GoString() != "redacted" {
		t.Error("String or GoString shows the secret")
	}
}

func TestCookieAllocatesNothing(t *testing.T) {
	s := New(&counted{}, 0)
	ticket := make([]byte, 256)
	c := s.Make(nil, 0, nonce, src, spii, ticket)
	if n := testing.AllocsPerRun(100, func() { c = s.Make(c[:0], 1, nonce, src, spii, ticket) }); n != 0 {
		t.Errorf("Make: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Check(1, c, nonce, src, spii, ticket) }); n != 0 {
		t.Errorf("Check: %v allocations", n)
	}
}

func FuzzCheck(f *testing.F) {
	s := New(&counted{}, 0)
	f.Add(s.Make(nil, 0, nonce, src, spii, nil), nonce, src.AsSlice(), uint64(spii))
	f.Add([]byte{}, []byte{}, []byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, cookie, ni, addr []byte, spi uint64) {
		s := New(&counted{}, 0)
		a, _ := netip.AddrFromSlice(addr)
		want := bytes.Equal(cookie, s.Make(nil, 0, ni, a, spi, nil))
		if got := s.Check(0, cookie, ni, a, spi, nil); got != want {
			t.Errorf("Check = %v, want %v", got, want)
		}
	})
}

func BenchmarkMake(b *testing.B) {
	s := New(&counted{}, 0)
	buf := make([]byte, 0, Size)
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Make(buf[:0], 0, nonce, src, spii, nil)
	}
}

func BenchmarkCheck(b *testing.B) {
	s := New(&counted{}, 0)
	c := s.Make(nil, 0, nonce, src, spii, nil)
	b.ReportAllocs()
	for b.Loop() {
		s.Check(0, c, nonce, src, spii, nil)
	}
}
