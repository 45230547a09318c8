package blackswan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"blackswan/ike"
	"blackswan/internal/state"
	"blackswan/spi"
	"blackswan/store"
	"blackswan/ticket"
	"blackswan/wire"
)

// What a restarted gateway reads before it reads its first packet (rule A4):
// the roll call, the ESP SPIs of before, and the floors. Pages lie below the
// epoch of the process that wrote them:
//
//	rollcall/EPOCH/SHARD/PAGE
//	children/EPOCH/SHARD/PAGE
//	floors/EPOCH/SHARD/PAGE
const (
	callPages  = "rollcall/"
	childPages = "children/"
	floorPages = "floors/"
)

func epochPrefix(table string, epoch uint32) string { return fmt.Sprintf("%s%08x/", table, epoch) }

func shardPrefix(table string, epoch uint32, shard int) string {
	return fmt.Sprintf("%s%02x/", epochPrefix(table, epoch), shard)
}

// restored is what is left of former epochs.
type restored struct {
	entries int      // of the roll call, given to the shards
	epochs  []uint32 // with pages on disk
	due     time.Time
}

// restore gives each shard what it must know, and begins new pages.
func (n *node) restore() error {
	if n.dir == nil {
		return nil
	}
	n.commit = n.commitDurable
	if n.role == RoleClient {
		return nil // it resumes on its own, and grants no tickets
	}
	ctx, epoch := context.Background(), n.boot.SPI.Epoch
	for i, s := range n.shards {
		s.keep.calls = n.dir.Pages(shardPrefix(callPages, epoch, i), state.RollCallSize)
		s.keep.children = n.dir.Pages(shardPrefix(childPages, epoch, i), state.ChildSPISize)
		s.keep.floors = newFloorTable(n.dir.Pages(shardPrefix(floorPages, epoch, i), state.FloorSize), ike.DefaultLimits().Floors/n.count)
	}
	if err := n.restoreFloors(ctx); err != nil {
		return fmt.Errorf("blackswan: which tickets were used: %w", err)
	}
	if err := errors.Join(n.restoreRollCall(ctx), n.restoreChildren(ctx)); err != nil {
		n.note("the roll call of before cannot be read, so clients learn of the restart by their own timers: " + err.Error())
	}
	n.memory.expect(n.restored.entries)
	var err error
	if n.restored.epochs, err = n.former(ctx, callPages, childPages); err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	n.restored.due = n.began.Add(n.cfg.timers().RollCallAge)
	return nil
}

// restoreFloors moves the floors of former epochs to the pages of this one.
func (n *node) restoreFloors(ctx context.Context) error {
	now := n.began
	highest := map[[16]byte]ticket.Floor{} // two crashes leave two floors of a lineage
	err := n.dir.Pages(floorPages, state.FloorSize).Load(ctx, func(_ int, rec []byte) {
		if f, err := state.ParseFloor(rec); err == nil && f.Until > now.Unix() && f.Floor >= highest[f.Lineage].Floor {
			highest[f.Lineage] = f
		}
	})
	if err != nil {
		return err
	}
	raise := func(f ticket.Floor) *shard {
		s := n.shards[int(f.Lineage[0]&spi.MaxShard)%n.count]
		s.e.Command(now, ike.Command{Kind: ike.CommandFloor, Lineage: f.Lineage, Floor: f.Floor, Until: f.Until})
		return s
	}
	for _, f := range highest {
		raise(f).keep.floors.set(f, now)
	}
	if err := n.dir.Revoked(ctx, func(f ticket.Floor) { raise(f) }); err != nil {
		return err
	}
	for _, s := range n.shards {
		if err := s.keep.flush(); err != nil {
			return err
		}
	}
	former, err := n.former(ctx, floorPages)
	if err != nil || len(former) == 0 {
		return err
	}
	if err := n.dir.Store().Sync(ctx); err != nil { // the new pages first
		return err
	}
	return n.drop(ctx, former, floorPages)
}

// restoreRollCall gives the entries of former epochs to the shards of their
// SPIs, if they can be shown by us (rule C3).
func (n *node) restoreRollCall(ctx context.Context) error {
	reachable, err := n.reachable()
	if err != nil {
		return err
	}
	byShard := make([][]ike.Entry, n.count)
	err = n.dir.Pages(callPages, state.RollCallSize).Load(ctx, func(_ int, rec []byte) {
		x, err := state.ParseRollCallEntry(rec)
		if err != nil || !reachable(&x) {
			return
		}
		ours := x.SPIr
		if x.Original {
			ours = x.SPIi
		}
		home := int(spi.ShardOf(ours)) % n.count
		byShard[home] = append(byShard[home], machineEntry(&x))
	})
	for i, s := range n.shards {
		n.restored.entries += len(byShard[i])
		s.e.Command(n.began, ike.Command{Kind: ike.CommandRollCall, Entries: byShard[i]})
	}
	return err
}

