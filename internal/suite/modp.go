package suite

import (
	"encoding/hex"
	"strings"

	"filippo.io/bigmod"

	"blackswan/wire"
)

// modp is a More Modular Exponential group of RFC 3526. The generator of all
// of them is 2. bigmod works in constant time, math/big does not.
type modp struct {
	prime    *bigmod.Modulus
	exponent int // octets of a private exponent: twice the strength, RFC 3526 8
}

var (
	modp2048 = modp{prime(prime2048), 320 / 8}
	modp3072 = modp{prime(prime3072), 424 / 8}
	modp4096 = modp{prime(prime4096), 480 / 8}
)

func modpOf(group wire.TransformID) *modp {
	switch group {
	case wire.KEMODP2048:
		return &modp2048
	case wire.KEMODP3072:
		return &modp3072
	case wire.KEMODP4096:
		return &modp4096
	}
	return nil
}

func prime(text string) *bigmod.Modulus {
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		panic("suite: prime: " + err.Error())
	}
	m, err := bigmod.NewModulus(b)
	if err != nil {
		panic("suite: prime: " + err.Error())
	}
	return m
}

// The primes of RFC 3526 3, 4 and 5:
//
//	2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c)
//
// with c = 124476, 1690314 and 240904.
const (
	prime2048 = `
		ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd
		ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed
		ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f
		83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b
		e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510
		15728e5a8aacaa68ffffffffffffffff`
	prime3072 = `
		ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd
		ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed
		ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f
		83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b
		e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510
		15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7
		abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c
		bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff`
	prime4096 = `
		ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd
		ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed
		ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f
		83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b
		e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510
		15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7
		abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c
		bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d7
		88719a10bdba5b2699c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6
		287c59474e6bc05d99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9
		93b4ea988d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff`
)
