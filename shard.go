package blackswan

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"blackswan/dataplane"
	"blackswan/ike"
	"blackswan/internal/udp"
)

// shard is one goroutine that owns one Endpoint and its sockets. Whatever comes
// in, by whatever channel, becomes one input to the machine; its outputs are
// drained before the next. A shard never waits for anything but its select.
type shard struct {
	node   *node
	number int
	e      *ike.Endpoint
	port   udp.Port

	answers   chan ike.Answer       // of the pool
	forwards  chan *parcel          // of other shards
	calls     chan func(time.Time)  // orders, questions of the status page
	reports   chan dataplane.Report // of the data plane
	committed chan commitResult     // of the committer
	done      chan struct{}         // closed when the loop has ended
	ended     sync.Once
	empty     chan struct{} // closed when no SA is left, if anyone waits for that

	timer *time.Timer
	late  []ike.Answer // answers that came to be while outputs were drained
	came  []ike.Packet // a batch of the socket
	out   []*parcel    // packets for other shards, by shard
	keep  recorder
	sleep sleepwatch
	log   logbook
	totals

	reloading bool // not all SAs are measured by the connections of the last reload yet
}

// parcel is a number of packets that belong to another shard, in memory of
// their own.
type parcel struct {
	packets []ike.Packet
	buf     []byte
	made    time.Time
}

// parcels are those that nobody needs: in a storm half of all resumes come to a
// shard that is not their home.
var parcels = sync.Pool{New: func() any { return new(parcel) }}

const (
	answersRoom  = 64
	forwardsRoom = 64
	callsRoom    = 16
	reportsRoom  = 256
)

func newShard(n *node, number int, e *ike.Endpoint, port udp.Port) *shard {
	s := &shard{
		node: n, number: number, e: e, port: port,
		answers: make(chan ike.Answer, answersRoom), forwards: make(chan *parcel, forwardsRoom),
		calls: make(chan func(time.Time), callsRoom), reports: make(chan dataplane.Report, reportsRoom),
		committed: make(chan commitResult, 1), done: make(chan struct{}),
		out:   make([]*parcel, n.count),
		timer: time.NewTimer(time.Hour),
		log:   logbook{log: n.log},
	}
	s.keep.shard = s
	return s
}

// run is the loop of the shard. It ends when stop is closed, having written
// what was behind.
func (s *shard) run(stop <-chan struct{}) {
	defer s.end()
	defer s.timer.Stop()
	read := s.port.Read()
	for {
		s.wind()
		select {
		case b, open := <-read:
			if !open {
				read = nil
				continue
			}
			s.batch(time.Now(), b)
		case a := <-s.answers:
			now := time.Now()
			s.e.Answer(now, a)
			s.drain(now)
		case p := <-s.forwards:
			s.parcel(time.Now(), p)
		case call := <-s.calls:
			call(time.Now())
		case r := <-s.reports:
			now := time.Now()
			s.e.Plane(now, machineReport(r))
			s.drain(now)
		case c := <-s.committed:
			s.keep.settle(c)
		case <-s.timer.C:
		case <-stop:
			s.keep.finish()
			return
		}
		s.after(time.Now())
	}
}

// end lets nobody wait for the shard any more.
func (s *shard) end() { s.ended.Do(func() { close(s.done) }) }

// after does what follows every input: answers that are there already, time,
// and one system call for all that was put out.
func (s *shard) after(now time.Time) {
	for len(s.late) > 0 {
		a := s.late[0]
		s.late = s.late[1:]
		s.e.Answer(now, a)
		s.drain(now)
	}
	if d := s.sleep.slept(now); d > 0 { // rule D11
		s.command(now, ike.Command{Kind: ike.CommandSuspended, For: d})
	}
	if at, ok := s.e.Deadline(); ok && !at.After(now) {
		s.e.Advance(now)
		s.drain(now)
	}
	s.keep.due(now)
	s.log.due(now)
	s.flush()
	if s.empty != nil && s.e.Empty() {
		close(s.empty)
		s.empty = nil
	}
}

