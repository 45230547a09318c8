package frag

import "errors"

// Why a fragment is dropped. What was collected before stays as it is.
var (
	ErrNumber    = errors.New("frag: fragment number is zero or above the total")
	ErrTooMany   = errors.New("frag: more than 64 fragments")
	ErrStale     = errors.New("frag: fragment of an older, coarser set")
	ErrDuplicate = errors.New("frag: fragment is already here")
	ErrTooLong   = errors.New("frag: message is longer than 65535 octets")
)

// Reassembly collects the fragments of one message: one SA, one direction, one
// Message ID. The zero value is empty. It holds at most MaxFragments fragments
// and MaxMessage octets; its owner drops it when it is older than a request
// would live (RFC 7383 2.6).
type Reassembly struct {
	Since int64 // when it began, in nanoseconds; set and read by its owner

	buf   []byte // contents in order of arrival
	spans [MaxFragments]span
	have  uint64 // bit num-1: that fragment is here
	total uint8  // fragments of the set; 0: nothing is here
	first uint8  // type of the first inner payload, from fragment 1
}

// span is where a fragment lies in buf.
type span struct{ start, end uint16 }

// Judge tells whether Add would take a fragment with these numbers, before the
// cost of decrypting it: nil, or why it is dropped (RFC 7383 2.6).
func (r *Reassembly) Judge(num, total uint16) error {
	switch {
	case num == 0 || num > total: // and so is a total of 0
		return ErrNumber
	case total > MaxFragments:
		return ErrTooMany
	case total < uint16(r.total):
		return ErrStale
	case total == uint16(r.total) && r.have&(1<<(num-1)) != 0:
		return ErrDuplicate
	}
	return nil
}

// Add takes the authenticated content of a fragment, and copies it. First is
// the Next Payload field of its SKF payload, which counts in fragment 1 only.
// With the last missing fragment done is true, and plain is the content of the
// message, which belongs to the caller, with the type of its first payload;
// the Reassembly is then empty. After an error it is as it was before.
func (r *Reassembly) Add(num, total uint16, first uint8, body []byte) (plain []byte, firstPayload uint8, done bool, err error) {
	if err := r.Judge(num, total); err != nil {
		return nil, 0, false, err
	}
	grown := total > uint16(r.total)
	held := len(r.buf)
	if grown {
		held = 0
	}
	if held+len(body) > MaxMessage {
		return nil, 0, false, ErrTooLong
	}
	if grown { // RFC 7383 2.6: a finer set replaces all that was received
		r.buf, r.have, r.first = r.buf[:0], 0, 0
		r.total = uint8(total)
	}
	r.spans[num-1] = span{uint16(held), uint16(held + len(body))}
	r.buf = append(r.buf, body...)
	r.have |= 1 << (num - 1)
	if num == 1 {
		r.first = first // RFC 7383 2.5: in the others the field is zero
	}
	if r.have != 1<<r.total-1 {
		return nil, 0, false, nil
	}
	plain, firstPayload = r.join(), r.first
	*r = Reassembly{}
	return plain, firstPayload, true, nil
}

// join is the content in the order of the fragments. When they came in order
// that is the buffer itself.
func (r *Reassembly) join() []byte {
	spans := r.spans[:r.total]
	if inOrder(spans) {
		return r.buf
	}
	plain := make([]byte, 0, len(r.buf))
	for _, s := range spans {
		plain = append(plain, r.buf[s.start:s.end]...)
	}
	return plain
}

func inOrder(spans []span) bool {
	at := uint16(0)
	for _, s := range spans {
		if s.start != at {
			return false
		}
		at = s.end
	}
	return true
}

// Age is how long ago Since was, in nanoseconds. It counts from the first
// fragment: a finer set does not make a message younger.
func (r *Reassembly) Age(now int64) int64 { return now - r.Since }
