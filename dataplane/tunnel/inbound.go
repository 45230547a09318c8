package tunnel

import (
	"errors"
	"os"
	"sync"
	"time"

	"blackswan/dataplane"
	"blackswan/esp"
	"blackswan/internal/udp"
)

const (
	// writeRoom is what lies before a packet for the device, which puts a
	// header of its own there.
	writeRoom = lineSize

	// slotSize is room for the longest packet: the device appends the segments
	// of a TCP flow to the first of them. It is an odd number of cache lines.
	slotSize = (1<<16/lineSize + 3) * lineSize
)

// receiver is what packets from one port pass through, one burst at a time.
type receiver struct {
	p     *Plane
	slots []byte   // room for packets to the device; the system gives memory as they are filled
	batch [][]byte // packets in slots, ready to be written
	now   time.Duration

	// The Child SA that the packets at hand are of, nil before the first one.
	child *child
	sum   dataplane.Volume // of its packets since it was entered
	base  dataplane.Volume // what it had carried before
	tried bool             // it has ciphers now
	first bool             // its peer uses it, and it waited for that
	last  flow             // that its selectors took last
}

// stray is a receiver that shards share.
type stray struct {
	mu sync.Mutex
	r  *receiver
}

func newReceiver(p *Plane) *receiver {
	n := p.device.BatchSize()
	return &receiver{p: p, slots: make([]byte, n*slotSize), batch: make([][]byte, 0, n)}
}

// receiveAll takes packets from a port until it is closed.
func (p *Plane) receiveAll(port udp.ESPPort) {
	burst := udp.NewBurst()
	var r *receiver // its room is for ports that something comes by
	for {
		if err := port.Receive(burst); err != nil {
			p.lose(portError(port.Local(), err))
			return
		}
		if r == nil {
			r = newReceiver(p)
		}
		r.now = p.now()
		for i := range burst.Runs {
			r.run(&burst.Runs[i])
		}
		r.write()
	}
}

// Stray takes an ESP packet, or a keepalive, that came by a socket of IKE. Its
// data is decrypted before Stray returns.
func (p *Plane) Stray(m udp.Message) {
	p.stray.mu.Lock()
	defer p.stray.mu.Unlock()
	if p.stray.r == nil {
		p.stray.r = newReceiver(p)
	}
	r := p.stray.r
	r.now = p.now()
	r.run(&udp.Run{Local: m.Local, Remote: m.Remote, Data: m.Data, Size: max(len(m.Data), 1)})
	r.write()
}

// run takes the packets of a run. They are of few Child SAs, mostly of one.
func (r *receiver) run(run *udp.Run) {
	for data := run.Data; len(data) > 0; {
		packet := data[:min(run.Size, len(data))]
		data = data[len(packet):]
		spi, _, ok := esp.ParseSPI(packet)
		switch {
		case !ok && len(packet) == 1 && packet[0] == 0xff:
			r.p.drop(nil, keepalive)
		case !ok:
			r.p.drop(nil, truncated)
		case spi == 0:
			r.p.drop(nil, zeroSPI)
		case r.enter(run, spi, len(packet)):
			r.open(run, packet)
		}
	}
	r.leave()
}

// enter makes the Child SA of that SPI the one at hand, and locks it.
func (r *receiver) enter(run *udp.Run, spi uint32, length int) bool {
	if r.child != nil && r.child.spiIn == spi {
		return true
	}
	r.leave()
	r.p.mu.RLock()
	c, closed := r.p.children[spi], r.p.children == nil
	r.p.mu.RUnlock()
	if closed {
		return false
	}
	if c == nil {
		r.p.drop(nil, unknownSPI)
		if r.p.unknown.allow(r.now, mostUnknown) {
			r.p.report(dataplane.Report{Kind: dataplane.Unknown, SPI: spi, Local: run.Local, Remote: run.Remote, Encap: encapsulated(run), Length: length})
		}
		return false
	}
	c.in.mu.Lock()
	r.child, r.base, r.sum, r.tried, r.last = c, c.carriedBoth(), dataplane.Volume{}, false, flow{}
	return true
}

// leave unlocks the Child SA at hand and adds up what it has carried.
func (r *receiver) leave() {
	c := r.child
	if c == nil {
		return
	}
	r.child = nil
	c.in.carried.add(r.sum)
	c.in.mu.Unlock()
	if r.first {
		r.first = false
		_ = r.p.Prefer(c.spiIn) // it may have been removed since
	}
	r.p.in.add(r.sum)
	if r.tried {
		r.p.touch(c, r.now)
		r.p.judge(c, plus(r.base, r.sum), false)
	}
}

