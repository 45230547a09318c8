package jar

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Limits of an entry, in octets and in number.
const (
	MaxTicket   = 4096 // of a foreign gateway; ours are smaller (rule D12)
	MaxSession  = 16 << 10
	MaxGateways = 64
)

// Entry is what a client keeps of a session that can be resumed: rule D12.
type Entry struct {
	Session []byte    // encoded ticket.Session with SK_d: opaque here, and secret
	Ticket  []byte    // as the gateway made it
	Expires time.Time // of the ticket, whole seconds

	Gateways  []netip.AddrPort // to whom the ticket may be shown (rule F2)
	Gateway   netip.AddrPort   // where the session was: address and port that were used last
	LocalPort uint16           // of ours, that a RESUME leaves from (rule C4)

	Profile  [32]byte  // hash of the profile's authentication part
	PeerCert [32]byte  // SHA-256 of the gateway's certificate; zero without one
	Anchor   [32]byte  // SHA-256 of the trust anchor; zero without one
	NotAfter time.Time // smallest of the gateway's chain, whole seconds; zero without one

	Spent bool // it was used: an SA was established with it
}

// String tells lengths and times; ticket and session stay out of it, and out of
// every verb.
func (e *Entry) String() string {
	return fmt.Sprintf("ticket of %d octets for %v until %v", len(e.Ticket), e.Gateway, e.Expires.UTC().Format(time.RFC3339))
}

// Format prints String whatever the verb.
func (e Entry) Format(f fmt.State, _ rune) { f.Write([]byte(e.String())) }

// An entry on disk:
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                     Magic "bs-ticket" (9)                     ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Version = 1  |     Spent     |          Local port           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                          Expires (8)                          |
//	|                         Not after (8)                         |
//	~              Profile, PeerCert, Anchor (32 each)              ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~   Session, Ticket, Gateway, Gateways: each behind its length  ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~               SHA-256 of all that stands before               ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// Lengths have two octets, numbers are in network order, times are seconds
// since 1970 or 0 for none. The hash finds damage; it is no defence against who
// can write the file.
const (
	magic   = "bs-ticket"
	version = 1
	fixed   = len(magic) + 1 + 1 + 2 + 8 + 8 + 3*32
	maxFile = fixed + 2 + MaxSession + 2 + MaxTicket + (1+MaxGateways)*(2+maxGateway) + 2 + sha256.Size

	maxGateway = 64           // octets of an address with its zone and port
	lastSecond = 253402300799 // of the year 9999
)

// check says why an entry cannot be kept.
func (e *Entry) check() error {
	switch {
	case len(e.Ticket) == 0 || len(e.Ticket) > MaxTicket:
		return fmt.Errorf("a ticket of %d octets: 1 to %d are kept", len(e.Ticket), MaxTicket)
	case len(e.Session) == 0 || len(e.Session) > MaxSession:
		return fmt.Errorf("a session of %d octets: 1 to %d are kept", len(e.Session), MaxSession)
	case len(e.Gateways) > MaxGateways:
		return fmt.Errorf("%d gateways: at most %d are kept", len(e.Gateways), MaxGateways)
	}
	for _, t := range []time.Time{e.Expires, e.NotAfter} {
		if !t.IsZero() && (t.Unix() <= 0 || t.Unix() > lastSecond) {
			return fmt.Errorf("the time %v: 1970 to 9999 are kept", t)
		}
	}
	for _, g := range append(slices.Clone(e.Gateways), e.Gateway) {
		if len(g.Addr().Zone()) > maxGateway-18 {
			return fmt.Errorf("an address with a zone of %d octets", len(g.Addr().Zone()))
		}
	}
	return nil
}

// Append appends the encoding of an entry that keeps the limits.
func (e *Entry) Append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, version, 0)
	if e.Spent {
		b[len(b)-1] = 1
	}
	b = binary.BigEndian.AppendUint16(b, e.LocalPort)
	b = appendTime(b, e.Expires)
	b = appendTime(b, e.NotAfter)
	b = append(b, e.Profile[:]...)
	b = append(b, e.PeerCert[:]...)
	b = append(b, e.Anchor[:]...)
	b = appendField(b, e.Session)
	b = appendField(b, e.Ticket)
	b = appendGateway(b, e.Gateway)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Gateways)))
	for _, g := range e.Gateways {
		b = appendGateway(b, g)
	}
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
}

func appendField(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}

func appendGateway(b []byte, g netip.AddrPort) []byte {
	field, _ := g.MarshalBinary() // never fails
	return appendField(b, field)
}

var (
	errMagic    = errors.New("it is no ticket of this program")
	errVersion  = errors.New("it was written by a newer program")
	errDamaged  = errors.New("its check sum is wrong")
	errEncoding = errors.New("its fields do not fit together")
)

// ParseEntry reads an entry. Nothing in it views b.
func ParseEntry(b []byte) (*Entry, error) {
	switch {
	case len(b) < len(magic)+1 || string(b[:len(magic)]) != magic:
		return nil, errMagic
	case b[len(magic)] != version:
		return nil, errVersion
	case len(b) < fixed+sha256.Size || len(b) > maxFile:
		return nil, errDamaged
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(want[:], sum) {
		return nil, errDamaged
	}
	r := reader{b: body[len(magic)+1:]}
	e := &Entry{}
	spent := r.take(1)[0]
	e.Spent = spent == 1
	e.LocalPort = binary.BigEndian.Uint16(r.take(2))
	e.Expires = r.time()
	e.NotAfter = r.time()
	copy(e.Profile[:], r.take(32))
	copy(e.PeerCert[:], r.take(32))
	copy(e.Anchor[:], r.take(32))
	e.Session = bytes.Clone(r.field())
	e.Ticket = bytes.Clone(r.field())
	e.Gateway = r.gateway()
	n := int(binary.BigEndian.Uint16(r.take(2)))
	for range min(n, MaxGateways) {
		e.Gateways = append(e.Gateways, r.gateway())
	}
	if r.bad || len(r.b) > 0 || spent > 1 || n > MaxGateways || e.check() != nil {
		return nil, errEncoding
	}
	return e, nil
}

// reader takes fields from the front; once one is missing, all that follow are
// zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.bad = nil, true
		return make([]byte, n)
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) field() []byte { return r.take(int(binary.BigEndian.Uint16(r.take(2)))) }

func (r *reader) time() time.Time {
	seconds := binary.BigEndian.Uint64(r.take(8))
	switch {
	case seconds == 0:
		return time.Time{}
	case seconds > lastSecond:
		r.bad = true
	}
	return time.Unix(int64(seconds), 0)
}

func (r *reader) gateway() (g netip.AddrPort) {
	if err := g.UnmarshalBinary(r.field()); err != nil {
		r.bad = true
	}
	return g
}
