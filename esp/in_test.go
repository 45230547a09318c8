package esp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRoundTrip: what one half seals the other opens, whatever its length, into
// another buffer and in place.
func TestRoundTrip(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		o, i := pair(t, suite, esn)
		for n := ipv6HeaderLen; n < 200; n++ {
			receives(t, i, seal(t, o, ipv4(n), NextIPv4), ipv4(n), NextIPv4, o.Sequence())
			receives(t, i, seal(t, o, ipv6(n), NextIPv6), ipv6(n), NextIPv6, o.Sequence())

			packet := seal(t, o, ipv4(n), NextIPv4)
			head := i.Algorithm().HeadLen()
			payload, _, _, err := i.Open(packet[head:head], packet)
			if err != nil || !bytes.Equal(payload, ipv4(n)) || &payload[0] != &packet[head] {
				t.Fatalf("in place: %x, %v", payload, err)
			}

			dst := append(make([]byte, 0, 400), "before"...)
			payload, _, _, err = i.Open(dst, seal(t, o, ipv4(n), NextIPv4))
			if err != nil || !bytes.Equal(payload, ipv4(n)) || &payload[0] != &dst[:7][6] || string(dst) != "before" {
				t.Fatalf("behind what is there: %x, %v", payload, err)
			}
		}
		o.Idle()
		i.Idle()
		receives(t, i, seal(t, o, ipv4(99), NextIPv4), ipv4(99), NextIPv4, o.Sequence())
	})
}

// TestRefusals: every reason to drop a packet, and that the packet leaves no
// trace: the window stays as it was, and the good packet is good after it.
func TestRefusals(t *testing.T) {
	const seq = 500 // of the packet
	type at struct {
		suite int
		esn   bool
		good  []byte
	}
	flip := func(index func(p []byte) int) func(*testing.T, at) []byte {
		return func(_ *testing.T, a at) []byte {
			p := bytes.Clone(a.good)
			p[index(p)] ^= 0x10
			return p
		}
	}
	numbered := func(seq uint64) func(*testing.T, at) []byte {
		return func(t *testing.T, a at) []byte {
			return forge(t, a.suite, a.esn, seq, whole(a.suite, ipv4(60), NextIPv4))
		}
	}
	plain := func(payload []byte, next uint8) func(*testing.T, at) []byte {
		return func(t *testing.T, a at) []byte { return forge(t, a.suite, a.esn, seq, whole(a.suite, payload, next)) }
	}
	cut := func(length func(a *Algorithm) int) func(*testing.T, at) []byte {
		return func(_ *testing.T, a at) []byte { return a.good[:length(suites[a.suite].algorithm)] }
	}
	for _, test := range []struct {
		name   string
		want   error
		packet func(*testing.T, at) []byte
	}{
		{"nothing", ErrShort, cut(func(*Algorithm) int { return 0 })},
		{"half a header", ErrShort, cut(func(*Algorithm) int { return 7 })},
		{"a header", ErrShort, cut(func(*Algorithm) int { return 8 })},
		{"no trailer", ErrShort, cut(func(a *Algorithm) int { return a.HeadLen() + 1 + a.icvLen })},
		{"the last octets cut off", ErrICV, func(_ *testing.T, a at) []byte { return a.good[:len(a.good)-suites[a.suite].algorithm.block] }},

		{"SPI of another SA", ErrSPI, flip(func([]byte) int { return 3 })},

		{"seen, RFC 4303 3.4.3", ErrReplay, numbered(seq - 1)},
		{"seen, at the edge of the window", ErrReplay, numbered(seq - testWindow)},

		{"number changed, RFC 4303 2", ErrICV, flip(func([]byte) int { return 6 })},
		{"number changed to one far ahead", ErrICV, flip(func([]byte) int { return 4 })},
		{"IV changed", ErrICV, flip(func([]byte) int { return headerLen })},
		{"ciphertext changed", ErrICV, flip(func(p []byte) int { return headerLen + 20 })},
		{"first octet of the ICV changed", ErrICV, flip(func(p []byte) int { return len(p) - 16 })},
		{"last octet of the ICV changed", ErrICV, flip(func(p []byte) int { return len(p) - 1 })},
		{"ESN confused, RFC 4303 2.2.1", ErrICV, func(t *testing.T, a at) []byte {
			return forge(t, a.suite, !a.esn, seq, whole(a.suite, ipv4(60), NextIPv4))
		}},

		{"padding longer than all, RFC 4303 2.5", ErrPadding, func(t *testing.T, a at) []byte {
			p := whole(a.suite, ipv4(60), NextIPv4)
			p[len(p)-2] = byte(len(p) - 1)
			return forge(t, a.suite, a.esn, seq, p)
		}},
		{"first octet of padding, RFC 4303 2.4", ErrPadding, func(t *testing.T, a at) []byte {
			p := trailed(ipv4(60), 18, NextIPv4)
			p[60] = 0
			return forge(t, a.suite, a.esn, seq, p)
		}},
		{"last octet of padding, RFC 4303 2.4", ErrPadding, func(t *testing.T, a at) []byte {
			p := trailed(ipv4(60), 18, NextIPv4)
			p[77] = 0
			return forge(t, a.suite, a.esn, seq, p)
		}},

		{"ICMP inside, RFC 4303 3.1.1", ErrNext, plain(ipv4(60), 1)},
		{"TCP inside", ErrNext, plain(ipv4(60), 6)},
		{"next header 0", ErrNext, plain(ipv4(60), 0)},

		{"IPv6 called IPv4", ErrInner, plain(lengthened(ipv6(60), 2, 60), NextIPv4)},
		{"IPv4 called IPv6", ErrInner, plain(lengthened(ipv4(60), 4, 20), NextIPv6)},
		{"IPv4 longer than what is there", ErrInner, plain(ipv4(61)[:60], NextIPv4)},
		{"IPv6 longer than what is there", ErrInner, plain(ipv6(61)[:60], NextIPv6)},
		{"IPv4 shorter than its header", ErrInner, plain(lengthened(ipv4(60), 2, 19), NextIPv4)},
		{"half an IPv4 header", ErrInner, plain(ipv4(19), NextIPv4)},
		{"half an IPv6 header", ErrInner, plain(lengthened(filled6(39), 4, 0), NextIPv6)},
		{"nothing inside", ErrInner, plain(nil, NextIPv4)},
		{"nothing inside, IPv6", ErrInner, plain(nil, NextIPv6)},
	} {
		t.Run(test.name, func(t *testing.T) {
			everySuite(t, func(t *testing.T, suite int, esn bool) {
				o, i := pair(t, suite, esn)
				for n := range uint64(seq - 1) { // all but the packet
					i.window.mark(n + 1)
				}
				o.sequence = seq - 1
				good := seal(t, o, ipv4(60), NextIPv4)
				top, ring, keys := i.window.top, slices.Clone(i.window.ring), i.keys

				payload, _, _, err := i.Open(make([]byte, 0, 500), test.packet(t, at{suite, esn, good}))
				if err != test.want || payload != nil {
					t.Fatalf("%x, %v; want %v", payload, err, test.want)
				}
				if i.window.top != top || !slices.Equal(i.window.ring, ring) || i.keys != keys {
					t.Error("a refused packet changed the SA")
				}
				receives(t, i, good, ipv4(60), NextIPv4, seq)
			})
		})
	}
}

