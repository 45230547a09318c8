package esp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

var chacha = ChaCha20Poly1305(chacha20poly1305.New)

// suites are all the algorithms with all their key lengths.
var suites = []struct {
	name      string
	algorithm *Algorithm
	encrLen   int
	integLen  int
}{
	{"GCM128", AESGCM16, 20, 0},
	{"GCM256", AESGCM16, 36, 0},
	{"ChaCha20Poly1305", chacha, 36, 0},
	{"CBC128SHA256", AESCBCSHA256128, 16, 32},
	{"CBC256SHA256", AESCBCSHA256128, 32, 32},
	{"CBC256SHA384", AESCBCSHA384192, 32, 48},
	{"CBC256SHA512", AESCBCSHA512256, 32, 64},
}

const (
	testSPI    = 0xc0ffee01
	testWindow = 128
)

// key is a key of n octets that tells one purpose from another.
func key(purpose byte, n int) []byte {
	k := make([]byte, n)
	for i := range k {
		k[i] = purpose + byte(i)*7
	}
	return k
}

// pair is an SA of a suite, both halves.
func pair(t testing.TB, suite int, esn bool) (*Out, *In) {
	t.Helper()
	s := suites[suite]
	encr, integ := key(1, s.encrLen), key(2, s.integLen)
	o, err := NewOut(testSPI, s.algorithm, encr, integ, esn)
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIn(testSPI, s.algorithm, encr, integ, esn, testWindow)
	if err != nil {
		t.Fatal(err)
	}
	return o, i
}

// everySuite runs a test for each suite, without and with ESN.
func everySuite(t *testing.T, test func(t *testing.T, suite int, esn bool)) {
	for n, s := range suites {
		for _, esn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ESN=%v", s.name, esn), func(t *testing.T) { test(t, n, esn) })
		}
	}
}

// ipv4 is an IPv4 packet of n octets, ipv6 an IPv6 packet.
func ipv4(n int) []byte {
	p := filled(n)
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(n))
	return p
}

func ipv6(n int) []byte {
	p := filled(n)
	p[0] = 0x60
	binary.BigEndian.PutUint16(p[4:], uint16(n-ipv6HeaderLen))
	return p
}

func filled(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 3)
	}
	return p
}

// seal seals a payload in a buffer of just the right size.
func seal(t testing.TB, o *Out, payload []byte, next uint8) []byte {
	t.Helper()
	buf := make([]byte, o.algorithm.Size(len(payload)))
	copy(buf[o.algorithm.HeadLen():], payload)
	packet, err := o.Seal(buf, o.algorithm.HeadLen(), len(payload), next)
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// receives opens a packet that must be good and hold that payload.
func receives(t testing.TB, i *In, packet, want []byte, wantNext uint8, wantSeq uint64) {
	t.Helper()
	payload, next, seq, err := i.Open(nil, packet)
	if err != nil || next != wantNext || seq != wantSeq || !bytes.Equal(payload, want) {
		t.Fatalf("Open: %x, next %d, sequence %d, %v; want %x, %d, %d", payload, next, seq, err, want, wantNext, wantSeq)
	}
}
