package state

import (
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"testing"

	"blackswan/ticket"
)

func TestRuleC2_RollCallEntry(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("[2001:db8::1]:500")
	for _, e := range []RollCallEntry{
		{},
		{SPIi: 1, SPIr: math.MaxUint64, Original: true, Generation: 3, Local: v4, Remote: v4, Marker: true, Heard: 1_800_000_000},
		{SPIi: math.MaxUint64, SPIr: 1, Local: v6, Remote: v6, Heard: -1},
		{Original: true, Ours: true, Generation: 1, Local: v4, Remote: v6},
		{Marker: true, Generation: 2, Local: v6, Remote: v4},
		{Local: netip.MustParseAddrPort("0.0.0.0:0"), Remote: netip.MustParseAddrPort("[::ffff:192.0.2.1]:1")},
	} {
		b := AppendRollCallEntry([]byte{9}, e)
		if len(b) != 1+RollCallSize || b[0] != 9 {
			t.Fatalf("%d octets; want %d", len(b)-1, RollCallSize)
		}
		if got, err := ParseRollCallEntry(b[1:]); err != nil || got != e {
			t.Errorf("%+v came back as %+v, %v", e, got, err)
		}
	}
	const want = "0102030405060708" + "1112131415161718" + "0f" + "02" +
		"00000000000000000000ffffc00002011194" + "00000000000000000000ffffc00002010001" + "000000006b49d200"
	e := RollCallEntry{SPIi: 0x0102030405060708, SPIr: 0x1112131415161718, Original: true, Marker: true, Generation: 2,
		Local: v4, Remote: netip.AddrPortFrom(v4.Addr(), 1), Heard: 1_800_000_000}
	if got := hex.EncodeToString(AppendRollCallEntry(nil, e)); got != want {
		t.Errorf("encoding\n%s; want\n%s", got, want)
	}
}

func TestFloor(t *testing.T) {
	f := ticket.Floor{Lineage: [16]byte{1, 15: 2}, Floor: math.MaxUint32, Until: 1_800_000_000}
	const want = "01000000000000000000000000000002" + "ffffffff" + "000000006b49d200"
	b := AppendFloor(nil, f)
	if got := hex.EncodeToString(b); got != want || len(b) != FloorSize {
		t.Errorf("encoding\n%s; want\n%s", got, want)
	}
	if got, err := ParseFloor(b); err != nil || got != f {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRuleA8_ChildSPI(t *testing.T) {
	c := ChildSPI{ESP: 0x01020304, SPIi: 0x1112131415161718, SPIr: 0x2122232425262728, Generation: 3, Original: true}
	const want = "01020304" + "1112131415161718" + "2122232425262728" + "03" + "01"
	b := AppendChildSPI(nil, c)
	if got := hex.EncodeToString(b); got != want || len(b) != ChildSPISize {
		t.Errorf("encoding\n%s; want\n%s", got, want)
	}
	if got, err := ParseChildSPI(b); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
	c.Original = false
	if got, err := ParseChildSPI(AppendChildSPI(nil, c)); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRecordsRefuse: no prefix, no extension, no unknown flag.
func TestRecordsRefuse(t *testing.T) {
	v6 := netip.MustParseAddrPort("[2001:db8::1]:500")
	for name, c := range map[string]struct {
		good  []byte
		parse func([]byte) error
		bad   map[int]byte // octet -> value
	}{
		"roll call": {AppendRollCallEntry(nil, RollCallEntry{Local: v6, Remote: v6}),
			func(b []byte) error { _, err := ParseRollCallEntry(b); return err },
			map[int]byte{16: 0x20, 17: 4}},
		"roll call, local not IPv4": {AppendRollCallEntry(nil, RollCallEntry{Local: v6, Remote: v6}),
			func(b []byte) error { _, err := ParseRollCallEntry(b); return err },
			map[int]byte{16: flagLocal4}},
		"roll call, remote not IPv4": {AppendRollCallEntry(nil, RollCallEntry{Local: v6, Remote: v6}),
			func(b []byte) error { _, err := ParseRollCallEntry(b); return err },
			map[int]byte{16: flagRemote4}},
		"floor": {AppendFloor(nil, ticket.Floor{}), func(b []byte) error { _, err := ParseFloor(b); return err }, nil},
		"child SPI": {AppendChildSPI(nil, ChildSPI{}), func(b []byte) error { _, err := ParseChildSPI(b); return err },
			map[int]byte{20: 4, 21: 2}},
	} {
		if err := c.parse(c.good); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range c.good {
			if !errors.Is(c.parse(c.good[:n]), ErrRecord) {
				t.Errorf("%s: %d octets were taken", name, n)
			}
		}
		if !errors.Is(c.parse(append(c.good[:len(c.good):len(c.good)], 0)), ErrRecord) {
			t.Errorf("%s: one octet more was taken", name)
		}
		for at, value := range c.bad {
			b := append([]byte{}, c.good...)
			b[at] = value
			if !errors.Is(c.parse(b), ErrRecord) {
				t.Errorf("%s: octet %d = %d was taken", name, at, value)
			}
		}
	}
}

func FuzzParseRollCallEntry(f *testing.F) {
	f.Add(make([]byte, RollCallSize))
	f.Add(AppendRollCallEntry(nil, RollCallEntry{SPIi: 1, Original: true, Local: netip.MustParseAddrPort("192.0.2.1:4500")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseRollCallEntry(b)
		if err != nil {
			return
		}
		if got := AppendRollCallEntry(nil, e); string(got) != string(b) {
			t.Fatalf("%x came back as %x", b, got)
		}
	})
}

func FuzzPage(f *testing.F) {
	p := NewPages(nil, "", 2)
	p.Set(0, []byte{1, 2})
	p.Set(4095, []byte{3, 4})
	f.Add(p.encode(p.pages[0]))
	f.Add([]byte{pageVersion, 0, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := NewPages(nil, "", 2)
		if decodePage(b, 2, 0, again.Set) != nil {
			return
		}
		if len(again.pages) == 0 {
			again.touch(0)
		}
		if got := again.encode(again.pages[0]); string(got) != string(b) {
			t.Fatalf("%x came back as %x", b, got)
		}
	})
}
