package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Conn is the two ports of an IKE endpoint. Read, Recycle, Stats and Close are
// safe for concurrent use; Queue and Flush belong to one goroutine.
type Conn struct {
	cfg     Config
	sockets []*socket // IKE before NAT traversal, IPv4 before IPv6
	esp     []ESPPort // IPv4 before IPv6
	steer   steering
	count   counters

	read    chan *Batch
	free    chan *Batch
	made    atomic.Int32 // batches in being
	done    chan struct{}
	readers sync.WaitGroup
	closing sync.Once
	closed  error      // of the sockets
	strays  sync.Mutex // held to hand on what no reader read, and to close read

	unsent error // first reason since the last Flush
}

var _ Port = (*Conn)(nil)

// Listen opens the sockets and starts their readers, which end with Close. The
// error says which port could not be opened, why, and the cure.
func Listen(cfg Config) (*Conn, error) {
	if cfg.ESP != nil && shares && !cfg.Reuse { // two sockets of one port are a group
		group, err := Group(1, cfg)
		if err != nil {
			return nil, err
		}
		return group[0], nil
	}
	if cfg.Reuse { // a shared port is never a free one: find that first
		var err error
		if cfg.IKEPort, cfg.NATPort, err = reserve(cfg, cfg.IKEPort == 0, cfg.NATPort == 0); err != nil {
			return nil, err
		}
	}
	c, err := open(cfg)
	if err != nil {
		return nil, err
	}
	c.steer = alone
	if cfg.ESP != nil {
		c.lendESP() // nothing steers
	}
	c.start()
	return c, nil
}

// open binds the sockets; nothing reads yet.
func open(cfg Config) (*Conn, error) {
	c := &Conn{
		cfg:  cfg,
		read: make(chan *Batch, batches),
		free: make(chan *Batch, batches),
		done: make(chan struct{}),
	}
	if cfg.IKEPort == cfg.NATPort && cfg.IKEPort != 0 {
		return nil, errSamePort(cfg.IKEPort)
	}
	for _, nat := range []bool{false, true} {
		sockets, err := bind(&cfg, nat)
		if err != nil {
			c.closeSockets()
			return nil, err
		}
		c.sockets = append(c.sockets, sockets...)
	}
	for _, s := range c.sockets {
		s.owner, s.count = c, &c.count
		s.link = newLink(s, cfg.plain)
	}
	return c, nil
}

func (c *Conn) start() {
	c.readers.Add(len(c.sockets))
	for _, s := range c.sockets {
		go c.serve(s)
	}
}

// serve hands on what a socket receives, until it is closed.
func (c *Conn) serve(s *socket) {
	defer c.readers.Done()
	for {
		b, err := s.link.receive()
		switch {
		case err == nil:
		case c.isClosed() || errors.Is(err, net.ErrClosed):
			return
		default: // no memory
			c.count.broken.Add(1)
			continue
		}
		if len(b.Messages) == 0 { // all were dropped
			c.Recycle(b)
			continue
		}
		c.tally(b)
		c.read <- b // never blocks: it has room for all batches
	}
}

func (c *Conn) tally(b *Batch) {
	octets := 0
	for i := range b.Messages {
		m := &b.Messages[i]
		octets += len(m.Data)
		if m.Marker {
			octets += len(marker)
		}
		if c.cfg.Tap != nil {
			c.cfg.Tap(false, m)
		}
	}
	c.count.received(len(b.Messages), octets)
}

// take is a free batch. While all are in use it waits, and the kernel's buffer
// takes the datagrams. It is nil when the Conn is closed.
func (c *Conn) take() *Batch {
	if b := c.takeNow(); b != nil {
		return b
	}
	select {
	case b := <-c.free:
		return b
	case <-c.done:
		return nil
	}
}

// takeNow is a free batch, or nil while all are in use.
func (c *Conn) takeNow() *Batch {
	select {
	case b := <-c.free:
		return b
	default:
	}
	if c.made.Add(1) <= batches {
		return newBatch(c.cfg.batch(), c.sockets[len(c.sockets)-1].slotSize())
	}
	c.made.Add(-1)
	return nil
}

// Read gives the batches received. It is closed after Close.
func (c *Conn) Read() <-chan *Batch { return c.read }

// Recycle gives back a batch that Read gave.
func (c *Conn) Recycle(b *Batch) {
	b.Messages = b.Messages[:0]
	c.free <- b // never blocks: it has room for all batches
}

// Rest gives the memory of batches that nobody uses to the collector: 1.3 MB
// each. One stays, so that a reader in take finds what was recycled since it
// looked.
func (c *Conn) Rest() {
	for len(c.free) > 1 {
		select {
		case <-c.free:
			c.made.Add(-1)
		default:
			return
		}
	}
}

// Queue copies a message into the send buffer. A full buffer is flushed.
func (c *Conn) Queue(m Message) {
	if c.cfg.Tap != nil {
		seen := m // m itself stays off the heap
		c.cfg.Tap(true, &seen)
	}
	s := c.route(&m)
	if s == nil {
		c.drop(errNoSocket, 1)
		return
	}
	s.link.queue(m)
}

// Flush sends the messages queued. It never waits: what finds no room in the
// kernel is dropped, counted, and told by the error.
func (c *Conn) Flush() error {
	for _, s := range c.sockets {
		s.link.flush()
	}
	if c.unsent == nil {
		return nil
	}
	err := fmt.Errorf("udp: not all was sent: %w", c.unsent)
	c.unsent = nil
	return err
}

// route is the socket that a message leaves by, or nil.
func (c *Conn) route(m *Message) *socket {
	v6 := !m.Remote.Addr().Unmap().Is4()
	nat := m.nat()
	for _, s := range c.sockets {
		if s.nat == nat && s.v6 == v6 {
			return s
		}
	}
	return nil
}

// drop counts n messages that are not sent.
func (c *Conn) drop(err error, n int) {
	if c.unsent == nil {
		c.unsent = err
	}
	c.count.unsent(err, n)
}

// Ports are the addresses that the IKE port and the NAT traversal port are
// bound to. The address is "::" for all addresses of both families.
func (c *Conn) Ports() (ike, nat netip.AddrPort) {
	addr := c.cfg.Addr
	if !addr.IsValid() {
		addr = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(addr, c.port(false)), netip.AddrPortFrom(addr, c.port(true))
}

func (c *Conn) port(nat bool) uint16 {
	for _, s := range c.sockets {
		if s.nat == nat {
			return s.local.Port()
		}
	}
	return 0
}

// ReceiveBuffer is the size of the kernel's receive buffer of the IKE port, in
// octets as configured: less than asked where the system did not grant more. 0
// is unknown.
func (c *Conn) ReceiveBuffer() int { return c.sockets[0].receiveBuffer }

// Stats is what was counted since Listen.
func (c *Conn) Stats() Stats { return c.count.stats() }

// Close closes the sockets, waits for the readers to end, and closes Read.
// What is queued is not sent.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		close(c.done)
		c.closed = c.closeSockets()
		c.readers.Wait()
		c.strays.Lock()
		defer c.strays.Unlock()
		close(c.read)
	})
	return c.closed
}

func (c *Conn) closeSockets() error {
	var errs []error
	for _, s := range c.sockets {
		errs = append(errs, s.conn.Close())
	}
	for _, p := range c.esp {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

func (c *Conn) isClosed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
