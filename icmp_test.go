package blackswan

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"testing"
)

// Hand-made messages: type, code, checksum, four octets of nothing, and the
// beginning of the packet that did not arrive.
const (
	ip4UDP = "4500003c000040004011 0000 c0000201 c6336402 1194 1194 0028 0000"
	ip4ESP = "4500003c000040004032 0000 c0000201 c6336402 00001234 00000001"
	ip6UDP = "6000000000281140 20010db8000000000000000000000001 20010db8000000000000000000000002 01f4 01f4 0028 0000"
	ip6ESP = "6000000000283240 20010db8000000000000000000000001 20010db8000000000000000000000002 00001234 00000001"
)

func icmp(t *testing.T, head, packet string) []byte {
	t.Helper()
	var text []byte
	for _, c := range head + "0000 00000000" + packet {
		if c != ' ' {
			text = append(text, byte(c))
		}
	}
	b, err := hex.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 792, RFC 4443 3.1: what could not be reached, and what says nothing.
func TestParseICMP(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		name, head, packet string
		v6                 bool
		want               unreached
		ok                 bool
	}{
		{"host", "0301", ip4UDP, false, unreached{4500, at("198.51.100.2:4500")}, true},
		{"port", "0303", ip4UDP, false, unreached{4500, at("198.51.100.2:4500")}, true},
		{"protocol, bare ESP", "0302", ip4ESP, false, unreached{0, at("198.51.100.2:0")}, true},
		{"too long", "0304", ip4UDP, false, unreached{}, false},
		{"echo reply", "0000", ip4UDP, false, unreached{}, false},
		{"about IPv6", "0303", ip6UDP, false, unreached{}, false},
		{"v6 port", "0104", ip6UDP, true, unreached{500, at("[2001:db8::2]:500")}, true},
		{"v6 bare ESP", "0100", ip6ESP, true, unreached{0, at("[2001:db8::2]:0")}, true},
		{"v6 too long", "0200", ip6UDP, true, unreached{}, false},
		{"v6 about IPv4", "0104", ip4UDP + ip4UDP, true, unreached{}, false},
	} {
		parse := parseICMP
		if c.v6 {
			parse = parseICMPv6
		}
		b := icmp(t, c.head, c.packet)
		if got, ok := parse(b); ok != c.ok || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
		for i := range len(b) - 4 - 4 { // without the ports
			if got, ok := parse(b[:i]); ok && got.from != 0 {
				t.Errorf("%s: %d octets give %v", c.name, i, got)
			}
		}
	}
}

func FuzzParseICMP(f *testing.F) {
	f.Add([]byte{3, 3, 0, 0, 0, 0, 0, 0, 0x4f})
	f.Add([]byte{1, 4, 0, 0, 0, 0, 0, 0, 0x60})
	f.Fuzz(func(t *testing.T, b []byte) {
		parseICMP(b)
		parseICMPv6(b)
	})
}

// TestHearICMP: the kernel's own ICMP for a port that nobody has.
func TestHearICMP(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("raw sockets are for root")
	}
	for _, c := range []struct {
		network, local string
		parse          func([]byte) (unreached, bool)
	}{{"ip4:icmp", "127.0.0.1:0", parseICMP}, {"ip6:ipv6-icmp", "[::1]:0", parseICMPv6}} {
		raw, err := net.ListenPacket(c.network, "")
		if err != nil {
			t.Fatal(err)
		}
		ours := socketAt(t, c.local)
		nobody := socketAt(t, c.local)
		to := nobody.LocalAddr().(*net.UDPAddr).AddrPort()
		nobody.Close()
		want := unreached{ours.LocalAddr().(*net.UDPAddr).AddrPort().Port(), to}
		heard := make(chan unreached, 1)
		go hearICMP(raw, c.parse, func(u unreached) {
			if u == want { // the machine may hear of others
				heard <- u
			}
		})
		if _, err := ours.WriteTo([]byte("is anybody there?"), net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
		<-heard
		raw.Close()
		ours.Close()
	}
}

func socketAt(t *testing.T, local string) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", local)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
