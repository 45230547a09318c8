package tunnel

import (
	"bytes"
	"testing"
)

// RFC 6040 4.2, Figure 4: rows are the inner, columns the outer ECN field, in
// the order Not-ECT, ECT(0), ECT(1), CE.
func TestDecapsulate(t *testing.T) {
	order := []uint8{notECT, ect0, ect1, ce}
	const drop = 9
	figure := [4][4]uint8{
		{notECT, notECT, notECT, drop},
		{ect0, ect0, ect1, ce},
		{ect1, ect1, ect1, ce},
		{ce, ce, ce, ce},
	}
	const dscp = 0b101110 << 2
	for row, in := range order {
		for column, out := range order {
			for _, packet := range [][]byte{udp4(a4, b4, 1, 2, 3), udp6(a6, b6, 1, 2, 3)} {
				setTOS(packet, dscp|in)
				var p inner
				if !p.parse(packet) || p.tos != dscp|in {
					t.Fatalf("traffic class %02x, want %02x", p.tos, dscp|in)
				}
				before := bytes.Clone(packet)
				ok := decapsulate(packet, p.tos, out|0xfc) // the outer DSCP stays outside (RFC 4301 5.1.2)
				want := figure[row][column]
				if !ok {
					if want != drop {
						t.Errorf("inner %02b, outer %02b: dropped", in, out)
					}
					continue
				}
				p.parse(packet)
				if want == drop || p.tos != dscp|want {
					t.Errorf("inner %02b, outer %02b: traffic class %02x, want %02x", in, out, p.tos, dscp|want)
				}
				if p.src.Is4() && checksum(0, packet[:header4]) != 0 {
					t.Errorf("inner %02b, outer %02b: bad checksum", in, out)
				}
				setTOS(packet, dscp|in)
				if !bytes.Equal(packet, before) {
					t.Errorf("inner %02b, outer %02b: more than the traffic class changed", in, out)
				}
			}
		}
	}
}

// Every change of a word gives the checksum that a full sum gives (RFC 1624).
func TestReplaceSum(t *testing.T) {
	b := ip4(a4, b4, 17, nil)
	for class := range 256 {
		setTOS(b, uint8(class))
		if checksum(0, b) != 0 {
			t.Fatalf("class %02x: bad checksum", class)
		}
	}
}
