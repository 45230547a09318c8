package tunnel

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"blackswan/dataplane"
	"blackswan/esp"
)

const (
	lineSize = 64             // octets of a cache line
	headroom = lineSize       // octets before a packet, for the ESP header and its IV
	tailroom = esp.MaxTailLen // octets behind it, for padding and ICV

	leastRoom = 9000 // octets of a packet that are taken whatever the MTU is now
	mostBad   = 16   // packets in a row that the device cannot give, before it counts as lost
)

// sender is what packets from the inside pass through, one batch at a time.
type sender struct {
	mu     sync.Mutex // held while a batch, or what has waited, is sent
	bufs   [][]byte   // headroom, packet, tailroom
	sizes  []int      // of the packets
	heads  []heading
	sealed [][]byte // packets ready to be sent
	notice []byte   // an ICMP message to the inside, behind headroom
	told   limiter  // of notices
	wait   waiting
}

// heading is a packet and where it goes.
type heading struct {
	inner
	child *child // nil: nowhere
}

func (s *sender) init(batch, mtu, wait int) {
	// An odd number of cache lines, so that the headers of a batch do not
	// share cache sets.
	room := ((headroom+max(mtu, leastRoom)+tailroom)/lineSize | 1) * lineSize
	all := make([]byte, batch*room)
	for i := range batch {
		s.bufs = append(s.bufs, all[i*room:(i+1)*room:(i+1)*room])
	}
	s.sizes = make([]int, batch)
	s.heads = make([]heading, batch)
	s.sealed = make([][]byte, 0, batch)
	s.notice = make([]byte, headroom+mostNotice)
	s.wait.most = wait
}

// sendAll takes packets from the device until that is closed or lost.
func (p *Plane) sendAll() {
	s := &p.sender
	rooms := make([][]byte, len(s.bufs)) // what the device may fill
	for i, buf := range s.bufs {
		rooms[i] = buf[:len(buf)-tailroom]
	}
	for bad := 0; ; {
		n, err := p.device.Read(rooms, s.sizes, headroom)
		s.mu.Lock()
		p.release()
		p.send(s.bufs[:n], s.sizes[:n])
		s.mu.Unlock()
		if err == nil {
			bad = 0
			continue
		}
		if bad++; bad == mostBad || lasting(err) {
			p.lose(deviceError(p.device, err))
			return
		}
		if errors.Is(err, tun.ErrTooManySegments) { // those that had room are there
			bad = 0
		}
		p.drop(nil, unreadable)
	}
}

// lasting tells whether an error is of the device itself, not of a packet that
// it could not take apart.
func lasting(err error) bool {
	var path *fs.PathError
	return errors.Is(err, os.ErrClosed) || errors.As(err, &path)
}

// send carries packets that lie behind the headroom of bufs. sender.mu is held.
func (p *Plane) send(bufs [][]byte, sizes []int) {
	heads := p.sender.heads[:len(bufs)]
	p.route(heads, bufs, sizes)
	now := p.now()
	for first := 0; first < len(heads); {
		h := &heads[first]
		next := first + 1
		for next < len(heads) && heads[next].child == h.child && heads[next].tos == h.tos {
			next++
		}
		if h.child != nil {
			p.carry(h.child, heads[first:next], bufs[first:next], now)
		}
		first = next
	}
}

// route reads the headers of a batch and finds the Child SA of each packet.
func (p *Plane) route(heads []heading, bufs [][]byte, sizes []int) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var last *heading
	for i := range heads {
		h, b := &heads[i], bufs[i][headroom:][:sizes[i]]
		h.child = nil
		switch {
		case !h.parse(b):
			p.drop(nil, malformed)
			continue
		case last != nil && last.flow == h.flow: // segments that the kernel left to us to cut
			h.child = last.child
		default:
			if h.child = p.policy.lookup(&h.flow); h.child != nil {
				last = h
			} else if about, ok := culprit(&h.inner, b); ok { // RFC 4301 6.2: it goes with that traffic
				h.child = p.policy.lookup(&about)
			}
		}
		if h.child == nil {
			p.hold(b[:h.size])
		}
	}
}

