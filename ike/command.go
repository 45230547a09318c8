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
	CommandConnections                           // Connections, CertReq, Selected: a reload; EventReloaded follows
	CommandRollCall                              // Entries of before the crash, to be shown (rules C)
	CommandSurvivors                             // Survivors: ESP SPIs of before the crash (RFC 6290 8.2)
	CommandFloor                                 // Lineage, Floor, Until: read from the store, or raised elsewhere
	CommandInitialContact                        // Identity: the peer began anew on another shard (RFC 7296 2.4)
	CommandNotBefore                             // Identity, Until: sessions authenticated before Until end (rule D5)
	CommandSuspended                             // For: the host slept so long
	CommandHint                                  // the link changed: check liveness (rule A7)
	CommandUnreachable                           // initiator: ICMP says that what we sent to Remote did not arrive; port 0: ESP
	CommandShut                                  // gateway: whoever comes from now on meets silence
	CommandForget                                // drop every SA without a word
	CommandGateway                               // initiator: Remote is the IKE port of the gateway Name, which AskGateway asked for Conn; invalid: nobody knows it
	CommandDrain                                 // gateway: send everybody to the gateway Name, an address or a name; "": no more (RFC 5685)
	CommandHome                                  // initiator: Remote is the IKE port of the configured gateway of Conn from now
	CommandLost                                  // initiator: the owner knows that the gateway lost SA: it begins anew
	CommandMoved                                 // initiator: Local is the address that we reach the gateway of Conn from now; nil: of all
)

// Command is an order of the Endpoint's owner. Only the fields that its Kind
// names are read; slices are copied where they are kept.
type Command struct {
	Kind          CommandKind
	SA            Handle
	Conn          *Connection
	Local, Remote netip.AddrPort // CommandConnect, CommandMoved: IKE ports, no marker
	NATPort       uint16         // CommandConnect: our port of UDP encapsulation, if it is not that of Config
	Name          string
	Ticket        []byte  // CommandConnect: from the jar, may be empty
	Session       []byte  // CommandConnect: its encoded ticket.Session
	Own           wire.ID // CommandConnect: our identity, if it is not that of Conn, which others may share; kept
	Owner         uint32  // CommandConnect: a number that comes back in what is told and asked
	Ring          []ticket.Key
	QCD           *qcd.Generations
	Boot          spi.Boot
	Connections   []*Connection
	CertReq       []byte
	Selected      Selected // nil: nothing is carried
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
	ReportSent                             // packets left by Child SA SPI and none has come since; at most every few seconds
	ReportWorn                             // Child SA SPI has reached its Soft volume, or nears its last sequence number
	ReportSpent                            // Child SA SPI carries nothing more
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

// Command takes an order of the owner.
func (e *Endpoint) Command(now time.Time, c Command) {
	e.at(now)
	switch c.Kind {
	case CommandConnect:
		e.connect(&c)
	case CommandClose:
		e.closeTunnel(c.Conn)
	case CommandDelete:
		if sa := e.sa(c.SA); sa != nil {
			e.deleteSeries(sa)
		}
	case CommandLost:
		if sa := e.sa(c.SA); sa != nil && sa.tun != nil && sa.state == stateEstablished {
			e.crashed(sa, ByNothing)
		}
	case CommandHint:
		e.hintAll()
	case CommandUnreachable:
		e.unreachable(c.Remote)
	case CommandSuspended:
		e.wakeUp(int64(c.For))
	case CommandMoved:
		for _, t := range e.tunnels {
			if (c.Conn == nil || t.conn == c.Conn) && c.Local.IsValid() {
				e.movedTo(t, c.Local)
			}
		}
	case CommandGateway:
		for _, t := range e.tunnels {
			if t.conn.Name == c.Conn.Name { // a reload may have come between
				e.resolved(t, c.Name, c.Remote)
			}
		}
	case CommandHome:
		for _, t := range e.tunnels {
			if t.conn == c.Conn {
				e.rehome(t, c.Remote)
			}
		}
	case CommandDrain:
		e.startDrain(c.Name)
	case CommandInitialContact:
		e.initialContact(nil, c.Identity)
	case CommandShut:
		e.shut()
	case CommandForget:
		for i := range e.slots {
			if sa := e.slots[i].sa; sa != nil {
				e.down(sa, "forgotten", true)
			}
		}
	default:
		e.change(c)
	}
}

// connect brings a connection up, with the ticket of the jar if there is one.
func (e *Endpoint) connect(c *Command) {
	t := &tunnel{conn: c.Conn, own: c.Own, owner: c.Owner, ike: [2]addr{pack(c.Local), pack(c.Remote)}, home: pack(c.Remote), nat: c.NATPort}
	if len(c.Own.Data) == 0 {
		t.own = c.Conn.Local.ID
	}
	if len(c.Ticket) > 0 {
		t.keep(c.Ticket, c.Session, c.Until)
	}
	e.tunnels = append(e.tunnels, t)
	e.attempt(t)
}

// change takes what the store or the configuration changed.
func (e *Endpoint) change(c Command) {
	switch c.Kind {
	case CommandKeys:
		e.cfg.Ring = c.Ring
		e.ringRead, e.ringAsked = e.now, -int64(time.Hour)
		if err := e.ring.SetKeys(c.Ring); err != nil {
			e.event(nil, Event{Kind: EventFailed, Err: err})
		}
		if c.QCD != nil && e.tokens != nil {
			e.cfg.QCD = *c.QCD
			e.tokens = qcd.NewMaker(*c.QCD)
			e.replaceTokens()
		}
	case CommandEpoch:
		e.cfg.Boot.Epoch = c.Boot.Epoch // the base stays: this process made the older epoch
		e.sealer.SetEpoch(c.Boot.Epoch)
		e.rand.forget()
	case CommandConnections:
		e.cfg.CertReq = c.CertReq
		e.setConnections(c.Connections)
		e.startReload(c.Selected)
	case CommandRollCall:
		e.callRoll(c.Entries)
	case CommandSurvivors:
		e.survive(c.Survivors)
	case CommandFloor:
		e.floors.Raise(c.Lineage, c.Floor, c.Until)
	case CommandNotBefore:
		e.barred.Set(c.Identity, c.Until)
	}
}
