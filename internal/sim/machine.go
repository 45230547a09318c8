package sim

import (
	"time"

	"blackswan/ike"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// machine is one Endpoint and what a process gives it: time, answers, a disk
// that is slower than the network, a data plane.
type machine struct {
	w     *World
	owner owner
	name  string
	e     *ike.Endpoint // nil: the process is dead
	life  int           // how often it was started
	skew  time.Duration // its clock, less the world's
	due   time.Time
	isDue bool
	idle  int // advances in a row at one instant
	idleT time.Time

	asleep time.Time // until then the host is suspended
	line   line

	held  map[ike.Handle]*held
	plane map[uint32]child // installed Child SAs by inbound SPI
	cause int              // octets of the input at hand, 0: none that a peer sent
}

// owner is the gateway or a host.
type owner interface {
	send(m *machine, p ike.Packet)
	record(m *machine, r ike.Record) (durable bool)
	commit(m *machine, r ike.Record)
	event(m *machine, ev ike.Event)
	forward(shard int, p ike.Packet, cause int)
	spared() bool // false: the process is killed now, between two outputs
}

// held are the packets of one SA that wait for a commit (rule F6).
type held struct {
	commits int
	packets []ike.Packet
}

// child is what the data plane knows of a Child SA.
type child struct {
	in, out           uint32
	encrIn, encrOut   string
	integIn, integOut string
	local, remote     natKey
	heard             time.Time // when the machine was told last that a packet came
	from              natKey    // of the last packet
}

func (m *machine) clock() time.Time { return m.w.now.Add(m.skew) }

// begin gives the process a new Endpoint.
func (m *machine) begin(cfg *ike.Config) {
	e, err := ike.New(cfg, m.w.secret, m.clock())
	if err != nil {
		panic("sim: " + err.Error())
	}
	m.e, m.life = e, m.life+1
	m.held, m.plane, m.line = map[ike.Handle]*held{}, map[uint32]child{}, line{}
	m.look()
}

// kill ends the process: what was not sent or written is gone.
func (m *machine) kill() {
	m.e, m.isDue = nil, false
	m.life++
	m.held, m.plane = nil, nil
}

// after plans something that dies with the process.
func (m *machine) after(d time.Duration, do func()) {
	life := m.life
	m.w.after(d, func() {
		switch {
		case m.e == nil || m.life != life:
		case m.w.now.Before(m.asleep):
			m.after(m.asleep.Sub(m.w.now), do)
		default:
			do()
		}
	})
}

func (m *machine) deadline() (time.Time, bool) {
	return later(later(m.due, m.asleep), m.line.free), m.isDue && m.e != nil
}

// look asks when the Endpoint wants time again.
func (m *machine) look() {
	if m.e == nil {
		return
	}
	var at time.Time
	at, m.isDue = m.e.Deadline()
	m.due = at.Add(-m.skew)
}

func (m *machine) packet(p ike.Packet) {
	if m.e == nil || m.w.now.Before(m.asleep) {
		return
	}
	cause := len(p.Data)
	m.e.Expect([]ike.Packet{p})
	m.e.Packet(m.clock(), p)
	m.drain(cause)
}

func (m *machine) report(r ike.Report) {
	if m.e == nil {
		return
	}
	m.e.Plane(m.clock(), r)
	m.drain(r.Length)
}

func (m *machine) command(c ike.Command) {
	if m.e == nil {
		return
	}
	m.e.Command(m.clock(), c)
	m.drain(0)
}

func (m *machine) advance() {
	if m.idle++; !m.idleT.Equal(m.w.now) {
		m.idle, m.idleT = 0, m.w.now
	}
	if m.idle > 100_000 {
		m.w.fail("%s is due for ever", m.name)
		return
	}
	m.line.puts = 0
	m.e.Advance(m.clock())
	m.drain(0)
	if _, gateway := m.owner.(*Gateway); gateway {
		m.spend(time.Duration(m.line.puts) * m.w.message / 8) // lines of the roll call, retransmissions
	}
}

// drain takes the outputs of one input, in their order.
func (m *machine) drain(cause int) {
	m.cause = cause
	life := m.life
	for m.life == life && m.e != nil {
		o, ok := m.e.Next()
		if !ok {
			break
		}
		if !m.owner.spared() {
			return
		}
		m.output(o)
	}
	m.look()
}

func (m *machine) output(o ike.Output) {
	switch o.Kind {
	case ike.OutputSend:
		m.send(o)
	case ike.OutputAsk:
		m.answer(o.Question)
	case ike.OutputInstall:
		c := o.Child
		m.plane[c.SPIIn] = child{
			in: c.SPIIn, out: c.SPIOut, encrIn: string(c.EncrIn), encrOut: string(c.EncrOut),
			integIn: string(c.IntegIn), integOut: string(c.IntegOut), local: c.Local, remote: c.Remote,
		}
	case ike.OutputMove:
		c := m.plane[o.Child.SPIIn]
		c.local, c.remote = o.Child.Local, o.Child.Remote
		m.plane[o.Child.SPIIn] = c
	case ike.OutputRemove, ike.OutputRetire:
		delete(m.plane, o.Child.SPIIn)
	case ike.OutputRecord:
		m.record(o.SA, *o.Record)
	case ike.OutputForward:
		m.owner.forward(o.Shard, ownPacket(o.Packet), m.cause)
	case ike.OutputEvent:
		m.owner.event(m, *o.Event)
	}
}

func ownPacket(p ike.Packet) ike.Packet {
	p.Data = append([]byte(nil), p.Data...)
	return p
}

// send lets a packet out, unless its SA waits for the disk.
func (m *machine) send(o ike.Output) {
	m.line.puts++
	p := ownPacket(o.Packet)
	if h := m.held[o.SA]; h != nil && o.SA != 0 {
		h.packets = append(h.packets, p)
		return
	}
	m.owner.send(m, p)
}

// record writes behind, or makes the later packets of its SA wait.
func (m *machine) record(sa ike.Handle, r ike.Record) {
	r.Ticket, r.Session = append([]byte(nil), r.Ticket...), append([]byte(nil), r.Session...)
	if !m.owner.record(m, r) {
		return
	}
	if sa != 0 {
		if m.held[sa] == nil {
			m.held[sa] = &held{}
		}
		m.held[sa].commits++
	}
	m.after(time.Millisecond+m.w.within(7*time.Millisecond), func() {
		m.owner.commit(m, r)
		m.release(sa)
	})
}

func (m *machine) release(sa ike.Handle) {
	h := m.held[sa]
	if h == nil {
		return
	}
	if h.commits--; h.commits > 0 {
		return
	}
	delete(m.held, sa)
	for _, p := range h.packets {
		m.owner.send(m, p)
	}
}

// answer is the pool of workers: it takes its time.
func (m *machine) answer(q *ike.Question) {
	if q.Kind == ike.AskRing {
		m.after(m.w.within(2*time.Millisecond), func() { // the ring in memory is the one on disk
			m.e.Command(m.clock(), ike.Command{Kind: ike.CommandKeys, Ring: m.w.Gateway.cfg.Ring})
			m.drain(0)
		})
		return
	}
	own := *q
	m.after(m.work()+200*time.Microsecond+m.w.within(2*time.Millisecond), func() {
		m.e.Answer(m.clock(), m.w.agree(&own))
		m.drain(0)
	})
}

// agree answers a question of key agreement, really or cheaply.
func (w *World) agree(q *ike.Question) ike.Answer {
	a := ike.Answer{ID: q.ID}
	if w.options.Cheap {
		w.cheap.agree(w, q, &a)
		return a
	}
	pair := q.Pair
	if pair == nil {
		if pair, a.Err = suite.NewKeyPair(q.Group, w.secret); a.Err != nil {
			return a
		}
		a.Pair, a.Public = pair, pair.Public()
	}
	if q.Kind == ike.AskAgree {
		a.Pair = nil
		a.Shared, a.Err = pair.Shared(q.Public)
	}
	return a
}

// cheapGroup is a group with one element: every pair is the same one, and so
// is every shared secret. It saves a storm its curves.
type cheapGroup struct {
	group  wire.TransformID
	pair   *suite.KeyPair
	shared []byte
}

func (g *cheapGroup) agree(w *World, q *ike.Question, a *ike.Answer) {
	if g.pair == nil {
		g.group = q.Group
		g.pair, a.Err = suite.NewKeyPair(q.Group, w.secret)
		if a.Err == nil {
			g.shared, a.Err = g.pair.Shared(g.pair.Public())
		}
		if a.Err != nil {
			return
		}
	}
	if q.Kind == ike.AskKeyPair {
		a.Pair = g.pair
		return
	}
	a.Public, a.Shared = g.pair.Public(), append([]byte(nil), g.shared...)
}