// whole is a payload with its trailer and as much padding as the suite needs.
func whole(suite int, payload []byte, next uint8) []byte {
	return trailed(payload, suites[suite].algorithm.padLen(len(payload)), next)
}

// lengthened is an IP packet with another length in its header.
func lengthened(p []byte, at int, length uint16) []byte {
	binary.BigEndian.PutUint16(p[at:], length)
	return p
}

// filled6 is the beginning of an IPv6 packet.
func filled6(n int) []byte {
	p := filled(n)
	p[0] = 0x60
	return p
}

// TestNumberZero: no packet has it (RFC 4303 3.3.3), not even the first.
func TestNumberZero(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		_, i := pair(t, suite, esn)
		packet := forge(t, suite, esn, 0, whole(suite, ipv4(60), NextIPv4))
		if _, _, _, err := i.Open(nil, packet); err != ErrReplay || i.Highest() != 0 {
			t.Errorf("%v, highest %d", err, i.Highest())
		}
	})
}

// TestCutInsideABlock: AES-CBC has whole blocks, an AEAD takes any length (RFC
// 7634 2: it needs no padding), so an odd one from a peer is good.
func TestCutInsideABlock(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		s := suites[suite]
		_, i := pair(t, suite, esn)
		if s.integLen > 0 {
			packet := forge(t, suite, esn, 1, whole(suite, ipv4(60), NextIPv4))
			for cut := 1; cut < s.algorithm.block; cut++ {
				if _, _, _, err := i.Open(nil, packet[:len(packet)-cut]); err != ErrShort || i.Highest() != 0 {
					t.Errorf("%d octets less: %v, highest %d", cut, err, i.Highest())
				}
			}
			return
		}
		for padLen := range 5 {
			seq := uint64(padLen + 1)
			receives(t, i, forge(t, suite, esn, seq, trailed(ipv4(60), padLen, NextIPv4)), ipv4(60), NextIPv4, seq)
		}
	})
}

