package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What Open refuses: the reasons to drop a packet. A refused packet leaves the
// In as it was, its window above all; ErrDummy alone is no refusal.
var (
	ErrShort   = errors.New("esp: packet cut short")
	ErrSPI     = errors.New("esp: packet of another SA")
	ErrReplay  = errors.New("esp: packet seen before, or older than the replay window")
	ErrICV     = errors.New("esp: packet fails its integrity check")
	ErrPadding = errors.New("esp: padding of an authenticated packet is not 1, 2, 3 and so on: the peer is broken")
	ErrNext    = errors.New("esp: authenticated packet holds neither IPv4 nor IPv6: the peer does not use tunnel mode")
	ErrInner   = errors.New("esp: IP packet inside an authenticated packet is cut short or of another version: the peer is broken")
	ErrDummy   = errors.New("esp: dummy packet, made to be discarded")
)

// The Next Header values of tunnel mode (RFC 4303 2.6).
const (
	NextIPv4  = 4
	NextIPv6  = 41
	NextDummy = 59
)

// In is the receiving half of an ESP SA. It takes 176 octets, a bit for each
// packet of its window, and at most 1,600 octets more of ciphers between a
// packet and the next Idle. It is not for concurrent use; it prints as
// "redacted".
type In struct {
	redacted
	algorithm *Algorithm
	transform transform // nil while idle
	window    window
	spi       uint32
	esn       bool
	keys      keys
}

// NewIn is the receiving half of the SA with that SPI, which is ours. encr is
// the encryption key, with the salt of an AEAD at its end, and integ the
// integrity key, empty for an AEAD; both are copied. window is how many
// sequence numbers back a packet may come late, MinWindow to MaxWindow. The
// error names what is out of its bounds.
func NewIn(spi uint32, a *Algorithm, encr, integ []byte, esn bool, window int) (*In, error) {
	k, err := a.keys(encr, integ)
	if err != nil {
		return nil, err
	}
	if window < MinWindow || window > MaxWindow {
		return nil, fmt.Errorf("esp: replay window of %d packets: it takes %d to %d", window, MinWindow, MaxWindow)
	}
	return &In{algorithm: a, window: newWindow(window), spi: spi, esn: esn, keys: k}, nil
}

// ParseSPI reads the first 8 octets of an ESP packet: the SPI, and the low 32
// bits of the sequence number. It is false for a shorter packet.
func ParseSPI(packet []byte) (spi, seq uint32, ok bool) {
	if len(packet) < headerLen {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(packet), binary.BigEndian.Uint32(packet[4:]), true
}

// Open checks and decrypts an ESP packet, which begins at its SPI. The
// plaintext is appended to dst; payload is the IP packet in it, without TFC
// padding and without what was in dst before. For no allocation dst has room
// for len(packet) octets. It may not overlap packet, unless it is
// packet[HeadLen:HeadLen]: then the packet is decrypted in place, at the same
// cost. next is NextIPv4 or NextIPv6 and agrees with the version of payload;
// seq is the whole sequence number.
//
// The packet is marked in the window only if err is nil or ErrDummy, which
// tells seq too (RFC 4303 3.4.3). After an error of a packet that is no replay,
// dst's room, and so the packet if it was opened in place, holds anything.
func (i *In) Open(dst, packet []byte) (payload []byte, next uint8, seq uint64, err error) {
	return i.open(dst, packet, inner)
}

// OpenTransport is Open for an SA in transport mode (RFC 4303 3.1.1): payload is
// what stood behind the IP header, and next is its protocol, any but NextDummy.
// Octets of TFC padding cannot be told from it and are part of payload.
func (i *In) OpenTransport(dst, packet []byte) (payload []byte, next uint8, seq uint64, err error) {
	return i.open(dst, packet, upper)
}

// open is Open where cut takes what a packet carries from what lies in it.
func (i *In) open(dst, packet []byte, cut func(payload []byte, next uint8) ([]byte, error)) (payload []byte, next uint8, seq uint64, err error) {
	spi, low, _ := ParseSPI(packet)
	if !i.algorithm.whole(len(packet)) {
		return nil, 0, 0, ErrShort
	}
	if spi != i.spi {
		return nil, 0, 0, ErrSPI
	}
	seq = uint64(low)
	if i.esn {
		seq = i.window.extend(low)
	}
	if !i.window.fresh(seq) { // RFC 4303 3.4.3: first, it is cheap
		return nil, 0, seq, ErrReplay
	}
	if err = i.wake(); err != nil {
		return nil, 0, seq, err
	}
	plain, err := i.transform.open(dst, packet, seq)
	if err != nil {
		return nil, 0, seq, err
	}
	if payload, next, err = cutTrailer(plain); err != nil {
		return nil, next, seq, err
	}
	if payload, err = cut(payload, next); err == nil || err == ErrDummy {
		i.window.mark(seq)
	}
	return payload, next, seq, err
}

// wake makes the ciphers, unless they are there.
func (i *In) wake() (err error) {
	if i.transform == nil {
		i.transform, err = i.keys.transform(i.algorithm, receiving, i.esn)
	}
	return err
}

// Highest is the highest sequence number that was authenticated, 0 before the
// first packet.
func (i *In) Highest() uint64 { return i.window.top }

// Algorithm is how packets are protected.
func (i *In) Algorithm() *Algorithm { return i.algorithm }

// Idle forgets the ciphers. Keys and window stay: the next packet makes them
// again, which takes a few allocations.
func (i *In) Idle() { i.transform = nil }

// Wipe forgets ciphers and keys. Open fails from now on.
func (i *In) Wipe() { i.transform, i.keys = nil, keys{} }
