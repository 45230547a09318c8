package blackswan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"blackswan/dataplane"
	"blackswan/internal/hostnet"
)

// What the tunnel changes on its host: its own inner addresses, and routes for
// what its Child SAs carry. The shards say what came and went and never wait;
// one goroutine makes the host so. Routes stay while an SA is detected as lost
// and resumed, and become blackholes when the process dies (rule E9).

const (
	// hostMark is the firewall mark of our own sockets: their packets never
	// enter the tunnel.
	hostMark = 0x4500

	// hostPatience bounds the programs that set the resolver.
	hostPatience = 10 * time.Second
)

// mostGone is for how many Child SAs that are gone a client keeps the routes.
const mostGone = 256

// beforeUs stands for the Child SAs that a crash has ended: no SPI is 0. Their
// routes stay until their peers have had time to come back (rule E9).
const beforeUs = 0

// host makes the host as the Child SAs want it.
type host struct {
	net  *hostnet.Host
	tell func(error)
	wake chan struct{} // something changed; has room for one

	mu      sync.Mutex
	base    hostnet.Plan                // what does not depend on any Child SA
	carried map[uint32][]netip.Prefix   // by inbound SPI
	sources map[netip.Prefix]netip.Addr // our addresses towards peers that are carried themselves
	stays   bool                        // a client: routes stay until another Child SA has them
	gone    []uint32                    // Child SAs whose routes stay

	patience time.Duration // a gateway's, with those whose routes a crash has left
}

// mark is the firewall mark of our sockets, if there is a tunnel to keep them
// out of.
func (n *node) mark() uint32 {
	if n.ownDevice {
		return hostMark
	}
	return 0
}

// hostDir is where a journal lies that tells the next start what to undo.
func hostDir(state string) string { return filepath.Join(state, "host") }

// openHost takes what a crash has left, if our TUN is one of this host.
func (n *node) openHost() error {
	if !n.ownDevice {
		return nil
	}
	name := "gateway"
	if n.role == RoleClient {
		name = (*n.peers.Load())[0].Name
	}
	net, err := hostnet.Open(hostDir(n.cfg.StateDir), name)
	if err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	n.host = &host{
		net: net, base: n.hostPlan(), stays: n.role == RoleClient, carried: map[uint32][]netip.Prefix{}, sources: map[netip.Prefix]netip.Addr{},
		wake: make(chan struct{}, 1),
		tell: func(err error) { n.note("the host is not as the tunnel needs it: " + err.Error()) },
	}
	if n.role == RoleGateway {
		n.host.carried[beforeUs], n.host.patience = net.Routes(), n.cfg.timers().RollCallAge
	}
	return nil
}

// hostPlan is what the configuration says of the host. A gateway routes the
// networks of its peers from the start; everything, or what is dynamic, only
// as far as Child SAs carry it.
func (n *node) hostPlan() hostnet.Plan {
	plan := hostnet.Plan{Device: n.deviceName(), MTU: n.mtu(), Mark: hostMark}
	if n.role == RoleClient {
		p := (*n.peers.Load())[0]
		plan.Addresses, plan.DNS, plan.Search = p.addresses, p.dns, p.search
		return plan
	}
	var f findings // Check has seen them
	plan.Addresses = prefixes(n.cfg.Tunnel.Addresses, "", &f)
	for _, p := range *n.peers.Load() {
		for policy := range p.Policies {
			for _, s := range policy.RemoteTS {
				plan.Routes = append(plan.Routes, slices.DeleteFunc(s.Prefixes(), func(r netip.Prefix) bool { return r.Bits() == 0 })...)
			}
		}
	}
	return plan
}

// installed routes what c carries.
func (h *host) installed(c *dataplane.Child) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var routes []netip.Prefix
	for _, s := range c.RemoteTS {
		routes = append(routes, s.Prefixes()...)
	}
	h.gone = slices.DeleteFunc(h.gone, func(spi uint32) bool {
		again := len(beyond(routes, h.carried[spi])) == 0
		if again {
			delete(h.carried, spi)
		}
		return again || spi == c.SPIIn
	})
	h.carried[c.SPIIn] = routes
	if own, ok := ownHost(c); ok {
		h.sources[routes[0]] = own
	}
	if h.stays {
		h.reach(c.Remote.Addr())
	}
	if h.stays || len(beyond(h.base.Routes, routes)) > 0 {
		h.ring()
	}
}

