package ike

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/ticket"
	"blackswan/wire"
)

// stream is randomness that a seed repeats.
type stream struct {
	seed [40]byte
	left []byte
}

func newStream(seed string) *stream {
	s := &stream{}
	h := sha256.Sum256([]byte(seed))
	copy(s.seed[:], h[:])
	return s
}

func (s *stream) Read(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if len(s.left) == 0 {
			binary.BigEndian.PutUint64(s.seed[32:], binary.BigEndian.Uint64(s.seed[32:])+1)
			h := sha256.Sum256(s.seed[:])
			s.left = h[:]
		}
		k := copy(b, s.left)
		s.left, b = s.left[k:], b[k:]
	}
	return n, nil
}

// world is two Endpoints, a network between them, and what they told.
type world struct {
	t       testing.TB
	now     time.Time
	rand    *stream
	gw, cl  *node
	more    []*node // other gateways
	flight  []Packet
	lose    func(from *node, p Packet) bool // true: the packet is lost
	tamper  func(from *node, p *Packet)
	slow    func(answer func()) // nil: questions are answered at once
	ladder  []string
	packets int
}

type node struct {
	name      string
	e         *Endpoint
	cfg       Config
	addr      netip.AddrPort
	also      []netip.Addr // of a gateway
	moves     []Child
	conn      *Connection
	events    []Event
	records   []Record
	kids      []Child
	removed   []Child
	retired   []uint32 // inbound SPIs of those that were removed as both sides agreed
	preferred []uint32
	roll      map[int]Entry
	kidmap    map[int]Survivor
	ticket    *Record
	answer    func(q *Question) *Answer // nil: the world answers
	hook      func(q *Question)
}

var (
	gwAddr = netip.MustParseAddrPort("192.0.2.1:500")
	clAddr = netip.MustParseAddrPort("198.51.100.7:500")
)

func id(text string) wire.ID { return wire.ID{Type: wire.IDFQDN, Data: []byte(text)} }

func prefixes(t ...string) (out []wire.Selector) {
	for _, p := range t {
		out = append(out, wire.Prefix(netip.MustParsePrefix(p)))
	}
	return out
}

// pskConns are the two ends of one PSK connection.
func pskConns(t testing.TB, ike string) (gw, cl *Connection) {
	p, err := propose.ParseIKE(ike)
	if err != nil {
		t.Fatal(err)
	}
	esp, _ := propose.ParseESP("aes128gcm16")
	base := Connection{Name: "office", PSK: Secret("a key of the test"), IKE: []propose.IKE{p}, Policy: Policy{ESP: []propose.ESP{esp}}, DPD: 30 * time.Second,
		Tickets: true, Fragment: 1252, GatewayNAT: 4500, Gateway: gwAddr}
	g, c := base, base
	g.Local = Side{ID: id("gw.test"), Auth: AuthPSK}
	g.Remote = Side{Tail: ".clients.test", Auth: AuthPSK}
	g.LocalTS, g.RemoteTS = prefixes("10.1.0.0/16"), prefixes("10.2.0.0/16")
	c.Local = Side{ID: id("one.clients.test"), Auth: AuthPSK}
	c.Remote = Side{ID: id("gw.test"), Auth: AuthPSK}
	c.LocalTS, c.RemoteTS = prefixes("10.2.3.0/24"), prefixes("10.0.0.0/8")
	return &g, &c
}

// newWorld has one gateway and one client of one PSK connection.
func newWorld(t testing.TB, seed string, change ...func(gw, cl *Config)) *world {
	w := &world{t: t, now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC), rand: newStream(seed)}
	gwConn, clConn := pskConns(t, "aes128gcm16-sha256-x25519")
	w.gw = w.newNode("gw", gwAddr, gwConn)
	w.cl = w.newNode("cl", clAddr, clConn)
	for _, c := range change {
		c(&w.gw.cfg, &w.cl.cfg)
	}
	w.start(w.gw)
	w.start(w.cl)
	return w
}

func (w *world) newNode(name string, addr netip.AddrPort, conn *Connection) *node {
	n := &node{name: name, addr: addr, conn: conn, roll: map[int]Entry{}, kidmap: map[int]Survivor{}}
	keys, err := ticket.Rotate(nil, w.now.Unix()-3600, 24*time.Hour, 7*24*time.Hour, w.rand)
	if err != nil {
		w.t.Fatal(err)
	}
	gen, _ := qcd.NewGenerations(w.rand)
	var secret spi.Secret
	_, _ = io.ReadFull(w.rand, secret[:])
	n.cfg = Config{
		Shards: 1, Connections: []*Connection{conn}, Boot: spi.Boot{Epoch: 100, Base: 100, Earlier: true},
		SPIKeys: []spi.Key{{Secret: secret}}, Ring: keys, QCD: gen, Tokens: true, RollCall: RollCallOurs,
		IKEPort: 500, NATPort: 4500, Limits: DefaultLimits(), Timers: DefaultTimers(),
	}
	return n
}

