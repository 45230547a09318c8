package blackswan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"blackswan/ike"
	"blackswan/internal/jar"
	"blackswan/internal/udp"
)

// Client brings one connection up and keeps it up: it resumes after a crash of
// the gateway, after its own restart and after a lost network.
type Client struct {
	*node
	gateway   atomic.Pointer[netip.AddrPort] // nil until it is known
	jar       *jar.Jar                       // nil: tickets live as long as the process
	elsewhere chan struct{}                  // a reload names another gateway; has room for one
}

// peer is our connection as it is now.
func (c *Client) peer() *peer { return (*c.peers.Load())[0] }

// ErrKeepTicket is the cause with which a Run is cancelled that shall say
// nothing to the gateway and keep its ticket for the next start:
//
//	ctx, cancel := context.WithCancelCause(ctx)
//	cancel(blackswan.ErrKeepTicket)
var ErrKeepTicket = errors.New("blackswan: the ticket is kept")

// nameTime is how long the name of another gateway is looked for.
const nameTime = 10 * time.Second

// farewell is how long the answer to our DELETE is waited for.
const farewell = 2 * time.Second

// NewClient opens the state directory and the sockets for the connection of
// that name; "" is the only one. Nothing is sent until Run.
func NewClient(cfg Config, connection string) (*Client, error) {
	i, err := cfg.named(connection)
	if err != nil {
		return nil, err
	}
	cfg.Connections = cfg.Connections[i : i+1]
	n, err := newNode(cfg, RoleClient)
	if err != nil {
		return nil, err
	}
	c := &Client{node: n, elsewhere: make(chan struct{}, 1)}
	n.here, n.failed = c.here, c.lookAgain
	if n.dir != nil {
		if err := c.openJar(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// named is the place of a connection among those of cfg.
func (c *Config) named(name string) (int, error) {
	var all []string
	for i := range c.Connections {
		if c.Connections[i].Name == name || name == "" && len(c.Connections) == 1 {
			return i, nil
		}
		all = append(all, c.Connections[i].Name)
	}
	if name == "" {
		name = "no name"
	}
	return 0, &FieldError{Field: "connections", What: fmt.Sprintf("%s: no such connection", name), Cure: "name one of: " + strings.Join(all, ", ")}
}

// Run keeps the connection up until ctx ends. Then it sends DELETE, wipes the
// ticket and waits at most 2 s for the answer; with ErrKeepTicket as the cause
// it does none of that. It always closes everything.
func (c *Client) Run(ctx context.Context) error {
	c.run()
	err := c.connect(ctx, c.before())
	for err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.stop:
			err = errEnded
		case err = <-c.lost:
		case <-c.elsewhere:
			err = c.connect(ctx, netip.Addr{})
		}
	}
	if err != ctx.Err() && !errors.Is(err, errEnded) && !errors.Is(err, errGone) {
		return errors.Join(err, c.Close()) // the ticket is good for the next start
	}
	if !errors.Is(context.Cause(ctx), ErrKeepTicket) {
		c.leave()
	}
	return c.Close()
}

// Close ends Run without a word, or frees what NewClient opened.
func (c *Client) Close() error {
	err := c.close()
	if c.jar != nil {
		err = errors.Join(err, c.jar.Close())
	}
	return err
}

// connect finds the gateway and gives the machine its order. known is where it
// is, if that is known.
func (c *Client) connect(ctx context.Context, known netip.Addr) error {
	for {
		p, gateway, err := c.find(ctx, known)
		if err != nil || c.connectTo(p, gateway) {
			return err
		}
	}
}

// connectTo gives the order, unless a reload has made another connection of p.
func (c *Client) connectTo(p *peer, gateway netip.AddrPort) bool {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.peer() != p {
		return false
	}
	select {
	case <-c.elsewhere: // it leads here already
	default:
	}
	c.gateway.Store(&gateway)
	order := ike.Command{Kind: ike.CommandConnect, Conn: p.Connection, Local: c.localFor(gateway), Remote: gateway}
	if c.jar != nil {
		c.showTicket(&order)
	}
	c.shards[0].order(func(now time.Time) { c.shards[0].command(now, order) })
	return true
}

// before is where the gateway was when a crash left the routes of the tunnel
// on this host: its resolvers may be in the tunnel.
func (c *Client) before() netip.Addr {
	if c.host == nil {
		return netip.Addr{}
	}
	return c.host.net.Gateway()
}

// find is the address of the gateway of our connection. While names are not
// answered it asks again, until we end: the network may not be there yet.
func (c *Client) find(ctx context.Context, known netip.Addr) (*peer, netip.AddrPort, error) {
	wait := time.Second
	for {
		p := c.peer()
		if a, err := netip.ParseAddr(p.host); err == nil {
			return p, netip.AddrPortFrom(a, p.port), nil
		}
		if known.IsValid() {
			return p, netip.AddrPortFrom(known, p.port), nil
		}
		addrs, err := c.lookup(ctx, p.host)
		if err == nil && len(addrs) > 0 {
			return p, netip.AddrPortFrom(addrs[0].Unmap(), p.port), nil
		}
		if ctx.Err() != nil {
			return nil, netip.AddrPort{}, ctx.Err()
		}
		c.log.Warn("the gateway's name is not known: asking again", "gateway", p.host, "in", wait, "error", err)
		select {
		case <-ctx.Done():
			return nil, netip.AddrPort{}, ctx.Err()
		case <-c.stop:
			return nil, netip.AddrPort{}, errEnded
		case err := <-c.lost:
			return nil, netip.AddrPort{}, err
		case <-c.elsewhere:
			wait = 0
		case <-time.After(wait):
		}
		wait = min(max(2*wait, time.Second), time.Minute)
	}
}

// lookAgain asks for the name of a gateway that does not answer: it may have
// another address by now.
func (c *Client) lookAgain(conn *ike.Connection) {
	p := c.peer()
	if _, err := netip.ParseAddr(p.host); err == nil {
		return
	}
	c.errands.run("gateway", func() {
		ctx, cancel := context.WithTimeout(context.Background(), nameTime)
		defer cancel()
		addrs, err := c.lookup(ctx, p.host)
		if err != nil || len(addrs) == 0 || c.peer() != p {
			return // the machine tries on where it was
		}
		now := c.gateway.Load().Addr()
		for _, a := range addrs {
			if a.Unmap() == now {
				return
			}
		}
		found := netip.AddrPortFrom(addrs[0].Unmap(), p.port)
		c.gateway.Store(&found)
		c.log.Info("the gateway's name leads to another address", "gateway", p.host, "was", now, "is", found.Addr())
		s := c.shards[0]
		s.order(func(at time.Time) { s.command(at, ike.Command{Kind: ike.CommandHome, Conn: conn, Remote: found}) })
	})
}

// resolve asks where another gateway of a client is (RFC 5685).
func (n *node) resolve(s *shard, q *ike.Question, p *peer) {
	found := ike.Command{Kind: ike.CommandGateway, Conn: q.Conn, Name: q.Name}
	n.errands.run("gateway "+q.Name, func() {
		ctx, cancel := context.WithTimeout(context.Background(), nameTime)
		defer cancel()
		addrs, err := n.lookup(ctx, q.Name)
		if err == nil && len(addrs) > 0 && p != nil {
			found.Remote = netip.AddrPortFrom(addrs[0].Unmap(), p.portOf(q.Name))
		} else {
			n.log.Warn("the name of another gateway is not known", "gateway", q.Name, "error", err)
		}
		s.order(func(now time.Time) { s.command(now, found) })
	})
}

// lookup asks for the addresses of a gateway, past our own tunnel: it may be
// down, and what its resolvers are asked for would wait in it.
func (n *node) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	resolver := net.DefaultResolver
	if mark := n.mark(); mark != 0 {
		resolver = &net.Resolver{PreferGo: true, Dial: udp.Dialer(mark).DialContext}
	}
	return resolver.LookupNetIP(ctx, n.family(), name)
}

