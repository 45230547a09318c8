package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/conf"
	"blackswan/internal/control"
)

// flagsConnection is the name of the connection that is given by flags.
const flagsConnection = "gateway"

// dial is that connection.
type dial struct {
	id, gatewayID  string
	ca             []string
	cert, key      string
	gatewayNATPort uint16
	anyPort        bool

	addresses, remoteTS, dns []string
	release                  bool
	proxy                    string
}

func connectCommand() *cobra.Command {
	var f nodeFlags
	var d dial
	c := &cobra.Command{
		Use:   "connect [--config FILE [NAME] | GATEWAY[:PORT] --ca F --cert F --key F --id ID]",
		Short: "Bring a connection up and keep it up",
		Long: `Brings a connection up and keeps it up: it resumes by itself after a crash of the
gateway, a restart of this program or a lost network.

Ctrl-C (SIGINT) logs out: the gateway is told, the ticket is wiped; a second one
ends at once. SIGTERM keeps the ticket and says nothing: the next start resumes.
With --config, SIGHUP reads the connection again: it stays if it can, else it is
made anew, or ended if it is gone.

What the tunnel carries never leaves in the clear once it has been up, also when
this program is killed: the next start goes on, and --release gives the host its
routes back.

Without root, and without ports of its own, it uses free ones.
` + exitCodes,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return runConnect(c, &f, &d, args) },
	}
	f.add(c, blackswan.RoleClient)
	c.Flags().StringVar(&d.id, "id", "", "own identity, as the certificate has it")
	c.Flags().StringVar(&d.gatewayID, "gateway-id", "", "the gateway's identity, as its certificate has it (default its name or address)")
	c.Flags().StringSliceVar(&d.ca, "ca", nil, "PEM file of the authority that the gateway's certificate comes from")
	c.Flags().StringVar(&d.cert, "cert", "", "PEM file of the own certificate")
	c.Flags().StringVar(&d.key, "key", "", "PEM file of its private key")
	c.Flags().Uint16Var(&d.gatewayNATPort, "gateway-nat-port", 0, "the gateway's port for NAT traversal (default 4500)")
	c.Flags().BoolVar(&d.anyPort, "any-port", false, "use free own ports")
	c.Flags().StringSliceVar(&d.addresses, "address", nil, "own inner address (default the outer one)")
	c.Flags().StringSliceVar(&d.remoteTS, "remote-ts", nil, "what is behind the gateway, as 10.1.0.0/16, or 0.0.0.0/0 for everything (default the gateway itself)")
	c.Flags().StringVar(&d.proxy, "proxy", "", "no TUN and no root: SOCKS5 through the tunnel at this address, as 127.0.0.1:1080")
	c.Flags().BoolVar(&d.release, "release", false, "only undo what a client that was killed has left on this host")
	c.Flags().StringSliceVar(&d.dns, "dns", nil, "resolver inside the tunnel")
	return c
}

func runConnect(c *cobra.Command, f *nodeFlags, d *dial, args []string) error {
	cfg, text, err := f.read(blackswan.RoleClient)
	if err != nil {
		return err
	}
	if d.release {
		return release(c, cfg.StateDir, args)
	}
	name := ""
	switch {
	case f.config == "" && len(args) == 0:
		return usage(fmt.Errorf("blackswan: connect to whom? Name a gateway or give --config: see '%s --help'", c.CommandPath()))
	case f.config == "":
		name = flagsConnection
		cfg.Connections = []blackswan.Connection{d.connection(name, args[0])}
	case len(args) == 1:
		name = args[0]
	}
	if d.anyPort || os.Geteuid() != 0 && cfg.Port == 0 && cfg.NATPort == 0 {
		cfg.AnyPort = true
	}
	cfg.Log = logger(c)
	if err := conf.Check(f.config, text, &cfg, blackswan.RoleClient); err != nil {
		return err
	}
	var s *socks
	if d.proxy != "" {
		if s, err = openSocks(d.proxy, &cfg, name); err != nil {
			return err
		}
	}
	client, err := blackswan.NewClient(cfg, name)
	if err != nil {
		return needsPorts(err)
	}
	defer client.Close()
	run := client.Run
	if s != nil {
		run = s.beside(client.Run, cfg.Log)
	}
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	onSignal(ctx, func(os.Signal) { end(blackswan.ErrKeepTicket) }, syscall.SIGTERM)
	if f.config != "" { // else the terminal that goes ends us
		onSignal(ctx, func(os.Signal) { reload(client, f, blackswan.RoleClient, cfg.Log) }, syscall.SIGHUP)
	}
	farewell, said := context.WithCancel(context.Background())
	defer said()
	asked := false
	onSignal(farewell, func(os.Signal) {
		if asked {
			os.Exit(exitFailed)
		}
		asked = true
		cfg.Log.Info("logging out; press Ctrl-C again to end at once")
		end(nil)
	}, os.Interrupt)
	return serve(ctx, &cfg, control.Handlers{control.Status: statusHandler(client.Status)}, cfg.Log, run)
}

// release undoes what processes of a state directory that were killed have left
// on this host: those of that name, or all.
func release(c *cobra.Command, stateDir string, names []string) error {
	if len(names) == 0 {
		var err error
		if names, err = blackswan.Left(stateDir); err != nil {
			return err
		}
	}
	done := []string{}
	for _, name := range names {
		released, err := blackswan.Release(stateDir, name)
		if err != nil {
			return err
		}
		if released {
			done = append(done, name)
		}
	}
	text := "nothing was left on this host\n"
	if len(done) > 0 {
		text = "undone what was left of " + strings.Join(done, ", ") + "\n"
	}
	return print(c, map[string]any{"released": done}, text)
}

// connection is the one that the flags describe.
func (d *dial) connection(name, gateway string) blackswan.Connection {
	remote := d.gatewayID
	if remote == "" {
		remote = hostOf(gateway)
	}
	return blackswan.Connection{
		Name: name, Gateway: gateway, GatewayNATPort: d.gatewayNATPort,
		Local:  blackswan.Side{ID: d.id, Auth: "cert", Cert: d.cert, Key: d.key},
		Remote: blackswan.Side{ID: remote, Auth: "cert", CA: d.ca},

		Addresses: d.addresses, RemoteTS: d.remoteTS, DNS: d.dns,
	}
}
