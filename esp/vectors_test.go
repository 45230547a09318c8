package esp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"hash"
	"os"
	"strconv"
	"testing"
)

// testdata/packets.json has ESP packets that others made: RFC 7634 Appendix A,
// RFC 3602 4, draft-mcgrew-gcm-test-01 4 (without its case of AES-192), and the
// packets of OpenDataPlane's validation suite with AES-CBC and HMAC-SHA2. Those
// of RFC 3602 have no ICV; the test gives them one.

type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

type vector struct {
	Source      string
	Algorithm   string
	Encr, Integ octets
	ESN         bool
	Sequence    string
	Packet      octets
	Plain       octets // with padding, Pad Length and Next Header

	algorithm *Algorithm
	seq       uint64
}

func load[T any](t testing.TB, name string) (list []T) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		t.Fatalf("%s: %d vectors, %v", name, len(list), err)
	}
	return list
}

func vectors(t testing.TB) []vector {
	t.Helper()
	list := load[vector](t, "testdata/packets.json")
	for n := range list {
		v := &list[n]
		for _, a := range []*Algorithm{AESGCM16, chacha, AESCBCSHA256128, AESCBCSHA384192, AESCBCSHA512256} {
			if a.String() == v.Algorithm {
				v.algorithm = a
			}
		}
		var err error
		if v.seq, err = strconv.ParseUint(v.Sequence, 16, 64); err != nil || v.algorithm == nil {
			t.Fatalf("%s: %q, %v", v.Source, v.Algorithm, err)
		}
		if v.algorithm == AESCBCSHA256128 && len(v.Integ) == 0 { // RFC 3602 has no ICV
			v.Integ = key(2, sha256.Size)
			mac := hmac.New(sha256.New, v.Integ)
			mac.Write(v.Packet)
			v.Packet = append(v.Packet, mac.Sum(nil)[:sha256.Size/2]...)
		}
	}
	return list
}

// TestVectors opens packets that others made, and makes them again.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Source, func(t *testing.T) {
			k, err := v.algorithm.keys(v.Encr, v.Integ)
			if err != nil {
				t.Fatal(err)
			}
			receiver, err := k.transform(v.algorithm, receiving, v.ESN)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := receiver.open(nil, v.Packet, v.seq)
			if err != nil || !bytes.Equal(plain, v.Plain) {
				t.Errorf("open: %x, %v; want %x", plain, err, v.Plain)
			}
			spi, _, _ := ParseSPI(v.Packet)
			iv := v.Packet[headerLen:v.algorithm.HeadLen()]
			if made := reference(t, v.algorithm, v.Encr, v.Integ, v.ESN, spi, v.seq, iv, v.Plain); !bytes.Equal(made, v.Packet) {
				t.Errorf("the reference makes %x, want %x", made, v.Packet)
			}
		})
	}
}

// TestVectorsInWhole gives the packets to an In that waits for them: those in
// tunnel mode give their IP packet, the others are authentic and refused.
func TestVectorsInWhole(t *testing.T) {
	tunnel := 0
	for _, v := range vectors(t) {
		spi, _, _ := ParseSPI(v.Packet)
		i, err := NewIn(spi, v.algorithm, v.Encr, v.Integ, v.ESN, MinWindow)
		if err != nil {
			t.Fatal(err)
		}
		i.window.top = v.seq - 1
		payload, next, seq, err := i.Open(nil, v.Packet)
		wantNext := v.Plain[len(v.Plain)-1]
		if next != wantNext || seq != v.seq {
			t.Errorf("%s: next %d, sequence %#x; want %d, %#x", v.Source, next, seq, wantNext, v.seq)
		}
		if wantNext != NextIPv4 {
			if err != ErrNext || i.Highest() != v.seq-1 {
				t.Errorf("%s, not in tunnel mode: %v, highest %#x", v.Source, err, i.Highest())
			}
			continue
		}
		tunnel++
		if err != nil || !bytes.HasPrefix(v.Plain, payload) || len(payload) < ipv4HeaderLen || i.Highest() != v.seq {
			t.Errorf("%s: %x, %v, highest %#x", v.Source, payload, err, i.Highest())
		}
	}
	if tunnel != 3 {
		t.Errorf("%d packets in tunnel mode, want 3: RFC 7634 A, RFC 3602 4 cases 7 and 8", tunnel)
	}
}

// TestHMAC: the ICV is the first half of the HMAC of RFC 4231 4.
func TestHMAC(t *testing.T) {
	type vector struct {
		Case                   int
		Key, Data              octets
		SHA256, SHA384, SHA512 octets
	}
	for _, v := range load[vector](t, "../internal/suite/testdata/rfc4231.json") {
		if len(v.Key) > sha512.Size {
			continue // no key of ESP is longer than the hash, RFC 4868 2.1.1
		}
		for newHash, want := range map[*func() hash.Hash]octets{
			new(sha256.New): v.SHA256, new(sha512.New384): v.SHA384, new(sha512.New): v.SHA512,
		} {
			k := keys{encrLen: 16, integLen: uint8(len(v.Key))}
			copy(k.buf[16:], v.Key)
			made, err := newSeparate(&k, *newHash, sending, false)
			if err != nil {
				t.Fatal(err)
			}
			s := made.(*separate)
			icv := s.icv(v.Data, 0)
			want := want[:min(len(want), s.icvLen)]
			if !bytes.HasPrefix(icv, want) || len(icv) != s.mac.Size()/2 {
				t.Errorf("case %d: %x, want %x", v.Case, icv, want)
			}
		}
	}
}