// portOf is the IKE port of one of p's gateways.
func (p *peer) portOf(name string) uint16 {
	if port, there := p.ports[name]; there {
		return port
	}
	return p.port
}

// family is what our own address can reach.
func (n *node) family() string {
	switch {
	case len(n.cfg.Listen) == 0:
		return "ip"
	case n.cfg.Listen[0].Unmap().Is4():
		return "ip4"
	}
	return "ip6"
}

// localFor is our own IKE address towards the gateway, which NAT detection
// covers. Without a route to it that is the one we listen at.
func (c *Client) localFor(gateway netip.AddrPort) netip.AddrPort {
	own, _ := c.shards[0].port.Ports()
	if !own.Addr().IsUnspecified() {
		return own
	}
	addr, err := udp.Source(gateway, c.mark())
	if err != nil {
		c.log.Warn("no route to the gateway yet", "gateway", gateway, "error", err)
		return own
	}
	return netip.AddrPortFrom(addr, own.Port())
}

// here is where a client reaches its gateway from now, if it knows that. A
// redirect may have led it to another gateway.
func (c *Client) here() (netip.AddrPort, bool) {
	gateway := c.gateway.Load()
	c.shards[0].call(func(now time.Time) {
		c.shards[0].e.Views(now, func(v ike.View) bool {
			gateway = &v.Remote
			return false
		})
	})
	if gateway == nil {
		return netip.AddrPort{}, false
	}
	local := c.localFor(*gateway)
	return local, !local.Addr().IsUnspecified()
}

// leave says goodbye: DELETE, and the ticket is wiped.
func (c *Client) leave() {
	s := c.shards[0]
	gone := make(chan struct{})
	c.turn.Lock() // a reload that is under way is through
	conn := c.peer().Connection
	c.turn.Unlock()
	s.call(func(now time.Time) {
		s.empty = gone
		s.command(now, ike.Command{Kind: ike.CommandClose, Conn: conn})
	})
	late := time.NewTimer(farewell)
	defer late.Stop()
	select {
	case <-gone:
	case <-late.C:
	case <-s.done:
	}
}
