// Package window keeps the Message IDs of an IKE SA: a window of one in each
// direction (RFC 7296 2.1 to 2.3), and the delays between retransmissions.
package window

// Verdict says what an incoming request is, by its Message ID.
type Verdict uint8

const (
	Fresh  Verdict = iota // the next request: process it, answer it, then call Done
	Repeat                // the request that was answered last: send that response again
	Old                   // answered long ago, its response forgotten: ignore it
	Ahead                 // beyond the window: never acknowledged
)

var verdictNames = [...]string{Fresh: "fresh", Repeat: "repeat", Old: "old", Ahead: "ahead"}

// String is the verdict as one lower-case word.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown"
}

// Recv judges the requests of the peer. The zero value waits for Message ID 0.
// It takes 8 octets and may be copied.
type Recv struct {
	next  uint32
	spent bool // Message ID 2^32-1 was answered
}

// Judge says what a request with this Message ID is. It changes nothing: an
// unauthenticated request may be judged before it is decrypted.
func (r *Recv) Judge(id uint32) Verdict {
	switch {
	case id == r.next-1 && (r.next > 0 || r.spent):
		return Repeat // RFC 7296 2.1: the response is sent again, the request not processed //rfc:7296-2.1-1
	case r.spent || id < r.next:
		return Old // RFC 7296 2.1: the response is forgotten, the request is ignored //rfc:7296-2.1-2
	case id > r.next:
		return Ahead // RFC 7296 2.3: not acknowledged //rfc:7296-2.3-2
	}
	return Fresh
}

// Next is the Message ID that a fresh request carries.
func (r *Recv) Next() uint32 { return r.next }

// Done records that the fresh request was answered; the next one is awaited.
// After Message ID 2^32-1 nothing is fresh any more (RFC 7296 2.2).
func (r *Recv) Done() {
	if r.spent {
		return
	}
	r.next++
	r.spent = r.next == 0
}

// Send numbers our own requests, one at a time. The zero value starts with
// Message ID 0. It takes 8 octets and may be copied.
type Send struct {
	next  uint32
	open  bool
	spent bool
}

// Next is the Message ID of the request that is open, or of the next one. It
// is false while a request is open (RFC 7296 2.3: a window of one) and when
// the Message IDs are used up.
func (s *Send) Next() (id uint32, ok bool) { return s.next, !s.open && !s.spent }

// Open takes the next Message ID for a request. It is false, and nothing
// changes, where Next is false. A request that is repeated with another cookie
// or key exchange keeps its Message ID: it stays open.
func (s *Send) Open() (id uint32, ok bool) {
	if id, ok = s.Next(); ok { //rfc:7296-2.3-1
		s.open = true
	}
	return id, ok
}

// Idle tells whether no request is open.
func (s *Send) Idle() bool { return !s.open }

// Close ends the open request: its response has come. Without an open request
// it does nothing.
func (s *Send) Close() {
	if !s.open {
		return
	}
	s.open = false
	s.next++
	s.spent = s.next == 0 // RFC 7296 2.2: an SA whose Message IDs are used up is closed or rekeyed //rfc:7296-2.2-1
}
