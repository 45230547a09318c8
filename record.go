package blackswan

import (
	"context"
	"time"

	"blackswan/ike"
	"blackswan/internal/state"
	"blackswan/store"
	"blackswan/ticket"
)

// recorder keeps what the machine of one shard wants kept. Durable records go
// to a committer, and the later packets of their SA wait for it; the shard goes
// on meanwhile. The rest is written behind, in pages (rule F6).
type recorder struct {
	shard *shard

	calls, children *state.Pages // by slot of the SA; nil: not kept
	floors          *floorTable
	flushAt         time.Time
	buf             []byte

	pending    []durable // for the next commit
	committing bool
	held       map[ike.Handle]*held
}

// durable is a record that is on disk before the SA's next packet leaves.
type durable struct {
	sa     ike.Handle // 0: of no SA
	floor  ticket.Floor
	ticket *ike.Record // client: of RecordTicket and RecordTicketGone, with slices of its own
}

// held are the packets of one SA that wait for commits.
type held struct {
	commits int
	packets []ike.Packet
}

type commitResult struct {
	records []durable
	err     error
}

// flushDelay is how long a page waits for company: with store.BehindLimit it
// stays within the second of rule C2.
const flushDelay = store.BehindLimit

// heldPackets of an SA wait at most: copies of its peer's last request may come as
// often as anybody likes while the disk is slow.
const heldPackets = 128

// hold keeps a packet back while a durable record of its SA is on its way.
func (k *recorder) hold(o ike.Output) bool {
	if len(k.held) == 0 {
		return false
	}
	h := k.held[o.SA]
	if h == nil {
		return false
	}
	if len(h.packets) == heldPackets {
		k.shard.lost++
		return true
	}
	h.packets = append(h.packets, ownPacket(o.Packet))
	return true
}

func (k *recorder) record(now time.Time, o ike.Output) {
	r := o.Record
	switch r.Kind {
	case ike.RecordRollCall:
		k.buf = state.AppendRollCallEntry(k.buf[:0], pageEntry(&r.Entry))
		k.set(k.calls, r.Slot, now)
	case ike.RecordRollCallGone:
		k.clear(k.calls, r.Slot, now)
	case ike.RecordChild:
		k.buf = state.AppendChildSPI(k.buf[:0], state.ChildSPI{
			ESP: r.ESPSPI, SPIi: uint64(r.Entry.SPIs.I), SPIr: uint64(r.Entry.SPIs.R), Generation: r.Entry.Generation, Original: r.Entry.Original,
		})
		k.set(k.children, r.Slot, now)
	case ike.RecordChildGone:
		k.clear(k.children, r.Slot, now)
	case ike.RecordFloor:
		k.floor(now, o)
	case ike.RecordTicket, ike.RecordTicketGone:
		own := *r
		own.Ticket, own.Session = append([]byte(nil), r.Ticket...), append([]byte(nil), r.Session...)
		k.commit(durable{sa: o.SA, ticket: &own})
	}
}

func (k *recorder) set(p *state.Pages, slot int, now time.Time) {
	if p == nil || slot >= state.MaxSlots {
		return
	}
	p.Set(slot, k.buf)
	k.dirty(now)
}

func (k *recorder) clear(p *state.Pages, slot int, now time.Time) {
	if p == nil || slot >= state.MaxSlots {
		return
	}
	p.Clear(slot)
	k.dirty(now)
}

func (k *recorder) dirty(now time.Time) {
	if k.flushAt.IsZero() {
		k.flushAt = now.Add(flushDelay)
	}
}

func (k *recorder) floor(now time.Time, o ike.Output) {
	f := ticket.Floor{Lineage: o.Record.Lineage, Floor: o.Record.Floor, Until: o.Record.Until}
	switch {
	case k.floors == nil:
	case o.Record.Durable:
		k.commit(durable{sa: o.SA, floor: f})
	default:
		k.floors.set(f, now)
		k.dirty(now)
	}
}

// commit takes a durable record. From now on the packets of its SA wait.
func (k *recorder) commit(d durable) {
	if k.shard.node.commit == nil {
		return // nothing survives this process
	}
	if d.sa != 0 {
		if k.held == nil {
			k.held = map[ike.Handle]*held{}
		}
		h := k.held[d.sa]
		if h == nil {
			h = &held{}
			k.held[d.sa] = h
		}
		h.commits++
	}
	k.pending = append(k.pending, d)
	k.begin()
}

