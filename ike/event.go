package ike

import (
	"net/netip"
	"time"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// Handle names an SA of this Endpoint: a slot and how often it was used. The
// zero Handle names none.
type Handle uint64

// Slot is the SA's place in the Endpoint's table; pages of the store use it.
func (h Handle) Slot() int { return int(uint32(h)) - 1 }

// Packet is one IKE datagram. Marker tells that it came, or must go, with the
// non-ESP marker of RFC 3948 2.2 before it; Data never contains the marker.
type Packet struct {
	Local, Remote netip.AddrPort
	Marker        bool
	Data          []byte
	Waited        time.Duration // of one that came: how long nobody has taken it; 0 if that is not known
}

// OutputKind says which field of an Output counts.
type OutputKind uint8

const (
	OutputSend    OutputKind = iota + 1 // Packet
	OutputAsk                           // Question
	OutputInstall                       // Child
	OutputRemove                        // Child: only its SPIs are set
	OutputRetire                        // the same; if it was replaced, what its peer has sent before is still taken
	OutputMove                          // Child: its SPIs, Local, Remote, Encap and Behind are set
	OutputPrefer                        // Child: its SPIs are set; packets that fit several leave by it from now
	OutputRecord                        // Record
	OutputForward                       // Packet belongs to Endpoint number Shard
	OutputEvent                         // Event
)

// Output is one effect of an input. Its pointers and all slices behind them,
// but for those of a Question, live until the next input.
type Output struct {
	Kind     OutputKind
	SA       Handle
	Shard    int
	Packet   Packet
	Question *Question
	Child    *Child
	Record   *Record
	Event    *Event
}

// Child is a Child SA as the data plane is told of it.
type Child struct {
	Connection        string
	Peer              []byte // its identity: type octet and data
	SPIIn, SPIOut     uint32
	Suite             propose.ESPSuite
	EncrIn, IntegIn   []byte // keys of the inbound direction
	EncrOut, IntegOut []byte
	LocalTS, RemoteTS []wire.Selector
	Transport         bool // transport mode; else tunnel mode
	Local, Remote     netip.AddrPort
	Encap             bool // UDP encapsulation, RFC 3948
	Behind            bool // we are behind a NAT
	Resumed           bool
	Waits             bool   // no packet leaves by it while another one fits, until OutputPrefer (RFC 7296 2.8)
	Soft, Hard        Volume // what it may carry before ReportWorn, and at all
}

// RecordKind says what a Record keeps.
type RecordKind uint8

const (
	RecordRollCall     RecordKind = iota + 1 // Entry at slot (rule C2)
	RecordRollCallGone                       // nothing at slot any more
	RecordFloor                              // Lineage, Floor, Until (rule D5)
	RecordChild                              // ESP SPI -> IKE SPIs, at slot (RFC 6290 8.2)
	RecordChildGone
	RecordTicket     // client: keep Ticket and Session for Connection (rule D12)
	RecordTicketGone // client: wipe the entry of Connection
)

// Record is something the store must keep. Durable: what follows for the same
// SA may leave only after the commit.
type Record struct {
	Kind    RecordKind
	Durable bool
	Slot    int
	Entry   Entry
	Lineage [16]byte
	Floor   uint32
	Until   int64 // Unix seconds: the record may be forgotten
	ESPSPI  uint32

	Connection *Connection
	Ticket     []byte
	Session    []byte // encoded ticket.Session, the client's side
	Expires    int64  // Unix seconds
}

// Entry is one line of the roll call (rule C2).
type Entry struct {
	SPIs          wire.SPIs
	Original      bool // we were the original initiator of this SA
	Ours          bool // the peer announced the roll call
	Generation    uint8
	Local, Remote netip.AddrPort
	Marker        bool
	Heard         int64 // Unix seconds
}

// EventKind says what happened.
type EventKind uint8

const (
	EventEstablished    EventKind = iota + 1 // Resumed tells how
	EventConfirmed                           // a resumed SA was used by the peer (rule D7)
	EventDown                                // Reason tells why
	EventDetected                            // the peer lost this SA; By tells how we learned
	EventResuming                            // a RESUME leaves
	EventFallback                            // a full handshake begins although there was a ticket
	EventFailed                              // an attempt of ours ended; Err
	EventChildFailed                         // the IKE SA stays without a Child SA; Err
	EventTicket                              // a ticket was granted or received
	EventRefused                             // a peer's request was refused; Err
	EventInitialContact                      // tell the other Endpoints: CommandInitialContact with Identity
	EventKeys                                // Config.KeyLog: keys of a new SA
	EventCounterFull                         // SPI counter used up: make a new epoch durable, then CommandEpoch
	EventReauth                              // client: a full handshake begins before the authentication ends (RFC 4478)
	EventMoved                               // MOBIKE: traffic goes to and from another address now; Remote is the peer's
	EventRedirected                          // client: it goes to the gateway Remote (RFC 5685)
	EventDrained                             // gateway: of those that follow REDIRECT nobody is left here
	EventRekeyed                             // the IKE SA Old has an heir (RFC 7296 2.18)
	EventChild                               // CREATE_CHILD_SA made a Child SA
	EventUnfit                               // after a reload: its connection would not have this SA, or a Child SA of it, which is deleted; Err
	EventReloaded                            // each SA has been measured by the connections of the last reload
	EventOutlived                            // the authentication or the lifetime of an SA is over: it is deleted
)

// By tells how a crash was detected.
type By uint8

const (
	ByNothing By = iota
	ByRollCall
	ByQCDReply
	ByESPReply
	ByTimeout
)

func (b By) String() string {
	return [...]string{"nothing", "roll_call", "qcd_reply", "esp_reply", "timeout"}[b]
}

// Event is told to the logs, the status page and the owner of the program.
type Event struct {
	Kind       EventKind
	SPIs       wire.SPIs
	Old        wire.SPIs // EventRekeyed
	Child      string    // EventChild, EventChildFailed: its name, where the connection has several
	Connection *Connection
	Owner      uint32 // initiator: as CommandConnect told it
	Identity   []byte // the peer's identity: type octet and data
	Remote     netip.AddrPort
	Resumed    bool
	By         By
	Reason     string
	Err        error

	// EventKeys
	Suite          suite.Suite
	EI, ER, AI, AR []byte
}
