package ticket

import (
	"encoding/binary"
	"errors"
	"io"
)

// ErrTooLong is of Seal: the ticket would be longer than MaxSize. Grant it by
// reference, or not at all.
var ErrTooLong = errors.New("ticket: session too long for a ticket by value")

// A ticket by value:
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Version = 1  |                     Key ID                    ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~      (4)      |              Salt (16 octets)                 ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~               |              Nonce (12 octets)                ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~               |  AES-256-GCM of: length 2, session, zeros     ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                                               | Tag (16)      ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// What stands before the nonce is associated data and names the AEAD key. The
// nonce is random but for the low bits of its first octet, which are those of
// the lineage: by them the kernel finds the shard that the ticket belongs to.
// The zeros fill the ticket to a multiple of 64, so that its length says little
// of the names in it.
const (
	versionValue = 1

	saltSize   = 16
	nonceSize  = 12
	tagSize    = 16
	headerSize = 1 + 4 + saltSize
	lengthSize = 2

	// HomeAt is the octet of a ticket by value that tells its shard, by HomeBits.
	HomeAt   = headerSize
	HomeBits = 0x3f

	// Overhead is what a ticket by value has beside the session and its zeros.
	overhead = headerSize + nonceSize + lengthSize + tagSize
	block    = 64

	// MaxSize is the longest ticket by value, in octets: an IKE_SESSION_RESUME
	// cannot be fragmented and must fit a path of 1,280 octets (rule D1).
	MaxSize = 896
)

// Seal appends to dst a ticket by value of s: at most MaxSize octets, a
// multiple of 64. Its errors are ErrTooLong, ErrNoKey, and those of rand. No
// allocation if dst has room and the key has sealed before.
func (r *Ring) Seal(dst []byte, s *Session, now int64, rand io.Reader) ([]byte, error) {
	n := len(s.Append(r.plain[:lengthSize])) - lengthSize
	size := (overhead + n + block - 1) / block * block
	if size > MaxSize {
		return dst, ErrTooLong
	}
	if err := r.prepare(now, rand); err != nil {
		return dst, err
	}
	nonce := &r.own.nonce
	if _, err := io.ReadFull(rand, nonce[:]); err != nil {
		return dst, err
	}
	nonce[0] = nonce[0]&^HomeBits | s.Lineage[0]&HomeBits
	plain := r.plain[:size-overhead+lengthSize]
	binary.BigEndian.PutUint16(plain, uint16(n))
	clear(plain[lengthSize+n:])
	b := append(dst, r.own.header[:]...) //rfc:5723-6.1-8 5723-9.5-5
	b = append(b, nonce[:]...)
	b = r.own.aead.Seal(b, nonce[:], plain, r.own.header[:]) //rfc:5723-6.1-1 5723-9.1-1 5723-9.9-1 5723-9.10-1
	return b, nil
}

// Open opens a ticket by value into s, whose slices are valid until the next
// call of a method of r. Its errors are ErrFormat, ErrUnknownKey,
// ErrForged and ErrExpired; s is empty then, except that after ErrExpired it
// is there as long as the ring still has the key. No allocation, unless the
// ticket is the first one under its salt.
func (r *Ring) Open(s *Session, t []byte, now int64) error {
	*s = Session{}
	if Form(t) != ByValue {
		return ErrFormat
	}
	id := saltID(t[1:headerSize])
	key := find(r.keys, id.key())
	if key == nil {
		return ErrUnknownKey
	}
	if now >= key.OpenUntil {
		return ErrExpired
	}
	aead, cached := r.aeads.get(id)
	if !cached {
		aead = derive(key, id)
	}
	plain, err := aead.Open(r.plain[:0], t[headerSize:headerSize+nonceSize], t[headerSize+nonceSize:], t[:headerSize])
	if err != nil { // RFC 5723 9.2
		return ErrForged
	}
	if !cached {
		r.aeads.put(id, aead) // only now: a forger fills no cache
	}
	n := int(binary.BigEndian.Uint16(plain))
	plain = plain[lengthSize:]
	if n > len(plain) || !zeros(plain[n:]) || ParseSession(plain[:n:n], s) != nil {
		*s = Session{}
		return ErrFormat
	}
	if now >= s.Expires { //rfc:5723-6.1-6
		return ErrExpired
	}
	return nil
}

// zeros tells whether padding is what Seal makes it: short and zero.
func zeros(padding []byte) bool {
	for _, c := range padding {
		if c != 0 {
			return false
		}
	}
	return len(padding) < block
}