// carry seals packets of one Child SA with one traffic class, and sends them.
func (p *Plane) carry(c *child, heads []heading, bufs [][]byte, now time.Duration) {
	s, way := &p.sender, c.path.Load()
	s.sealed = s.sealed[:0]
	var sum dataplane.Volume
	worn := false

	c.out.mu.Lock()
	base := c.carriedBoth()
	for i := range heads {
		h := &heads[i]
		packet, why := p.seal(c, way, h, bufs[i], plus(base, sum))
		if packet == nil {
			p.drop(c, why)
			continue
		}
		s.sealed = append(s.sealed, packet)
		sum.Packets++
		sum.Octets += uint64(h.size)
	}
	if c.out.sa != nil {
		worn = !c.esn && c.out.sa.Sequence() >= wornSequence
	}
	c.out.carried.add(sum)
	c.out.mu.Unlock()

	p.out.add(sum)
	p.judge(c, plus(base, sum), worn)
	if len(s.sealed) == 0 {
		return
	}
	p.touch(c, now)
	p.unanswered(c, now)
	way.pulse.beat(now)
	port := p.port(way)
	sent := 0
	if port != nil {
		sent, _ = port.Send(way.local.Addr(), way.remote, heads[0].tos&p.classes, s.sealed)
	}
	for range len(s.sealed) - sent {
		p.drop(c, unsent)
	}
}

// unanswered tells that packets leave and none has come in for a while.
func (p *Plane) unanswered(c *child, now time.Duration) {
	if now-time.Duration(c.heard.Load()) >= dataplane.UsedAgain && now-c.out.asked >= dataplane.UsedAgain &&
		p.report(dataplane.Report{Kind: dataplane.Unanswered, SPI: c.spiIn}) {
		c.out.asked = now
	}
}

// seal makes the ESP packet of one inner packet, in place. c.out.mu is held.
func (p *Plane) seal(c *child, way *path, h *heading, buf []byte, carried dataplane.Volume) ([]byte, reason) {
	b := buf[headroom:][:h.size]
	switch {
	case c.out.sa == nil: // removed since it was looked up
		return nil, noChild
	case reached(carried, c.hard):
		return nil, spent
	case looped(h, way):
		return nil, loop
	case h.size > way.mtu && h.df && (h.src.Is4() || h.size > minMTU6):
		p.tellTooBig(h, b, way.mtu)
		return nil, tooBig
	case h.protocol == protoTCP:
		clampMSS(b, &h.inner, way.mtu)
	}
	at, next := 0, uint8(esp.NextIPv4)
	switch {
	case c.transport && !headerless(b):
		return nil, notTransport
	case c.transport:
		at, next = headerOf(h.src), protocolOf(b)
	case h.src.Is6():
		next = esp.NextIPv6
	}
	packet, err := c.out.sa.Seal(buf, headroom+at, h.size-at, next)
	if err != nil { // the last sequence number is used (RFC 4303 3.3.3)
		p.once(c, &c.spent, dataplane.Spent)
		return nil, spent
	}
	return packet, 0
}

// judge tells when a Child SA comes to the end of what it may carry.
func (p *Plane) judge(c *child, carried dataplane.Volume, worn bool) {
	if worn || reached(carried, c.soft) {
		p.once(c, &c.worn, dataplane.Worn)
	}
	if reached(carried, c.hard) {
		p.once(c, &c.spent, dataplane.Spent)
	}
}

// looped tells whether a packet is IKE or ESP to the peer of its own tunnel: a
// route leads our outer packets into it. Other packets to that address may be
// traffic from host to host.
func looped(h *heading, way *path) bool {
	if h.dst != way.remote.Addr() {
		return false
	}
	switch h.protocol {
	case protoESP:
		return true
	case protoUDP: // a later fragment tells no ports, and may be one of ours
		return !h.ports || h.dstPort == ikePort || h.dstPort == natPort || h.dstPort == way.remote.Port() || h.srcPort == way.local.Port()
	}
	return false
}

const (
	ikePort = 500
	natPort = 4500
)
