package esp

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// FuzzOpen gives anything to an SA that has received some packets and waits for
// more. It never panics, takes nothing but what was sealed for it and is new,
// and a packet that it refuses leaves no trace. In place it answers the same.
func FuzzOpen(f *testing.F) {
	for suite := range suites {
		o, _ := pair(f, suite, suite%2 == 0)
		for range 4 {
			f.Add(uint8(suite), suite%2 == 0, seal(f, o, ipv4(60), NextIPv4))
		}
		f.Add(uint8(suite), suite%2 == 0, seal(f, o, filled(9), NextDummy))
	}
	f.Add(uint8(0), true, []byte{})
	f.Fuzz(func(t *testing.T, suite uint8, esn bool, packet []byte) {
		n := int(suite) % len(suites)
		o, i := pair(t, n, esn)
		for range 3 {
			receives(t, i, seal(t, o, ipv4(60), NextIPv4), ipv4(60), NextIPv4, o.Sequence())
		}
		waiting := [][]byte{seal(t, o, ipv4(60), NextIPv4), seal(t, o, filled(9), NextDummy)}
		top, ring := i.window.top, slices.Clone(i.window.ring)

		head := suites[n].algorithm.HeadLen()
		payload, next, seq, err := i.Open(nil, packet)
		if err != nil && payload != nil {
			t.Fatalf("%x with %v", payload, err)
		}
		if err != nil && err != ErrDummy {
			if i.window.top != top || !slices.Equal(i.window.ring, ring) {
				t.Fatalf("%v, and the window is another", err)
			}
			receives(t, i, waiting[0], ipv4(60), NextIPv4, 4)
			return
		}
		if !slices.ContainsFunc(waiting, func(sealed []byte) bool { return bytes.Equal(sealed, packet) }) {
			t.Fatalf("accepted what was never sealed: %x", packet)
		}
		i.window.top, i.window.ring = top, ring
		inPlace, nextInPlace, seqInPlace, errInPlace := i.Open(packet[head:head], packet)
		if !bytes.Equal(payload, inPlace) || next != nextInPlace || seq != seqInPlace || err != errInPlace {
			t.Fatalf("in place: %x, %d, %d, %v; else %x, %d, %d, %v", inPlace, nextInPlace, seqInPlace, errInPlace, payload, next, seq, err)
		}
	})
}

// FuzzRoundTrip seals any payload at any place in the stream of numbers; the
// other half gives back what the naive reader below finds in it.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(0), true, uint64(0), ipv4(60), uint8(NextIPv4))
	f.Add(uint8(1), true, uint64(1<<32-1), append(ipv6(60), "TFC padding"...), uint8(NextIPv6))
	f.Add(uint8(2), false, uint64(1<<32-2), ipv6(60), uint8(NextIPv4))
	f.Add(uint8(4), true, uint64(1<<63), ipv4(60)[:50], uint8(NextIPv4))
	f.Add(uint8(6), false, uint64(7), []byte("a dummy"), uint8(NextDummy))
	f.Fuzz(func(t *testing.T, suite uint8, esn bool, sequence uint64, payload []byte, next uint8) {
		o, i := pair(t, int(suite)%len(suites), esn)
		sequence %= o.last
		o.sequence, i.window.top = sequence, sequence
		got, gotNext, seq, err := i.Open(nil, seal(t, o, payload, next))
		want, wantErr := naiveInner(payload, next)
		if !bytes.Equal(got, want) || err != wantErr || gotNext != next || seq != sequence+1 {
			t.Fatalf("%x, %d, %d, %v; want %x, %d, %d, %v", got, gotNext, seq, err, want, next, sequence+1, wantErr)
		}
		if marked := i.Highest() == seq; marked != (err == nil || err == ErrDummy) {
			t.Fatalf("%v, marked: %v", err, marked)
		}
	})
}

// naiveInner reads the IP packet that a payload begins with.
func naiveInner(payload []byte, next uint8) ([]byte, error) {
	padded := append(bytes.Clone(payload), make([]byte, 40)...) // headers can be read
	length, least, version := -1, 0, byte(0)
	switch next {
	case 59:
		return nil, ErrDummy
	case 4:
		length, least, version = int(padded[2])<<8|int(padded[3]), 20, 4
	case 41:
		length, least, version = 40+int(binary.BigEndian.Uint16(padded[4:])), 40, 6
	default:
		return nil, ErrNext
	}
	if padded[0]>>4 != version || length < least || length > len(payload) {
		return nil, ErrInner
	}
	return payload[:length], nil
}

// FuzzPlaintext is a peer that has the keys and seals anything: it gets the
// right padding right, and gives nothing but a beginning of what it sealed.
func FuzzPlaintext(f *testing.F) {
	f.Add(trailed(ipv4(60), 2, NextIPv4))
	f.Add(trailed(ipv6(60), 255, NextIPv6))
	f.Add([]byte{0, NextDummy})
	f.Add([]byte{255, NextIPv4})
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) < trailLen {
			return
		}
		_, i := pair(t, 0, false)
		payload, next, seq, err := i.Open(nil, forge(t, 0, false, 1, plain))
		padLen := int(plain[len(plain)-2])
		if before := len(plain) - trailLen - padLen; before < 0 || !bytes.Equal(plain, trailed(plain[:before], padLen, next)) {
			if err != ErrPadding || payload != nil || i.Highest() != 0 {
				t.Fatalf("bad padding: %x, %v, highest %d", payload, err, i.Highest())
			}
			return
		}
		want, wantErr := naiveInner(plain[:len(plain)-trailLen-padLen], plain[len(plain)-1])
		if !bytes.Equal(payload, want) || err != wantErr || seq != 1 {
			t.Fatalf("%x, %d, %v; want %x, %v", payload, seq, err, want, wantErr)
		}
	})
}
