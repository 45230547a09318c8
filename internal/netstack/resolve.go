package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

// serverTime is how long a server may be silent while another can be asked.
const serverTime = 3 * time.Second

// noServers is told to who wants a name before a DNS server is known.
const noServers = "no DNS server inside the tunnel is known: set dns, or let the gateway assign one"

// resolve is the addresses of a host, of the families that the stack has. An
// address is its own answer. Names are asked for inside the tunnel, one server
// after the other; only the machine's hosts file is read before.
func (s *Stack) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap().WithZone("")}, nil
	}
	s.mu.RLock()
	servers := s.dns
	v4, v6 := s.families()
	s.mu.RUnlock()

	family := "ip"
	switch {
	case !v6:
		family = "ip4"
	case !v4:
		family = "ip6"
	}
	var last error = &net.DNSError{Err: noServers, Name: host}
	for i, server := range servers {
		addrs, err := s.ask(ctx, server, family, host, len(servers)-i)
		if err == nil {
			return addrs, nil
		}
		last = err
		var answer *net.DNSError
		if errors.As(err, &answer) && answer.IsNotFound { // others would say the same
			break
		}
	}
	return nil, last
}

// ask asks one of several servers for a name.
func (s *Stack) ask(ctx context.Context, server netip.Addr, family, host string, left int) ([]netip.Addr, error) {
	ctx, cancel := share(ctx, left)
	defer cancel()
	if left > 1 {
		var early context.CancelFunc
		ctx, early = context.WithTimeout(ctx, serverTime)
		defer early()
	}
	resolver := net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			c, err := s.connect(ctx, network, netip.AddrPortFrom(server, 53))
			if err == nil {
				context.AfterFunc(ctx, func() { c.Close() }) // ctx ends with the question
			}
			return c, err
		},
	}
	rooted := strings.TrimSuffix(host, ".") + "." // the machine's search list is not the tunnel's
	addrs, err := resolver.LookupNetIP(ctx, family, rooted)
	var failed *net.DNSError
	if errors.As(err, &failed) {
		failed.Name, failed.Server = host, server.String() // the resolver names the machine's
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	return addrs, err
}
