package blackswan

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A crash brings all clients back within seconds, and a heap that grows from
// nothing is collected at every doubling: a seventh of the CPU of the storm. So
// the collector is told beforehand how large the heap will be, and what the
// storm leaves behind goes back to the system when it is over.

const (
	saOctets   = 3072        // of memory that an SA takes in a storm, about: it leaves another 4,000 to the collector
	calm       = time.Second // without a new SA: the storm is over
	stormOfSAs = 1000        // fewer are not worth a collection
)

// crowdMemory counts new SAs, and holds the room of those to come.
type crowdMemory struct {
	made atomic.Uint64
	room []byte // never written, so no memory of the machine
}

// expect makes the collector wait for so many SAs.
func (m *crowdMemory) expect(sas int) {
	if sas >= stormOfSAs {
		m.room = make([]byte, sas*saOctets)
	}
}

// watch gives memory back to the system after each storm, until stop is closed.
// Beforehand rest gives up what only a storm needs.
func (m *crowdMemory) watch(stop <-chan struct{}, rest func()) {
	tick := time.NewTicker(calm)
	defer tick.Stop()
	var seen, freed uint64
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		switch made := m.made.Load(); {
		case made != seen:
			seen = made
		case made-freed >= stormOfSAs:
			m.room, freed = nil, made
			rest()
			debug.FreeOSMemory()
		}
	}
}
