package esp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// TestSealIsTheReference: what Seal makes is, octet for octet, what the
// reference makes with that IV, the shortest padding and the next number.
func TestSealIsTheReference(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		s := suites[suite]
		o, _ := pair(t, suite, esn)
		if esn {
			o.sequence = 1<<32 - 10 // and over it
		}
		for n := range 70 {
			payload, seq := filled(n), o.Sequence()+1
			packet := seal(t, o, payload, NextDummy)
			padLen := 0
			for (n+padLen+trailLen)%s.algorithm.block != 0 {
				padLen++
			}
			iv := packet[headerLen:s.algorithm.HeadLen()]
			want := reference(t, s.algorithm, key(1, s.encrLen), key(2, s.integLen), esn, testSPI, seq, iv, trailed(payload, padLen, NextDummy))
			if !bytes.Equal(packet, want) {
				t.Fatalf("%d octets: %x, want %x", n, packet, want)
			}
			if o.Sequence() != seq || len(packet) != s.algorithm.Size(n) || len(packet) > s.algorithm.HeadLen()+n+s.algorithm.TailLen() {
				t.Fatalf("%d octets: sequence %d, want %d; length %d, Size %d", n, o.Sequence(), seq, len(packet), s.algorithm.Size(n))
			}
		}
	})
}

// TestIV: an AEAD's is the sequence number, which never repeats (RFC 4106 3.1);
// that of CBC is the sequence number under the cipher, which nobody can foretell
// without the key (RFC 3602 3).
func TestIV(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		s := suites[suite]
		o, _ := pair(t, suite, esn)
		if esn {
			o.sequence = 1<<32 - 100 // the low 32 bits repeat
		}
		seen := make(map[string]bool)
		for n := range 300 {
			if n == 150 {
				o.Idle() // new ciphers go on where the old ones were
			}
			packet := seal(t, o, ipv4(40), NextIPv4)
			iv := packet[headerLen:s.algorithm.HeadLen()]
			want := binary.BigEndian.AppendUint64(make([]byte, s.algorithm.ivLen-8), o.Sequence())
			if s.integLen > 0 {
				block, err := aes.NewCipher(key(1, s.encrLen))
				if err != nil {
					t.Fatal(err)
				}
				block.Encrypt(want, want)
			}
			if !bytes.Equal(iv, want) || seen[string(iv)] {
				t.Fatalf("packet %#x: IV %x, want %x, seen before: %v", o.Sequence(), iv, want, seen[string(iv)])
			}
			seen[string(iv)] = true
		}
	})
}

// TestExhausted: the last sequence number is used once, and none after it (RFC
// 4303 3.3.3).
func TestExhausted(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		o, i := pair(t, suite, esn)
		last := uint64(math.MaxUint32)
		if esn {
			last = math.MaxUint64
		}
		o.sequence, i.window.top = last-2, last-2
		receives(t, i, seal(t, o, ipv4(40), NextIPv4), ipv4(40), NextIPv4, last-1)
		receives(t, i, seal(t, o, ipv4(40), NextIPv4), ipv4(40), NextIPv4, last)
		buf := make([]byte, MaxHeadLen+40+MaxTailLen)
		for range 3 {
			if _, err := o.Seal(buf, MaxHeadLen, 40, NextIPv4); err != ErrExhausted || o.Sequence() != last {
				t.Fatalf("after the last: %v, sequence %#x", err, o.Sequence())
			}
		}
		if !bytes.Equal(buf, make([]byte, len(buf))) {
			t.Error("a refused packet was written")
		}
	})
}

// TestRoom: Seal writes from HeadLen before the payload to the end of the
// packet, and nothing if that is not in the buffer.
func TestRoom(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		a := suites[suite].algorithm
		o, _ := pair(t, suite, esn)
		head, size := a.HeadLen(), a.Size(50)
		for _, test := range []struct{ length, at, n int }{
			{size, head - 1, 50},
			{size, -1, 50},
			{size, head, -1},
			{size - 1, head, 50},
			{size, head + 1, 50},
			{size, size + 1, 0},
			{0, head, 0},
		} {
			if _, err := o.Seal(make([]byte, test.length, 4096), test.at, test.n, NextIPv4); err != ErrRoom || o.Sequence() != 0 {
				t.Errorf("%+v: %v, sequence %d; want ErrRoom", test, err, o.Sequence())
			}
		}

		const guard = 5
		buf := bytes.Repeat([]byte{0xee}, guard+size+guard)
		packet, err := o.Seal(buf, guard+head, 50, NextDummy)
		if err != nil || &packet[0] != &buf[guard] || len(packet) != size || cap(packet) != size {
			t.Fatalf("%d octets of %d, %v", len(packet), size, err)
		}
		for _, edge := range [][]byte{buf[:guard], buf[guard+size:]} {
			if !bytes.Equal(edge, bytes.Repeat([]byte{0xee}, guard)) {
				t.Error("an octet outside of the packet was written")
			}
		}
	})
}

