package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func someSelectors() []Selector {
	return []Selector{
		Prefix(netip.MustParsePrefix("0.0.0.0/0")),
		{Protocol: 6, StartPort: 443, EndPort: 443, Start: netip.MustParseAddr("10.0.0.1"), End: netip.MustParseAddr("10.0.0.9")},
		Prefix(netip.MustParsePrefix("2001:db8::/32")),
		{StartPort: 65535, EndPort: 0, Start: netip.MustParseAddr("::1"), End: netip.MustParseAddr("::1")},
	}
}

func TestTSOctets(t *testing.T) {
	want := unhex(t, `02 000000
		07 06 0010 01bb 01bb 0a000001 0a000009
		08 00 0028 0000 ffff 20010db8000000000000000000000000 20010db8ffffffffffffffffffffffff`)
	if got := AppendTS(nil, someSelectors()[1:3]); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestTSRoundTrip(t *testing.T) {
	body := AppendTS(nil, someSelectors())
	ts, err := ParseTS(body)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(ts.Selectors()); !slices.Equal(got, someSelectors()) {
		t.Errorf("got %v", got)
	}
	if ts.Len() != 4 || ts.Unknown() != 0 {
		t.Errorf("Len %d, Unknown %d", ts.Len(), ts.Unknown())
	}
	for n := range body {
		if _, err := ParseTS(body[:n]); err == nil {
			t.Errorf("the first %d octets parse", n)
		}
	}
	if _, err := ParseTS(append(body, 0)); err != ErrCount {
		t.Errorf("with an octet too many: %v", err)
	}
	for s := range ts.Selectors() { // a loop may end early
		if s != someSelectors()[0] {
			t.Errorf("first is %v", s)
		}
		break
	}
}

func TestParseTSFaults(t *testing.T) {
	v4 := AppendTS(nil, someSelectors()[1:2])
	v6 := AppendTS(nil, someSelectors()[2:3])
	tests := []struct {
		section, fault string
		body           []byte
		at             int
		to             byte
		err            error
	}{
		{"3.13", "no selector", v4, 0, 0, ErrCount},
		{"3.13", "one selector too few", v4, 0, 2, ErrShort},
		{"3.13.1", "longer than the payload", v4, 7, 0x11, ErrShort},
		{"3.13.1", "shorter than its header", v4, 7, 3, ErrLength},
		{"3.13.1", "IPv4 of 12 octets", v4, 7, 12, ErrSelector},
		{"3.13.1", "IPv6 of 16 octets", v4, 4, 8, ErrSelector},
		{"3.13.1", "IPv4 of 40 octets", v6, 4, 7, ErrSelector},
		{"3.13.1", "ends before it starts", v4, 16, 9, ErrSelector},
		{"3.13.1", "ports end before they start", v4, 10, 0, ErrSelector},
	}
	for _, tt := range tests {
		body := bytes.Clone(tt.body)
		body[tt.at] = tt.to
		if _, err := ParseTS(body); err != tt.err {
			t.Errorf("%s: %s: %v, want %v", tt.section, tt.fault, err, tt.err)
		}
	}
}

// 3.13.1: selectors of other types do not spoil those that we know.
func TestTSUnknownTypes(t *testing.T) {
	known := AppendTS(nil, someSelectors()[1:2])[4:]
	label := []byte{byte(TSSecLabel), 0, 0, 7, 'a', 'b', 'c'}
	empty := []byte{200, 0, 0, 4}
	body := slices.Concat([]byte{3, 0, 0, 0}, label, known, empty)
	ts, err := ParseTS(body)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(ts.Selectors()); !slices.Equal(got, someSelectors()[1:2]) {
		t.Errorf("got %v", got)
	}
	if ts.Len() != 1 || ts.Unknown() != 2 {
		t.Errorf("Len %d, Unknown %d", ts.Len(), ts.Unknown())
	}
}

// RFC 4301 4.4.1.1: 65535 to 0 is OPAQUE, and no other range runs backwards.
func TestTSPorts(t *testing.T) {
	tests := []struct {
		start, end uint16
		err        error
	}{
		{0, 65535, nil},
		{80, 80, nil},
		{65535, 65535, nil},
		{65535, 0, nil},
		{443, 80, ErrSelector},
		{65535, 5, ErrSelector},
		{7, 0, ErrSelector},
	}
	for _, tt := range tests {
		s := Prefix(netip.MustParsePrefix("10.0.0.0/8"))
		s.StartPort, s.EndPort = tt.start, tt.end
		if _, err := ParseTS(AppendTS(nil, []Selector{s})); err != tt.err {
			t.Errorf("%d to %d: %v, want %v", tt.start, tt.end, err, tt.err)
		}
	}
	if _, err := ParseTS(make([]byte, 4)); err != ErrCount { // 3.13: one or more
		t.Errorf("no selectors: %v", err)
	}
}

func TestSelectorString(t *testing.T) {
	address := netip.MustParseAddr
	tests := []struct {
		s    Selector
		want string
	}{
		{Prefix(netip.MustParsePrefix("0.0.0.0/0")), "0.0.0.0/0"},
		{Prefix(netip.MustParsePrefix("::/0")), "::/0"},
		{Prefix(netip.MustParsePrefix("10.1.2.3/9")), "10.0.0.0/9"},
		{Prefix(netip.MustParsePrefix("10.1.2.3/32")), "10.1.2.3"},
		{Prefix(netip.MustParsePrefix("10.1.2.3/31")), "10.1.2.2/31"},
		{Prefix(netip.MustParsePrefix("2001:db8::5/127")), "2001:db8::4/127"},
		{Selector{EndPort: 65535, Start: address("10.0.0.1"), End: address("10.0.0.9")}, "10.0.0.1-10.0.0.9"},
		{Selector{Protocol: 6, StartPort: 80, EndPort: 80, Start: address("10.0.0.1"), End: address("10.0.0.1")}, "10.0.0.1[6/80]"},
		{Selector{Protocol: 17, EndPort: 65535, Start: address("::1"), End: address("::1")}, "::1[17]"},
		{Selector{Protocol: 6, EndPort: 443, Start: address("::1"), End: address("::1")}, "::1[6/0-443]"},
		{Selector{Protocol: 6, StartPort: 1024, EndPort: 65535, Start: address("::1"), End: address("::1")}, "::1[6/1024-65535]"},
		{Selector{StartPort: 65535, Start: address("::1"), End: address("::1")}, "::1[0/65535-0]"},
	}
	for _, tt := range tests {
		if got := tt.s.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// The last address of a prefix, against counting.
func TestPrefix(t *testing.T) {
	for bits := 20; bits <= 32; bits++ {
		p := netip.PrefixFrom(netip.MustParseAddr("192.168.77.129"), bits)
		s := Prefix(p)
		last := s.Start
		for range 1<<(32-bits) - 1 {
			last = last.Next()
		}
		if s.Start != p.Masked().Addr() || s.End != last || !s.End.Is4() {
			t.Errorf("/%d: %v to %v, counted %v", bits, s.Start, s.End, last)
		}
	}
}

func TestAppendTSPanics(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	for name, s := range map[string]Selector{
		"no addresses":         {},
		"no end":               {Start: v4},
		"IPv4 start, IPv6 end": {Start: v4, End: v6},
		"IPv6 start, IPv4 end": {Start: v6, End: v4},
	} {
		if !panics(func() { AppendTS(nil, []Selector{s}) }) {
			t.Errorf("%s: appended", name)
		}
	}
	if !panics(func() { AppendTS(nil, make([]Selector, 256)) }) {
		t.Error("256 selectors: appended")
	}
}

func TestPrefixes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	addr := func(n uint32) netip.Addr { return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n))) }
	for range 2000 {
		from := rng.Uint32() >> rng.IntN(32)
		to := max(from, from+rng.Uint32()>>rng.IntN(33))
		s := Selector{Start: addr(from), End: addr(to)}
		next := uint64(from)
		all := s.Prefixes()
		for i, p := range all {
			if p != p.Masked() || p.Addr() != addr(uint32(next)) {
				t.Fatalf("%v: %v does not go on at %v", s, p, addr(uint32(next)))
			}
			next += 1 << (32 - p.Bits())
			if i > 0 && all[i-1].Bits() == p.Bits() && netip.PrefixFrom(all[i-1].Addr(), p.Bits()-1).Contains(p.Addr()) && p.Bits() > 0 &&
				netip.PrefixFrom(all[i-1].Addr(), p.Bits()-1).Masked().Addr() == all[i-1].Addr() {
				t.Fatalf("%v: %v and %v could be one", s, all[i-1], p)
			}
		}
		if next != uint64(to)+1 {
			t.Fatalf("%v: %v end at %d", s, all, next)
		}
	}
	whole := Prefix(netip.MustParsePrefix("::/0"))
	if got := whole.Prefixes(); len(got) != 1 || got[0].Bits() != 0 {
		t.Errorf("all of IPv6: %v", got)
	}
	odd := Selector{Start: netip.MustParseAddr("::1"), End: netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")}
	if got := len(odd.Prefixes()); got != 254 {
		t.Errorf("the worst range of IPv6: %d prefixes, want 254", got)
	}
	if got := (Selector{Start: addr(2), End: addr(1)}).Prefixes(); got != nil {
		t.Errorf("a range that ends before it starts: %v", got)
	}
}
