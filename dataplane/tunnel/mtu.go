package tunnel

import (
	"encoding/binary"
	"math/bits"
)

const (
	pathMTU    = 1500 // octets of an outer packet, unless Config says otherwise
	minPathMTU = 576  // every IPv4 host takes that (RFC 791 3.1)
	minMTU6    = 1280 // every IPv6 link carries that (RFC 8200 5)
	udpHeader  = 8
	tcpHeader  = 20 // octets without options
)

// innerMTU is the longest inner packet whose outer one has at most mtu octets,
// given the size of an ESP packet by that of its payload. Padding goes in steps,
// so it is found by trying.
func innerMTU(mtu int, v6, encap bool, size func(payload int) int) int {
	room := mtu - header4
	if v6 {
		room = mtu - header6
	}
	if encap {
		room -= udpHeader
	}
	most := room
	for most > 0 && size(most) > room {
		most--
	}
	return most
}

// clampMSS lowers the MSS that a SYN announces to what fits into mtu (RFC 9293
// 3.7.1): a TCP that never hears of packets too big works all the same.
func clampMSS(b []byte, p *inner, mtu int) {
	const (
		synFlag   = 0x02
		optionEnd = 0
		optionNop = 1
		optionMSS = 2
	)
	tcp := b[p.upper:p.size]
	if p.upper == 0 || len(tcp) < tcpHeader || tcp[13]&synFlag == 0 {
		return
	}
	most := mtu - header4 - tcpHeader
	if p.dst.Is6() {
		most = mtu - header6 - tcpHeader
	}
	end := min(int(tcp[12]>>4)*4, len(tcp))
	for at := tcpHeader; at+2 <= end; {
		size := int(tcp[at+1])
		switch {
		case tcp[at] == optionEnd:
			return
		case tcp[at] == optionNop:
			at++
			continue
		case size < 2 || at+size > end:
			return
		case tcp[at] == optionMSS && size == 4:
			if was := binary.BigEndian.Uint16(tcp[at+2:]); int(was) > most && most > 0 {
				setMSS(tcp, at+2, uint16(most))
			}
			return
		}
		at += size
	}
}

// setMSS writes a 16-bit value of the TCP header and corrects its checksum. At
// an odd place its octets are of two words of the sum, which is no matter when
// both values are turned around (RFC 1071 2).
func setMSS(tcp []byte, at int, mss uint16) {
	const checksumAt = 16
	was, is := binary.BigEndian.Uint16(tcp[at:]), mss
	binary.BigEndian.PutUint16(tcp[at:], mss)
	if at%2 == 1 {
		was, is = bits.ReverseBytes16(was), bits.ReverseBytes16(is)
	}
	replaceSum(tcp[checksumAt:], was, is)
}
