// Package keysonly is a data plane that installs nothing in the kernel and
// carries no traffic: it keeps what it was told, for tests and for lessons.
package keysonly

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"blackswan/dataplane"
	"blackswan/wire"
)

// Plane keeps the Child SAs that it was told to install.
type Plane struct {
	mu       sync.Mutex
	children map[uint32]dataplane.Child // by inbound SPI; nil when closed
}

var _ dataplane.Plane = (*Plane)(nil)

// Open makes an empty Plane.
func Open() *Plane { return &Plane{children: map[uint32]dataplane.Child{}} }

// Install is dataplane.Plane's.
func (p *Plane) Install(c dataplane.Child) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.children == nil {
		return dataplane.ErrClosed
	}
	if _, there := p.children[c.SPIIn]; there {
		return fmt.Errorf("%w: %08x", dataplane.ErrInUse, c.SPIIn)
	}
	p.children[c.SPIIn] = own(c)
	return nil
}

// Remove is dataplane.Plane's.
func (p *Plane) Remove(spiIn uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	if err != nil {
		return err
	}
	wipe(c)
	delete(p.children, spiIn)
	return nil
}

// Retire is Remove: nothing is on its way.
func (p *Plane) Retire(spiIn uint32) error { return p.Remove(spiIn) }

// Move is dataplane.Plane's.
func (p *Plane) Move(spiIn uint32, to dataplane.Path) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	if err != nil {
		return err
	}
	c.Local, c.Remote, c.Encap, c.Behind = to.Local, to.Remote, to.Encap, to.Behind
	p.children[spiIn] = c
	return nil
}

// Prefer is dataplane.Plane's.
func (p *Plane) Prefer(spiIn uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	if err != nil {
		return err
	}
	c.Waits = false
	p.children[spiIn] = c
	return nil
}

// Traffic is always nothing.
func (p *Plane) Traffic(spiIn uint32) (dataplane.Traffic, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.child(spiIn)
	return dataplane.Traffic{}, err
}

// Selectors is dataplane.Plane's.
func (p *Plane) Selectors(spiIn uint32) (local, remote []wire.Selector, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.child(spiIn)
	return slices.Clone(c.LocalTS), slices.Clone(c.RemoteTS), err
}

// Totals are nothing, for no reason.
func (p *Plane) Totals() (dataplane.Traffic, map[string]uint64) { return dataplane.Traffic{}, nil }

// child is what is installed with that inbound SPI. p.mu is held.
func (p *Plane) child(spiIn uint32) (dataplane.Child, error) {
	if p.children == nil {
		return dataplane.Child{}, dataplane.ErrClosed
	}
	c, there := p.children[spiIn]
	if !there {
		return c, fmt.Errorf("%w: %08x", dataplane.ErrUnknown, spiIn)
	}
	return c, nil
}

// Reports is nil: without traffic there is nothing to see.
func (p *Plane) Reports() <-chan dataplane.Report { return nil }

// Close wipes what is kept.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.children {
		wipe(c)
	}
	p.children = nil
	return nil
}

// Children are copies of what is installed, in order of the inbound SPI.
func (p *Plane) Children() []dataplane.Child {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []dataplane.Child
	for _, spi := range slices.Sorted(maps.Keys(p.children)) {
		all = append(all, own(p.children[spi]))
	}
	return all
}

// own gives c slices of its own, all keys in one piece of memory.
func own(c dataplane.Child) dataplane.Child {
	keys := []*dataplane.Key{&c.EncrIn, &c.IntegIn, &c.EncrOut, &c.IntegOut}
	all := make(dataplane.Key, 0, len(c.EncrIn)+len(c.IntegIn)+len(c.EncrOut)+len(c.IntegOut))
	for _, k := range keys {
		at := len(all)
		all = append(all, *k...)
		*k = all[at:len(all):len(all)]
	}
	c.LocalTS = append([]wire.Selector(nil), c.LocalTS...)
	c.RemoteTS = append([]wire.Selector(nil), c.RemoteTS...)
	return c
}

func wipe(c dataplane.Child) {
	for _, k := range []dataplane.Key{c.EncrIn, c.IntegIn, c.EncrOut, c.IntegOut} {
		clear(k)
	}
}