func machineEntry(x *state.RollCallEntry) ike.Entry {
	return ike.Entry{
		SPIs: wire.SPIs{I: wire.SPI(x.SPIi), R: wire.SPI(x.SPIr)}, Original: x.Original, Ours: x.Ours, Generation: x.Generation,
		Local: x.Local, Remote: x.Remote, Marker: x.Marker, Heard: x.Heard,
	}
}

// reachable is what only the roof knows of rule C3: the local address is ours
// now, at the same port, and the remote one is not a socket of our own.
func (n *node) reachable() (func(*state.RollCallEntry) bool, error) {
	local, nat := n.shards[0].port.Ports()
	ours, err := n.listens()
	return func(x *state.RollCallEntry) bool {
		port := local.Port()
		if x.Marker {
			port = nat.Port()
		}
		own := ours(x.Remote.Addr()) && (x.Remote.Port() == local.Port() || x.Remote.Port() == nat.Port())
		return x.Local.Port() == port && ours(x.Local.Addr()) && !own
	}, err
}

// listens tells at which addresses our sockets are.
func (n *node) listens() (func(netip.Addr) bool, error) {
	own := map[netip.Addr]bool{}
	all := len(n.cfg.Listen) == 0
	for _, a := range n.cfg.Listen {
		own[a.Unmap()] = true
		all = all || a.IsUnspecified()
	}
	if all {
		return ownAddresses()
	}
	return func(a netip.Addr) bool { return own[a.Unmap()] }, nil
}

// restoreChildren gives the ESP SPIs of former epochs to their shards (rule A8).
func (n *node) restoreChildren(ctx context.Context) error {
	byShard := make([][]ike.Survivor, n.count)
	err := n.dir.Pages(childPages, state.ChildSPISize).Load(ctx, func(_ int, rec []byte) {
		c, err := state.ParseChildSPI(rec)
		if err != nil {
			return
		}
		home := int(c.ESP>>26) % n.count
		byShard[home] = append(byShard[home], ike.Survivor{
			ESPSPI: c.ESP, SPIs: wire.SPIs{I: wire.SPI(c.SPIi), R: wire.SPI(c.SPIr)}, Original: c.Original, Generation: c.Generation,
		})
	})
	for i, s := range n.shards {
		s.e.Command(n.began, ike.Command{Kind: ike.CommandSurvivors, Survivors: byShard[i]})
	}
	return err
}

// former are the epochs before this one that have pages of these tables.
func (n *node) former(ctx context.Context, tables ...string) (epochs []uint32, err error) {
	seen := map[uint32]bool{n.boot.SPI.Epoch: true}
	for _, table := range tables {
		err := n.dir.Store().List(ctx, []byte(table), func(x store.Entry) error {
			digits, _, _ := bytes.Cut(x.Key[len(table):], []byte("/"))
			epoch, err := strconv.ParseUint(string(digits), 16, 32)
			if err == nil && !seen[uint32(epoch)] {
				seen[uint32(epoch)] = true
				epochs = append(epochs, uint32(epoch))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return epochs, nil
}

// drop deletes the pages of former epochs.
func (n *node) drop(ctx context.Context, epochs []uint32, tables ...string) error {
	for _, epoch := range epochs {
		for _, table := range tables {
			if err := n.dir.Pages(epochPrefix(table, epoch), 1).DropAll(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetRollCall deletes the roll call of former epochs when it was shown, or
// is too old to be (rule C2).
func (n *node) forgetRollCall(ctx context.Context, now time.Time) {
	if len(n.restored.epochs) == 0 {
		return
	}
	left := 0
	for _, s := range n.shards {
		if !s.call(func(time.Time) { left += s.e.Count().RollCallLeft }) {
			return
		}
	}
	if left > 0 && now.Before(n.restored.due) {
		return
	}
	if err := n.drop(ctx, n.restored.epochs, callPages, childPages); err != nil {
		n.log.Warn("the roll call of before was not deleted", "error", err)
		return
	}
	n.restored.epochs = nil
}

// commitDurable writes records and returns when they are on disk.
func (n *node) commitDurable(records []durable) error {
	var floors []ticket.Floor
	var errs []error
	for _, d := range records {
		if d.ticket != nil {
			errs = append(errs, n.keepTicket(d.ticket))
		} else {
			floors = append(floors, d.floor)
		}
	}
	if len(floors) > 0 {
		errs = append(errs, n.dir.Revoke(context.Background(), time.Now(), floors...))
	}
	return errors.Join(errs...)
}
