package ike

// The survivors' map (RFC 6290 8.2, rule A8) tells after a crash whose ESP SPIs
// were ours. The first Child SA of an IKE SA has the record at the slot of that,
// which an idle SA needs not remember; others that carry traffic have records from
// the end of the table on.

// lastNote is the last record of a table, one of a million.
const lastNote = 1<<20 - 1

// notes are the records of Child SAs that are not the first of their IKE SA.
type notes struct {
	at   map[uint32]int // by inbound SPI
	free []int
	used int // records from the end on that were ever in use
}

// slot is the record of a Child SA. It reports false when there is none for it:
// the IKE SAs need the room.
func (n *notes) slot(in uint32, slots int) (int, bool) {
	at, ok := n.at[in]
	switch {
	case ok:
		return at, true
	case len(n.free) > 0:
		at = n.free[len(n.free)-1]
		n.free = n.free[:len(n.free)-1]
	case lastNote-n.used < slots:
		return 0, false
	default:
		at = lastNote - n.used
		n.used++
	}
	if n.at == nil {
		n.at = map[uint32]int{}
	}
	n.at[in] = at
	return at, true
}

// noteChildren writes the Child SAs of sa into the map.
func (e *Endpoint) noteChildren(sa *SA) {
	if e.cfg.RollCall == RollCallOff {
		return
	}
	if sa.child.phase == phaseNone {
		e.record(sa, Record{Kind: RecordChildGone, Slot: int(sa.slot)})
		return
	}
	e.noteChild(sa, &sa.child, int(sa.slot))
	for _, c := range sa.more() {
		if c.phase != phaseUp {
			continue
		}
		if at, ok := e.notes.slot(c.in, len(e.slots)); ok {
			e.noteChild(sa, c, at)
		}
	}
}

func (e *Endpoint) noteChild(sa *SA, c *child, slot int) {
	e.record(sa, Record{Kind: RecordChild, Slot: slot, ESPSPI: c.in, Entry: Entry{SPIs: sa.spi, Original: sa.Original, Generation: sa.gen}}) //rfc:6290-8.2-1
}

// unnote takes a Child SA beside the first out of the map.
func (e *Endpoint) unnote(sa *SA, in uint32) {
	if at, ok := e.notes.at[in]; ok {
		delete(e.notes.at, in)
		e.notes.free = append(e.notes.free, at)
		e.record(sa, Record{Kind: RecordChildGone, Slot: at})
	}
}
