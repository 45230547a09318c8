package ike

import (
	"fmt"
	"net/netip"

	"blackswan/internal/frag"
	"blackswan/internal/suite"
	"blackswan/internal/window"
	"blackswan/qcd"
	"blackswan/ticket"
	"blackswan/wire"
)

// state is where an SA stands. After every input an SA is as it was, further,
// or gone; there is nothing between.
type state uint8

const (
	stateInit    state = iota + 1 // we initiate: IKE_SA_INIT or IKE_SESSION_RESUME has left
	stateAuth                     // we initiate: IKE_AUTH has left, or waits for a signature
	stateHalf                     // they initiate: IKE_SA_INIT or IKE_SESSION_RESUME is answered, or its key agreement runs
	stateProving                  // they initiate: IKE_AUTH waits for an answer
	stateEstablished
	stateDeleting // our DELETE has left
)

// addr is a packed address and port, free of pointers.
type addr struct {
	ip   [16]byte
	port uint16
}

func pack(ap netip.AddrPort) addr { return addr{ap.Addr().As16(), ap.Port()} }
func (a addr) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.ip).Unmap(), a.port)
}

// SA is one IKE SA and its first Child SA. Pointers first, then a core
// without any, so that an idle SA costs the collector little.
type SA struct {
	conn *Connection
	peer []byte // the peer's identity: type octet, data
	resp []byte // cached response: one message, or its fragments back to back
	keys suite.Held
	cert *ticket.PeerCert // what a ticket must remember of the peer's certificate
	half *half            // until established
	cold *cold            // an open request, waiting requests, reassembly
	told *told            // tokens of the peer's, if it has given one
	tun  *tunnel          // initiator: the connection that this SA serves

	child child // the first, or what stands in its place

	spi       wire.SPIs
	lineage   [16]byte // of the tickets that this SA grants (rule D5)
	serial    uint32
	claimed   uint32 // serial of the ticket that made this SA, 0: a full handshake
	slot      uint32
	use       uint32 // how often the slot was used, for Handle
	peerNext  uint32 // next SA of the same peer, slot+1
	state     state
	Original  bool // we made this SA: the I flag, the order of the SPIs, SK_*i and SK_*r
	Client    bool // we began the first SA of the series: tickets
	resumed   bool
	marker    bool  // packets carry the non-ESP marker
	frag      bool  // both sides support fragmentation
	rollCall  bool  // the peer announced the roll call
	behind    bool  // a NAT is on the path
	natted    bool  // we are behind one
	redirects bool  // responder: the client follows REDIRECT (RFC 5685)
	mobike    bool  // both sides move (RFC 4555)
	confirm   bool  // resumed or rekeyed, and not yet confirmed (rules D5, D7)
	worn      bool  // the IKE SA is due to be rekeyed
	tries     uint8 // rekeys of it that failed
	form      uint8
	method    [2]uint8 // authentication methods of the initiator and the responder
	gen       uint8    // generation of our SPI (rule B2)
	suite     suite.Suite
	local     addr
	remote    addr
	iv        uint64
	recv      window.Recv
	sent      window.Send
	respSum   uint64 // hash of the request that resp answers
	reqSum    uint64 // hash of the request at hand

	// Times are ns since the Endpoint began; 0: none.
	due       int64 // what the heap knows
	expires   int64 // a half-open SA or an attempt ends
	heard     int64
	noted     int64 // heard, as the roll call knows it
	hinted    int64
	moved     int64
	repeated  int64 // the cached response was sent to another address
	checkAt   int64 // liveness
	confirmAt int64 // client: the empty INFORMATIONAL of rule D7
	cacheAt   int64 // the cached response goes
	askedAt   int64 // last TICKET_REQUEST granted, or sent
	renewAt   int64 // client: ask for the next ticket
	rekeyAt   int64 // the IKE SA wants a rekey
	endAt     int64 // client: log in anew; gateway: the authentication is over (RFC 4478)

	// Unix seconds.
	born, fullAuth, lastKE, reauth int64
}

// half is what an SA needs only until it is established: 480 octets, a size in
// which Go allocates. Of a responder's resume there are two nonces and an answer
// beside it (rule E3).
type half struct {
	resume     bool
	childless  bool // IKE_AUTH makes no Child SA (RFC 6023)
	direct     bool // message 1 met no NAT
	verified   bool
	nacked     bool
	anew       bool
	first      wire.PayloadType // of plain
	proposal   uint8
	cookies    uint8
	repeats    uint8
	refusal    wire.NotifyType
	group      wire.TransformID
	next       uint32 // responder: next half-open resume of the same ticket, slot+1
	ni, nr     []byte
	from       netip.Prefix // responder of IKE_SA_INIT: whose share it takes
	msg1, msg2 []byte       // the first request, of a responder only IKE_SA_INIT, and its answer: AUTH covers them
	pair       *suite.KeyPair
	question   uint64
	hashes     []uint16
	certReq    []byte
	plain      []byte  // IKE_AUTH request or response that waits for an answer
	signs      *[2]mac // SK_pi and SK_pr; nil in a resume, which needs them in message 1 alone
	authI      mac     // a resume's AUTH values, computed in message 1 (rule E3)
	authR      mac
	short      *[2]mac // the same in the short form, where that may be needed
	cookie     []byte
	old        wire.SPIs   // of the ticket's SA
	candidates []candidate // initiator of a resume: at most maxCandidates
	lastRepeat int64
	nackAt     int64
	silentAt   int64
}

