package blackswan

import (
	"context"
	"time"

	"blackswan/ike"
	"blackswan/spi"
)

// nextEpoch makes a new epoch durable, because the counter of a shard is full
// (rule B1).
func (n *node) nextEpoch() {
	n.errands.run("epoch", func() {
		boot := n.boot.SPI
		var err error
		if n.dir != nil {
			boot.Epoch, err = n.dir.NextEpoch(context.Background())
		} else {
			boot.Epoch, err = spi.Epoch(boot.Epoch, time.Time{})
		}
		if err != nil {
			n.log.Error("no new epoch: no SA can be made", "error", err)
			return
		}
		n.all(ike.Command{Kind: ike.CommandEpoch, Boot: boot})
	})
}

// housekeep does once a minute what no packet asks for: it keeps the clock,
// turns the ring, and forgets the roll call of before when it was shown.
func (n *node) housekeep() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-tick.C:
		}
		ctx, now := context.Background(), time.Now()
		if err := n.dir.KeepClock(ctx, now); err != nil {
			n.log.Warn("the clock was not kept", "error", err)
		}
		if n.role == RoleGateway {
			n.keepRing(ctx, now)
		}
		n.forgetRollCall(ctx, now)
	}
}

// linkChanged has a client look, a moment later, which of its addresses leads
// to the gateway now, unless it was told, and whether that still hears it: one
// change makes many events. It ends nothing by itself (rule A7, RFC 4555 3.5).
func (n *node) linkChanged() {
	n.errands.run("links", func() {
		select {
		case <-time.After(time.Second):
			changed := ike.Command{Kind: ike.CommandHint}
			if here, ok := n.here(); ok && n.roams {
				changed = ike.Command{Kind: ike.CommandMoved, Local: here}
			}
			n.all(changed)
			if n.host != nil {
				n.host.ring() // somebody may have taken our rules away
			}
		case <-n.stop:
		}
	})
}
