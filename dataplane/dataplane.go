// Package dataplane is the port to what carries the traffic of Child SAs (ESP,
// RFC 4303). An implementation is a package below this one and passes the kit
// in planetest.
package dataplane

import (
	"errors"
	"fmt"
	"net/netip"

	"blackswan/internal/propose"
	"blackswan/wire"
)

// What a Plane refuses.
var (
	ErrInUse   = errors.New("dataplane: a Child SA with this inbound SPI is installed already")
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
	SPIIn, SPIOut     uint32
	Suite             propose.ESPSuite
	EncrIn, IntegIn   Key // of the inbound direction; EncrIn ends in the salt of an AEAD
	EncrOut, IntegOut Key
	LocalTS, RemoteTS []wire.Selector // what the tunnel carries
	Local, Remote     netip.AddrPort  // outer addresses; ports of the UDP encapsulation
	Encap             bool            // UDP encapsulation, RFC 3948
	Resumed           bool            // of a resumed IKE SA
}

// A Plane carries traffic. It is safe for concurrent use, and none of its
// methods waits for the network.
type Plane interface {
	// Install begins to carry c, or fails and leaves everything as it was.
	// Slices of c are borrowed for the call.
	Install(c Child) error

	// Remove ends the Child SA with that inbound SPI.
	Remove(spiIn uint32) error

	// Reports tells what the plane sees. Nil: it sees nothing, ever. A full
	// channel loses reports. It is closed by Close.
	Reports() <-chan Report

	// Close removes what is installed. Everything but Close fails afterwards.
	Close() error
}

// ReportKind says what was seen.
type ReportKind uint8

const (
	// Used is the first authenticated packet of a Child SA (rule D7).
	Used ReportKind = iota + 1
	// Moved is an authenticated packet from a new source (rule G3).
	Moved
	// Unknown is a packet with an SPI that nobody owns (RFC 6290 8.2).
	Unknown
)

// Report is one thing that a Plane saw.
type Report struct {
	Kind          ReportKind
	SPI           uint32         // inbound
	Local, Remote netip.AddrPort // outer addresses of the packet
	Encap         bool           // it came UDP encapsulated
	Length        int            // octets of the ESP packet, of Unknown
}
