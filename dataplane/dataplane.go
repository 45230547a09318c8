// Package dataplane is the port to what carries the traffic of Child SAs (ESP,
// RFC 4303). An implementation is a package below this one and passes the kit
// in planetest.
package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"blackswan/internal/propose"
	"blackswan/wire"
)

// What a Plane refuses.
var (
	ErrInUse   = errors.New("dataplane: a Child SA with this inbound SPI is installed already")
	ErrTaken   = errors.New("dataplane: another peer's Child SA has these inner addresses")
	ErrUnknown = errors.New("dataplane: no Child SA with this inbound SPI is installed")
	ErrClosed  = errors.New("dataplane: closed")
)

// Key is key material. It never prints itself.
type Key []byte

const redacted = "redacted"

// String shows nothing, like GoString and Format: keys stay out of logs and errors.
func (Key) String() string             { return redacted }
func (Key) GoString() string           { return redacted }
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// Child is a pair of ESP SAs, one for each direction. Packets come in under
// SPIIn and go out under SPIOut.
type Child struct {
	Connection        string
	Peer              uint64 // tells peers apart: no two of a connection have one inner address at once; 0: not told
	SPIIn, SPIOut     uint32
	Suite             propose.ESPSuite
	EncrIn, IntegIn   Key // of the inbound direction; EncrIn ends in the salt of an AEAD
	EncrOut, IntegOut Key
	LocalTS, RemoteTS []wire.Selector // what the tunnel carries; in transport mode one address on each side
	Transport         bool            // transport mode (RFC 4303 3.1.1): packets go without their IP header
	Local, Remote     netip.AddrPort  // outer addresses; ports of the UDP encapsulation
	Encap             bool            // UDP encapsulation, RFC 3948
	Behind            bool            // we are behind a NAT: keepalives (RFC 3948 4)
	Resumed           bool            // of a resumed IKE SA
	Waits             bool            // the peer may not know it yet: until it was used, older ones send
	Soft, Hard        Volume          // what it may carry before a rekey, and at all
}

// Path is where the outer packets of a Child SA go, as Child has it.
type Path struct {
	Local, Remote netip.AddrPort
	Encap, Behind bool
}

// Volume bounds what a Child SA carries, both directions together, in inner
// packets and their octets. 0 is no bound.
type Volume struct {
	Packets, Octets uint64
}

// Traffic is what was carried, in inner packets and their octets, and the
// packets that were not, of either direction.
type Traffic struct {
	InPackets, InOctets, OutPackets, OutOctets, Dropped uint64
}

// A Plane carries traffic. It is safe for concurrent use, and none of its
// methods waits for the network.
type Plane interface {
	// Install begins to carry c, or fails and leaves everything as it was.
	// Slices of c are borrowed for the call. A packet that fits several Child
	// SAs leaves by the one that was installed last, or, if that Waits, was used
	// first since; each takes what comes in.
	Install(c Child) error

	// Move changes the path of the Child SA with that inbound SPI (rule G3,
	// RFC 4555).
	Move(spiIn uint32, to Path) error

	// Prefer ends the waiting of the Child SA with that inbound SPI: packets
	// that fit several leave by it from now, as if it were the newest.
	Prefer(spiIn uint32) error

	// Remove ends the Child SA with that inbound SPI.
	Remove(spiIn uint32) error

	// Retire is Remove for one that both peers have ended. What is on its way is
	// taken for Linger more, but only as long as others of the peer reach all that
	// it has reached: the message that ends a Child SA may overtake its packets.
	Retire(spiIn uint32) error

	// Traffic is what the Child SA with that inbound SPI has carried.
	Traffic(spiIn uint32) (Traffic, error)

	// Selectors are what the Child SA with that inbound SPI carries, as Install was
	// told. They are not to be changed.
	Selectors(spiIn uint32) (local, remote []wire.Selector, err error)

	// Totals are what all Child SAs have carried, those that are gone
	// included, and what was dropped by reason. A plane that carries nothing
	// has no reasons.
	Totals() (Traffic, map[string]uint64)

	// Reports tells what the plane sees. Nil: it sees nothing, ever. A full
	// channel loses reports. It is closed by Close.
	Reports() <-chan Report

	// Close removes what is installed. Everything but Close fails afterwards.
	Close() error
}

// ReportKind says what was seen.
type ReportKind uint8

const (
	// Used is the first authenticated packet of a Child SA (rule D7), and a
	// later one at most every UsedAgain: the peer is alive.
	Used ReportKind = iota + 1
	// Moved is a new authenticated packet from another source (rule G3), at
	// most once a second for each Child SA.
	Moved
	// Unknown is a packet with an SPI that nobody owns (RFC 6290 8.2).
	Unknown
	// Unanswered is a Child SA by which packets have left since one came in
	// last, told at most every UsedAgain: its peer may be gone.
	Unanswered
	// Worn is a Child SA that has reached its Soft volume, or is near the end
	// of its sequence numbers: it wants a rekey.
	Worn
	// Spent is a Child SA that has reached its Hard volume or its last
	// sequence number: it carries nothing more.
	Spent
	// Broken is a plane that lost its device or its sockets, told by Err. It
	// carries nothing any more.
	Broken
)

// UsedAgain is the shortest time between two reports that a Child SA is used.
const UsedAgain = 5 * time.Second

// Linger is how long a Child SA that was replaced takes packets when it is
// retired.
const Linger = 5 * time.Second

// Report is one thing that a Plane saw.
type Report struct {
	Kind          ReportKind
	SPI           uint32         // inbound
	Local, Remote netip.AddrPort // outer addresses of the packet
	Encap         bool           // it came UDP encapsulated
	Length        int            // octets of the ESP packet, of Unknown
	Err           error          // of Broken
}
