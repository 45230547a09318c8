package udptest

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"blackswan/internal/natt"
	"blackswan/internal/udp"
)

// espPort is a udp.ESPPort in a Network. Each of its runs is one packet.
type espPort struct {
	conn  *Conn
	local netip.AddrPort
	in    chan udp.Run

	mu     sync.Mutex
	stats  udp.Stats
	done   chan struct{}
	closed bool
}

// openESP gives the Conn its ESP ports: IPv4 before IPv6.
func (c *Conn) openESP() {
	addrs := []netip.Addr{c.cfg.Addr}
	if c.cfg.Addr == netip.IPv6Unspecified() {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, addr := range addrs {
		c.esp = append(c.esp, &espPort{
			conn: c, local: netip.AddrPortFrom(addr, c.nat.Port()),
			in: make(chan udp.Run, inbox), done: make(chan struct{}),
		})
	}
}

// ESP are the ports for ESP, if Config.ESP asks for them.
func (c *Conn) ESP() []udp.ESPPort { return c.esp }

// acceptESP gives a message that is not IKE to the port of its family.
func (c *Conn) acceptESP(m udp.Message) {
	for _, p := range c.esp {
		if p := p.(*espPort); p.fits(m.Remote) {
			p.accept(m)
			return
		}
	}
}

func (p *espPort) fits(remote netip.AddrPort) bool {
	return p.local.Addr().Is4() == remote.Addr().Is4()
}

func (p *espPort) accept(m udp.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
	case m.Kind == udp.Keepalive:
		p.stats.Keepalives++
	case len(p.in) == cap(p.in):
		p.stats.Overflow++
	default:
		p.stats.In.Datagrams++
		p.stats.In.Octets += uint64(len(m.Data))
		p.in <- udp.Run{Local: m.Local, Remote: m.Remote, Data: m.Data, Size: len(m.Data)} // has room: nobody else sends
	}
}

// Receive waits for a packet and takes all that are there.
func (p *espPort) Receive(b *udp.Burst) error {
	b.Runs = b.Runs[:0]
	select {
	case run := <-p.in:
		b.Runs = append(b.Runs, run)
	case <-p.done:
		return net.ErrClosed
	}
	for {
		select {
		case run := <-p.in:
			b.Runs = append(b.Runs, run)
		default:
			return nil
		}
	}
}

// Send sends copies of the packets. The network knows no traffic classes.
func (p *espPort) Send(local netip.Addr, remote netip.AddrPort, _ uint8, packets [][]byte) (int, error) {
	if err := p.send(udp.ESP, local, remote, packets); err != nil {
		return 0, err
	}
	return len(packets), nil
}

// Keepalive sends the octet 0xff.
func (p *espPort) Keepalive(local netip.Addr, remote netip.AddrPort) error {
	return p.send(udp.Keepalive, local, remote, [][]byte{{natt.Keepalive}})
}

func (p *espPort) send(kind udp.Kind, local netip.Addr, remote netip.AddrPort, packets [][]byte) error {
	p.mu.Lock()
	switch n := uint64(len(packets)); {
	case p.closed:
		p.stats.Failed += n
		p.mu.Unlock()
		return fmt.Errorf("udptest: %v: %w", p.local, net.ErrClosed)
	case !p.fits(remote):
		p.stats.Unreachable += n
		p.mu.Unlock()
		return fmt.Errorf("udptest: %v: %w", p.local, syscall.ENETUNREACH)
	default:
		p.stats.Out.Datagrams += n
	}
	for _, packet := range packets {
		p.stats.Out.Octets += uint64(len(packet))
	}
	p.mu.Unlock()
	for _, packet := range packets {
		p.conn.net.carry(&udp.Message{
			Local:  p.conn.from(local, remote.Addr(), p.local.Port()),
			Remote: remote, Data: slices.Clone(packet), Kind: kind,
		})
	}
	return nil
}

// Local is the address of the NAT traversal port, of one family.
func (p *espPort) Local() netip.AddrPort { return p.local }

// Stats is what was counted until now.
func (p *espPort) Stats() udp.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Close ends Receive.
func (p *espPort) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.done)
	}
	return nil
}
