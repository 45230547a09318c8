package tunnel

import (
	"encoding/binary"
	"testing"
)

// syn4 is a TCP SYN over IPv4 with options; syn6 over IPv6.
func syn4(options []byte) []byte { return withTCPSum(ip4(a4, b4, protoTCP, synOf(options))) }
func syn6(options []byte) []byte { return withTCPSum(ip6(a6, b6, protoTCP, synOf(options))) }

func synOf(options []byte) []byte {
	b := append(unhex("03e8 07d0 00000001 00000000 0002 ffff 0000 0000"), options...)
	b[12] = byte(len(b)/4) << 4
	return b
}

// tcpSum is the checksum of a TCP header with its pseudo header: 0 if it is right.
func tcpSum(packet []byte) uint16 {
	var p inner
	p.parse(packet)
	tcp := packet[p.upper:p.size]
	src, dst := p.src.AsSlice(), p.dst.AsSlice()
	sum := uint32(len(tcp)) + protoTCP
	for _, b := range [][]byte{src, dst} {
		for ; len(b) > 0; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
	}
	return checksum(sum, tcp)
}

func withTCPSum(packet []byte) []byte {
	var p inner
	p.parse(packet)
	binary.BigEndian.PutUint16(packet[p.upper+16:], tcpSum(packet))
	return packet
}

func TestClampMSS(t *testing.T) {
	const mtu = 1400
	for _, row := range []struct {
		name          string
		options, want string
		v6            bool
	}{
		{"RFC 9293 3.7.1: too large", "020405b4", "02040550", false},
		{"IPv6 has 20 octets less", "020405b4", "0204053c", true},
		{"small enough", "02040550", "02040550", false},
		{"smaller", "02040218", "02040218", false},
		{"behind others", "0402 080a 0000000100000000 0101 020405b4 00000000", "0402 080a 0000000100000000 0101 02040550 00000000", false},
		{"at an odd place", "01 020405b4 000000", "01 02040550 000000", false},
		{"behind the end", "00 0101 01 020405b4", "00 0101 01 020405b4", false},
		{"none", "", "", false},
		{"of a wrong length", "0203 05b4 01010101", "0203 05b4 01010101", false},
		{"of length 0", "0200 05b4", "0200 05b4", false},
		{"cut off", "01010104", "01010104", false},
		{"longer than the options", "010102ff", "010102ff", false},
	} {
		make := syn4
		if row.v6 {
			make = syn6
		}
		got, want := make(unhex(row.options)), make(unhex(row.want))
		var p inner
		p.parse(got)
		clampMSS(got, &p, mtu)
		if string(got) != string(want) {
			t.Errorf("%s: %x, want %x", row.name, got[p.upper:], want[p.upper:])
		}
		if sum := tcpSum(got); sum != 0 {
			t.Errorf("%s: checksum is off by %04x", row.name, sum)
		}
	}
	for name, packet := range map[string][]byte{
		"no SYN":           flag(syn4(unhex("020405b4")), 0x10),
		"a later fragment": flags(syn4(unhex("020405b4")), 1),
		"a header cut":     ip4(a4, b4, protoTCP, synOf(nil)[:19]),
	} {
		want := string(packet)
		var p inner
		p.parse(packet)
		clampMSS(packet, &p, mtu)
		if string(packet) != want {
			t.Errorf("%s: changed", name)
		}
	}
}

// flag sets the flags of a TCP packet over IPv4.
func flag(b []byte, flags byte) []byte {
	b[header4+13] = flags
	return b
}

func TestInnerMTU(t *testing.T) {
	gcm := func(n int) int { return 8 + 8 + (n+2+3)/4*4 + 16 }     // RFC 4106
	cbc := func(n int) int { return 8 + 16 + (n+2+15)/16*16 + 16 } // RFC 3602, 4868
	for _, row := range []struct {
		name      string
		mtu       int
		v6, encap bool
		size      func(int) int
		want      int
	}{
		{"AES-GCM in UDP over IPv4", 1500, false, true, gcm, 1438},
		{"AES-GCM over IPv4", 1500, false, false, gcm, 1446},
		{"AES-GCM in UDP over IPv6", 1500, true, true, gcm, 1418},
		{"AES-CBC in UDP over IPv4", 1500, false, true, cbc, 1422},
		{"AES-CBC over IPv6, the least", 1280, true, false, cbc, 1198},
	} {
		got := innerMTU(row.mtu, row.v6, row.encap, row.size)
		if got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
		outer := func(n int) int {
			n = row.size(n) + header4
			if row.v6 {
				n += header6 - header4
			}
			if row.encap {
				n += udpHeader
			}
			return n
		}
		if outer(got) > row.mtu || outer(got+1) <= row.mtu {
			t.Errorf("%s: %d octets make %d, one more makes %d", row.name, got, outer(got), outer(got+1))
		}
	}
}