// begin starts a commit of all that is pending, unless one is under way.
func (k *recorder) begin() {
	if k.committing || len(k.pending) == 0 {
		return
	}
	batch := k.pending
	k.pending, k.committing = nil, true
	go func() { k.shard.committed <- commitResult{batch, k.shard.node.commit(batch)} }()
}

// settle lets go of the packets that waited for a commit. After a failure they
// are dropped: their peers ask again.
func (k *recorder) settle(c commitResult) {
	k.committing = false
	if c.err != nil {
		k.shard.node.log.Error("state was not written, so answers are held back", "error", c.err)
	}
	for _, d := range c.records {
		h := k.held[d.sa]
		if h == nil {
			continue
		}
		if h.commits--; c.err != nil {
			k.shard.lost += uint64(len(h.packets))
			h.packets = nil
		}
		if h.commits > 0 {
			continue
		}
		for _, p := range h.packets {
			k.shard.send(p)
		}
		delete(k.held, d.sa)
	}
	k.begin()
}

// due writes the pages that changed, when their time has come.
func (k *recorder) due(now time.Time) {
	if k.flushAt.IsZero() || now.Before(k.flushAt) {
		return
	}
	if err := k.flush(); err != nil {
		k.shard.log.warn(now, "the roll call was not written: it is tried again", err)
		k.flushAt = now.Add(time.Second)
		return
	}
	k.flushAt = time.Time{}
}

func (k *recorder) flush() error {
	for _, p := range []*state.Pages{k.calls, k.children, k.floors.table()} {
		if p == nil {
			continue
		}
		if err := p.Flush(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

// finish writes everything, at the end of the shard.
func (k *recorder) finish() {
	for k.committing {
		k.settle(<-k.shard.committed)
	}
	if err := k.flush(); err != nil {
		k.shard.node.log.Error("the roll call was not written", "error", err)
	}
	k.shard.flush()
}

func pageEntry(x *ike.Entry) state.RollCallEntry {
	return state.RollCallEntry{
		SPIi: uint64(x.SPIs.I), SPIr: uint64(x.SPIs.R), Original: x.Original, Ours: x.Ours, Generation: x.Generation,
		Local: x.Local, Remote: x.Remote, Marker: x.Marker, Heard: x.Heard,
	}
}

// floorTable gives each floor a slot of its page until its last ticket has
// expired.
type floorTable struct {
	pages *state.Pages
	slots map[[16]byte]int32
	until []int64
	line  [][16]byte
	free  []int32
	most  int
	swept int // slots looked at by expire, a few at a time
}

func newFloorTable(pages *state.Pages, most int) *floorTable {
	return &floorTable{pages: pages, slots: map[[16]byte]int32{}, most: min(most, state.MaxSlots)}
}

func (t *floorTable) table() *state.Pages {
	if t == nil {
		return nil
	}
	return t.pages
}

// set writes a floor. A full table forgets the new one: it is about a ticket
// that was used, and its lineage has a live SA.
func (t *floorTable) set(f ticket.Floor, now time.Time) {
	t.expire(now.Unix(), 4)
	i, ok := t.slots[f.Lineage]
	if !ok {
		if i, ok = t.take(); !ok {
			return
		}
		t.slots[f.Lineage], t.line[i] = i, f.Lineage
	}
	t.until[i] = f.Until
	t.pages.Set(int(i), state.AppendFloor(nil, f))
}

func (t *floorTable) take() (int32, bool) {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i, true
	}
	if len(t.until) >= t.most {
		return 0, false
	}
	t.until, t.line = append(t.until, 0), append(t.line, [16]byte{})
	return int32(len(t.until) - 1), true
}

// expire looks at the next n slots and empties those whose time is over.
func (t *floorTable) expire(now int64, n int) {
	for ; n > 0 && len(t.until) > 0; n-- {
		t.swept = (t.swept + 1) % len(t.until)
		i := int32(t.swept)
		if t.until[i] != 0 && t.until[i] <= now {
			delete(t.slots, t.line[i])
			t.until[i], t.line[i] = 0, [16]byte{}
			t.free = append(t.free, i)
			t.pages.Clear(int(i))
		}
	}
}