func (w *world) start(n *node) {
	e, err := New(&n.cfg, w.rand, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	n.e = e
}

// crash is kill -9 and a start: the next epoch, the same keys.
func (w *world) crash(n *node) {
	n.cfg.Boot.Epoch++
	n.cfg.Boot.Base = n.cfg.Boot.Epoch
	w.start(n)
	n.kids = nil
}

// callRoll hands the written roll call to a restarted node.
func (w *world) callRoll(n *node) {
	var list []Entry
	for _, x := range n.roll {
		list = append(list, x)
	}
	n.roll = map[int]Entry{}
	n.e.Command(w.now, Command{Kind: CommandRollCall, Entries: list})
	w.drain(n)
}

func (w *world) drain(n *node) {
	for {
		o, ok := n.e.Next()
		if !ok {
			return
		}
		switch o.Kind {
		case OutputSend:
			w.sent(n, o.Packet)
		case OutputAsk:
			q := *o.Question
			defer w.reply(n, &q)
		case OutputInstall:
			c := *o.Child
			c.EncrIn, c.EncrOut = append([]byte(nil), c.EncrIn...), append([]byte(nil), c.EncrOut...)
			c.IntegIn, c.IntegOut = append([]byte(nil), c.IntegIn...), append([]byte(nil), c.IntegOut...)
			c.LocalTS, c.RemoteTS = slices.Clone(c.LocalTS), slices.Clone(c.RemoteTS)
			n.kids = append(n.kids, c)
		case OutputPrefer:
			n.preferred = append(n.preferred, o.Child.SPIIn)
		case OutputMove:
			n.moves = append(n.moves, *o.Child)
		case OutputRemove, OutputRetire:
			n.removed = append(n.removed, *o.Child)
			if o.Kind == OutputRetire {
				n.retired = append(n.retired, o.Child.SPIIn)
			}
		case OutputRecord:
			n.keep(*o.Record)
		case OutputEvent:
			ev := *o.Event
			ev.Identity = append([]byte(nil), ev.Identity...)
			n.events = append(n.events, ev)
		}
	}
}

func (n *node) keep(r Record) {
	n.records = append(n.records, r)
	switch r.Kind {
	case RecordRollCall:
		n.roll[r.Slot] = r.Entry
	case RecordRollCallGone:
		delete(n.roll, r.Slot)
	case RecordChild:
		n.kidmap[r.Slot] = Survivor{ESPSPI: r.ESPSPI, SPIs: r.Entry.SPIs, Original: r.Entry.Original, Generation: r.Entry.Generation}
	case RecordChildGone:
		delete(n.kidmap, r.Slot)
	case RecordTicket:
		r.Ticket, r.Session = append([]byte(nil), r.Ticket...), append([]byte(nil), r.Session...)
		n.ticket = &r
	case RecordTicketGone:
		n.ticket = nil
	}
}

func (w *world) sent(n *node, p Packet) {
	p.Data = append([]byte(nil), p.Data...)
	w.packets++
	h, _ := wire.ParseHeader(p.Data)
	arrow := map[bool]string{true: "->", false: "<-"}[n == w.cl]
	line := arrow + " " + string(wire.AppendLadder(nil, h, p.Data[wire.HeaderLen:], nil))
	if w.lose != nil && w.lose(n, p) {
		w.ladder = append(w.ladder, line+" lost")
		return
	}
	w.ladder = append(w.ladder, line)
	if w.tamper != nil {
		w.tamper(n, &p)
	}
	w.flight = append(w.flight, p)
}

// reply answers a question as the roof's pool does.
func (w *world) reply(n *node, q *Question) {
	if w.slow != nil {
		w.slow(func() { w.answer(n, q) })
		return
	}
	w.answer(n, q)
}

func (w *world) answer(n *node, q *Question) {
	var a Answer
	if n.hook != nil {
		n.hook(q)
	}
	if n.answer != nil {
		if x := n.answer(q); x != nil {
			x.ID = q.ID
			n.e.Answer(w.now, *x)
			w.drain(n)
			return
		}
	}
	a.ID = q.ID
	switch q.Kind {
	case AskKeyPair:
		a.Pair, a.Err = suite.NewKeyPair(q.Group, w.rand)
	case AskAgree:
		pair := q.Pair
		if pair == nil {
			pair, a.Err = suite.NewKeyPair(q.Group, w.rand)
			if a.Err == nil {
				a.Public = append([]byte(nil), pair.Public()...)
			}
		}
		if a.Err == nil {
			a.Shared, a.Err = pair.Shared(q.Public)
		}
	case AskRing: // the ring in memory is the one on disk
		n.e.Command(w.now, Command{Kind: CommandKeys, Ring: n.cfg.Ring})
		w.drain(n)
		return
	default:
		return
	}
	n.e.Answer(w.now, a)
	w.drain(n)
}

// deliver carries packets until none is in flight.
func (w *world) deliver() {
	for i := 0; len(w.flight) > 0; i++ {
		if i > 20000 {
			w.t.Fatal("the network does not come to rest")
		}
		p := w.flight[0]
		to := w.at(p.Remote.Addr())
		to.e.Expect(w.flight)
		w.flight = w.flight[1:]
		to.e.Packet(w.now, Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: p.Data})
		w.drain(to)
		w.advanceNodes()
	}
}

