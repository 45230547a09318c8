// Package tunnel is the data plane in user space: it carries IP packets between
// a TUN device and ESP packets (RFC 4303, tunnel mode, and transport mode between
// the two ends themselves) in UDP (RFC 3948) or directly over IP.
//
//	TUN ── outbound.go ──> policy.go ──> esp.Out ──> udp.ESPPort
//	          │ one goroutine    │ by selectors
//	          ├─ mtu.go, icmp.go too big for the path: told to the inside
//	          └─ wait.go         no Child SA yet: a client's packets wait
//	TUN <── inbound.go <── esp.In <── by SPI <── udp.ESPPort
//	          │ one goroutine for each port
//	          └─ ecn.go          congestion marks of the outer header
//
// Packets are never handed from one goroutine to another: a batch is read,
// sealed in place and sent by who has read it, so the order within a Child SA
// holds and two cores carry both directions.
package tunnel

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"blackswan/dataplane"
	"blackswan/internal/udp"
	"blackswan/wire"
)

// Config says what a Plane works with.
type Config struct {
	// Device is where inner packets come from and go to. It is the Plane's
	// from New on: Close closes it.
	Device tun.Device

	// Wait is how many octets of packets may wait for a Child SA of their
	// selectors (rule E9); the oldest go first. 0: they are dropped at once.
	Wait int

	// Window is the size of the replay window in packets, 64 to 4096; 0: 1024.
	Window int

	// PathMTU is the longest outer packet in octets; 0: 1500. A longer one
	// leaves in fragments, if the inner packet allows it.
	PathMTU int

	// HideDSCP sends all outer packets with DSCP 0. Else they have that of
	// their inner packets (RFC 4301 5.1.2.1), which an observer can read.
	HideDSCP bool
}

// Plane is the data plane. Its methods are dataplane.Plane's, with Attach and
// Stray for the ports.
type Plane struct {
	device  tun.Device
	window  int
	mtu     int       // of outer packets
	classes uint8     // bits of a traffic class that outer packets show
	epoch   time.Time // an hour before New, so that 0 is long ago on the plane's clock

	mu       sync.RWMutex
	children map[uint32]*child  // by inbound SPI; nil when closed
	retired  map[owner][]*child // those of children that linger, the oldest first
	policy   policy
	ports    []udp.ESPPort
	installs uint64

	out    meter // of all Child SAs, those that are gone included
	sender sender
	in     meter
	stray  stray
	awake  awake
	pulses pulses
	drops  drops

	telling sync.Mutex
	reports chan dataplane.Report // one place is kept for Broken
	deaf    bool                  // reports is closed
	broken  atomic.Bool
	unknown limiter

	done    chan struct{}
	workers sync.WaitGroup
	closing sync.Once
	closed  error
}

var _ dataplane.Plane = (*Plane)(nil)

const (
	defaultWindow = 1024
	mostReports   = 1024 // that wait for who reads them
	mostRetired   = 32   // of one owner that linger
)

// New starts a Plane on a device. An error leaves the device open.
func New(cfg Config) (*Plane, error) {
	if cfg.Window == 0 {
		cfg.Window = defaultWindow
	}
	if cfg.Window < 64 || cfg.Window > 4096 {
		return nil, fmt.Errorf("tunnel: a replay window of %d packets: 64 to 4096 are possible", cfg.Window)
	}
	if cfg.PathMTU == 0 {
		cfg.PathMTU = pathMTU
	}
	if cfg.PathMTU < minPathMTU || cfg.PathMTU > 65535 {
		return nil, fmt.Errorf("tunnel: a path MTU of %d octets: %d to 65535 are possible", cfg.PathMTU, minPathMTU)
	}
	inside, _ := cfg.Device.MTU() // unknown or changed later: there is room for 9000 octets
	p := &Plane{
		device: cfg.Device, window: cfg.Window, mtu: cfg.PathMTU, classes: 0xff,
		epoch:    time.Now().Add(-time.Hour),
		children: map[uint32]*child{},
		retired:  map[owner][]*child{},
		reports:  make(chan dataplane.Report, mostReports+1),
		done:     make(chan struct{}),
	}
	if cfg.HideDSCP {
		p.classes = ecnMask
	}
	p.sender.init(cfg.Device.BatchSize(), inside, cfg.Wait)
	p.workers.Go(p.sendAll)
	p.workers.Go(p.watch)
	p.workers.Go(p.drainEvents)
	return p, nil
}

// now is the plane's clock.
func (p *Plane) now() time.Duration { return time.Since(p.epoch) }

// Attach gives the Plane ports to send and receive by, those of UDP as well as
// bare ones, which have port 0. They are the Plane's from here on: Close closes
// them. Who else closes one, by its udp.Conn for example, breaks the Plane.
func (p *Plane) Attach(ports ...udp.ESPPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.children == nil {
		for _, port := range ports {
			port.Close()
		}
		return
	}
	p.ports = append(p.ports, ports...)
	for _, port := range ports {
		p.workers.Go(func() { p.receiveAll(port) })
	}
}

// port is the port that packets of a path leave by, or nil.
func (p *Plane) port(way *path) udp.ESPPort {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, port := range p.ports {
		if way.by(port.Local()) {
			return port
		}
	}
	return nil
}