// encapsulated tells whether packets came in UDP.
func encapsulated(run *udp.Run) bool { return run.Local.Port() != 0 }

// open decrypts a packet of the Child SA at hand, straight into the next slot.
func (r *receiver) open(run *udp.Run, packet []byte) {
	p, c := r.p, r.child
	if c.in.sa == nil { // removed since it was looked up
		p.drop(nil, unknownSPI)
		return
	}
	carried := plus(r.base, r.sum)
	if reached(carried, c.hard) {
		p.once(c, &c.spent, dataplane.Spent)
		p.drop(c, spent)
		return
	}
	at := len(r.batch) * slotSize
	slot := r.slots[at : at+slotSize : at+slotSize]
	var b []byte
	var seq uint64
	var err error
	if c.transport {
		b, seq, err = c.openTransport(slot, packet, run.Class)
	} else {
		b, _, seq, err = c.in.sa.Open(slot[:writeRoom], packet)
	}
	r.tried = true
	if err == nil || err == esp.ErrDummy {
		r.proven(run, seq)
	}
	if err != nil {
		p.drop(c, refused(err))
		return
	}
	b, why := r.check(b, run.Class)
	if b == nil {
		p.drop(c, why)
		return
	}
	r.sum.Packets++
	r.sum.Octets += uint64(len(b))
	r.batch = append(r.batch, slot[:writeRoom+len(b)])
	if len(r.batch) == cap(r.batch) {
		r.write()
	}
}

// refused is the reason for an error of esp.In.Open.
func refused(err error) reason {
	switch err {
	case esp.ErrReplay:
		return replayed
	case esp.ErrICV:
		return badICV
	case esp.ErrPadding:
		return badPadding
	case esp.ErrNext:
		return notTunnel
	case esp.ErrInner:
		return badInner
	case esp.ErrDummy:
		return dummy
	}
	return truncated
}

// proven reports that the peer lives, and where: the packet is authentic and new.
func (r *receiver) proven(run *udp.Run, seq uint64) {
	c := r.child
	c.heard.Store(int64(r.now))
	r.first = r.first || c.waits.Load()
	if r.now-c.in.proven >= dataplane.UsedAgain && r.tell(dataplane.Used, run) {
		c.in.proven = r.now
	}
	way := c.path.Load()
	encap := encapsulated(run)
	if run.Remote.Addr() == way.remote.Addr() && (!encap || !way.encap() || run.Remote.Port() == way.remote.Port()) {
		return
	}
	// An old packet that was late tells where the peer was (rule G3).
	if seq == c.in.sa.Highest() && r.now-c.in.moved >= movedAgain && r.tell(dataplane.Moved, run) {
		c.in.moved = r.now
	}
}

func (r *receiver) tell(kind dataplane.ReportKind, run *udp.Run) bool {
	return r.p.report(dataplane.Report{Kind: kind, SPI: r.child.spiIn, Local: run.Local, Remote: run.Remote, Encap: encapsulated(run)})
}

// check is an inner packet as it goes to the device, or nil and why it does not
// (RFC 4301 5.2).
func (r *receiver) check(b []byte, outer uint8) ([]byte, reason) {
	c := r.child
	var h inner
	if !h.parse(b) {
		return nil, badInner
	}
	if h.flow != r.last {
		about, isError := culprit(&h, b)
		switch {
		case c.takes(&h.flow):
			r.last = h.flow
		case isError && c.takes(&about): // RFC 4301 6.2: it comes with the traffic that it is about
		case !reaches(c.remote, h.src):
			return nil, spoofed
		default:
			return nil, notSelected
		}
	}
	if !decapsulate(b, h.tos, outer) {
		return nil, congested
	}
	if h.protocol == protoTCP {
		clampMSS(b, &h, c.path.Load().mtu)
	}
	return b, 0
}

// write gives the packets that are ready to the device.
func (r *receiver) write() {
	if len(r.batch) == 0 {
		return
	}
	n := len(r.batch)
	_, err := r.p.device.Write(r.batch, writeRoom)
	r.batch = r.batch[:0]
	if err == nil {
		return
	}
	r.p.drops[unwritten].Add(uint64(n))
	if errors.Is(err, os.ErrClosed) {
		r.p.lose(deviceError(r.p.device, err))
	}
}
