package blackswan

import (
	"net/netip"
	"time"
)

// Status is a Gateway or a Client at one moment.
type Status struct {
	Role      string           `json:"role"`
	Version   string           `json:"version"`
	PID       int              `json:"pid"`
	Since     time.Time        `json:"since"`
	Epoch     uint32           `json:"epoch"` // of this start (rule B4)
	Node      uint8            `json:"node"`
	Shards    int              `json:"shards"`
	Steered   bool             `json:"steered"`   // the kernel hands each datagram to its shard
	Addresses []netip.AddrPort `json:"addresses"` // IKE port and NAT traversal port of each address
	QCD       bool             `json:"qcd"`       // tokens are made
	RollCall  string           `json:"roll_call"`
	Notes     []string         `json:"notes,omitempty"` // what a person should know

	Totals   Totals            `json:"totals"`
	Counters map[string]uint64 `json:"counters"` // dropped inputs by reason
	Sockets  Sockets           `json:"sockets"`
	Traffic  Traffic           `json:"traffic"` // of all Child SAs, those that are gone included
	CPU      time.Duration     `json:"cpu_ns"`  // of the process since Since, user and system
	GC       time.Duration     `json:"gc_ns"`   // of that, what collecting garbage took until the last collection

	SAs    []SAStatus `json:"sas"`
	Unseen int        `json:"unseen,omitempty"` // SAs beyond the limit of the list
}

// Totals are counted since the start.
type Totals struct {
	SAs           int    `json:"sas"`            // now established
	HalfOpen      int    `json:"half_open"`      // now
	Questions     int    `json:"questions"`      // key agreements and signatures for peers under way now
	MostQuestions int    `json:"most_questions"` // of them, at once: the sum of what each shard had at most
	Established   uint64 `json:"established"`
	Full          uint64 `json:"full"`    // of them by a full handshake
	Resumed       uint64 `json:"resumed"` // of them by a ticket
	Confirmed     uint64 `json:"confirmed"`
	FellBack      uint64 `json:"fell_back"`
	Failed        uint64 `json:"failed"`
	Refused       uint64 `json:"refused"`
	ChildFailed   uint64 `json:"child_failed"`
	Down          uint64 `json:"down"`
	Tickets       uint64 `json:"tickets"`         // granted or received
	TokensShown   uint64 `json:"tokens_shown"`    // in answer to a message of a lost SA
	PlainShown    uint64 `json:"plain_shown"`     // the same without a token
	RollCall      int    `json:"roll_call"`       // entries read at the start
	RollCallLeft  int    `json:"roll_call_left"`  // of them still to be shown
	RollCallShown uint64 `json:"roll_call_shown"` // messages

	Detected map[string]uint64 `json:"detected,omitempty"` // crashes of peers, by how we learned
}

// Sockets is what the sockets counted.
type Sockets struct {
	InDatagrams  uint64 `json:"in_datagrams"`
	InOctets     uint64 `json:"in_octets"`
	OutDatagrams uint64 `json:"out_datagrams"`
	OutOctets    uint64 `json:"out_octets"`
	InDropped    uint64 `json:"in_dropped"`
	OutDropped   uint64 `json:"out_dropped"`
}

// Traffic is what Child SAs carried, in inner packets and their octets.
type Traffic struct {
	Device     string `json:"device,omitempty"` // the TUN
	InPackets  uint64 `json:"in_packets"`
	InOctets   uint64 `json:"in_octets"`
	OutPackets uint64 `json:"out_packets"`
	OutOctets  uint64 `json:"out_octets"`
	Dropped    uint64 `json:"dropped"` // of them the packets that were not carried

	Drops map[string]uint64 `json:"drops,omitempty"` // all that was dropped, by reason
}

// SAStatus is one IKE SA.
type SAStatus struct {
	SPIi       string         `json:"spi_i"` // 16 hexadecimal digits
	SPIr       string         `json:"spi_r"`
	Ours       string         `json:"ours"` // "i" or "r": which of them Delete wants
	Connection string         `json:"connection"`
	Peer       string         `json:"peer"`
	Remote     netip.AddrPort `json:"remote"`
	NAT        bool           `json:"nat"`   // UDP encapsulated
	State      string         `json:"state"` // "half_open", "established", "replaced" by its rekey, "deleting"
	Resumed    bool           `json:"resumed"`
	Suite      string         `json:"suite"`
	Age        time.Duration  `json:"age_ns"`
	Heard      time.Duration  `json:"heard_ns"`        // since the peer was heard last
	Child      string         `json:"child,omitempty"` // name of the Child SA of the next two, where the connection has several
	ChildIn    string         `json:"child_in,omitempty"`
	ChildOut   string         `json:"child_out,omitempty"`
	Mode       string         `json:"mode,omitempty"`          // of that Child SA: "transport"; "": tunnel mode
	Traffic    Traffic        `json:"traffic"`                 // of all its Child SAs
	Children   []ChildStatus  `json:"children,omitempty"`      // those beside that one
	Wanted     []WantedStatus `json:"wanted,omitempty"`        // those that are to be made
	Ticket     time.Time      `json:"ticket_expires,omitzero"` // client
	DetectedBy string         `json:"detected_by,omitempty"`   // client: how the loss of the SA before this one was learned
}

// ChildStatus is one Child SA.
type ChildStatus struct {
	Name    string  `json:"name,omitempty"` // where the connection has several
	In      string  `json:"in"`             // SPIs, 8 hexadecimal digits
	Out     string  `json:"out"`
	Mode    string  `json:"mode,omitempty"` // "transport"; "": tunnel mode
	Traffic Traffic `json:"traffic"`
}

// WantedStatus is a Child SA that is to be made.
type WantedStatus struct {
	Name    string        `json:"name,omitempty"`    // where the connection has several
	Refused string        `json:"refused,omitempty"` // why it was not made when it was asked for last
	In      time.Duration `json:"in_ns"`             // until it is asked for
}
