package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/conf"
	"blackswan/internal/control"
)

// nodeFlags are what gateway and connect have in common.
type nodeFlags struct {
	config, state, keylog string
	port, natPort         uint16
	listen, traffic       string
}

func (f *nodeFlags) add(c *cobra.Command, role blackswan.Role) {
	c.Flags().StringVar(&f.config, "config", "", "configuration file")
	c.Flags().StringVar(&f.state, "state", "", "state directory (default "+defaultState(role)+")")
	c.Flags().StringVar(&f.keylog, "keylog", "", "write the keys of every SA to this file, for Wireshark: who reads it reads everything")
	c.Flags().Uint16Var(&f.port, "port", 0, "own IKE port")
	c.Flags().Uint16Var(&f.natPort, "nat-port", 0, "own port for NAT traversal")
	c.Flags().StringVar(&f.listen, "listen", "", "own IP address (default all)")
	c.Flags().StringVar(&f.traffic, "traffic", "", "carry packets through a TUN: on, off, or auto: if one can be had (default auto)")
}

// read makes the Config of the file and the flags, which go before it.
func (f *nodeFlags) read(role blackswan.Role) (cfg blackswan.Config, text []byte, err error) {
	if f.config != "" {
		if cfg, text, err = conf.Read(f.config); err != nil {
			return cfg, nil, err
		}
	}
	cfg.StateDir = cmp.Or(f.state, cfg.StateDir, defaultState(role))
	cfg.KeyLog = cmp.Or(f.keylog, cfg.KeyLog)
	cfg.Traffic = cmp.Or(f.traffic, cfg.Traffic, "auto")
	cfg.Port = cmp.Or(f.port, cfg.Port)
	cfg.NATPort = cmp.Or(f.natPort, cfg.NATPort)
	if f.listen != "" {
		addr, err := netip.ParseAddr(f.listen)
		if err != nil {
			return cfg, nil, usage(fmt.Errorf("blackswan: --listen: %q is not an IP address", f.listen))
		}
		cfg.Listen = []netip.Addr{addr}
	}
	return cfg, text, credentialKey(&cfg)
}

func gatewayCommand() *cobra.Command {
	var f nodeFlags
	var undo, profiles bool
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Run a gateway",
		Long: `Runs a gateway until SIGTERM or SIGINT. It then says nothing to its clients:
they resume when it is back, as they do after a crash. SIGHUP reads the
connections of the configuration file again: SAs that they would not have any
more are deleted, all others go on.

Without --config it makes an identity, an authority and a credential for a
first client in its state directory, and prints the command that connects it.

What it routes to its clients never leaves in the clear, also when it is killed:
the next start goes on, and --release gives the host its routes back.
` + exitCodes,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if undo {
				cfg, _, err := f.read(blackswan.RoleGateway)
				if err != nil {
					return err
				}
				return release(c, cfg.StateDir, nil)
			}
			return runGateway(c, &f, profiles)
		},
	}
	f.add(c, blackswan.RoleGateway)
	c.Flags().BoolVar(&profiles, "pprof", false, "serve profiles of the process at "+control.ProfileFile+" in the state directory")
	c.Flags().BoolVar(&undo, "release", false, "only undo what a gateway that was killed has left on this host")
	return c
}

func runGateway(c *cobra.Command, f *nodeFlags, profiles bool) (err error) {
	cfg, text, err := f.read(blackswan.RoleGateway)
	if err != nil {
		return err
	}
	cfg.Log = logger(c)
	var first *newcomer
	if f.config == "" {
		if first, err = welcome(&cfg); err != nil {
			return err
		}
	}
	if err := conf.Check(f.config, text, &cfg, blackswan.RoleGateway); err != nil {
		return err
	}
	g, err := blackswan.NewGateway(cfg)
	if err != nil {
		return needsPorts(err)
	}
	defer g.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	onSignal(ctx, func(os.Signal) { stop() }, os.Interrupt, syscall.SIGTERM)
	onSignal(ctx, func(os.Signal) { reload(g, f, blackswan.RoleGateway, cfg.Log) }, syscall.SIGHUP)
	if first != nil {
		if err := first.print(c, g.Addrs()); err != nil {
			return err
		}
	}
	if profiles {
		profiled := make(chan error, 1)
		go func() { profiled <- control.Profile(ctx, cfg.StateDir) }()
		defer func() { stop(); err = errors.Join(err, <-profiled) }()
	}
	return serve(ctx, &cfg, gatewayHandlers(g), cfg.Log, g.Run)
}

// reload has node take the connections of the file, if all of it is good.
func reload(node interface{ Reload(blackswan.Config) error }, f *nodeFlags, role blackswan.Role, log *slog.Logger) {
	if f.config == "" {
		log.Warn("nothing to reload: the gateway runs without --config")
		return
	}
	cfg, text, err := f.read(role)
	if err == nil {
		err = conf.Check(f.config, text, &cfg, role)
	}
	if err == nil {
		err = node.Reload(cfg)
	}
	if err != nil {
		log.Error("the configuration stays as it was", "error", err)
	}
}

func gatewayHandlers(g *blackswan.Gateway) control.Handlers {
	return control.Handlers{
		control.Status: statusHandler(g.Status),
		control.RotateKeys: func(ctx context.Context, r control.Request) (any, error) {
			err := g.RotateTickets(ctx)
			if err != nil && !errors.Is(err, blackswan.ErrShared) {
				return nil, err
			}
			return struct{}{}, errors.Join(err, g.RotateQCD(ctx))
		},
		control.RevokeKeys: func(ctx context.Context, r control.Request) (any, error) {
			dropped, err := g.RevokeTickets(ctx)
			return revoked{Keys: dropped, Clients: g.Status(0).Totals.SAs}, err
		},
		control.DeleteSA: func(_ context.Context, r control.Request) (any, error) {
			return struct{}{}, g.Delete(r.SPI)
		},
		control.Drain: func(_ context.Context, r control.Request) (any, error) {
			sas, err := g.Drain(r.To)
			return left{SAs: sas}, err
		},
		control.Stop: func(_ context.Context, r control.Request) (any, error) {
			if r.Goodbye {
				sas, err := g.Goodbye()
				return left{SAs: sas}, err
			}
			g.Stop()
			return left{SAs: g.Status(0).Totals.SAs}, nil
		},
	}
}
