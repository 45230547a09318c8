// Package none is the data plane of a node whose only task is IKE: it carries
// nothing, and remembers of a Child SA that it is there.
package none

import (
	"fmt"
	"sync"

	"blackswan/dataplane"
)

// Plane knows the inbound SPIs of the Child SAs that it was told to install.
type Plane struct {
	mu   sync.Mutex
	spis map[uint32]struct{} // nil when closed
}

var _ dataplane.Plane = (*Plane)(nil)

// Open makes an empty Plane.
func Open() *Plane { return &Plane{spis: map[uint32]struct{}{}} }

// Install is dataplane.Plane's.
func (p *Plane) Install(c dataplane.Child) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spis == nil {
		return dataplane.ErrClosed
	}
	if _, there := p.spis[c.SPIIn]; there {
		return fmt.Errorf("%w: %08x", dataplane.ErrInUse, c.SPIIn)
	}
	p.spis[c.SPIIn] = struct{}{}
	return nil
}

// Remove is dataplane.Plane's.
func (p *Plane) Remove(spiIn uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.known(spiIn)
	if err == nil {
		delete(p.spis, spiIn)
	}
	return err
}

// Move is dataplane.Plane's: there is nothing to be moved.
func (p *Plane) Move(spiIn uint32, _ dataplane.Path) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known(spiIn)
}

// Prefer is dataplane.Plane's: nothing waits.
func (p *Plane) Prefer(spiIn uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known(spiIn)
}

// Traffic is always nothing.
func (p *Plane) Traffic(spiIn uint32) (dataplane.Traffic, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return dataplane.Traffic{}, p.known(spiIn)
}

// Totals are nothing, for no reason.
func (p *Plane) Totals() (dataplane.Traffic, map[string]uint64) { return dataplane.Traffic{}, nil }

// known is an error unless that inbound SPI is installed. p.mu is held.
func (p *Plane) known(spiIn uint32) error {
	if p.spis == nil {
		return dataplane.ErrClosed
	}
	if _, there := p.spis[spiIn]; !there {
		return fmt.Errorf("%w: %08x", dataplane.ErrUnknown, spiIn)
	}
	return nil
}

// Reports is nil: without traffic there is nothing to see.
func (p *Plane) Reports() <-chan dataplane.Report { return nil }

// Close forgets all.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spis = nil
	return nil
}
