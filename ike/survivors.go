package ike

import (
	"encoding/binary"

	"blackswan/wire"
)

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

// plainESPNotices a second are sent to ESP of which nothing is known (rule A8), by
// all shards together.
const plainESPNotices = 100

// espReplySize is INVALID_SPI with a QCD_TOKEN of ours.
const espReplySize = wire.HeaderLen + 8 + 4 + 8 + 32

// espReport takes an ESP packet with an SPI that no SA owns (RFC 6290 8.2).
// With the map of before the crash its answer carries the token; without,
// INVALID_SPI alone within a small budget (rule A8).
func (e *Endpoint) espReport(r Report) {
	p := Packet{Local: r.Local, Remote: r.Remote, Marker: r.Marker}
	if !e.usable(p) {
		e.drop(DropSelf)
		return
	}
	var own [4]byte
	binary.BigEndian.PutUint32(own[:], r.SPI)
	h := wire.Header{Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagInitiator}
	s, known := e.survivors[r.SPI]
	var tok []byte
	if known && e.tokens != nil {
		if r.Length < espReplySize { // it spends no answer of its SA
			e.drop(DropUnknownSPI)
			return
		}
		ours := s.SPIs.R
		if s.Original {
			ours = s.SPIs.I
		}
		made, ok := e.sealer.Open(uint64(ours))
		if ok && e.over(ours, made) && e.replies().Allow(e.now, uint64(ours), r.Remote.Addr()) {
			h.SPIi, h.SPIr = s.SPIs.I, s.SPIs.R
			tok, _ = e.tokens.Token(e.scratch.token[:0], s.Generation, uint64(h.SPIi), uint64(h.SPIr))
		}
	}
	if tok == nil && !e.plainESP.take(e.now, max(plainESPNotices/max(e.cfg.Shards, 1), 1)) { //rfc:6290-8.2-5
		e.drop(DropLimited)
		return
	}
	at := len(e.arena)
	w := wire.NewWriter(e.arena, h)
	w.Notify(wire.Notify{Type: wire.NotifyInvalidSPI, Data: own[:]})
	if tok != nil {
		w.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: tok}) //rfc:6290-4.1-1 6290-4.1-2 6290-4.1-3 6290-8.2-2
	}
	w.Finish()
	e.arena = w.Buf
	msg := e.arena[at:]
	if len(msg) > r.Length {
		e.drop(DropUnknownSPI)
		return
	}
	e.reply(p, msg)
}

// survive keeps the ESP SPIs of before the crash.
func (e *Endpoint) survive(list []Survivor) {
	if e.survivors == nil {
		e.survivors = make(map[uint32]Survivor, len(list))
	}
	for _, s := range list {
		if len(e.survivors) < e.cfg.Limits.Survivors {
			e.survivors[s.ESPSPI] = s
		}
	}
}
