package sim

import (
	"bytes"
	"crypto/sha256"

	"blackswan/ike"
	"blackswan/ticket"
	"blackswan/wire"
)

// watch sees everything and judges it after every step: what it calls a fault
// may never happen, whatever the network and the crashes do.
type watch struct {
	w        *World
	machines []*machine
	clients  map[*ike.Connection]*Client
	ring     *ticket.Ring // opens the tickets that pass by

	shown     map[wire.SPI]ticketID // by the SPIi of the RESUME that showed it
	atGateway map[wire.SPIs]made
	atHost    map[wire.SPIs]*Client
	keys      [2]map[wire.SPIs][sha256.Size]byte // gateway, hosts
	live      map[made]int                       // SAs
	twice     []made                             // had two within this step
	confirmed map[ticketID]int
	lineage   map[wire.SPIs][16]byte // of the tickets of a client's SA
	tickets   map[wire.SPIs]ticketID // the last of a client's SA
	least     map[[16]byte]uint32    // serials below it ended with a rekey
	revoked   map[[16]byte]bool      // both ends know of the DELETE
	ledger    map[account]*balance
	called    map[wire.SPIs]int // showings of the roll call, since the boot

	detected  [5]int // crashes that hosts learned of, ike.By
	fallbacks int
	tokens    int // shown
}

// ticketID is a ticket, whoever has copies. The zero value: no ticket, a full
// handshake.
type ticketID struct {
	lineage [16]byte
	serial  uint32
}

// made is what an SA of a gateway was made from. Without a common store each
// gateway alone knows which tickets are spent.
type made struct {
	by *Gateway
	ticketID
}

// account is what an address that has proved nothing gave and got.
type account struct {
	from natKey
	spii wire.SPI
}

type balance struct{ in, out int }

func newWatch(w *World) *watch {
	return &watch{
		w: w, clients: map[*ike.Connection]*Client{}, shown: map[wire.SPI]ticketID{},
		atGateway: map[wire.SPIs]made{}, atHost: map[wire.SPIs]*Client{},
		keys: [2]map[wire.SPIs][sha256.Size]byte{{}, {}}, live: map[made]int{}, confirmed: map[ticketID]int{},
		lineage: map[wire.SPIs][16]byte{}, tickets: map[wire.SPIs]ticketID{}, least: map[[16]byte]uint32{}, revoked: map[[16]byte]bool{}, ledger: map[account]*balance{}, called: map[wire.SPIs]int{},
	}
}

// check is made after every step: between two steps a ticket has one live SA
// at most.
func (x *watch) check() {
	for _, id := range x.twice {
		if n := x.live[id]; n > 1 {
			x.w.fail("ticket %x serial %d has %d live SAs", id.lineage[:4], id.serial, n)
		}
	}
	x.twice = x.twice[:0]
}

func (x *watch) gatewayDied(g *Gateway) {
	for spis, id := range x.atGateway {
		if id.by == g {
			delete(x.atGateway, spis)
			delete(x.live, id)
			delete(x.keys[0], spis)
		}
	}
	clear(x.called)
}

func (x *watch) hostDied(h *Host) {
	for spis, c := range x.atHost {
		if c.host == h {
			delete(x.atHost, spis)
			delete(x.keys[1], spis)
		}
	}
}

func (x *watch) gatewayEvent(m *machine, ev *ike.Event) {
	switch ev.Kind {
	case ike.EventKeys:
		x.keys[0][ev.SPIs] = keysOf(ev)
	case ike.EventEstablished:
		x.established(m.owner.(*Gateway), ev)
	case ike.EventRekeyed:
		id := x.atGateway[ev.Old]
		x.atGateway[ev.SPIs], x.atGateway[ev.Old] = id, made{by: id.by}
	case ike.EventDown:
		if t, ok := x.tickets[ev.SPIs]; ok && ev.Reason == "rekeyed" {
			x.least[t.lineage] = max(x.least[t.lineage], t.serial+1)
		}
		id := x.atGateway[ev.SPIs]
		if x.live[id]--; x.live[id] <= 0 {
			delete(x.live, id)
		}
		delete(x.atGateway, ev.SPIs)
		delete(x.keys[0], ev.SPIs)
	case ike.EventConfirmed:
		id := x.atGateway[ev.SPIs]
		if x.confirmed[id.ticketID]++; x.confirmed[id.ticketID] > 1 {
			x.w.fail("ticket %x serial %d was confirmed twice", id.lineage[:4], id.serial)
		}
	case ike.EventDetected:
		if _, live := x.atHost[ev.SPIs]; live && ev.By != ike.ByTimeout {
			x.w.fail("%s gave up %s for a token (%s), and its client has it", m.name, ev.SPIs, ev.By)
		}
	}
}

// established judges a new SA of the gateway's.
func (x *watch) established(g *Gateway, ev *ike.Event) {
	id := made{by: g}
	if ev.Resumed {
		var ok bool
		if id.ticketID, ok = x.shown[ev.SPIs.I]; !ok {
			x.w.fail("%s was resumed without a ticket", ev.SPIs)
			return
		}
		if x.live[id]++; x.live[id] > 1 {
			x.twice = append(x.twice, id)
		}
		if x.revoked[id.lineage] {
			x.w.fail("%s was resumed with the ticket of a deleted SA", ev.SPIs)
		}
		if id.serial < x.least[id.lineage] {
			x.w.fail("%s was resumed with a ticket of before a rekey", ev.SPIs)
		}
		if x.confirmed[id.ticketID] > 0 {
			x.w.fail("%s was resumed with a spent ticket", ev.SPIs)
		}
	}
	x.atGateway[ev.SPIs] = id
}

