package sim

import (
	"time"

	"blackswan/ike"
	"blackswan/ticket"
)

// behind is how old a record written behind must be to survive SIGKILL.
const behind = 200 * time.Millisecond

// disk is what a gateway's process leaves to the next one.
type disk struct {
	epoch    uint32
	floors   map[[16]byte]ticket.Floor
	entries  map[place]ike.Entry // roll call
	children map[place]ike.Survivor
	clock    time.Time
	waiting  []written
}

// place is where a page has its record: pages lie below the epoch of the
// process that wrote them.
type place struct {
	epoch       uint32
	shard, slot int
}

type written struct {
	at    time.Time
	shard int
	r     ike.Record
}

func newDisk() *disk {
	return &disk{floors: map[[16]byte]ticket.Floor{}, entries: map[place]ike.Entry{}, children: map[place]ike.Survivor{}}
}

// later writes behind.
func (d *disk) later(now time.Time, shard int, r ike.Record) {
	d.settle(now)
	d.waiting = append(d.waiting, written{now, shard, r})
}

// settle puts on disk what is old enough.
func (d *disk) settle(now time.Time) {
	n := 0
	for ; n < len(d.waiting) && now.Sub(d.waiting[n].at) >= behind; n++ {
		d.put(d.waiting[n].shard, d.waiting[n].r)
	}
	d.waiting = d.waiting[n:]
}

// lose is SIGKILL.
func (d *disk) lose(now time.Time) {
	d.settle(now)
	d.waiting = nil
}

func (d *disk) put(shard int, r ike.Record) {
	at := place{d.epoch, shard, r.Slot}
	switch r.Kind {
	case ike.RecordRollCall:
		d.entries[at] = r.Entry
	case ike.RecordRollCallGone:
		delete(d.entries, at)
	case ike.RecordChild:
		d.children[at] = ike.Survivor{ESPSPI: r.ESPSPI, SPIs: r.Entry.SPIs, Original: r.Entry.Original, Generation: r.Entry.Generation}
	case ike.RecordChildGone:
		delete(d.children, at)
	case ike.RecordFloor:
		if f := d.floors[r.Lineage]; r.Floor > f.Floor {
			d.floors[r.Lineage] = ticket.Floor{Lineage: r.Lineage, Floor: r.Floor, Until: max(r.Until, f.Until)}
		}
	}
}

// forget drops the roll call and the ESP SPIs of former epochs.
func (d *disk) forget() {
	for at := range d.entries {
		if at.epoch != d.epoch {
			delete(d.entries, at)
		}
	}
	for at := range d.children {
		if at.epoch != d.epoch {
			delete(d.children, at)
		}
	}
}

// copy is a backup of the whole directory.
func (d *disk) copy() *disk {
	c := newDisk()
	c.epoch, c.clock = d.epoch, d.clock
	for k, v := range d.floors {
		c.floors[k] = v
	}
	for k, v := range d.entries {
		c.entries[k] = v
	}
	for k, v := range d.children {
		c.children[k] = v
	}
	return c
}
