package suite

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/iotest"

	"blackswan/wire"
)

// RFC 5903 8 and RFC 8031 Appendix A: private keys are what rand gives.
func TestGroupVectors(t *testing.T) {
	type vector struct {
		Group                          wire.TransformID
		I, R, PublicI, PublicR, Shared octets
	}
	for _, v := range load[vector](t, "groups.json") {
		i, err := NewKeyPair(v.Group, bytes.NewReader(v.I))
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewKeyPair(v.Group, bytes.NewReader(v.R))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(i.Public(), v.PublicI) || !bytes.Equal(r.Public(), v.PublicR) {
			t.Errorf("group %d: public values %x and %x", v.Group, i.Public(), r.Public())
		}
		for _, side := range []struct {
			pair *KeyPair
			peer []byte
		}{{i, v.PublicR}, {r, v.PublicI}} {
			if got, err := side.pair.Shared(side.peer); err != nil || !bytes.Equal(got, v.Shared) {
				t.Errorf("group %d: shared secret %x, %v; want %x", v.Group, got, err, v.Shared)
			}
		}
	}
}

func TestAgreement(t *testing.T) {
	for _, group := range knownGroups {
		i, err := NewKeyPair(group, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewKeyPair(group, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if len(i.Public()) != PublicLen(group) || i.group != group || bytes.Equal(i.Public(), r.Public()) {
			t.Errorf("group %d: %d octets of public value", group, len(i.Public()))
		}
		a, errA := i.Shared(r.Public())
		b, errB := r.Shared(i.Public())
		if errA != nil || errB != nil || !bytes.Equal(a, b) || len(a) == 0 {
			t.Errorf("group %d: %x, %v and %x, %v", group, a, errA, b, errB)
		}
	}
}

func bigPrime(text string) *big.Int {
	p, ok := new(big.Int).SetString(strings.Join(strings.Fields(text), ""), 16)
	if !ok {
		panic("no number: " + text)
	}
	return p
}

var primes = []struct {
	group  wire.TransformID
	bits   uint
	offset int64
	prime  *big.Int
}{
	{wire.KEMODP2048, 2048, 124476, bigPrime(prime2048)},
	{wire.KEMODP3072, 3072, 1690314, bigPrime(prime3072)},
	{wire.KEMODP4096, 4096, 240904, bigPrime(prime4096)},
}

// The primes are made of the digits of pi, as RFC 3526 3 to 5 say, they are
// safe primes, and 2 makes the subgroup of order (p-1)/2.
func TestRFC3526(t *testing.T) {
	one := big.NewInt(1)
	for _, row := range primes {
		n := row.bits
		want := new(big.Int).Lsh(one, n)
		want.Sub(want, new(big.Int).Lsh(one, n-64))
		want.Sub(want, one)
		middle := piShifted(n - 130)
		middle.Add(middle, big.NewInt(row.offset))
		want.Add(want, middle.Lsh(middle, 64))
		if row.prime.Cmp(want) != 0 {
			t.Errorf("%d bits: %x, want %x", n, row.prime, want)
		}
		q := new(big.Int).Rsh(row.prime, 1)
		if new(big.Int).Exp(big.NewInt(2), q, row.prime).Cmp(one) != 0 {
			t.Errorf("%d bits: 2 has not the order (p-1)/2", n)
		}
		if !testing.Short() && n == 2048 && (!row.prime.ProbablyPrime(0) || !q.ProbablyPrime(0)) {
			t.Errorf("%d bits: not a safe prime", n)
		}
	}
}

// piShifted is the integer part of 2^bits times pi, by Machin's formula.
func piShifted(bits uint) *big.Int {
	const guard = 64
	arctanInverse := func(x int64) *big.Int {
		term := new(big.Int).Lsh(big.NewInt(1), bits+guard)
		term.Quo(term, big.NewInt(x))
		sum := new(big.Int).Set(term)
		for n := int64(3); term.Sign() != 0; n += 2 {
			term.Quo(term, big.NewInt(-x*x))
			sum.Add(sum, new(big.Int).Quo(term, big.NewInt(n)))
		}
		return sum
	}
	pi := new(big.Int).Mul(arctanInverse(5), big.NewInt(16))
	pi.Sub(pi, new(big.Int).Mul(arctanInverse(239), big.NewInt(4)))
	return pi.Rsh(pi, guard)
}

// math/big is the oracle of MODP, over many exponents.
func TestMODPAgainstBig(t *testing.T) {
	for _, row := range primes {
		pair, err := NewKeyPair(row.group, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		x := new(big.Int).SetBytes(pair.exponent)
		size := PublicLen(row.group)
		if want := new(big.Int).Exp(big.NewInt(2), x, row.prime).FillBytes(make([]byte, size)); !bytes.Equal(pair.Public(), want) {
			t.Errorf("group %d: public value %x, want %x", row.group, pair.Public(), want)
		}
		for _, peer := range []*big.Int{big.NewInt(2), big.NewInt(3), new(big.Int).Sub(row.prime, big.NewInt(2)), new(big.Int).SetBytes(pair.Public())} {
			want := new(big.Int).Exp(peer, x, row.prime).FillBytes(make([]byte, size))
			got, err := pair.Shared(peer.FillBytes(make([]byte, size)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("group %d, peer %.8x: %x, %v; want %x", row.group, peer, got, err, want)
			}
		}
	}
}

// RFC 7296 2.14: g^ir is padded to the length of the modulus. A peer's value
// that is the inverse power makes a short one.
func TestMODPPadding(t *testing.T) {
	row := primes[0]
	pair, err := NewKeyPair(row.group, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	q := new(big.Int).Rsh(row.prime, 1)
	inverse := new(big.Int).ModInverse(new(big.Int).SetBytes(pair.exponent), q)
	if inverse == nil {
		t.Fatal("the exponent has no inverse")
	}
	peer := new(big.Int).Exp(big.NewInt(2), inverse, row.prime).FillBytes(make([]byte, 256))
	want := append(make([]byte, 255), 2)
	if got, err := pair.Shared(peer); err != nil || !bytes.Equal(got, want) {
		t.Errorf("shared secret %x, %v; want %x", got, err, want)
	}
}

// RFC 6989 2.1 and 2.3, RFC 8031 3.2.
func TestSharedRefuses(t *testing.T) {
	for _, row := range primes {
		size := PublicLen(row.group)
		for what, peer := range map[string]*big.Int{
			"0": big.NewInt(0), "1": big.NewInt(1), "p-1": new(big.Int).Sub(row.prime, big.NewInt(1)),
			"p": row.prime, "p+2": new(big.Int).Add(row.prime, big.NewInt(2)),
		} {
			refuses(t, row.group, what, peer.FillBytes(make([]byte, size)))
		}
	}
	for _, group := range knownGroups {
		pair, err := NewKeyPair(group, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public := pair.Public()
		refuses(t, group, "nothing", nil)
		refuses(t, group, "too short", public[1:])
		refuses(t, group, "too long", append([]byte{0}, public...))
		refuses(t, group, "zeros", make([]byte, len(public)))
		if group == wire.KEECP256 || group == wire.KEECP384 || group == wire.KEECP521 {
			off := bytes.Clone(public)
			off[len(off)-1] ^= 1
			refuses(t, group, "a point off the curve", off)
			refuses(t, group, "coordinates beyond p", bytes.Repeat([]byte{0xff}, len(public)))
			refuses(t, group, "a compressed point", append([]byte{2}, public[:len(public)/2]...))
		}
	}
	for _, low := range []string{ // points of small order on Curve25519: RFC 7748 6.1 tells how their product is caught
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		refuses(t, wire.KEX25519, "a point of small order", unhex(t, low))
	}
}

func refuses(t *testing.T, group wire.TransformID, what string, peer []byte) {
	t.Helper()
	pair, err := NewKeyPair(group, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if shared, err := pair.Shared(peer); !errors.Is(err, ErrPublic) || shared != nil {
		t.Errorf("group %d, %s: %x, %v", group, what, shared, err)
	}
}

func TestNewKeyPairRefuses(t *testing.T) {
	for _, group := range []wire.TransformID{0, 1, 2, 5, 22, 23, 24, 25, 26, 32, 1000} {
		if _, err := NewKeyPair(group, rand.Reader); err == nil || KnownGroup(group) || PublicLen(group) != 0 {
			t.Errorf("group %d is known", group)
		}
	}
	broken := errors.New("no entropy")
	for _, group := range knownGroups {
		if _, err := NewKeyPair(group, iotest.ErrReader(broken)); !errors.Is(err, broken) {
			t.Errorf("group %d with a broken reader: %v", group, err)
		}
	}
	if _, err := NewKeyPair(wire.KEECP256, zeros{}); err == nil {
		t.Error("zero is no private key")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Values of rand beyond the order of the curve are drawn again.
func TestNewKeyPairDrawsAgain(t *testing.T) {
	good := bytes.Repeat([]byte{7}, 32)
	pair, err := NewKeyPair(wire.KEECP256, io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{0xff}, 64)), bytes.NewReader(good)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := NewKeyPair(wire.KEECP256, bytes.NewReader(good))
	if err != nil || !bytes.Equal(pair.Public(), want.Public()) {
		t.Errorf("%x, want %x (%v)", pair.Public(), want.Public(), err)
	}
}
