package tunnel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// ip4 is an IPv4 packet with what lies behind its header.
func ip4(src, dst string, protocol uint8, rest []byte) []byte {
	b := make([]byte, header4, header4+len(rest))
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(header4+len(rest)))
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], checksum(0, b))
	return append(b, rest...)
}

// flags sets the flags and the fragment offset of an IPv4 packet.
func flags(b []byte, flags uint16) []byte {
	binary.BigEndian.PutUint16(b[6:], flags)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], checksum(0, b[:header4]))
	return b
}

// ip6 is an IPv6 packet with what lies behind its header.
func ip6(src, dst string, next uint8, rest []byte) []byte {
	b := make([]byte, header6, header6+len(rest))
	b[0], b[6], b[7] = 6<<4, next, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(rest)))
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(b, rest...)
}

// udp4 is a UDP packet over IPv4.
func udp4(src, dst string, srcPort, dstPort uint16, payload int) []byte {
	return ip4(src, dst, protoUDP, udpOf(srcPort, dstPort, payload))
}

// udp6 is a UDP packet over IPv6.
func udp6(src, dst string, srcPort, dstPort uint16, payload int) []byte {
	return ip6(src, dst, protoUDP, udpOf(srcPort, dstPort, payload))
}

func udpOf(srcPort, dstPort uint16, payload int) []byte {
	b := make([]byte, udpHeader+payload)
	binary.BigEndian.PutUint16(b, srcPort)
	binary.BigEndian.PutUint16(b[2:], dstPort)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	for i := range payload {
		b[udpHeader+i] = byte(i)
	}
	return b
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

const (
	a4, b4 = "10.1.0.1", "10.2.0.1"
	a6, b6 = "2001:db8:1::1", "2001:db8:2::1"
)

func TestParse(t *testing.T) {
	ports := unhex("03e8 07d0 0000 0000")
	options := append([]byte{0x46}, ip4(a4, b4, protoUDP, append(make([]byte, 4), ports...))[1:]...)
	for _, row := range []struct {
		name             string
		packet           []byte
		protocol         uint8
		ports            bool
		srcPort, dstPort uint16
		upper            int
		df               bool
	}{
		{"RFC 768: UDP", ip4(a4, b4, protoUDP, ports), protoUDP, true, 1000, 2000, 20, false},
		{"RFC 791 3.1: options", options, protoUDP, true, 1000, 2000, 24, false},
		{"RFC 791 3.1: DF", flags(ip4(a4, b4, protoUDP, ports), 0x4000), protoUDP, true, 1000, 2000, 20, true},
		{"RFC 4301 7: first fragment", flags(ip4(a4, b4, protoUDP, ports), 0x2000), protoUDP, true, 1000, 2000, 20, false},
		{"RFC 4301 7: later fragment", flags(ip4(a4, b4, protoUDP, ports), 0x2001), protoUDP, false, 0, 0, 0, false},
		{"RFC 4301 7: last fragment", flags(ip4(a4, b4, protoUDP, ports), 0x0001), protoUDP, false, 0, 0, 0, false},
		{"ports cut off", ip4(a4, b4, protoTCP, ports[:3]), protoTCP, false, 0, 0, 20, false},
		{"a protocol without ports", ip4(a4, b4, 47, ports), 47, false, 0, 0, 20, false},
		{"RFC 4301 4.4.1.1: ICMP type and code", ip4(a4, b4, protoICMP, unhex("0301")), protoICMP, true, 0x0301, 0x0301, 20, false},
		{"RFC 4301 4.4.1.1: ICMPv6", ip6(a6, b6, protoICMPv6, unhex("8000")), protoICMPv6, true, 0x8000, 0x8000, 40, true},
		{"RFC 7296 3.13.1: Mobility Header type", ip6(a6, b6, protoMobility, unhex("3b000500")), protoMobility, true, 0x0500, 0x0500, 40, true},
		{"RFC 8200 3", ip6(a6, b6, protoTCP, ports), protoTCP, true, 1000, 2000, 40, true},
		{"RFC 8200 4.3: hop-by-hop, then destination options", ip6(a6, b6, protoHopByHop, unhex("3c00000000000000"+"1101"+"0000000000000000000000000000"+"03e807d0")), protoUDP, true, 1000, 2000, 64, true},
		{"RFC 8200 4.4: routing", ip6(a6, b6, protoRouting, unhex("1100000000000000"+"03e807d0")), protoUDP, true, 1000, 2000, 48, true},
		{"RFC 4302 2.2: AH counts in words of 4 octets", ip6(a6, b6, protoAH, unhex("1101000000000000"+"00000000"+"03e807d0")), protoUDP, true, 1000, 2000, 52, true},
		{"RFC 8200 4.5: first fragment", ip6(a6, b6, protoFragment, unhex("1100000100000000"+"03e807d0")), protoUDP, true, 1000, 2000, 48, true},
		{"RFC 8200 4.5: later fragment", ip6(a6, b6, protoFragment, unhex("1100000900000000"+"03e807d0")), protoUDP, false, 0, 0, 0, true},
		{"RFC 8200 4.7: nothing behind", ip6(a6, b6, 59, nil), 59, false, 0, 0, 40, true},
	} {
		var p inner
		padded := append(bytes.Clone(row.packet), 1, 2, 3) // RFC 4303 2.7
		if !p.parse(padded) {
			t.Errorf("%s: not read", row.name)
			continue
		}
		src, dst := netip.MustParseAddr(a4), netip.MustParseAddr(b4)
		if row.packet[0]>>4 == 6 {
			src, dst = netip.MustParseAddr(a6), netip.MustParseAddr(b6)
		}
		want := inner{
			flow: flow{src: src, dst: dst, srcPort: row.srcPort, dstPort: row.dstPort, protocol: row.protocol, ports: row.ports},
			size: len(row.packet), upper: row.upper, df: row.df,
		}
		if p != want {
			t.Errorf("%s: %+v\nwant %+v", row.name, p, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	whole := udp4(a4, b4, 1, 2, 10)
	edit := func(b []byte, at int, value ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], value)
		return b
	}
	chain := bytes.Repeat(unhex("0000000000000000"), mostExtensions+1)
	for name, b := range map[string][]byte{
		"nothing":                       {},
		"IPv4 cut in its header":        whole[:19],
		"IPv4 shorter than it says":     whole[:len(whole)-1],
		"IPv4 header shorter than 20":   edit(whole, 0, 0x44),
		"IPv4 header longer than all":   edit(ip4(a4, b4, 17, nil), 0, 0x46),
		"IPv4 length below its header":  edit(whole, 2, 0, 19),
		"version 5":                     edit(whole, 0, 0x55),
		"IPv6 cut in its header":        udp6(a6, b6, 1, 2, 0)[:39],
		"IPv6 shorter than it says":     udp6(a6, b6, 1, 2, 1)[:48],
		"IPv6 extension header cut":     ip6(a6, b6, protoHopByHop, unhex("11000000000000")),
		"IPv6 extension longer than it": ip6(a6, b6, protoDestination, unhex("1101000000000000")),
		"IPv6 fragment header cut":      ip6(a6, b6, protoFragment, unhex("11000001")),
		"IPv6 AH longer than all":       ip6(a6, b6, protoAH, unhex("1105000000000000")),
		"IPv6 chain without an end":     ip6(a6, b6, protoHopByHop, chain),
	} {
		var p inner
		if p.parse(b) {
			t.Errorf("%s: read as %+v", name, p)
		}
	}
}

// FuzzParse: whatever is read lies inside the packet, and what changes packets
// keeps its hands off the rest.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, outer uint8) {
		var p inner
		if !p.parse(b) {
			return
		}
		if p.size > len(b) || p.upper > p.size || p.size < header4 {
			t.Fatalf("%+v of %d octets", p, len(b))
		}
		behind := bytes.Clone(b[p.size:])
		decapsulate(b[:p.size], p.tos, outer)
		clampMSS(b[:p.size], &p, 1280)
		var again inner
		if !again.parse(b) || again.flow != p.flow || again.size != p.size || again.tos>>2 != p.tos>>2 {
			t.Errorf("%+v became %+v", p, again)
		}
		if !bytes.Equal(behind, b[p.size:]) {
			t.Error("octets behind the packet changed")
		}
		h := heading{inner: p}
		if answerable(&h, b) {
			to := make([]byte, mostNotice)
			if p.src.Is4() {
				fragmentationNeeded(to, &p, b[:p.size], 1280)
			} else {
				packetTooBig(to, &p, b[:p.size], 1280)
			}
		}
	})
}
