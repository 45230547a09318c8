package suite

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"

	"filippo.io/bigmod"

	"blackswan/wire"
)

// ErrPublic says that a peer's public value must not be used (RFC 6989 2,
// RFC 8031 3.2): a wrong length, no point of the curve, or a value that makes a
// shared secret everybody knows.
var ErrPublic = errors.New("suite: peer's key exchange data is not a usable public value")

// KeyPair is our half of one key exchange, to be used once. It prints as
// "redacted".
type KeyPair struct {
	redacted
	group  wire.TransformID
	public []byte

	ec       *ecdh.PrivateKey // ECP groups and Curve25519
	exponent []byte           // MODP groups
}

// KnownGroup reports whether key pairs of that group can be made here: MODP of
// 2048, 3072 and 4096 bits, ECP of 256, 384 and 521 bits, Curve25519.
func KnownGroup(id wire.TransformID) bool { return PublicLen(id) != 0 }

// PublicLen is the size of the Key Exchange Data in octets, 0 for an unknown
// group: the prime of a MODP group (RFC 7296 3.4), both coordinates of an ECP
// point (RFC 5903 7), 32 octets of Curve25519 (RFC 8031 3.1).
func PublicLen(id wire.TransformID) int {
	switch id {
	case wire.KEMODP2048:
		return 2048 / 8
	case wire.KEMODP3072:
		return 3072 / 8
	case wire.KEMODP4096:
		return 4096 / 8
	case wire.KEECP256:
		return 2 * 32
	case wire.KEECP384:
		return 2 * 48
	case wire.KEECP521:
		return 2 * 66
	case wire.KEX25519:
		return 32
	}
	return 0
}

// NewKeyPair makes a key pair of a known group from random octets of rand. The
// same octets make the same pair: crypto/ecdh's own GenerateKey would ignore
// the reader.
func NewKeyPair(group wire.TransformID, rand io.Reader) (*KeyPair, error) {
	if m := modpOf(group); m != nil {
		return newMODP(group, m, rand)
	}
	if curve := curveOf(group); curve != nil {
		return newEC(group, curve, rand)
	}
	return nil, fmt.Errorf("suite: key exchange %s: unknown or too weak", wire.TransformKE.Name(group))
}

// Public returns the Key Exchange Data to send, PublicLen octets, a view of k.
func (k *KeyPair) Public() []byte { return k.public }

// Shared returns the shared secret g^ir in the form that prf wants: padded to
// the prime for MODP (RFC 7296 2.14), the x coordinate for ECP (RFC 5903 7),
// 32 octets for Curve25519. The result is new; peer is only read. It tells
// ErrPublic for a peer's value that fails the tests of RFC 6989.
func (k *KeyPair) Shared(peer []byte) ([]byte, error) {
	if len(peer) != PublicLen(k.group) {
		return nil, ErrPublic
	}
	if k.ec == nil {
		return k.sharedMODP(peer)
	}
	public, err := k.ec.Curve().NewPublicKey(pointOf(k.group, peer)) // RFC 6989 2.3: on the curve or refused
	if err != nil {
		return nil, ErrPublic
	}
	shared, err := k.ec.ECDH(public) // refuses the all-zero result, RFC 8031 3.2
	if err != nil {
		return nil, ErrPublic
	}
	return shared, nil
}

func curveOf(group wire.TransformID) ecdh.Curve {
	switch group {
	case wire.KEECP256:
		return ecdh.P256()
	case wire.KEECP384:
		return ecdh.P384()
	case wire.KEECP521:
		return ecdh.P521()
	case wire.KEX25519:
		return ecdh.X25519()
	}
	return nil
}

// pointOf turns Key Exchange Data into what crypto/ecdh takes: ECP points get
// the octet of the uncompressed form in front.
func pointOf(group wire.TransformID, data []byte) []byte {
	if group == wire.KEX25519 {
		return data
	}
	return append([]byte{4}, data...)
}

// newEC draws private keys until one is below the order of the curve. Of
// random ones at least half are; rand is broken when none of so many is.
func newEC(group wire.TransformID, curve ecdh.Curve, rand io.Reader) (*KeyPair, error) {
	size := PublicLen(group)
	if group != wire.KEX25519 {
		size /= 2
	}
	scalar := make([]byte, size)
	defer clear(scalar)
	for range 64 {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, fmt.Errorf("suite: no randomness for a key pair: %w", err)
		}
		if group == wire.KEECP521 {
			scalar[0] &= 1 // 66 octets carry 521 bits
		}
		private, err := curve.NewPrivateKey(scalar)
		if err != nil {
			continue
		}
		public := private.PublicKey().Bytes()
		if group != wire.KEX25519 {
			public = public[1:]
		}
		return &KeyPair{group: group, public: public, ec: private}, nil
	}
	return nil, errors.New("suite: the source of randomness gives no usable private key")
}

// newMODP draws an exponent and raises the generator, 2 in all our groups.
func newMODP(group wire.TransformID, m *modp, rand io.Reader) (*KeyPair, error) {
	exponent := make([]byte, m.exponent)
	if _, err := io.ReadFull(rand, exponent); err != nil {
		return nil, fmt.Errorf("suite: no randomness for a key pair: %w", err)
	}
	exponent[0] |= 0x80 // full length, so never 0 or 1
	two, err := bigmod.NewNat().SetBytes([]byte{2}, m.prime)
	if err != nil {
		return nil, err
	}
	public := bigmod.NewNat().Exp(two, exponent, m.prime)
	return &KeyPair{group: group, public: public.Bytes(m.prime), exponent: exponent}, nil
}

// sharedMODP accepts 1 < peer < p-1 (RFC 6989 2.1).
func (k *KeyPair) sharedMODP(peer []byte) ([]byte, error) {
	prime := modpOf(k.group).prime
	y, err := bigmod.NewNat().SetBytes(peer, prime) // refuses what is not below the prime
	if err != nil || y.IsZero() == 1 || y.IsOne() == 1 || y.IsMinusOne(prime) == 1 {
		return nil, ErrPublic
	}
	return bigmod.NewNat().Exp(y, k.exponent, prime).Bytes(prime), nil
}
