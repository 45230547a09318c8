package udp

import (
	"crypto/rand"
	"encoding/binary"

	"blackswan/internal/natt"
)

// steering tells which shard of a group a message belongs to. The kernel
// decides the same, by a program made of it, where it can.
//
// A message to an SA of ours goes by the shard number in our SPI: the low 6
// bits of the last octet of an IKE SPI, the high 6 bits of an ESP SPI. The
// first message of a stranger goes by a keyed hash of SPIi. To the kernel the
// sockets of shard i are number i for IKE and, with ESP sockets, n+i for all
// that is not IKE: keepalives and short datagrams go where a zero SPI would.
type steering struct {
	n      uint32 // shards
	esp    bool   // there are ESP sockets
	mask   uint32 // of the hash
	factor uint32 // odd
	kernel bool   // the kernel steers
}

// alone is the steering of a single Conn.
var alone = steering{n: 1, factor: 1, kernel: true}

func newSteering(n int) steering {
	var key [8]byte
	rand.Read(key[:])
	return steering{
		n:      uint32(n),
		mask:   binary.LittleEndian.Uint32(key[:]),
		factor: binary.LittleEndian.Uint32(key[4:]) | 1,
	}
}

// Offsets in an IKE message (RFC 7296 3.1), and its Initiator flag: set in
// messages of the original initiator.
const (
	offSPIi       = 0
	offSPIr       = 8
	offFlags      = 19
	flagInitiator = 0x08
	shardBits     = 0x3f
)

func (s *steering) shard(m *Message) int {
	if m.Kind == ESP {
		if len(m.Data) < 4 {
			return 0
		}
		return int(binary.BigEndian.Uint32(m.Data) >> 26 % s.n)
	}
	if m.Kind != IKE || len(m.Data) <= offFlags {
		return 0
	}
	if m.Data[offFlags]&flagInitiator == 0 { // our SPI is SPIi
		return int(uint32(m.Data[offSPIi+7]) & shardBits % s.n)
	}
	if binary.BigEndian.Uint64(m.Data[offSPIr:]) != 0 {
		return int(uint32(m.Data[offSPIr+7]) & shardBits % s.n)
	}
	h := (binary.BigEndian.Uint32(m.Data[offSPIi:]) ^ s.mask) * s.factor
	h = (h ^ binary.BigEndian.Uint32(m.Data[offSPIi+4:])) * s.factor
	return int(h >> 16 % s.n)
}

// Steered tells whether each message comes to the Conn of its shard by itself.
// If not, whoever reads it hands it to the Conn that Shard names.
func (c *Conn) Steered() bool { return c.steer.kernel }

// Shard is the number in its group of the Conn that a received message belongs
// to.
func (c *Conn) Shard(m *Message) int { return c.steer.shard(m) }

// instruction is one of a classic BPF program.
type instruction struct {
	code    uint16
	yes, no uint8 // how many instructions a jump skips
	k       uint32
}

// The classic BPF instructions that steering needs. A is the accumulator, X
// the index register. A load beyond the packet ends the program with 0.
const (
	bpfSize  = 0x80 // A = the packet's length
	bpfWord  = 0x20 // A = 4 octets of the packet at k, big-endian
	bpfOctet = 0x30 // A = the octet of the packet at k
	bpfTax   = 0x07 // X = A
	bpfAdd   = 0x04 // A += k
	bpfAnd   = 0x54 // A &= k
	bpfMul   = 0x24 // A *= k
	bpfMod   = 0x94 // A %= k
	bpfRsh   = 0x74 // A >>= k
	bpfXor   = 0xa4 // A ^= k
	bpfXorX  = 0xac // A ^= X
	bpfIf    = 0x15 // A == k ?
	bpfIfMin = 0x35 // A >= k ?
	bpfIfBit = 0x45 // A & k != 0 ?
	bpfJump  = 0x05 // skip k instructions
	bpfRetA  = 0x16 // the socket's number is A
	bpfRet   = 0x06 // the socket's number is k
)

// program is shard for the kernel: it sees the content of the datagram.
func (s *steering) program(nat bool) []instruction {
	var p []instruction
	base := uint32(0)
	if nat {
		base = natt.Marker
		first := uint32(0) // socket for ESP
		if s.esp {
			first = s.n
		}
		p = append(p,
			instruction{code: bpfSize},
			instruction{code: bpfIfMin, yes: 1, k: natt.Marker},
			instruction{code: bpfRet, k: first}, // keepalive
			instruction{code: bpfWord, k: 0},
			instruction{code: bpfIf, yes: 4, k: 0}, // the marker: IKE
			instruction{code: bpfRsh, k: 26},       // ESP
			instruction{code: bpfMod, k: s.n},
			instruction{code: bpfAdd, k: first},
			instruction{code: bpfRetA},
		)
	}
	return append(p,
		instruction{code: bpfOctet, k: base + offFlags},
		instruction{code: bpfIfBit, yes: 2, k: flagInitiator},
		instruction{code: bpfOctet, k: base + offSPIi + 7},
		instruction{code: bpfJump, k: 5}, // to the shard bits
		instruction{code: bpfWord, k: base + offSPIr},
		instruction{code: bpfIf, no: 2, k: 0},
		instruction{code: bpfWord, k: base + offSPIr + 4},
		instruction{code: bpfIf, yes: 4, k: 0},
		instruction{code: bpfOctet, k: base + offSPIr + 7},
		instruction{code: bpfAnd, k: shardBits},
		instruction{code: bpfMod, k: s.n},
		instruction{code: bpfRetA},
		// No SPIr yet: the hash of SPIi.
		instruction{code: bpfWord, k: base + offSPIi + 4},
		instruction{code: bpfTax},
		instruction{code: bpfWord, k: base + offSPIi},
		instruction{code: bpfXor, k: s.mask},
		instruction{code: bpfMul, k: s.factor},
		instruction{code: bpfXorX},
		instruction{code: bpfMul, k: s.factor},
		instruction{code: bpfRsh, k: 16},
		instruction{code: bpfMod, k: s.n},
		instruction{code: bpfRetA},
	)
}
