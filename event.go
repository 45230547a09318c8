package blackswan

import (
	"net/netip"
	"time"
)

// EventKind names what happened.
type EventKind string

// What OnEvent is told.
const (
	Established EventKind = "established"  // an IKE SA stands after a full handshake
	Resumed     EventKind = "resumed"      // an IKE SA stands after a resume
	Confirmed   EventKind = "confirmed"    // gateway: a resumed SA was used by its client, its ticket is spent
	Detected    EventKind = "detected"     // the peer lost the SA; By tells how we learned
	Resuming    EventKind = "resuming"     // client: a ticket is shown
	FellBack    EventKind = "fell_back"    // client: a full handshake begins although there was a ticket
	Failed      EventKind = "failed"       // client: an attempt ended; Err tells why
	Refused     EventKind = "refused"      // a peer's request was refused; Err tells why
	ChildFailed EventKind = "child_failed" // the IKE SA stays without a Child SA; Err tells why
	Ticket      EventKind = "ticket"       // a ticket was granted or received
	Down        EventKind = "down"         // an IKE SA ended; Reason tells why

	Moved            EventKind = "moved"      // an IKE SA goes on from or to another address (RFC 4555)
	Redirected       EventKind = "redirected" // client: it goes to the gateway Remote (RFC 5685)
	Reauthenticating EventKind = "reauth"     // client: it logs in again before its time is over (RFC 4478)
	Rekeyed          EventKind = "rekeyed"    // an IKE SA has new keys and SPIs (RFC 7296 2.18)
	ChildMade        EventKind = "child"      // a Child SA was made or rekeyed in a living IKE SA
	Unfit            EventKind = "unfit"      // after a reload the connection would not have an IKE SA, or a Child SA of it, which is deleted; Err tells why
	Outlived         EventKind = "outlived"   // the authentication or the lifetime of an IKE SA is over: it is deleted
)

// Event is something that happened to an SA or to an attempt at one.
type Event struct {
	Kind       EventKind
	At         time.Time
	Connection string
	Peer       string // its identity
	Remote     netip.AddrPort
	SPIi, SPIr string // 16 hexadecimal digits each
	By         string // "roll_call", "qcd_reply", "esp_reply", "timeout"
	Reason     string
	Child      string // its name, where the connection has several Child SAs
	Err        error
}
