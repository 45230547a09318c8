package ike

import (
	"blackswan/spi"
	"blackswan/wire"
)

// The table of SAs: a slot for each, found by our SPI.

type slot struct {
	sa  *SA
	use uint32
}

func (e *Endpoint) shardOf(s wire.SPI) int {
	return int(spi.ShardOf(uint64(s))) % max(e.cfg.Shards, 1)
}

func (e *Endpoint) bySPI(s wire.SPI) *SA {
	return e.in(e.ours.Get(s))
}

// in is the SA of a slot+1, as the tables have it; 0: nil.
func (e *Endpoint) in(place uint32) *SA {
	if place == 0 {
		return nil
	}
	return e.slots[place-1].sa
}

// sa is the SA that h names, or nil.
func (e *Endpoint) sa(h Handle) *SA {
	i := h.Slot()
	if i < 0 || i >= len(e.slots) || e.slots[i].sa == nil || e.slots[i].use != uint32(h>>32) {
		return nil
	}
	return e.slots[i].sa
}

// newSA gives an SA a slot and an SPI of ours. It returns nil when a limit is
// reached or the SPI counter is full.
func (e *Endpoint) newSA(original bool) *SA {
	if e.counts.established >= e.cfg.Limits.SAs && !original {
		return nil
	}
	own, ok := e.newSPI()
	if !ok {
		return nil
	}
	return e.spawn(original, own)
}

// spawn gives an SA a slot; own is its SPI of ours.
func (e *Endpoint) spawn(original bool, own wire.SPI) *SA {
	sa := e.spare.sas.take()
	*sa = SA{Original: original, Client: original, gen: e.generation(), resp: sa.resp[:0]}
	if n := len(e.free); n > 0 {
		sa.slot, e.free = e.free[n-1], e.free[:n-1]
	} else {
		sa.slot = uint32(len(e.slots))
		e.slots = append(e.slots, slot{})
	}
	s := &e.slots[sa.slot]
	s.use++
	s.sa, sa.use = sa, s.use
	if original {
		sa.spi.I = own
	} else {
		sa.spi.R = own
	}
	e.ours.Put(own, sa.slot+1)
	return sa
}

// newSPI makes a sealed SPI. A counter is in it: no other SA has it (rule B1).
func (e *Endpoint) newSPI() (wire.SPI, bool) {
	s, err := e.sealer.Next(e.generation())
	if err != nil {
		e.event(nil, Event{Kind: EventCounterFull, Err: err})
		return 0, false
	}
	return wire.SPI(s), true
}

func (e *Endpoint) generation() uint8 {
	if e.tokens == nil {
		return 0
	}
	return e.cfg.QCD.Current
}