// TestWipe: no packet goes out or comes in under keys that are no more, zeros
// least of all.
func TestWipe(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		o, i := pair(t, suite, esn)
		receives(t, i, seal(t, o, ipv4(40), NextIPv4), ipv4(40), NextIPv4, 1)
		packet := seal(t, o, ipv4(40), NextIPv4)
		o.Wipe()
		i.Wipe()
		if o.keys != (keys{}) || i.keys != (keys{}) || o.transform != nil || i.transform != nil {
			t.Error("something of the keys is left")
		}
		if _, err := o.Seal(make([]byte, 200), 40, 40, NextIPv4); err != ErrWiped || o.Sequence() != 2 {
			t.Errorf("Seal: %v, sequence %d", err, o.Sequence())
		}
		if _, _, _, err := i.Open(nil, packet); err != ErrWiped || i.Highest() != 1 {
			t.Errorf("Open: %v, highest %d", err, i.Highest())
		}
	})
}

// TestKeys: a key of a wrong length is refused by name, the right one copied.
func TestKeys(t *testing.T) {
	for _, test := range []struct {
		name        string
		algorithm   *Algorithm
		encr, integ int
		ok          bool
	}{
		{"AES-128 and salt, RFC 4106 8.1", AESGCM16, 20, 0, true},
		{"AES-192 is not offered", AESGCM16, 28, 0, false},
		{"AES-256 and salt, RFC 4106 8.1", AESGCM16, 36, 0, true},
		{"no salt", AESGCM16, 32, 0, false},
		{"no key", AESGCM16, 0, 0, false},
		{"integrity key of an AEAD", AESGCM16, 20, 32, false},
		{"RFC 7634 2", chacha, 36, 0, true},
		{"half a key", chacha, 20, 0, false},
		{"RFC 3602 2.3", AESCBCSHA256128, 16, 32, true},
		{"AES-192 is not offered", AESCBCSHA256128, 24, 32, false},
		{"as long as the hash, RFC 4868 2.1.1", AESCBCSHA256128, 32, 64, false},
		{"as long as the hash, RFC 4868 2.1.1", AESCBCSHA512256, 32, 32, false},
		{"as long as the hash, RFC 4868 2.1.1", AESCBCSHA384192, 32, 48, true},
		{"no integrity key", AESCBCSHA512256, 32, 0, false},
	} {
		_, errOut := NewOut(1, test.algorithm, key(1, test.encr), key(2, test.integ), true)
		_, errIn := NewIn(1, test.algorithm, key(1, test.encr), key(2, test.integ), true, MinWindow)
		if (errOut == nil) != test.ok || (errIn == nil) != test.ok {
			t.Errorf("%v, %s, %d and %d octets: %v, %v", test.algorithm, test.name, test.encr, test.integ, errOut, errIn)
		}
	}
	for _, window := range []int{-1, 0, MinWindow - 1, MaxWindow + 1} {
		if _, err := NewIn(1, AESGCM16, key(1, 20), nil, true, window); err == nil {
			t.Errorf("a window of %d is accepted", window)
		}
	}

	encr, integ := key(1, 32), key(2, 32)
	o, err := NewOut(testSPI, AESCBCSHA256128, encr, integ, false)
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIn(testSPI, AESCBCSHA256128, encr, integ, false, MinWindow)
	if err != nil {
		t.Fatal(err)
	}
	clear(encr)
	clear(integ)
	want := reference(t, AESCBCSHA256128, key(1, 32), key(2, 32), false, testSPI, 9, key(9, 16), trailed(ipv4(46), 0, NextIPv4))
	receives(t, i, want, ipv4(46), NextIPv4, 9)
	receives(t, i, seal(t, o, ipv4(46), NextIPv4), ipv4(46), NextIPv4, 1)
}

// TestConstructorFails: an AEAD that cannot be made costs no sequence number.
func TestConstructorFails(t *testing.T) {
	broken := errors.New("no such cipher")
	a := ChaCha20Poly1305(func([]byte) (cipher.AEAD, error) { return nil, broken })
	o, err := NewOut(1, a, key(1, 36), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = o.Seal(make([]byte, 100), 20, 20, NextDummy); err != broken || o.Sequence() != 0 {
		t.Errorf("%v, sequence %d", err, o.Sequence())
	}
}
