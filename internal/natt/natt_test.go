package natt

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// The IPv4 rows are from captures of libreswan, Rockhopper and Wireshark's
// test suite; the IPv6 row was computed by hand with another SHA-1.
var vectors = []struct {
	name       string
	spii, spir uint64
	addr       string
	hash       string
}{
	{"libreswan request, source", 0x74774fb007bdb9a5, 0, "192.168.91.45:500", "6e28fa41d0027374eb7328b468f1eacdbfe6a2e3"},
	{"libreswan request, destination", 0x74774fb007bdb9a5, 0, "192.168.91.23:500", "e3283cdb3daa1ae83767851ef1a27516d46ea92d"},
	{"libreswan response, source", 0x74774fb007bdb9a5, 0xfc7a8b28949a6b9c, "192.168.91.23:500", "b4534746bbebbd49f3e4a399560055072057133b"},
	{"rockhopper resume, source", 0x1a6e3802a3fef71e, 0xc11e4fd997e72b58, "10.99.0.1:500", "a864deb9419aa5f2c6ccaabb84667e7929f7a9a4"},
	{"wireshark, destination", 0x0158b8fb90b7623d, 0x13514610cea16160, "192.168.1.2:500", "dbfc1de542e8b4c38e29faf422ca07beecda3e41"},
	{"mapped address counts as IPv4", 0x74774fb007bdb9a5, 0, "[::ffff:192.168.91.45]:500", "6e28fa41d0027374eb7328b468f1eacdbfe6a2e3"},
	{"IPv6 has 16 octets", 0x0102030405060708, 0, "[2001:db8::1]:4500", "98c75483db80168697635aa7844504963e87de33"},
}

func TestRFC7296_2_23_Hash(t *testing.T) {
	for _, v := range vectors {
		ap := netip.MustParseAddrPort(v.addr)
		got := Hash([]byte("kept"), v.spii, v.spir, ap)
		if string(got[:4]) != "kept" || hex.EncodeToString(got[4:]) != v.hash {
			t.Errorf("%s: Hash = %x, want %s", v.name, got[4:], v.hash)
		}
		if len(got)-4 != Size {
			t.Errorf("%s: %d octets, want %d", v.name, len(got)-4, Size)
		}
	}
}

func TestRFC7296_2_23_Match(t *testing.T) {
	v := vectors[0]
	ap := netip.MustParseAddrPort(v.addr)
	data, _ := hex.DecodeString(v.hash)
	if !Match(data, v.spii, v.spir, ap) {
		t.Error("the true address does not match")
	}
	for name, wrong := range map[string]bool{
		"other SPIi":     Match(data, v.spii+1, v.spir, ap),
		"other SPIr":     Match(data, v.spii, 1, ap),
		"SPIs exchanged": Match(data, v.spir, v.spii, ap),
		"other port":     Match(data, v.spii, v.spir, netip.AddrPortFrom(ap.Addr(), 501)),
		"other address":  Match(data, v.spii, v.spir, netip.AddrPortFrom(ap.Addr().Next(), 500)),
		"cut hash":       Match(data[:Size-1], v.spii, v.spir, ap),
		"longer hash":    Match(append(data, 0), v.spii, v.spir, ap),
		"no hash":        Match(nil, v.spii, v.spir, ap),
		"no address":     Match(data, v.spii, v.spir, netip.AddrPort{}),
	} {
		if wrong {
			t.Errorf("%s: matches", name)
		}
	}
}

func TestRFC3948_2_DatagramsOnTheNATPort(t *testing.T) {
	for _, row := range []struct {
		section           string
		data              []byte
		keepalive, marked bool
	}{
		{"2.3", []byte{0xff}, true, false},
		{"2.3", []byte{0xff, 0xff}, false, false},
		{"2.3", []byte{0xfe}, false, false},
		{"2.3", nil, false, false},
		{"2.2", []byte{0, 0, 0}, false, false},
		{"2.2", []byte{0, 0, 0, 0}, false, true},
		{"2.2", []byte{0, 0, 0, 0, 1}, false, true},
		{"2.2", []byte{1, 0, 0, 0, 1}, false, false},
		{"2.2", []byte{0, 1, 0, 0, 1}, false, false},
		{"2.2", []byte{0, 0, 1, 0, 1}, false, false},
		{"2.1", []byte{0, 0, 0, 1, 1}, false, false},
	} {
		if got := IsKeepalive(row.data); got != row.keepalive {
			t.Errorf("RFC 3948 %s: IsKeepalive(%x) = %v", row.section, row.data, got)
		}
		if got := HasMarker(row.data); got != row.marked {
			t.Errorf("RFC 3948 %s: HasMarker(%x) = %v", row.section, row.data, got)
		}
	}
}

func TestHashAllocatesNothing(t *testing.T) {
	ap := netip.MustParseAddrPort("[2001:db8::1]:4500")
	buf := make([]byte, 0, Size)
	if n := testing.AllocsPerRun(100, func() { buf = Hash(buf[:0], 1, 2, ap) }); n != 0 {
		t.Errorf("Hash: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { Match(buf, 1, 2, ap) }); n != 0 {
		t.Errorf("Match: %v allocations", n)
	}
}

func BenchmarkHash(b *testing.B) {
	ap := netip.MustParseAddrPort("192.0.2.1:500")
	buf := make([]byte, 0, Size)
	b.ReportAllocs()
	for b.Loop() {
		buf = Hash(buf[:0], 1, 2, ap)
	}
}