// wind sets the timer to the next deadline.
func (s *shard) wind() {
	at := time.Time{}
	if d, ok := s.e.Deadline(); ok {
		at = d
	}
	at = sooner(sooner(at, s.keep.flushAt), s.log.tellAt)
	if at.IsZero() {
		s.timer.Stop()
		return
	}
	s.timer.Reset(time.Until(at))
}

// sooner is the earlier of two times of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (s *shard) batch(now time.Time, b *udp.Batch) {
	s.came = s.came[:0]
	for i := range b.Messages {
		if m := &b.Messages[i]; m.Kind == udp.IKE {
			s.came = append(s.came, ike.Packet{Local: m.Local, Remote: m.Remote, Marker: m.Marker, Data: m.Data, Waited: since(m.Arrived, now)})
		}
	}
	s.e.Expect(s.came)
	for _, p := range s.came {
		s.e.Packet(now, p)
		s.drain(now)
	}
	clear(s.came) // the port may give up the memory of its batches
	s.port.Recycle(b)
}

// since is how long ago a time was; a time that is not known was not long ago.
func since(at, now time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(now.Sub(at), 0)
}

// parcel takes the packets of another shard. None of them is forwarded again, and
// its memory is used again.
func (s *shard) parcel(now time.Time, p *parcel) {
	for _, packet := range p.packets {
		packet.Waited += now.Sub(p.made)
		s.e.Packet(now, packet)
		s.drainForwarded(now)
	}
	parcels.Put(p)
}

func (s *shard) command(now time.Time, c ike.Command) {
	s.e.Command(now, c)
	s.drain(now)
}

// drain carries out the outputs of the last input, in their order.
func (s *shard) drain(now time.Time) { s.carryOut(now, false) }

// drainForwarded drops what would be forwarded a second time.
func (s *shard) drainForwarded(now time.Time) { s.carryOut(now, true) }

func (s *shard) carryOut(now time.Time, forwarded bool) {
	for {
		o, ok := s.e.Next()
		if !ok {
			return
		}
		switch o.Kind {
		case ike.OutputSend:
			if !s.keep.hold(o) {
				s.send(o.Packet)
			}
		case ike.OutputAsk:
			s.ask(o.Question)
		case ike.OutputInstall, ike.OutputRemove, ike.OutputRetire, ike.OutputMove, ike.OutputPrefer:
			if s.node.plane != nil {
				s.carry(now, o)
			}
		case ike.OutputRecord:
			s.keep.record(now, o)
		case ike.OutputForward:
			if forwarded {
				s.lost++
			} else {
				s.forward(now, o)
			}
		case ike.OutputEvent:
			s.event(now, o)
		}
	}
}

func (s *shard) send(p ike.Packet) {
	m := udp.Message{Local: p.Local, Remote: p.Remote, Data: p.Data, Marker: p.Marker}
	m.Local = s.node.source(m.Local)
	s.port.Queue(m)
}

// source is the address that we send from: of one who roams, the one that the
// system knows to lead there now.
func (n *node) source(local netip.AddrPort) netip.AddrPort {
	if n.roams {
		return n.anywhere
	}
	return local
}

// forward puts a packet into the parcel for its shard.
func (s *shard) forward(now time.Time, o ike.Output) {
	p := s.out[o.Shard]
	if p == nil {
		p = parcels.Get().(*parcel)
		p.packets, p.buf, p.made = p.packets[:0], p.buf[:0], now
		s.out[o.Shard] = p
	}
	at := len(p.buf)
	p.buf = append(p.buf, o.Packet.Data...)
	o.Packet.Data = p.buf[at:len(p.buf):len(p.buf)]
	p.packets = append(p.packets, o.Packet)
}

// flush sends the datagrams of this input and hands on its parcels. A shard
// whose channel is full loses a parcel: its peers send again.
func (s *shard) flush() {
	_ = s.port.Flush() // what could not be sent is counted by the port
	for i, p := range s.out {
		if p == nil {
			continue
		}
		select {
		case s.node.shards[i].forwards <- p:
		default:
			s.lost += uint64(len(p.packets))
		}
		s.out[i] = nil
	}
}

