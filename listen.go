package blackswan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"blackswan/internal/udp"
)

// listener opens the ports of so many shards on one address: udp.Group, or a
// network in memory.
type listener func(shards int, cfg udp.Config) ([]udp.Port, error)

func listenUDP(shards int, cfg udp.Config) ([]udp.Port, error) {
	group, err := udp.Group(shards, cfg)
	if err != nil {
		return nil, err
	}
	ports := make([]udp.Port, len(group))
	for i, c := range group {
		ports[i] = c
	}
	return ports, nil
}

// receiveBuffer of each socket of a gateway, in octets, unless configured: about
// 60,000 first messages wait there while a storm is at its height.
const receiveBuffer = 32 << 20

// open opens the ports of c as cfg asks for them: one udp.Port for each shard.
func (c *Config) open(role Role, shards int, cfg udp.Config) ([]udp.Port, error) {
	listen := c.listen
	if listen == nil {
		listen = listenUDP
	}
	cfg.ReceiveBuffer = c.ReceiveBuffer
	cfg.IKEPort, cfg.NATPort = c.ports()
	addrs := c.Listen
	switch {
	case role == RoleClient:
		cfg.Batch = 1
		addrs = addrs[:min(len(addrs), 1)]
	case cfg.ReceiveBuffer == 0:
		cfg.ReceiveBuffer = receiveBuffer
	}
	if len(addrs) == 0 {
		addrs = []netip.Addr{{}}
	}
	if tap := c.Tap; tap != nil {
		cfg.Tap = func(out bool, m *udp.Message) {
			if m.Kind == udp.IKE {
				tap(out, m.Data, time.Now())
			}
		}
	}
	byShard := make([][]udp.Port, shards)
	for _, cfg.Addr = range addrs {
		group, err := listen(shards, cfg)
		if err != nil {
			for _, ports := range byShard {
				for _, p := range ports {
					err = errors.Join(err, p.Close())
				}
			}
			return nil, fmt.Errorf("blackswan: listen: %w", err)
		}
		for i, p := range group {
			byShard[i] = append(byShard[i], p)
		}
		ike, nat := group[0].Ports() // further addresses use the ports of the first
		cfg.IKEPort, cfg.NATPort = ike.Port(), nat.Port()
	}
	ports := make([]udp.Port, shards)
	for i := range ports {
		ports[i] = join(byShard[i])
	}
	return ports, nil
}

// joined are the ports of several addresses as one.
type joined struct {
	ports []udp.Port
	read  chan *udp.Batch
	mu    sync.Mutex
	from  map[*udp.Batch]udp.Port // of the batches that were read and not recycled
	feeds sync.WaitGroup
}

// join makes one Port of several; the first is the one for whom no address is
// named.
func join(ports []udp.Port) udp.Port {
	if len(ports) == 1 {
		return ports[0]
	}
	j := &joined{ports: ports, read: make(chan *udp.Batch), from: map[*udp.Batch]udp.Port{}}
	for _, p := range ports {
		j.feeds.Go(func() { j.feed(p) })
	}
	go func() {
		j.feeds.Wait()
		close(j.read)
	}()
	return j
}

func (j *joined) feed(p udp.Port) {
	for b := range p.Read() {
		j.mu.Lock()
		j.from[b] = p
		j.mu.Unlock()
		j.read <- b
	}
}

func (j *joined) Read() <-chan *udp.Batch { return j.read }

func (j *joined) Recycle(b *udp.Batch) {
	j.mu.Lock()
	p := j.from[b]
	delete(j.from, b)
	j.mu.Unlock()
	p.Recycle(b)
}

func (j *joined) Rest() {
	for _, p := range j.ports {
		p.Rest()
	}
}

func (j *joined) Queue(m udp.Message) {
	for _, p := range j.ports {
		if ike, _ := p.Ports(); ike.Addr() == m.Local.Addr() {
			p.Queue(m)
			return
		}
	}
	j.ports[0].Queue(m)
}

func (j *joined) Flush() error {
	var errs []error
	for _, p := range j.ports {
		errs = append(errs, p.Flush())
	}
	return errors.Join(errs...)
}

func (j *joined) ESP() []udp.ESPPort {
	var all []udp.ESPPort
	for _, p := range j.ports {
		all = append(all, p.ESP()...)
	}
	return all
}

func (j *joined) Ports() (ike, nat netip.AddrPort) { return j.ports[0].Ports() }

func (j *joined) Stats() (sum udp.Stats) {
	for _, p := range j.ports {
		add(&sum, p.Stats())
	}
	return sum
}

// Close closes all ports. Batches that are on their way are dropped.
func (j *joined) Close() error {
	var errs []error
	for _, p := range j.ports {
		errs = append(errs, p.Close())
	}
	for range j.read { // until the feeds have ended
	}
	return errors.Join(errs...)
}

func add(sum *udp.Stats, s udp.Stats) {
	sum.In.Datagrams += s.In.Datagrams
	sum.In.Octets += s.In.Octets
	sum.Out.Datagrams += s.Out.Datagrams
	sum.Out.Octets += s.Out.Octets
	for _, f := range []struct{ to, from *uint64 }{
		{&sum.Keepalives, &s.Keepalives}, {&sum.Overflow, &s.Overflow}, {&sum.Oversized, &s.Oversized}, {&sum.Malformed, &s.Malformed}, {&sum.Broken, &s.Broken},
		{&sum.Full, &s.Full}, {&sum.Refused, &s.Refused}, {&sum.Unreachable, &s.Unreachable}, {&sum.TooLong, &s.TooLong}, {&sum.Failed, &s.Failed},
	} {
		*f.to += *f.from
	}
}

// steered tells whether the kernel hands each datagram to its shard.
func steered(p udp.Port) bool {
	switch p := p.(type) {
	case *udp.Conn:
		return p.Steered()
	case *joined:
		return steered(p.ports[0])
	}
	return true
}

// ownAddresses tells which addresses are this machine's.
func ownAddresses() (func(netip.Addr) bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("blackswan: addresses of this machine: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}
	return func(a netip.Addr) bool { return own[a.Unmap()] || a.Unmap().IsLoopback() }, nil
}
