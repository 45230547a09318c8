package blackswan

import (
	"context"
	"crypto/rand"
	"time"

	"blackswan/ike"
	"blackswan/spi"
	"blackswan/ticket"
)

// readRing reads the ring again because a ticket named a key that the shards do
// not know (rule D10).
func (n *node) readRing() {
	if n.role == RoleClient { // it grants no tickets and opens none
		n.publish(nil)
		return
	}
	n.errands.run("ring", func() {
		ring, err := n.dir.PruneTickets(context.Background(), time.Now())
		if err != nil {
			n.log.Error("the ring of ticket keys was not read", "error", err)
			return
		}
		n.publish(ring)
	})
}

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
		if n.role == RoleGateway && now.Unix() >= ticket.RotateAt(*n.ring.Load()) {
			if err := n.rotateTickets(ctx, now); err != nil {
				n.log.Error("the ring of ticket keys was not turned", "error", err)
			}
		}
		n.forgetRollCall(ctx, now)
	}
}

// rotateTickets makes a new key of the ring; it is on disk before it is used
// (rule D10).
func (n *node) rotateTickets(ctx context.Context, now time.Time) error {
	ring, err := n.dir.RotateTickets(ctx, now, rand.Reader)
	if err == nil {
		n.publish(ring)
	}
	return err
}

// publish gives the ring to all shards.
func (n *node) publish(ring []ticket.Key) {
	n.ring.Store(&ring)
	n.all(ike.Command{Kind: ike.CommandKeys, Ring: ring})
}

// linkChanged has a client look, a moment later, which of its addresses leads
// to the gateway now, and whether that still hears it: one change makes many
// events. It ends nothing by itself (rule A7, RFC 4555 3.5).
func (n *node) linkChanged() {
	n.errands.run("links", func() {
		select {
		case <-time.After(time.Second):
			changed := ike.Command{Kind: ike.CommandHint}
			if here, ok := n.here(); ok {
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
