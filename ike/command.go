package ike

import (
	"net/netip"
	"time"

	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/ticket"
	"blackswan/wire"
)

// CommandKind says what an owner wants of an Endpoint.
type CommandKind uint8

const (
	CommandConnect        CommandKind = iota + 1 // initiator: bring Conn up and keep it up
	CommandClose                                 // initiator: DELETE the SA of Conn, wipe its ticket, forget it
	CommandDelete                                // DELETE the SA named SA
	CommandKeys                                  // Ring, QCD: the store's keys changed, or were read again (rule D10)
	CommandEpoch                                 // Boot: a new epoch is durable
	CommandConnections                           // Connections: a reload
	CommandRollCall                              // Entries of before the crash, to be shown (rules C)
	CommandSurvivors                             // Survivors: ESP SPIs of before the crash (RFC 6290 8.2)
	CommandFloor                                 // Lineage, Floor, Until: read from the store, or raised elsewhere
	CommandInitialContact                        // Identity: the peer began anew on another shard (RFC 7296 2.4)
	CommandNotBefore                             // Identity, Until: sessions authenticated before Until end (rule D5)
	CommandSuspended                             // For: the host slept so long
	CommandHint                                  // the link changed: check liveness (rule A7)
	CommandForget                                // drop every SA without a word
)

// Command is an order of the Endpoint's owner. Only the fields that its Kind
// names are read; slices are copied where they are kept.
type Command struct {
	Kind          CommandKind
	SA            Handle
	Conn          *Connection
	Local, Remote netip.AddrPort // CommandConnect: IKE ports, no marker
	Ticket        []byte         // CommandConnect: from the jar, may be empty
	Session       []byte         // CommandConnect: its encoded ticket.Session
	Ring          []ticket.Key
	QCD           *qcd.Generations
	Boot          spi.Boot
	Connections   []*Connection
	Entries       []Entry
	Survivors     []Survivor
	Lineage       [16]byte
	Floor         uint32
	Identity      []byte
	Until         int64
	For           time.Duration
}

// Survivor is one ESP SPI of before the crash and the IKE SA that owned it.
type Survivor struct {
	ESPSPI     uint32
	SPIs       wire.SPIs
	Original   bool
	Generation uint8
}

// ReportKind says what the data plane saw.
type ReportKind uint8

const (
	ReportUsed       ReportKind = iota + 1 // first authenticated packet of Child SA SPI, in (rule D7)
	ReportMoved                            // authenticated packet of SPI from a new source (rule G3)
	ReportUnknownSPI                       // ESP packet with an SPI that no SA owns (rule A8)
)

// Report is what the data plane tells the machine.
type Report struct {
	Kind          ReportKind
	SPI           uint32
	Local, Remote netip.AddrPort // outer addresses of the packet
	Marker        bool           // it came UDP encapsulated
	Length        int            // octets of ESP, ReportUnknownSPI
}
