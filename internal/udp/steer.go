package udp

import (
	"crypto/rand"
	"encoding/binary"

	"blackswan/internal/natt"
	"blackswan/ticket"
	"blackswan/wire"
)

// steering tells which shard of a group a message belongs to. The kernel
// decides the same, by a program made of it, where it can.
//
// A message to an SA of ours goes by the shard number in our SPI: the low 6
// bits of the last octet of an IKE SPI, the high 6 bits of an ESP SPI. The
// first message of a stranger goes by a keyed hash of SPIi, or by its ticket if
// it shows one of ours: that belongs to the shard of its lineage. To the kernel
// the sockets of shard i are number i for IKE and, with ESP sockets, n+i for all
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

// Offsets in an IKE message (RFC 7296 3.1) and in a Notify payload (3.10), and
// the Initiator flag: set in messages of the original initiator.
const (
	offSPIi       = 0
	offSPIr       = 8
	offNext       = 16
	offExchange   = 18
	offFlags      = 19
	flagInitiator = 0x08
	shardBits     = 0x3f

	offType   = 6
	offTicket = 8
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
	if home, ok := resumeHome(m.Data); ok {
		return int(home % s.n)
	}
	h := (binary.BigEndian.Uint32(m.Data[offSPIi:]) ^ s.mask) * s.factor
	h = (h ^ binary.BigEndian.Uint32(m.Data[offSPIi+4:])) * s.factor
	return int(h >> 16 % s.n)
}

// resumeHome is the shard of the ticket that an IKE_SESSION_RESUME shows: behind
// a COOKIE, if there is one, and Ni there is a Notify payload with it (RFC 5723
// 4.3.1). A message that ends before it is shard 0's.
func resumeHome(b []byte) (home uint32, ok bool) {
	if wire.ExchangeType(b[offExchange]) != wire.ExchangeSessionResume {
		return 0, false
	}
	next, at, in := wire.PayloadType(b[offNext]), wire.HeaderLen, true
	if next == wire.PayloadNotify {
		if next, at, in = behind(b, at); !in {
			return 0, true
		}
	}
	if next != wire.PayloadNonce {
		return 0, false
	}
	if next, at, in = behind(b, at); !in {
		return 0, true
	}
	if next != wire.PayloadNotify {
		return 0, false
	}
	if len(b) < at+offTicket {
		return 0, true
	}
	if wire.NotifyType(binary.BigEndian.Uint16(b[at+offType:])) != wire.NotifyTicketOpaque {
		return 0, false
	}
	if at += offTicket + ticket.HomeAt; len(b) <= at {
		return 0, true
	}
	return uint32(b[at] & ticket.HomeBits), true
}

// behind is the payload behind the one at an offset of a message.
func behind(b []byte, at int) (next wire.PayloadType, after int, in bool) {
	if len(b) < at+4 {
		return 0, 0, false
	}
	return wire.PayloadType(b[at]), at + int(binary.BigEndian.Uint16(b[at+2:])), true
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
	bpfHalfX = 0x48 // A = 2 octets of the packet at X+k
	bpfByteX = 0x50 // A = the octet of the packet at X+k
	bpfTax   = 0x07 // X = A
	bpfLoadX = 0x01 // X = k
	bpfAdd   = 0x04 // A += k
	bpfAddX  = 0x0c // A += X
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
	p = append(p,
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
	)
	p = append(p, s.home(base)...)
	return append(p, // the hash of SPIi
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

// home is resumeHome for the kernel: it ends the program, or goes on behind it.
// X is how far the payload at hand is from the first.
func (s *steering) home(base uint32) []instruction {
	const behind = 0xff // a jump to what comes behind
	first := base + wire.HeaderLen
	p := []instruction{
		{code: bpfOctet, k: base + offExchange},
		{code: bpfIf, no: behind, k: uint32(wire.ExchangeSessionResume)},
		{code: bpfLoadX, k: 0},
		{code: bpfOctet, k: base + offNext},
		{code: bpfIf, no: 3, k: uint32(wire.PayloadNotify)}, // no COOKIE
		{code: bpfHalfX, k: first + 2},
		{code: bpfTax},
		{code: bpfOctet, k: first},
		{code: bpfIf, no: behind, k: uint32(wire.PayloadNonce)},
		{code: bpfHalfX, k: first + 2}, // is it there?
		{code: bpfByteX, k: first},
		{code: bpfIf, no: behind, k: uint32(wire.PayloadNotify)},
		{code: bpfHalfX, k: first + 2},
		{code: bpfAddX},
		{code: bpfTax},
		{code: bpfHalfX, k: first + offType},
		{code: bpfIf, no: behind, k: uint32(wire.NotifyTicketOpaque)},
		{code: bpfByteX, k: first + offTicket + ticket.HomeAt},
		{code: bpfAnd, k: ticket.HomeBits},
		{code: bpfMod, k: s.n},
		{code: bpfRetA},
	}
	for i := range p {
		if p[i].no == behind {
			p[i].no = uint8(len(p) - i - 1)
		}
	}
	return p
}
