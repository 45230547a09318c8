package propose

import "blackswan/wire"

// DefaultIKE is what an IKE SA is offered and accepted with when nothing is
// configured: ciphers that authenticate by themselves before AES-CBC,
// Curve25519 before the NIST curves before MODP (RFC 8247). Of the ciphers
// ChaCha20-Poly1305 is the first: an IKE SA has few and short messages, and the
// key schedule of AES costs more than they do. The slices are new.
func DefaultIKE() []IKE {
	return []IKE{
		{Encr: []Alg{chacha, gcm256, gcm128}, PRF: prfs(), KE: groups()},
		{Encr: plains(), Integ: integs(), PRF: prfs(), KE: groups()},
	}
}

// DefaultESP is the same for a Child SA (RFC 8221): extended sequence numbers
// where the peer has them, a key exchange of its own where the peer asks for
// one. The slices are new.
func DefaultESP() []ESP {
	esn := []wire.TransformID{wire.ESNYes, wire.ESNNo}
	ke := append(groups(), wire.KENone)
	return []ESP{
		{Encr: []Alg{gcm256, gcm128, chacha}, KE: ke, ESN: esn},
		{Encr: plains(), Integ: integs(), KE: ke, ESN: esn},
	}
}

var (
	gcm256 = Alg{wire.ENCRAESGCM16, 256}
	gcm128 = Alg{wire.ENCRAESGCM16, 128}
	chacha = Alg{wire.ENCRChaCha20Poly1305, 0}
)

func plains() []Alg { return []Alg{{wire.ENCRAESCBC, 256}, {wire.ENCRAESCBC, 128}} }

func integs() []wire.TransformID {
	return []wire.TransformID{wire.INTEGHMACSHA256, wire.INTEGHMACSHA384, wire.INTEGHMACSHA512}
}

func prfs() []wire.TransformID {
	return []wire.TransformID{wire.PRFHMACSHA256, wire.PRFHMACSHA384, wire.PRFHMACSHA512}
}

func groups() []wire.TransformID {
	return []wire.TransformID{wire.KEX25519, wire.KEECP256, wire.KEECP384, wire.KEECP521, wire.KEMODP3072, wire.KEMODP4096, wire.KEMODP2048}
}
