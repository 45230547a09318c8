package esp

import (
	"encoding/binary"
	"errors"
	"math"
)

// What Seal refuses. A refused packet leaves the Out as it was.
var (
	ErrExhausted = errors.New("esp: the last sequence number of the SA is used: rekey it")
	ErrRoom      = errors.New("esp: no room for header and trailer around the payload: leave HeadLen before and TailLen behind")
	ErrWiped     = errors.New("esp: the keys of the SA are wiped: it carries nothing more")
)

// Out is the sending half of an ESP SA. It takes 144 octets, and at most 1,600
// more of ciphers between a packet and the next Idle. A copy would use sequence
// numbers twice, and with them nonces: keep one, by its pointer. It is not for
// concurrent use; it prints as "redacted".
type Out struct {
	redacted
	algorithm *Algorithm
	transform transform // nil while idle
	sequence  uint64    // of the last packet
	last      uint64    // that may be used
	spi       uint32
	esn       bool
	keys      keys
}

// NewOut is the sending half of the SA with that SPI, which is the peer's
// choice. encr is the encryption key, with the salt of an AEAD at its end, and
// integ the integrity key, empty for an AEAD; both are copied. The error names
// the key whose length is wrong.
func NewOut(spi uint32, a *Algorithm, encr, integ []byte, esn bool) (*Out, error) {
	k, err := a.keys(encr, integ)
	if err != nil {
		return nil, err
	}
	o := &Out{algorithm: a, last: math.MaxUint32, spi: spi, esn: esn, keys: k}
	if esn {
		o.last = math.MaxUint64
	}
	return o, nil
}

// Seal protects buf[at:at+n] in place and returns the ESP packet, a view of
// buf: it begins HeadLen octets before at and has Size(n) octets. next is 4 for
// an IPv4 packet, 41 for an IPv6 packet, 59 for a dummy of any octets (RFC 4303
// 2.6), or in transport mode the protocol of what stood behind the IP header
// (RFC 4303 3.1.1). Octets behind the IP packet are TFC padding (RFC 4303 2.7).
// It tells ErrExhausted, ErrRoom or ErrWiped.
func (o *Out) Seal(buf []byte, at, n int, next uint8) ([]byte, error) {
	if o.sequence == o.last { // RFC 4303 3.3.3: it never cycles
		return nil, ErrExhausted
	}
	a := o.algorithm
	from := at - a.HeadLen()
	if from < 0 || n < 0 || a.Size(n) > len(buf)-from {
		return nil, ErrRoom
	}
	if err := o.wake(); err != nil {
		return nil, err
	}
	packet := buf[from:][:a.Size(n):a.Size(n)]
	o.sequence++ // RFC 4303 2.2: the first packet has number 1
	binary.BigEndian.PutUint32(packet, o.spi)
	binary.BigEndian.PutUint32(packet[4:], uint32(o.sequence))
	putTrailer(packet[a.HeadLen()+n:], a.padLen(n), next)
	o.transform.seal(packet, o.sequence)
	return packet, nil
}

// putTrailer writes padding of 1, 2, 3 and so on, its length, and the Next
// Header (RFC 4303 2.4 to 2.6).
func putTrailer(b []byte, padLen int, next uint8) {
	for i := range padLen {
		b[i] = byte(i + 1)
	}
	b[padLen], b[padLen+1] = byte(padLen), next
}

// wake makes the ciphers, unless they are there.
func (o *Out) wake() (err error) {
	if o.transform == nil {
		o.transform, err = o.keys.transform(o.algorithm, sending, o.esn)
	}
	return err
}

// Sequence is the sequence number of the last packet, 0 before the first.
func (o *Out) Sequence() uint64 { return o.sequence }

// Algorithm is how packets are protected.
func (o *Out) Algorithm() *Algorithm { return o.algorithm }

// Idle forgets the ciphers. The keys stay: the next packet makes them again,
// which takes a few allocations.
func (o *Out) Idle() { o.transform = nil }

// Wipe forgets ciphers and keys. Seal fails from now on.
func (o *Out) Wipe() { o.transform, o.keys = nil, keys{} }
