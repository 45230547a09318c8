package blackswan

import (
	"fmt"
	"net/netip"
	"time"

	"blackswan/ike"
)

// How a gateway ends while its clients live. By SIGTERM it says nothing: they
// resume when it is back. Or it sends them to another gateway first, and no
// ticket dies of that (rule D6, RFC 5685). Or it says goodbye, and they log in
// anew wherever they find one.

// farewells is how many DELETEs a shard sends before it looks at its other work;
// farewellEach is what each may take, its floor on disk included (rule D5).
const (
	farewells    = 64
	farewellEach = 200 * time.Microsecond
)

// Drain sends every client to another gateway, an address or a name that has
// the same identity and shares our ticket keys, and then ends Run. Where it does
// not share them, the clients log in anew. Clients that do not follow REDIRECT
// are left behind in silence: their tickets stay good. It returns how many SAs
// there are; draining again names another gateway for those left.
func (g *Gateway) Drain(to string) (sas int, err error) {
	if to == "" || len(to) > 255 {
		return 0, fmt.Errorf("blackswan: drain: %q names no gateway: give its name or address", to)
	}
	if a, err := netip.ParseAddr(to); err == nil && g.listensAt(a) {
		return 0, fmt.Errorf("blackswan: drain: %v is this gateway itself: name another", a)
	}
	g.drained.Store(0)
	for _, s := range g.shards {
		if !s.call(func(now time.Time) {
			sas += s.e.Count().Established
			s.command(now, ike.Command{Kind: ike.CommandDrain, Name: to})
		}) {
			return 0, errEnded
		}
	}
	g.log.Info("draining", "to", to, "sas", sas)
	if g.cfg.TicketKeys == "" {
		g.log.Warn("no ticket keys are shared, so the clients log in anew: name the file of 'blackswan keys new' as ticket_keys at both gateways")
	}
	return sas, nil
}

func (n *node) listensAt(a netip.Addr) bool {
	ours, err := n.listens()
	return err == nil && ours(a)
}

// shardDrained ends Run when nobody who follows REDIRECT is left on any shard.
func (n *node) shardDrained() {
	if int(n.drained.Add(1)) == n.count {
		n.log.Info("drained")
		n.fail(nil)
	}
}

// Stop ends Run as its context does: in silence.
func (g *Gateway) Stop() { g.fail(nil) }

// Goodbye sends DELETE to every peer, which ends their tickets, lets nobody in any
// more, waits a moment for the answers, and ends Run. It returns how many SAs it
// ended.
func (g *Gateway) Goodbye() (sas int, err error) {
	gone := make([]chan struct{}, g.count)
	for i, s := range g.shards {
		gone[i] = make(chan struct{})
		if !s.call(func(now time.Time) {
			sas += s.e.Count().Established
			s.empty = gone[i]
			s.command(now, ike.Command{Kind: ike.CommandShut})
			s.goodbye(now)
		}) {
			return sas, errEnded
		}
	}
	patience := farewell + time.Duration(sas)*farewellEach
	g.errands.run("", func() {
		defer g.fail(nil)
		late := time.NewTimer(patience)
		defer late.Stop()
		for i, s := range g.shards {
			select {
			case <-gone[i]:
			case <-s.done:
			case <-late.C:
				return
			}
		}
	})
	return sas, nil
}

// goodbye deletes some SAs and comes back for the rest.
func (s *shard) goodbye(now time.Time) {
	var some []ike.Handle
	s.e.Views(now, func(v ike.View) bool {
		if v.State == "established" || v.State == "replaced" {
			some = append(some, v.SA)
		}
		return len(some) < farewells
	})
	for _, sa := range some {
		s.command(now, ike.Command{Kind: ike.CommandDelete, SA: sa})
	}
	if len(some) == farewells {
		s.node.errands.run("", func() { s.order(s.goodbye) })
	}
}
