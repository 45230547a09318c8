package blackswan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// A reload takes the connections of another Config. SAs that these would have go
// on, and nothing is said to their peers; the others are deleted, at the pace of a
// drain, and their tickets with them (rule D6).

// Reload takes the connections of cfg, and reads shared ticket keys again;
// everything else needs a new start and stays as it was. An SA ends, and the
// tickets of its peer, when its connection is gone or would not have it any more:
// another shared key or way to prove an identity, an identity that does not fit, a
// certificate that no authority of now vouches for or that was revoked, an
// algorithm that is not allowed. A Child SA ends when what it carries, or how, is
// not configured any more. The rest of a connection counts for new SAs, and for
// others from the next time that it is looked at. The error says what is wrong with
// cfg, of which nothing was taken then.
func (g *Gateway) Reload(cfg Config) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	peers, err := cfg.ready(RoleGateway)
	if err != nil {
		return err
	}
	if g.cfg.TicketKeys != "" {
		if err := g.readAndPublish(context.Background(), time.Now()); err != nil {
			return fmt.Errorf("blackswan: %w", err)
		}
	}
	return g.reload(peers)
}

// Reload takes the connection of cfg that has the name of ours. If there is none,
// it logs out and ends Run. If its settings are such that our SA would not have
// come to be with them, with another gateway, other Child SAs or for a reason that
// Gateway.Reload knows, it logs out and connects anew. The rest counts from the
// next time that it is looked at. What a Device that the Config brought has of the
// connection needs a new start.
func (c *Client) Reload(cfg Config) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	was := c.peer()
	i, err := cfg.named(was.Name)
	if err != nil {
		c.log.Info("the connection is not configured any more", "connection", was.Name)
		c.fail(errGone)
		return nil
	}
	cfg.Connections = cfg.Connections[i : i+1]
	peers, err := cfg.ready(RoleClient)
	if err != nil {
		return err
	}
	p := peers[0]
	if c.host == nil && c.cfg.Device != nil && !(slices.Equal(p.addresses, was.addresses) && slices.Equal(p.dns, was.dns)) {
		return &FieldError{Field: "connections", What: "the addresses and resolvers inside cannot change while the device is in use", Cure: "start anew"}
	}
	if err := c.readProfile(&cfg.Connections[0], p); err != nil {
		return err
	}
	p.leaf.Store(was.leaf.Load())
	if p.host == was.host && p.port == was.port && p.GatewayNAT == was.GatewayNAT {
		return c.reload(peers)
	}
	if !c.shards[0].call(func(now time.Time) {
		c.shards[0].command(now, ike.Command{Kind: ike.CommandClose, Conn: was.Connection})
	}) {
		return errEnded
	}
	c.setPeers(peers)
	select {
	case c.elsewhere <- struct{}{}:
	default: // Run has yet to take the last one
	}
	return nil
}

// errGone ends the Run of a client whose connection is not configured any more.
var errGone = errors.New("blackswan: the connection is not configured any more")

// reload gives every shard the connections of peers. n.turn is held.
func (n *node) reload(peers []*peer) error {
	n.reloads.begin()
	defer n.reloads.end(n.log)
	n.setPeers(peers)
	order := ike.Command{Kind: ike.CommandConnections, Connections: connections(peers), CertReq: n.certReq()}
	if n.plane != nil {
		order.Selected = n.selected
	}
	for _, s := range n.shards {
		if !s.call(func(now time.Time) {
			if !s.reloading {
				s.reloading = true
				n.reloads.begin()
			}
			s.command(now, order)
		}) {
			return errEnded
		}
	}
	n.log.Info("connections reloaded", "number", len(peers))
	return nil
}

// setPeers lets everybody know the connections of now.
func (n *node) setPeers(peers []*peer) {
	n.peers.Store(&peers)
	if n.host != nil {
		n.host.renewed(n.hostPlan())
	}
}

func (n *node) selected(spiIn uint32) (local, remote []wire.Selector, ok bool) {
	local, remote, err := n.plane.Selectors(spiIn)
	return local, remote, err == nil
}

// reloads count what reloads have ended, until all shards are through.
type reloads struct {
	mu    sync.Mutex
	open  int                       // shards that are not, and who tells them
	ended map[string]map[string]int // by connection and reason
}

// mostReasons are counted of a connection; what comes after them is one.
const mostReasons = 16

func (r *reloads) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
}

func (r *reloads) note(connection, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended == nil {
		r.ended = map[string]map[string]int{}
	}
	reasons := r.ended[connection]
	if reasons == nil {
		reasons = map[string]int{}
		r.ended[connection] = reasons
	}
	if _, known := reasons[why]; !known && len(reasons) >= mostReasons {
		why = "other reasons"
	}
	reasons[why]++
}

// end tells, when nobody is left, how many SAs were ended and why.
func (r *reloads) end(log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open--; r.open > 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.ended)) {
		for _, why := range slices.Sorted(maps.Keys(r.ended[name])) {
			log.Info("ended by a reload", "connection", name, "number", r.ended[name][why], "why", why)
		}
	}
	r.ended = nil
}
