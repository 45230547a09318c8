//go:build linux && (amd64 || arm64)

package udp

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"blackswan/internal/natt"
)

// espBuffer is the kernel's buffers of an ESP socket, in octets.
const espBuffer = 4 << 20

// espSocket is an ESPPort with a socket of its own: UDP, or raw for bare ESP.
type espSocket struct {
	s     *socket
	count counters
	bare  bool

	// The state of one call of Receive; the callback is made once.
	try   func(fd uintptr) bool
	burst *Burst
	stray *Batch // IKE messages found
	errno syscall.Errno

	out espOutbox

	closing sync.Once
	closed  error
}

// bindESP opens an ESP socket for each family, on the NAT traversal port.
func (c *Conn) bindESP() ([]ESPPort, error) {
	cfg := c.cfg
	cfg.ReceiveBuffer, cfg.SendBuffer = espBuffer, espBuffer
	sockets, err := bind(&cfg, true)
	if err != nil {
		return nil, err
	}
	var ports []ESPPort
	for _, s := range sockets {
		s.owner = c
		p := newESPSocket(s, cfg.Unreachable)
		if !cfg.single {
			p.out.runs = s.splits()
			s.join()
		}
		ports = append(ports, p)
	}
	// The kernel joins datagrams before it looks which socket they are for:
	// it asks any of the port whether it may.
	for _, s := range c.sockets {
		if s.nat && sockets[0].runs {
			s.join()
		}
	}
	return ports, nil
}

// join has the kernel join datagrams that come, if it can (UDP_GRO).
func (s *socket) join() {
	s.rc.Control(func(fd uintptr) {
		s.runs = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) == nil
	})
}

// splits tells whether the kernel can split a run that leaves (UDP_SEGMENT).
func (s *socket) splits() (can bool) {
	s.rc.Control(func(fd uintptr) {
		_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
		can = err == nil
	})
	return can
}

func newESPSocket(s *socket, unreachable func(netip.AddrPort)) *espSocket {
	p := &espSocket{s: s}
	s.count = &p.count
	p.try = p.tryReceive
	p.out.vector.init(outPackets)
	p.out.try = p.trySend
	p.tellClass()
	s.hearErrors(unreachable)
	return p
}

// tellClass has the kernel tell the traffic class of what comes: who takes a
// packet out of its tunnel needs the ECN of the outer header (RFC 6040).
func (p *espSocket) tellClass() {
	level, option := unix.IPPROTO_IP, unix.IP_RECVTOS
	if p.s.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS
	}
	p.s.rc.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), level, option, 1) })
}

func (p *espSocket) Receive(b *Burst) error {
	b.Runs = b.Runs[:0]
	for len(b.Runs) == 0 {
		p.burst, p.errno = b, 0
		if err := p.s.await(p.try); err != nil {
			return net.ErrClosed
		}
		if p.errno != 0 { // no memory
			p.count.broken.Add(1)
		}
		if p.stray != nil {
			p.s.owner.strayed(p.stray)
			p.stray = nil
		}
	}
	return nil
}

// tryReceive fills a burst. It is false when nothing has come yet.
func (p *espSocket) tryReceive(fd uintptr) bool {
	n, errno := p.s.fill(fd, &p.burst.slots)
	if errno == unix.EAGAIN {
		return false
	}
	p.errno = errno
	for i := range n {
		if a, ok := p.s.arrival(&p.burst.slots, i); ok {
			p.accept(a)
		}
	}
	return true
}

// accept makes runs of what has come into a slot. The kernel joins datagrams of
// one peer by their lengths alone, so an IKE message or a keepalive may lie
// among the ESP packets.
func (p *espSocket) accept(a arrival) {
	if p.bare && !p.s.v6 { // IPv4 comes with its header, IPv6 without
		var ok bool
		if a.data, ok = afterIPv4(a.data); !ok {
			p.count.malformed.Add(1)
			return
		}
		a.size = len(a.data)
	}
	from, at := 0, 0 // of the packets behind the last that was none of ESP
	for packet := range slices.Chunk(a.data, a.size) {
		if !p.isESP(packet, &a) {
			p.add(a, from, at)
			from = at + len(packet)
		}
		at += len(packet)
	}
	p.add(a, from, at)
}

// add puts the ESP packets between two offsets into the burst.
func (p *espSocket) add(a arrival, from, to int) {
	if from == to {
		return
	}
	p.count.received((to-from+a.size-1)/a.size, to-from)
	p.burst.Runs = append(p.burst.Runs, Run{
		Local:  netip.AddrPortFrom(a.local, p.s.local.Port()),
		Remote: a.remote,
		Data:   a.data[from:to:to],
		Size:   min(a.size, to-from),
		Class:  a.class,
	})
}

// isESP tells whether a packet is one of ESP. If not, it is taken care of.
func (p *espSocket) isESP(packet []byte, of *arrival) bool {
	kind, ok := kindOf(packet)
	switch {
	case !ok || p.bare && kind == IKE || !p.bare && of.remote.Port() == 0: // RFC 4303 2.1: no SPI is zero
		p.count.malformed.Add(1)
	case kind == ESP:
		return true
	case kind == Keepalive:
		p.count.keepalives.Add(1)
	default:
		p.keep(Message{
			Local: netip.AddrPortFrom(of.local, p.s.local.Port()), Remote: of.remote,
			Data: packet[natt.Marker:], Marker: true,
		})
	}
	return false
}

// keep copies an IKE message for Read. It does not wait for a batch: that is
// for a goroutine of IKE.
func (p *espSocket) keep(m Message) {
	if p.stray == nil {
		if p.stray = p.s.owner.takeNow(); p.stray != nil {
			p.stray.shape(MaxDatagram)
		}
	}
	b := p.stray
	switch {
	case b == nil || len(b.Messages) == b.most:
		p.count.overflow.Add(1)
	case len(m.Data) > MaxDatagram:
		p.count.oversized.Add(1)
	default:
		slot := b.slot(len(b.Messages))
		m.Data = slot[:copy(slot, m.Data)]
		b.Messages = append(b.Messages, m)
	}
}

func (p *espSocket) Local() netip.AddrPort { return p.s.local }

func (p *espSocket) Stats() Stats { return p.count.stats() }

func (p *espSocket) Close() error {
	p.closing.Do(func() { p.closed = p.s.conn.Close() })
	return p.closed
}
