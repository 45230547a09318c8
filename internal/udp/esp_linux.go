//go:build linux && (amd64 || arm64)

package udp

import (
	"errors"
	"net"
	"net/netip"
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
	rc    syscall.RawConn
	count counters
	bare  bool
	runs  bool // the kernel joins what it receives (UDP_GRO)

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
		p, e := newESPSocket(s)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		if !cfg.single {
			p.joinRuns()
		}
		ports = append(ports, p)
	}
	if err != nil {
		for _, s := range sockets {
			s.conn.Close()
		}
		return nil, err
	}
	return ports, nil
}

func newESPSocket(s *socket) (*espSocket, error) {
	rc, err := s.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &espSocket{s: s, rc: rc}
	s.count = &p.count
	p.try = p.tryReceive
	p.out.vector = makeVector(outPackets)
	p.out.try = p.trySend
	return p, nil
}

// joinRuns lets the kernel join packets that come and split runs that leave,
// where it can.
func (p *espSocket) joinRuns() {
	p.rc.Control(func(fd uintptr) {
		p.runs = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) == nil
		_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
		p.out.runs = err == nil
	})
}

func (p *espSocket) Receive(b *Burst) error {
	slot := MaxDatagram
	if p.runs {
		slot = runSlot
	}
	if b.slot != slot {
		b.slot = slot
		b.vector.init(b.buf, slot)
	}
	b.Runs = b.Runs[:0]
	for len(b.Runs) == 0 {
		p.burst, p.errno = b, 0
		if err := p.rc.Read(p.try); err != nil {
			return net.ErrClosed
		}
		if p.errno != 0 { // an ICMP error of a packet sent earlier, or no memory
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
	b := p.burst
	n, errno := mmsgCall(unix.SYS_RECVMMSG, fd, b.vector.headers, len(b.vector.headers))
	if errno != 0 {
		p.errno = errno
		return errno != unix.EAGAIN
	}
	for i := range n {
		if a, ok := p.s.arrival(&b.vector, i); ok {
			p.accept(b, b.buf[i*b.slot:][:a.octets:a.octets], a)
		}
	}
	return true
}

// accept makes runs of what has come into a slot. The kernel joins datagrams of
// one peer by their lengths alone, so an IKE message or a keepalive may lie
// among the ESP packets.
func (p *espSocket) accept(b *Burst, data []byte, a arrival) {
	if p.bare {
		if data = p.content(data); data == nil {
			return
		}
	}
	run := Run{
		Local:  netip.AddrPortFrom(a.local, p.s.local.Port()),
		Remote: a.remote,
		Size:   a.size,
	}
	if run.Size <= 0 || run.Size > len(data) {
		run.Size = max(len(data), 1)
	}
	from := 0 // of the ESP packets behind the last thing that was none
	for at := 0; at == 0 || at < len(data); at += run.Size {
		packet := data[at:min(at+run.Size, len(data))]
		if p.isESP(packet, &run) {
			continue
		}
		p.add(b, run, data[from:at])
		from = at + len(packet)
	}
	p.add(b, run, data[from:])
}

// add puts ESP packets into the burst.
func (p *espSocket) add(b *Burst, run Run, data []byte) {
	if len(data) == 0 {
		return
	}
	p.count.received((len(data)+run.Size-1)/run.Size, len(data))
	run.Data = data
	run.Size = min(run.Size, len(data))
	b.Runs = append(b.Runs, run)
}

// isESP tells whether a packet is one of ESP. If not, it is taken care of.
func (p *espSocket) isESP(packet []byte, of *Run) bool {
	kind, ok := kindOf(packet)
	switch {
	case !ok || of.Remote.Port() == 0 && !p.bare:
		p.count.malformed.Add(1)
	case kind == ESP:
		return true
	case p.bare: // RFC 4303 2.1: no SPI is zero
		p.count.malformed.Add(1)
	case kind == Keepalive:
		p.count.keepalives.Add(1)
	default:
		p.keep(Message{Local: of.Local, Remote: of.Remote, Data: packet[natt.Marker:], Marker: true})
	}
	return false
}

// keep copies an IKE message for Read. It does not wait for a batch: that is
// for a goroutine of IKE.
func (p *espSocket) keep(m Message) {
	if p.stray == nil {
		p.stray = p.s.owner.takeNow()
	}
	b := p.stray
	switch {
	case b == nil || len(b.Messages) == cap(b.Messages):
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
