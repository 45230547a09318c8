// Package udptest is a network in memory: its Conns are udp.Ports without
// sockets or goroutines of their own, for tests in a synctest bubble.
package udptest

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"blackswan/internal/udp"
)

// Network joins Conns. The zero value is an ideal network: nothing is lost,
// nothing takes time.
type Network struct {
	// Path is what happens to a message on its way, or nil. It may change
	// Local (where it seems to come from, as a NAT does) and Remote (where it
	// goes), and loses the message by returning false. It is called by
	// the sender's goroutine, one call at a time.
	Path func(m *udp.Message) bool

	// Delay is how long a message travels. With 0 it has arrived when Flush
	// returns.
	Delay time.Duration

	mu    sync.Mutex
	conns []*Conn
	port  uint16 // last port given to who asked for any
}

// Conn is a udp.Port in a Network. Other than in a real one, Queue and Flush
// may be called by any goroutine.
type Conn struct {
	net      *Network
	cfg      udp.Config
	ike, nat netip.AddrPort
	esp      []udp.ESPPort

	mu      sync.Mutex
	read    chan *udp.Batch
	pending []udp.Message
	stats   udp.Stats
	closed  bool
}

var _ udp.Port = (*Conn)(nil)

// inbox is how many batches wait for a reader; more are lost, as in a full
// receive buffer.
const inbox = 1024

// Listen opens the two ports of cfg. Address and ports are as in udp.Listen;
// Reuse, buffers and Batch mean nothing here.
func (n *Network) Listen(cfg udp.Config) (*Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !cfg.Addr.IsValid() {
		cfg.Addr = netip.IPv6Unspecified()
	}
	for _, port := range []*uint16{&cfg.IKEPort, &cfg.NATPort} {
		if *port == 0 {
			n.port++
			*port = 40000 + n.port
		}
	}
	c := &Conn{
		net: n, cfg: cfg,
		ike:  netip.AddrPortFrom(cfg.Addr, cfg.IKEPort),
		nat:  netip.AddrPortFrom(cfg.Addr, cfg.NATPort),
		read: make(chan *udp.Batch, inbox),
	}
	for _, other := range n.conns {
		if c.ike == other.ike || c.ike == other.nat || c.nat == other.ike || c.nat == other.nat {
			return nil, fmt.Errorf("udptest: %v or %v is in use", c.ike, c.nat)
		}
	}
	if cfg.ESP != nil {
		c.openESP()
	}
	n.conns = append(n.conns, c)
	return c, nil
}

// Read gives the batches received. It is closed after Close.
func (c *Conn) Read() <-chan *udp.Batch { return c.read }

// Recycle overwrites the messages of a batch, so that a test shows who still
// views them.
func (c *Conn) Recycle(b *udp.Batch) {
	for i := range b.Messages {
		for j := range b.Messages[i].Data {
			b.Messages[i].Data[j] = 0xdb
		}
	}
	b.Messages = nil
}

// Rest has nothing to give: no batch is used twice.
func (c *Conn) Rest() {}

// Queue puts a copy of a message in line.
func (c *Conn) Queue(m udp.Message) {
	if c.cfg.Tap != nil {
		c.cfg.Tap(true, &m)
	}
	from := c.ike
	if m.Marker || m.Kind != udp.IKE {
		from = c.nat
	}
	m.Local = c.from(m.Local.Addr(), m.Remote.Addr(), from.Port())
	m.Data = slices.Clone(m.Data)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, m)
}

// from is where a message leaves from, if addr is named.
func (c *Conn) from(addr, to netip.Addr, port uint16) netip.AddrPort {
	if !c.cfg.Addr.IsUnspecified() || !addr.IsValid() || addr.IsUnspecified() {
		addr = c.source(to)
	}
	return netip.AddrPortFrom(addr, port)
}

// source is the address that messages leave from when none is named: that of
// the Conn, or of loopback.
func (c *Conn) source(to netip.Addr) netip.Addr {
	switch {
	case !c.cfg.Addr.IsUnspecified():
		return c.cfg.Addr
	case to.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// Flush sends what is in line.
func (c *Conn) Flush() error {
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	if c.closed {
		c.stats.Failed += uint64(len(pending))
		c.mu.Unlock()
		return fmt.Errorf("udptest: %v is closed", c.ike)
	}
	for i := range pending {
		c.stats.Out.Datagrams++
		c.stats.Out.Octets += octets(&pending[i])
	}
	c.mu.Unlock()
	for i := range pending {
		c.net.carry(&pending[i])
	}
	return nil
}

// carry takes a message to where it goes.
func (n *Network) carry(m *udp.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.Path != nil && !n.Path(m) {
		return
	}
	if n.Delay <= 0 {
		n.arrive(*m)
		return
	}
	late := *m
	time.AfterFunc(n.Delay, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.arrive(late)
	})
}

// arrive gives a message to who listens, an exact address before "all".
func (n *Network) arrive(m udp.Message) {
	for _, all := range []bool{false, true} {
		for _, c := range n.conns {
			if c.ike.Addr().IsUnspecified() == all && c.owns(m.Remote) {
				c.accept(m)
				return
			}
		}
	}
}

func (c *Conn) owns(to netip.AddrPort) bool {
	if to.Port() != c.ike.Port() && to.Port() != c.nat.Port() {
		return false
	}
	own := c.ike.Addr()
	return own == to.Addr() || own == netip.IPv6Unspecified() || own.IsUnspecified() && to.Addr().Is4()
}

// accept receives a message. One with a marker at the IKE port, or an IKE
// message without at the other, cannot be read and is dropped.
func (c *Conn) accept(m udp.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	nat := m.Marker || m.Kind != udp.IKE
	if nat != (m.Remote.Port() == c.nat.Port()) {
		c.stats.Malformed++
		return
	}
	got := m
	got.Local, got.Remote = m.Remote, m.Local
	got.Data, got.Arrived = slices.Clone(m.Data), time.Now()
	if c.cfg.ESP != nil && m.Kind != udp.IKE {
		c.acceptESP(got)
		return
	}
	if len(c.read) == cap(c.read) {
		c.stats.Overflow++
		return
	}
	if c.cfg.Tap != nil {
		c.cfg.Tap(false, &got)
	}
	c.stats.In.Datagrams++
	c.stats.In.Octets += octets(&got)
	c.read <- &udp.Batch{Messages: []udp.Message{got}} // has room: nobody else sends
}

func octets(m *udp.Message) uint64 {
	n := uint64(len(m.Data))
	if m.Marker {
		n += 4
	}
	return n
}

// Ports are the addresses of the two ports.
func (c *Conn) Ports() (ike, nat netip.AddrPort) { return c.ike, c.nat }

// Stats is what was counted until now.
func (c *Conn) Stats() udp.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Close leaves the network and closes Read. Batches that wait can still be
// read.
func (c *Conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.conns = slices.DeleteFunc(c.net.conns, func(other *Conn) bool { return other == c })
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.read)
		for _, p := range c.esp {
			p.Close()
		}
	}
	return nil
}
