package tunnel

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"blackswan/dataplane"
)

const (
	beatEvery  = 20 * time.Second // of silence, then a NAT keepalive (RFC 3948 4)
	sleepAfter = 30 * time.Second // without a packet a Child SA gives its ciphers back
	watchEvery = time.Second
)

// watch sends keepalives and puts idle Child SAs to sleep.
func (p *Plane) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		now := p.now()
		for _, b := range p.pulses.due(now) {
			if port := p.port(&path{local: b.local, remote: b.remote}); port != nil {
				_ = port.Keepalive(b.local.Addr(), b.remote) // the port counts what it cannot send
			}
		}
		for _, c := range p.awake.idle(now) {
			c.sleep()
		}
	}
}

// drainEvents reads what the device tells, so that it never waits for a reader.
func (p *Plane) drainEvents() {
	for range p.device.Events() {
	}
}

// pulse keeps the NAT mapping of one path open. Child SAs between the same
// addresses share it.
type pulse struct {
	local, remote netip.AddrPort
	users         int          // guarded by pulses.mu
	sent          atomic.Int64 // when a packet left last, on the plane's clock
}

// beat notes that a packet leaves. There may be no pulse.
func (b *pulse) beat(now time.Duration) {
	if b != nil {
		b.sent.Store(int64(now))
	}
}

// pulses are the paths that need keepalives.
type pulses struct {
	mu  sync.Mutex
	all map[[2]netip.AddrPort]*pulse // by local and remote address
}

// join is the pulse of a path, or nil if it needs none.
func (s *pulses) join(way dataplane.Path, now time.Duration) *pulse {
	if !way.Behind || !way.Encap {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[[2]netip.AddrPort]*pulse{}
	}
	key := [2]netip.AddrPort{way.Local, way.Remote}
	b := s.all[key]
	if b == nil {
		b = &pulse{local: way.Local, remote: way.Remote}
		b.beat(now)
		s.all[key] = b
	}
	b.users++
	return b
}

// leave ends one use of a pulse.
func (s *pulses) leave(b *pulse) {
	if b == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.users--; b.users == 0 {
		delete(s.all, [2]netip.AddrPort{b.local, b.remote})
	}
}

// due are the paths that were silent for too long. They count as used now.
func (s *pulses) due(now time.Duration) []*pulse {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*pulse
	for _, b := range s.all {
		if now-time.Duration(b.sent.Load()) >= beatEvery {
			b.beat(now)
			due = append(due, b)
		}
	}
	return due
}

// awake are the Child SAs that have ciphers: those that carried a packet of
// late, however many are installed.
type awake struct {
	mu  sync.Mutex
	all []*child
}

// touch notes that c carries packets.
func (p *Plane) touch(c *child, now time.Duration) {
	c.used.Store(int64(now))
	if c.awake.Load() || !c.awake.CompareAndSwap(false, true) {
		return
	}
	p.awake.mu.Lock()
	defer p.awake.mu.Unlock()
	p.awake.all = append(p.awake.all, c)
}

// idle takes out those that carried nothing for a while.
func (a *awake) idle(now time.Duration) []*child {
	a.mu.Lock()
	defer a.mu.Unlock()
	var idle []*child
	kept := a.all[:0]
	for _, c := range a.all {
		if now-time.Duration(c.used.Load()) >= sleepAfter {
			c.awake.Store(false)
			idle = append(idle, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(a.all[len(kept):])
	a.all = kept
	return idle
}

// sleep gives the ciphers of c back. They are made again with its next packet.
func (c *child) sleep() {
	c.out.mu.Lock()
	if c.out.sa != nil {
		c.out.sa.Idle()
	}
	c.out.mu.Unlock()
	c.in.mu.Lock()
	if c.in.sa != nil {
		c.in.sa.Idle()
	}
	c.in.mu.Unlock()
}