// mac is an AUTH value of a negotiated PRF.
type mac struct {
	b [64]byte
	n uint8
}

func (m *mac) bytes() []byte { return m.b[:m.n] }

// maxCandidates is how many answers to one RESUME are tried (rule E6).
const maxCandidates = 4

// candidate is one answer to our RESUME: whoever sent it must prove itself in
// IKE_AUTH (rule E6).
type candidate struct {
	spir wire.SPI
	nr   []byte
	keys suite.Held
	req  []byte // IKE_AUTH, one message or its fragments
	want mac    // the responder's AUTH
	nat  bool
	frag bool
	ours bool
}

// cold is what an idle SA does without.
type cold struct {
	open    exchange
	waiting []requestKind
	pieces  [2]*pieces // of a request, of a response

	more         []*child  // Child SAs but the first
	ours, theirs *creation // CREATE_CHILD_SA under way
	created      bucket    // how many the peer has asked for

	wants []want // Child SAs that are to be made

	past   Handle // the SA that this one has logged in, or resumed, beside: it ends when our Child SAs stand
	partAt int64  // or at this time

	heir  Handle // the SA that has replaced this one
	elder Handle // the SA that this one replaces, until the peer is known to have this one: no request leaves before
}

// told is what the peer has given us to know its crash by (RFC 6290).
type told struct {
	token  qcd.Digest  // the newest
	before *qcd.Digest // the one before it, if there was one
	budget qcd.Budget
}

// settled reports whether c holds nothing about Child SAs and rekeys.
func (c *cold) settled(now int64) bool {
	return len(c.more) == 0 && c.ours == nil && c.theirs == nil && len(c.wants) == 0 && c.heir == 0 && c.elder == 0 && c.past == 0 &&
		c.created.second != now/createPeriod/1e9
}

// pieces are the fragments of one message that have come.
type pieces struct {
	frag.Reassembly
	id uint32 // Message ID
}

// exchange is our open request, window size one.
type exchange struct {
	kind requestKind
	id   uint32
	msgs []byte // back to back
	try  int
	at   int64 // next retransmission

	began  int64
	hasty  bool             // the path is in doubt: three transmissions, no more
	cookie [cookie2Len]byte // COOKIE2 (RFC 4555 3.7)
}

func (sa *SA) handle() Handle { return Handle(uint64(sa.use)<<32 | uint64(sa.slot+1)) }

// own is our identity.
func (sa *SA) own() wire.ID {
	if sa.tun != nil {
		return sa.tun.own
	}
	return sa.conn.Local.ID
}

// peerID is that of the peer, once it is known.
func (sa *SA) peerID() wire.ID { return wire.ID{Type: wire.IDType(sa.peer[0]), Data: sa.peer[1:]} }

// ours is the SPI of ours in this SA; it names the shard.
func (sa *SA) ours() wire.SPI {
	if sa.Original {
		return sa.spi.I
	}
	return sa.spi.R
}

// outKeys are SK_e and SK_a of what we send, inKeys of what the peer sends.
func (sa *SA) outKeys() (ek, ak []byte) { return keysOf(&sa.keys, sa.suite, sa.Original) }
func (sa *SA) inKeys() (ek, ak []byte)  { return keysOf(&sa.keys, sa.suite, !sa.Original) }

func keysOf(k *suite.Held, s suite.Suite, original bool) (ek, ak []byte) {
	if original {
		return k.EI(s), k.AI(s)
	}
	return k.ER(s), k.AR(s)
}

// earliest is when this SA must be looked at again.
func (sa *SA) earliest() int64 {
	due := int64(0)
	for _, t := range [...]int64{sa.expires, sa.checkAt, sa.confirmAt, sa.cacheAt, sa.renewAt, sa.endAt} {
		due = sooner(due, t)
	}
	if c := sa.cold; c != nil {
		due = sooner(due, sooner(c.open.at, c.partAt))
		for _, p := range c.pieces {
			if p != nil {
				due = sooner(due, p.Since+piecesLife)
			}
		}
	}
	if sa.state == stateEstablished {
		due = sooner(due, sa.ages())
	}
	if h := sa.half; h != nil {
		due = sooner(due, sooner(h.nackAt, h.silentAt))
	}
	return due
}

// sooner is the earlier of two times of which 0 is never.
func sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Format prints what an SA is called, whatever the verb: keys stay inside.
func (sa *SA) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "SA(%s)", sa.spi) }

// Format keeps AUTH values and nonces out of logs.
func (*half) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("redacted")) }

// Format keeps the whole machine's secrets out of logs.
func (*Endpoint) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("Endpoint")) }