// carry carries so many packets, and loses what else is in flight.
func (w *world) carry(n int) {
	for ; n > 0 && len(w.flight) > 0; n-- {
		p := w.flight[0]
		w.flight = w.flight[1:]
		to := w.at(p.Remote.Addr())
		to.e.Packet(w.now, Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: p.Data})
		w.drain(to)
	}
	w.flight = nil
}

func (w *world) nodes() []*node { return append([]*node{w.gw, w.cl}, w.more...) }

// at is whoever has that address. The client has all that are no gateway's.
func (w *world) at(a netip.Addr) *node {
	for _, n := range w.nodes() {
		if n != w.cl && (a == n.addr.Addr() || slices.Contains(n.also, a)) {
			return n
		}
	}
	return w.cl
}

func (w *world) advanceNodes() {
	for _, n := range w.nodes() {
		for i := 0; i < 10000; i++ {
			d, ok := n.e.Deadline()
			if !ok || d.After(w.now) {
				break
			}
			n.e.Advance(w.now)
			w.drain(n)
		}
	}
}

// run lets time pass, from deadline to deadline.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	w.advanceNodes()
	w.deliver()
	for {
		next := end
		for _, n := range w.nodes() {
			if at, ok := n.e.Deadline(); ok && at.Before(next) {
				next = at
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		w.advanceNodes()
		w.deliver()
		if !w.now.Before(end) {
			return
		}
	}
}

func (w *world) connect() {
	c := Command{Kind: CommandConnect, Conn: w.cl.conn, Local: w.cl.addr, Remote: w.gw.addr}
	if r := w.cl.ticket; r != nil {
		c.Ticket, c.Session, c.Until = r.Ticket, r.Session, r.Expires
	}
	w.cl.e.Command(w.now, c)
	w.drain(w.cl)
	w.advanceNodes()
	w.deliver()
}

func (n *node) count(k EventKind) (c int) {
	for _, e := range n.events {
		if e.Kind == k {
			c++
		}
	}
	return c
}

func (n *node) last(k EventKind) Event {
	for i := len(n.events) - 1; i >= 0; i-- {
		if n.events[i].Kind == k {
			return n.events[i]
		}
	}
	return Event{}
}

// live are the established SAs of a node.
func (n *node) live() (out []*SA) {
	for _, s := range n.e.slots {
		if s.sa != nil && s.sa.state == stateEstablished {
			out = append(out, s.sa)
		}
	}
	return out
}

func (w *world) one() (gw, cl *SA) {
	w.t.Helper()
	g, c := w.gw.live(), w.cl.live()
	if len(g) != 1 || len(c) != 1 {
		w.t.Fatalf("%d SAs at the gateway, %d at the client; want one each\n%s\n%s", len(g), len(c), w.text(), w.dump())
	}
	return g[0], c[0]
}

func (w *world) text() string { return strings.Join(w.ladder, "\n") }

func (w *world) dump() string {
	var b strings.Builder
	for _, n := range w.nodes() {
		for _, e := range n.events {
			fmt.Fprintf(&b, "%s event %d %s resumed=%v by=%v %s err=%v\n", n.name, e.Kind, e.SPIs, e.Resumed, e.By, e.Reason, e.Err)
		}
		n.e.Counters.Each(func(r string, c uint64) { fmt.Fprintf(&b, "%s dropped %s %d\n", n.name, r, c) })
	}
	return b.String()
}

// sameKeys compares the octets.
func sameKeys(a, b suite.Held) bool { return reflect.DeepEqual(a, b) }