// call has f done by the shard's goroutine and waits for it. It reports false
// when the shard has ended.
func (s *shard) call(f func(now time.Time)) bool {
	finished := make(chan struct{})
	if !s.order(func(now time.Time) { f(now); close(finished) }) {
		return false
	}
	select {
	case <-finished:
		return true
	case <-s.done:
		return false
	}
}

// order has f done by the shard's goroutine.
func (s *shard) order(f func(now time.Time)) bool {
	select {
	case s.calls <- f:
		return true
	case <-s.done:
		return false
	}
}

// carry tells the plane of a Child SA. It may have refused to install it: then
// it knows nothing of what comes after.
func (s *shard) carry(now time.Time, o ike.Output) {
	switch o.Kind {
	case ike.OutputInstall:
		s.install(now, o.Child)
	case ike.OutputRemove:
		s.remove(o.Child, s.node.plane.Remove)
	case ike.OutputRetire:
		s.remove(o.Child, s.node.plane.Retire)
	case ike.OutputMove:
		s.move(o.Child)
	case ike.OutputPrefer:
		_ = s.node.plane.Prefer(o.Child.SPIIn)
	}
}

func (s *shard) install(now time.Time, c *ike.Child) {
	child := dataplane.Child{
		Connection: c.Connection, Peer: maphash.Bytes(s.node.seed, c.Peer), SPIIn: c.SPIIn, SPIOut: c.SPIOut, Suite: c.Suite,
		EncrIn: c.EncrIn, IntegIn: c.IntegIn, EncrOut: c.EncrOut, IntegOut: c.IntegOut,
		LocalTS: c.LocalTS, RemoteTS: c.RemoteTS, Transport: c.Transport, Local: s.node.source(c.Local), Remote: c.Remote, Encap: c.Encap, Behind: c.Behind, Resumed: c.Resumed,
		Waits: c.Waits, Soft: dataplane.Volume(c.Soft), Hard: dataplane.Volume(c.Hard),
	}
	if err := s.node.plane.Install(child); err != nil {
		s.tell(ChildFailed, "", now, func() Event {
			return Event{Kind: ChildFailed, At: now, Connection: c.Connection, Remote: c.Remote, Err: err}
		})
		return
	}
	if h := s.node.host; h != nil {
		h.installed(&child)
	}
}

func (s *shard) remove(c *ike.Child, from func(spiIn uint32) error) {
	_ = from(c.SPIIn)
	if h := s.node.host; h != nil {
		h.removed(c.SPIIn)
	}
}

func (s *shard) move(c *ike.Child) {
	to := dataplane.Path{Local: s.node.source(c.Local), Remote: c.Remote, Encap: c.Encap, Behind: c.Behind}
	_ = s.node.plane.Move(c.SPIIn, to)
	if h := s.node.host; h != nil {
		h.moved(c.Remote.Addr())
	}
}

func machineReport(r dataplane.Report) ike.Report {
	return ike.Report{Kind: reportKinds[r.Kind], SPI: r.SPI, Local: r.Local, Remote: r.Remote, Marker: r.Encap, Length: r.Length}
}

var reportKinds = map[dataplane.ReportKind]ike.ReportKind{
	dataplane.Used: ike.ReportUsed, dataplane.Moved: ike.ReportMoved, dataplane.Unknown: ike.ReportUnknownSPI,
	dataplane.Unanswered: ike.ReportSent, dataplane.Worn: ike.ReportWorn, dataplane.Spent: ike.ReportSpent,
}

// carryReports hands what the data plane sees to the shard of its SPI (rule
// B1). What finds no room is lost: the packet that it was about is not the last.
func (n *node) carryReports(reports <-chan dataplane.Report) {
	for r := range reports {
		if r.Kind == dataplane.Broken {
			n.fail(r.Err)
			continue
		}
		s := n.shards[int(r.SPI>>26)%n.count]
		select {
		case s.reports <- r:
		default:
		}
	}
}

// fail ends Run with err.
func (n *node) fail(err error) {
	select {
	case n.lost <- err:
	default: // one is enough
	}
}

// slices of a Packet are borrowed: a copy for later.
func ownPacket(p ike.Packet) ike.Packet {
	p.Data = slices.Clone(p.Data)
	return p
}
