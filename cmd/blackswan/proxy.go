package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"blackswan"
	"blackswan/internal/netstack"
	"blackswan/internal/proxy"
)

// socks is SOCKS5 through the tunnel: an IP stack of our own in place of a TUN,
// so that neither root nor routes are needed.
type socks struct {
	listener net.Listener
	server   proxy.Server
}

// openSocks listens at addr and gives cfg its device, with the inner addresses
// of the connection of that name.
func openSocks(addr string, cfg *blackswan.Config, name string) (*socks, error) {
	i := slices.IndexFunc(cfg.Connections, func(c blackswan.Connection) bool { return c.Name == name || name == "" })
	if i < 0 {
		return nil, usage(fmt.Errorf("blackswan: --proxy: no connection is called %q", name))
	}
	addresses, dns, err := innerAddresses(&cfg.Connections[i])
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, usage(fmt.Errorf("blackswan: --proxy: %w: give a free address and port of this machine, as 127.0.0.1:1080", err))
	}
	mtu := cfg.Tunnel.MTU
	if mtu == 0 {
		mtu = blackswan.DefaultMTU
	}
	stack, err := netstack.Open(addresses, dns, mtu)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blackswan: --proxy: %w", err), listener.Close())
	}
	cfg.Device = stack
	return &socks{listener: listener, server: proxy.Server{Dial: stack.Dial, Log: cfg.Log}}, nil
}

// innerAddresses are a connection's own addresses and resolvers inside.
func innerAddresses(c *blackswan.Connection) (own, dns []netip.Addr, err error) {
	if len(c.Addresses) == 0 {
		return nil, nil, usage(fmt.Errorf("blackswan: --proxy: connection %q has no inner address: give --address, or addresses: in the file", c.Name))
	}
	for _, text := range c.Addresses {
		prefix, perr := netip.ParsePrefix(text)
		addr, aerr := netip.ParseAddr(text)
		if perr != nil && aerr != nil {
			return nil, nil, usage(fmt.Errorf("blackswan: --proxy: %q is not an address", text))
		}
		if aerr != nil {
			addr = prefix.Addr()
		}
		own = append(own, addr)
	}
	for _, text := range c.DNS {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, nil, usage(fmt.Errorf("blackswan: --proxy: resolver %q is not an address", text))
		}
		dns = append(dns, addr)
	}
	return own, dns, nil
}

// beside runs client with the proxy beside it: neither goes on without the
// other.
func (s *socks) beside(client func(context.Context) error, log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		log.Info("SOCKS5 through the tunnel", "proxy", s.listener.Addr())
		ctx, end := context.WithCancelCause(ctx)
		served := make(chan error, 1)
		go func() {
			err := s.server.Serve(ctx, s.listener)
			if err != nil {
				end(blackswan.ErrKeepTicket)
			}
			served <- err
		}()
		err := client(ctx)
		end(nil)
		return errors.Join(err, <-served)
	}
}