// ownHost is our address where c carries what goes from this host itself to its
// peer itself. The kernel might choose that of another device.
func ownHost(c *dataplane.Child) (own netip.Addr, ok bool) {
	if len(c.LocalTS) != 1 || len(c.RemoteTS) != 1 {
		return own, false
	}
	here, there := c.LocalTS[0], c.RemoteTS[0]
	ours := !c.Local.IsValid() || here.Start == c.Local.Addr() // a client that roams does not say
	return here.Start, ours && here.Start == here.End && there.Start == there.End && there.Start == c.Remote.Addr()
}

// moved follows a client's gateway to another address.
func (h *host) moved(remote netip.Addr) {
	if !h.stays {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reach(remote)
	h.ring()
}

// reach keeps the way to a client's gateway out of the tunnel, unless the
// gateway's own address is what the tunnel is for: then our mark has to do.
func (h *host) reach(gateway netip.Addr) {
	h.base.Gateway = gateway
	own := netip.PrefixFrom(gateway, gateway.BitLen())
	for _, routes := range h.carried {
		if slices.Contains(routes, own) {
			h.base.Gateway = netip.Addr{}
		}
	}
}

// removed takes the routes of a gateway's Child SA away.
func (h *host) removed(spiIn uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch routes, there := h.carried[spiIn]; {
	case !there:
	case h.stays:
		h.gone = append(h.gone, spiIn)
		if len(h.gone) > mostGone {
			delete(h.carried, h.gone[0])
			h.gone = h.gone[1:]
			h.ring()
		}
	default:
		delete(h.carried, spiIn)
		if len(beyond(h.base.Routes, routes)) > 0 {
			h.ring()
		}
	}
}

// renewed takes another base, of a configuration that was read again.
func (h *host) renewed(base hostnet.Plan) {
	h.mu.Lock()
	defer h.mu.Unlock()
	base.Gateway = h.base.Gateway
	h.base = base
	h.ring()
}

// beyond are the routes that none of base covers.
func beyond(base, routes []netip.Prefix) (rest []netip.Prefix) {
	for _, r := range routes {
		if !slices.ContainsFunc(base, func(b netip.Prefix) bool { return b.Bits() <= r.Bits() && b.Contains(r.Addr()) }) {
			rest = append(rest, r)
		}
	}
	return rest
}

func (h *host) ring() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// plan is what the host shall be now.
func (h *host) plan() hostnet.Plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	plan := h.base
	plan.Routes = slices.Clone(plan.Routes)
	sources := map[netip.Prefix]netip.Addr{}
	for _, routes := range h.carried {
		plan.Routes = append(plan.Routes, beyond(h.base.Routes, routes)...)
		for _, r := range routes {
			if own, there := h.sources[r]; there {
				sources[r] = own
			}
		}
	}
	h.sources, plan.Sources = sources, maps.Clone(sources)
	return plan
}

// keep makes the host as it shall be whenever that changes, and undoes all of
// it at the end.
func (h *host) keep(stop <-chan struct{}) {
	var late <-chan time.Time
	if !h.stays {
		h.ring() // a gateway's routes are there before its clients
		late = time.After(h.patience)
	}
	for {
		select {
		case <-stop:
			h.leave()
			return
		case <-late:
			h.removed(beforeUs)
		case <-h.wake:
			ctx, cancel := context.WithTimeout(context.Background(), hostPatience)
			if err := h.net.Apply(ctx, h.plan()); err != nil {
				h.tell(err)
			}
			cancel()
		}
	}
}

// leave undoes what was done to the host.
func (h *host) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), hostPatience)
	defer cancel()
	if err := h.net.Release(ctx); err != nil {
		h.tell(err)
	}
}

// Left are the names by which Release knows what is on this host: of clients
// and gateways of that state directory that are up, or were killed.
func Left(stateDir string) ([]string, error) {
	names, err := hostnet.Connections(hostDir(stateDir))
	if err != nil {
		return nil, fmt.Errorf("blackswan: %w", err)
	}
	return names, nil
}

// Release undoes what a client of that connection, or a gateway, has left on
// this host when it was killed: routes that let nothing out in the clear,
// addresses, the resolver. It returns false if there was nothing, and an error
// if that process runs.
func Release(stateDir, connection string) (released bool, err error) {
	net, err := hostnet.Open(hostDir(stateDir), connection)
	if err != nil {
		return false, fmt.Errorf("blackswan: %w", err)
	}
	released = net.Changed()
	ctx, cancel := context.WithTimeout(context.Background(), hostPatience)
	defer cancel()
	if err = net.Release(ctx); err != nil {
		err = fmt.Errorf("blackswan: %w", err)
	}
	return released, errors.Join(err, net.Close())
}