// TestPaddingAndTFC: any padding up to 255 octets is taken off (RFC 4303 2.4),
// and behind the IP packet any number of octets of TFC padding (2.7).
func TestPaddingAndTFC(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		block := suites[suite].algorithm.block
		_, i := pair(t, suite, esn)
		seq := uint64(0)
		for padLen := range 256 {
			for _, tfc := range []int{0, 1, 77, 1400} {
				for next, packet := range map[uint8][]byte{NextIPv4: ipv4(60), NextIPv6: ipv6(60), NextIPv6 + 100: ipv6(40)} {
					next %= 100
					padded := slices.Concat(packet, filled(tfc))
					if (len(padded)+padLen+trailLen)%block != 0 {
						continue
					}
					seq++
					receives(t, i, forge(t, suite, esn, seq, trailed(padded, padLen, next)), packet, next, seq)
				}
			}
		}
		if seq < 30 {
			t.Errorf("%d packets only", seq)
		}
	})
}

// TestDummy: a dummy is authentic, marks the window, and gives nothing (RFC
// 4303 2.6).
func TestDummy(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		o, i := pair(t, suite, esn)
		for n := range 50 {
			packet := seal(t, o, filled(n), NextDummy)
			for _, want := range []error{ErrDummy, ErrReplay} {
				payload, _, seq, err := i.Open(nil, packet)
				if payload != nil || seq != uint64(n+1) || err != want || i.Highest() != seq {
					t.Fatalf("%x, sequence %d, %v; want %v", payload, seq, err, want)
				}
			}
		}
		dummy := seal(t, o, nil, NextDummy)
		dummy[len(dummy)-1] ^= 1
		if _, _, _, err := i.Open(nil, dummy); err != ErrICV || i.Highest() != 50 {
			t.Errorf("forged: %v, highest %d", err, i.Highest())
		}
	})
}

func TestParseSPI(t *testing.T) {
	for n := range 8 {
		if spi, seq, ok := ParseSPI(make([]byte, n)); spi != 0 || seq != 0 || ok {
			t.Errorf("%d octets: %d, %d, %v", n, spi, seq, ok)
		}
	}
	if spi, seq, ok := ParseSPI([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}); spi != 0x01020304 || seq != 0x05060708 || !ok {
		t.Errorf("%#x, %#x, %v", spi, seq, ok)
	}
}

// TestStream sends packets of numbers from here and there, late, twice, forged
// and far ahead, over the borders of 2^32 where there is ESN, and holds each
// answer against the oracle. The receiver sees 32 bits, the oracle the truth.
func TestStream(t *testing.T) {
	for _, suite := range []int{1, 2, 4} {
		for _, start := range []uint64{0, math.MaxUint32 - 500, 3<<32 - 500, 1<<63 - 1} {
			for _, esn := range []bool{false, true} {
				if !esn && start > math.MaxUint32 {
					continue
				}
				seed, r := newSeed()
				t.Run(fmt.Sprintf("%s/ESN=%v from %d seed %d", suites[suite].name, esn, start, seed), func(t *testing.T) {
					stream(t, suite, esn, start, r)
				})
			}
		}
	}
}

func stream(t *testing.T, suite int, esn bool, start uint64, r *rand.Rand) {
	o, i := pair(t, suite, esn)
	w := oracle{size: testWindow, seen: make(map[uint64]bool)}
	if start > 0 {
		i.window.mark(start)
		w.mark(start)
	}
	dst := make([]byte, 0, 200)
	for n := range 4000 {
		seq := wander(r, w.top, testWindow)
		if seq == 0 || seq > o.last {
			continue
		}
		o.sequence = seq - 1
		packet := seal(t, o, ipv4(60), NextIPv4)
		forged := r.IntN(8) == 0
		if forged {
			packet[8+r.IntN(len(packet)-8)] ^= 1 << r.IntN(8)
		}
		var want error
		switch {
		case esn && w.top > seq && w.top-seq >= testWindow && w.top >= testWindow:
			want = ErrICV // too old: the receiver takes it for one of the next subspace (RFC 4303 A2.2)
		case !w.fresh(seq):
			want = ErrReplay
		case forged:
			want = ErrICV
		default:
			w.mark(seq)
		}
		if _, _, got, err := i.Open(dst, packet); err != want || i.Highest() != w.top || err == nil && got != seq {
			t.Fatalf("packet %d, number %#x, top %#x, forged %v: %#x, %v, top %#x; want %v", n, seq, w.top, forged, got, err, i.Highest(), want)
		}
	}
}
