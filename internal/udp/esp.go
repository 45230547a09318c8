package udp

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"blackswan/internal/natt"
)

// Run is ESP packets of one peer, one directly behind the other: all have Size
// octets but the last, which may be shorter. slices.Chunk(Data, Size) are the
// packets.
type Run struct {
	// Local and Remote are the addresses that the packets came to and from.
	// Bare ESP has port 0.
	Local, Remote netip.AddrPort

	Data []byte
	Size int // 1 or more

	// Class is the traffic class of the outer headers: DSCP and ECN. 0 where
	// the system does not tell it.
	Class uint8
}

// Burst is the memory of one Receive; its Runs view it until the next Receive,
// and may be changed in place.
type Burst struct {
	Runs []Run

	slots
}

// NewBurst is a Burst for any ESPPort: for 64 datagrams, or 10 runs that the
// kernel has joined. Its 652 KiB are memory only as they are filled.
func NewBurst() *Burst { return &Burst{slots: makeSlots(64, 0)} }

// ESPPort carries ESP packets of one address family. Receive belongs to one
// goroutine, all else is safe for concurrent use.
type ESPPort interface {
	// Receive waits for at least one packet. Keepalives and malformed
	// datagrams are counted and skipped. The only error is net.ErrClosed.
	Receive(*Burst) error

	// Send sends packets, each a whole ESP packet, to remote, in their order
	// and never waiting; from the address local if that is set, with a traffic
	// class in the outer headers. The packets are not kept. It tells how many
	// were sent; the rest is dropped and counted, the first reason is the error.
	Send(local netip.Addr, remote netip.AddrPort, class uint8, packets [][]byte) (sent int, err error)

	// Keepalive sends the octet 0xff that keeps a NAT mapping (RFC 3948 2.3).
	// To bare ESP it is unknown: errors.ErrUnsupported.
	Keepalive(local netip.Addr, remote netip.AddrPort) error

	// Local is the address as bound, which may be unspecified.
	Local() netip.AddrPort

	// Stats is what was counted until now.
	Stats() Stats

	// Close ends Receive. Close of the Conn that the port is of does it too.
	Close() error
}

// keepalive is the packets of a keepalive. Sending does not change them.
var keepalive = [][]byte{{natt.Keepalive}}

// ESP are the ports for ESP in UDP, IPv4 before IPv6: none unless Config.ESP
// asks for them. Where the kernel does not steer they only send.
func (c *Conn) ESP() []ESPPort { return c.esp }

// openESP gives the Conn its ESP ports. Their sockets would take IKE messages
// from the others if the kernel did not steer.
func (c *Conn) openESP(steered bool) error {
	if !steered {
		c.lendESP()
		return nil
	}
	var err error
	c.esp, err = c.bindESP()
	return err
}

// batched tells whether system calls take batches.
func (c *Conn) batched() bool {
	_, plain := c.sockets[0].link.(*plain)
	return !plain
}

// lendESP makes ESP ports of the IKE sockets.
func (c *Conn) lendESP() {
	for _, s := range c.sockets {
		if s.nat {
			c.esp = append(c.esp, &lent{s: s, done: make(chan struct{})})
		}
	}
}

// strayed hands IKE messages that came to an ESP socket to Read.
func (c *Conn) strayed(b *Batch) {
	c.strays.Lock()
	defer c.strays.Unlock()
	if !c.isClosed() {
		c.tally(b)
		c.read <- b // never blocks: it has room for all batches
	}
}

// lent is an ESPPort that sends by an IKE socket, one packet with each system
// call and with traffic class 0. What comes back is given to Config.ESP.
type lent struct {
	s       *socket
	count   counters
	done    chan struct{}
	closing sync.Once
}

func (p *lent) Receive(*Burst) error {
	<-p.done
	return net.ErrClosed
}

func (p *lent) Send(local netip.Addr, remote netip.AddrPort, _ uint8, packets [][]byte) (sent int, err error) {
	var first error
	for _, packet := range packets {
		err := p.s.fits(remote)
		if err == nil {
			err = p.s.write(packet, local, remote)
		}
		if err != nil {
			p.count.unsent(err, 1)
			if first == nil {
				first = err
			}
			continue
		}
		p.count.sent(1, len(packet))
		sent++
	}
	return sent, unsentError(first)
}

func (p *lent) Keepalive(local netip.Addr, remote netip.AddrPort) error {
	_, err := p.Send(local, remote, 0, keepalive)
	return err
}

func (p *lent) Local() netip.AddrPort { return p.s.local }

func (p *lent) Stats() Stats { return p.count.stats() }

// Close leaves the socket to the Conn.
func (p *lent) Close() error {
	p.closing.Do(func() { close(p.done) })
	return nil
}

// fits is an error if the remote address is of the other family.
func (s *socket) fits(remote netip.AddrPort) error {
	if remote.Addr().Unmap().Is4() == s.v6 || !remote.IsValid() {
		return errNoSocket
	}
	return nil
}

// unsentError says that packets were lost for a reason, if there is one.
func unsentError(reason error) error {
	if reason == nil {
		return nil
	}
	return fmt.Errorf("udp: not all was sent: %w", reason)
}