// Install is dataplane.Plane's.
func (p *Plane) Install(c dataplane.Child) error {
	k, err := newChild(&c, p.window)
	if err != nil {
		return err
	}
	if err := p.install(k, &c); err != nil {
		k.out.wipe()
		k.in.wipe()
		return err
	}
	if p.sender.wait.most > 0 {
		p.sender.mu.Lock()
		p.release()
		p.sender.mu.Unlock()
	}
	return nil
}

func (p *Plane) install(k *child, c *dataplane.Child) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.children == nil {
		return dataplane.ErrClosed
	}
	before := p.children[k.spiIn]
	if before != nil && !before.retired {
		return fmt.Errorf("%w: %08x", dataplane.ErrInUse, k.spiIn)
	}
	if at, taken := p.policy.taken(k); taken {
		return fmt.Errorf("%w: %v: give each peer addresses of its own, or wait until the other is gone", dataplane.ErrTaken, at)
	}
	if before != nil {
		p.remove(before)
	}
	p.installs++
	k.order = p.installs
	k.heard.Store(int64(p.now()))
	to := dataplane.Path{Local: c.Local, Remote: c.Remote, Encap: c.Encap, Behind: c.Behind}
	k.setPath(to, p.mtu, p.pulses.join(to, p.now()))
	p.children[k.spiIn] = k
	p.policy.add(k)
	return nil
}

// Move is dataplane.Plane's.
func (p *Plane) Move(spiIn uint32, to dataplane.Path) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	if err != nil {
		return err
	}
	was := c.path.Load()
	c.setPath(to, p.mtu, p.pulses.join(to, p.now()))
	p.pulses.leave(was.pulse)
	return nil
}

// Prefer is dataplane.Plane's.
func (p *Plane) Prefer(spiIn uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	if err == nil {
		p.prefer(c)
	}
	return err
}

// prefer lets c send. p.mu is held.
func (p *Plane) prefer(c *child) {
	p.policy.remove(c)
	c.waits.Store(false)
	p.installs++
	c.order = p.installs
	p.policy.add(c)
}

// Remove is dataplane.Plane's. No packet leaves by the Child SA when it has
// returned, except those that are with the port already.
func (p *Plane) Remove(spiIn uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	if err != nil {
		return err
	}
	p.remove(c)
	return nil
}

// Retire is dataplane.Plane's. IKE and ESP come by sockets of their own, so a
// DELETE may be read before packets that came earlier.
func (p *Plane) Retire(spiIn uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	if err != nil {
		return err
	}
	p.retired[c.owner] = append(p.retired[c.owner], c)
	p.retire(c)
	if lingering := p.retired[c.owner]; len(lingering) > mostRetired {
		p.remove(lingering[0])
	}
	if p.children[spiIn] != c {
		return nil
	}
	time.AfterFunc(dataplane.Linger, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.children[spiIn] == c { // the plane is not closed, and the SPI nobody else's
			p.remove(c)
		}
	})
	return nil
}

// retire lets nothing leave by c any more, and ends what lingers where only c has
// stood: a peer that was sent away, or whose address is another's by now (rule F5),
// sends nothing more inside. p.mu is held.
func (p *Plane) retire(c *child) {
	c.retired = true
	p.policy.remove(c)
	p.pulses.leave(c.path.Load().pulse)
	c.out.wipe()
	for _, late := range slices.Clone(p.retired[c.owner]) {
		if !p.policy.replaced(late) {
			p.remove(late)
		}
	}
}

// remove ends c. p.mu is held.
func (p *Plane) remove(c *child) {
	if !c.retired {
		p.retire(c)
	} else if left := slices.DeleteFunc(p.retired[c.owner], func(late *child) bool { return late == c }); len(left) > 0 {
		p.retired[c.owner] = left
	} else {
		delete(p.retired, c.owner)
	}
	delete(p.children, c.spiIn)
	c.in.wipe()
}

// Traffic is dataplane.Plane's.
func (p *Plane) Traffic(spiIn uint32) (dataplane.Traffic, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c, err := p.child(spiIn)
	if err != nil {
		return dataplane.Traffic{}, err
	}
	return c.traffic(), nil
}

// Selectors is dataplane.Plane's.
func (p *Plane) Selectors(spiIn uint32) (local, remote []wire.Selector, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c, err := p.child(spiIn)
	if err != nil {
		return nil, nil, err
	}
	return c.local, c.remote, nil
}

// child is what is installed with that inbound SPI. p.mu is held.
func (p *Plane) child(spiIn uint32) (*child, error) {
	if p.children == nil {
		return nil, dataplane.ErrClosed
	}
	c, there := p.children[spiIn]
	if !there || c.retired {
		return nil, fmt.Errorf("%w: %08x", dataplane.ErrUnknown, spiIn)
	}
	return c, nil
}

// Close closes the device and the ports, and waits until nobody uses them.
func (p *Plane) Close() error {
	p.closing.Do(func() {
		p.mu.Lock()
		for _, c := range p.children {
			p.remove(c)
		}
		p.children = nil
		ports := p.ports
		p.mu.Unlock()

		close(p.done)
		errs := []error{p.device.Close()}
		for _, port := range ports {
			errs = append(errs, port.Close())
		}
		p.workers.Wait()
		p.sender.mu.Lock()
		p.sender.wait.forget()
		p.sender.mu.Unlock()
		p.endReports()
		p.closed = errors.Join(errs...)
	})
	return p.closed
}