func (x *watch) hostEvent(h *Host, ev *ike.Event) {
	c := x.clients[ev.Connection]
	switch ev.Kind {
	case ike.EventKeys:
		x.keys[1][ev.SPIs] = keysOf(ev)
	case ike.EventEstablished:
		x.atHost[ev.SPIs] = c
		if ev.Resumed {
			c.Resumes++
			x.lineage[ev.SPIs] = x.shown[ev.SPIs.I].lineage
		} else {
			c.Fulls++
		}
	case ike.EventRekeyed:
		x.atHost[ev.SPIs] = c
		x.lineage[ev.SPIs] = x.lineage[ev.Old]
		delete(x.atHost, ev.Old)
		c.Rekeys++
	case ike.EventDown:
		if ev.Reason == "deleted by us" || ev.Reason == "deleted by the peer" {
			x.revoked[x.lineage[ev.SPIs]] = true
		}
		delete(x.atHost, ev.SPIs)
		delete(x.keys[1], ev.SPIs)
	case ike.EventFallback:
		x.fallbacks++
	case ike.EventDetected:
		x.detected[ev.By]++
		if _, live := x.atGateway[ev.SPIs]; live && ev.By != ike.ByTimeout && ev.By != ike.ByNothing { // nothing: by order
			x.w.fail("%s gave up %s for a token (%s), and the gateway has it", h.m.name, ev.SPIs, ev.By)
		}
	}
}

func keysOf(ev *ike.Event) [sha256.Size]byte {
	return sha256.Sum256(bytes.Join([][]byte{ev.EI, ev.ER, ev.AI, ev.AR}, []byte("|")))
}

// hostSent remembers which ticket a RESUME shows.
func (x *watch) hostSent(h *Host, p ike.Packet) {
	head, err := wire.ParseHeader(p.Data)
	if err != nil || head.Exchange != wire.ExchangeSessionResume {
		return
	}
	walk := wire.Walk(head.NextPayload, p.Data[wire.HeaderLen:])
	for pay, ok := walk.Next(); ok; pay, ok = walk.Next() {
		n, err := wire.ParseNotify(pay.Body)
		if pay.Type != wire.PayloadNotify || err != nil || n.Type != wire.NotifyTicketOpaque {
			continue
		}
		if id, ok := x.open(n.Data); ok {
			x.shown[head.SPIi] = id
		}
	}
}

// got remembers what a client's ticket is of.
func (x *watch) got(r *ike.Record) {
	var s ticket.Session
	if x.ring.Open(&s, r.Ticket, x.w.Gateway.first.Unix()) == nil {
		spis := wire.SPIs{I: wire.SPI(s.SPIi), R: wire.SPI(s.SPIr)}
		x.lineage[spis], x.tickets[spis] = s.Lineage, ticketID{s.Lineage, s.Serial}
	}
}

func (x *watch) open(t []byte) (ticketID, bool) {
	var s ticket.Session
	if x.ring.Open(&s, t, x.w.Gateway.first.Unix()) != nil {
		return ticketID{}, false
	}
	return ticketID{s.Lineage, s.Serial}, true
}

// arrived credits whoever sends a first message.
func (x *watch) arrived(p ike.Packet) {
	if h, err := wire.ParseHeader(p.Data); err == nil && h.SPIr == 0 {
		x.balance(account{p.Remote, h.SPIi}).in += len(p.Data)
	}
}

func (x *watch) balance(a account) *balance {
	b := x.ledger[a]
	if b == nil {
		b = &balance{}
		x.ledger[a] = b
	}
	return b
}

const (
	tokenReply = 76 // octets of INVALID_IKE_SPI with a token (rule A3)
	tokenCause = 57 // octets of the shortest request that gets one
	showings   = 3  // of one entry of the roll call (rule C3)
)

// gatewaySent judges what leaves in clear: nobody who has proved nothing gets
// more than he gave, but for what rule A3 names.
func (x *watch) gatewaySent(m *machine, p ike.Packet) {
	h, err := wire.ParseHeader(p.Data)
	if err != nil || !h.Fits(len(p.Data)) {
		x.w.fail("%s sent what is no message", m.name)
		return
	}
	if h.NextPayload == wire.PayloadSK || h.NextPayload == wire.PayloadSKF {
		return
	}
	switch {
	case h.Exchange == wire.ExchangeIKESAInit || h.Exchange == wire.ExchangeSessionResume:
		b := x.balance(account{p.Remote, h.SPIi})
		b.out += len(p.Data)
		most := b.in
		if h.Exchange == wire.ExchangeIKESAInit {
			most *= 3
		}
		if b.out > most {
			x.w.fail("%s sent %d octets of %s to %v, which gave %d", m.name, b.out, h.Exchange, p.Remote, b.in)
		}
	case m.cause == 0: // the roll call
		x.tokens++
		if x.called[h.SPIs()]++; x.called[h.SPIs()] > showings || h.MessageID != 0 || !h.Response() {
			x.w.fail("%s called %s %d times", m.name, h.SPIs(), x.called[h.SPIs()])
		}
	case !h.Response(): // INVALID_SPI, to an ESP packet
		if len(p.Data) > m.cause {
			x.w.fail("%s sent %d octets to an ESP packet of %d", m.name, len(p.Data), m.cause)
		}
	default:
		if len(p.Data) >= tokenReply {
			x.tokens++
		}
		if len(p.Data) > max(m.cause, tokenReply) || m.cause < tokenCause {
			x.w.fail("%s sent %d octets to a request of %d", m.name, len(p.Data), m.cause)
		}
	}
}
