package blackswan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"blackswan/ike"
	"blackswan/internal/state"
	"blackswan/ticket"
)

// The ring of ticket keys lies in the state directory, where its gateway turns
// it, or in a file that several gateways share, which none of them turns (rule
// D10).

// ErrShared is in the error of who wants to change a ring that other gateways
// have too.
var ErrShared = errors.New("blackswan: the ticket keys are shared with other gateways and stay as they are")

// readRing reads the ring again because a ticket named a key that the shards do
// not know. Until it can be read nobody is told that such a ticket is bad (rule
// D10).
func (n *node) readRing() {
	if n.role == RoleClient { // it grants no tickets and opens none
		n.publish(nil)
		return
	}
	n.errands.run("ring", func() {
		if err := n.readAndPublish(context.Background(), time.Now()); err != nil {
			n.log.Error("the ring of ticket keys was not read", "error", err)
		}
	})
}

func (n *node) readAndPublish(ctx context.Context, now time.Time) error {
	n.reading.Lock() // what was read later is published later
	defer n.reading.Unlock()
	var ring []ticket.Key
	var err error
	if n.cfg.TicketKeys != "" {
		ring, err = state.ReadRing(n.cfg.TicketKeys)
	} else {
		ring, err = n.dir.PruneTickets(ctx, now)
	}
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

// keepRing is done once a minute: it turns a ring of our own when that is due,
// and takes what became of a shared one.
func (n *node) keepRing(ctx context.Context, now time.Time) {
	switch {
	case n.cfg.TicketKeys != "":
		if err := n.readAndPublish(ctx, now); err != nil {
			n.log.Error("the ring of ticket keys was not read: what was read before is used", "error", err)
		}
		n.complain(now)
	case now.Unix() >= ticket.RotateAt(*n.ring.Load()):
		if err := n.rotateTickets(ctx, now); err != nil {
			n.log.Error("the ring of ticket keys was not turned", "error", err)
		}
	}
}

// complain says in the log, once an hour, that nobody turns the shared ring.
func (n *node) complain(now time.Time) {
	if text := n.overdue(now); text != "" && now.Sub(n.complained) >= time.Hour {
		n.complained = now
		n.log.Error(text)
	}
}

// overdue says that nobody turned the shared ring in time; "" if all is well.
func (n *node) overdue(now time.Time) string {
	if n.cfg.TicketKeys == "" {
		return ""
	}
	return unturned(n.cfg.TicketKeys, *n.ring.Load(), now)
}

func unturned(file string, ring []ticket.Key, now time.Time) string {
	late := now.Sub(state.TurnAt(ring))
	if late < 0 {
		return ""
	}
	cost := fmt.Sprintf("after %v more no client gets a ticket", (state.TurnEvery - late).Round(time.Minute))
	if late >= state.TurnEvery {
		cost = "no client gets a ticket until then"
	}
	return fmt.Sprintf("the newest of the shared ticket keys is %v old: run 'blackswan keys turn %s' once a day and copy the file to every gateway that shares it; %s",
		(late + state.TurnEvery).Round(time.Minute), file, cost)
}

// rotateTickets makes a new key of our own ring; it is on disk before it is
// used (rule D10).
func (n *node) rotateTickets(ctx context.Context, now time.Time) error {
	ring, err := n.dir.RotateTickets(ctx, now, rand.Reader)
	if err == nil {
		n.publish(ring)
	}
	return err
}

// RotateTickets makes a new key of the ring now; tickets of the others stay
// good (rule D10). Of a shared ring it is ErrShared.
func (g *Gateway) RotateTickets(ctx context.Context) error {
	if file := g.cfg.TicketKeys; file != "" {
		return fmt.Errorf("%w: run 'blackswan keys turn %s' and copy the file to every gateway that shares it", ErrShared, file)
	}
	return g.rotateTickets(ctx, time.Now())
}

// RevokeTickets replaces the ring: no ticket granted until now opens any more.
// It returns how many keys went. Of a shared ring it is ErrShared.
func (g *Gateway) RevokeTickets(ctx context.Context) (dropped int, err error) {
	if file := g.cfg.TicketKeys; file != "" {
		return 0, fmt.Errorf("%w: to end all tickets remove %s, run 'blackswan keys new %[2]s', and copy the file to every gateway that shares it: each takes it within a minute", ErrShared, file)
	}
	ring, dropped, err := g.dir.RevokeTickets(ctx, time.Now(), rand.Reader)
	if err != nil {
		return 0, err
	}
	g.publish(ring)
	return dropped, nil
}
