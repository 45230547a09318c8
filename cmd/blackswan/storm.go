package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"blackswan"
	"blackswan/internal/control"
	"blackswan/internal/storm"
)

// stormFlags are the texts of what storm.Options has as values.
type stormFlags struct {
	storm.Options
	from, crash, process string
	report               string
	natPort              uint16
}

func stormCommand() *cobra.Command {
	var f stormFlags
	c := &cobra.Command{
		Use:   "storm [GATEWAY[:PORT]]",
		Short: "Load a gateway with clients, let it crash, and judge how they come back",
		Long: `Connects many clients to a gateway, ours or another's, lets it crash, and judges
how they come back. Each client has its own identity and its own address, of
--from, or with --ports its own source port; all of them live in this process.

  blackswan storm --self --clients 100000
      starts a gateway on the loopback interface and kills it: needs nothing else
  blackswan storm 192.0.2.1 --psk SECRET --clients 500 --crash gateway.service
      kills a gateway that runs on this machine, and measures its process
  blackswan storm 192.0.2.1 --auth cert --ca DIR --clients 500 --resume
      no crash: each client resumes once
  blackswan storm 192.0.2.1 --psk SECRET --clients 5000 --ports
      no other addresses are needed: to the gateway they are an office behind a NAT

--crash wants the number of a process, which is started again as it was, the
NAME.service of a systemd unit, or a command for the shell that kills the
gateway and starts it again.
` + exitCodes,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return runStorm(c, &f, args) },
	}
	f.add(c)
	return c
}

func (f *stormFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.Clients, "clients", 1000, "how many clients")
	c.Flags().BoolVar(&f.Self, "self", false, "start a gateway of our own, and kill it")
	c.Flags().IntVar(&f.Cores, "cores", 1, "with --self: CPUs that the gateway has for itself, if the machine has more (0: it shares all)")
	c.Flags().Uint16Var(&f.natPort, "nat-port", 0, "the gateway's port for NAT traversal")
	c.Flags().StringVar(&f.from, "from", "", "prefix of own addresses, which this machine must have (default 127.64.0.0/10 to a gateway on the loopback interface, else one address for all)")
	c.Flags().BoolVar(&f.Ports, "ports", false, "the clients have one address and each a source port of its own, as behind a NAT")
	c.Flags().StringVar(&f.ID, "id", storm.DefaultID, "identities of the clients; %d is their number")
	c.Flags().StringVar(&f.GatewayID, "gateway-id", "", "identity of the gateway (default any)")
	c.Flags().StringVar(&f.Auth, "auth", "psk", "how both sides prove themselves: psk or cert")
	c.Flags().StringVar(&f.PSK, "psk", "", "shared key: text, 0x and hexadecimal, or 0s and base64")
	c.Flags().StringVar(&f.CA, "ca", "", "directory of the authority that vouches for both sides, as 'blackswan pki init' makes it; it issues the clients' certificates")
	c.Flags().StringVar(&f.IKE, "ike", storm.DefaultIKE, "proposal of the IKE SA")
	c.Flags().StringVar(&f.ESP, "esp", storm.DefaultESP, "proposal of the Child SA")
	c.Flags().BoolVar(&f.Libreswan, "libreswan", false, "the gateway is libreswan: the short AUTH form of a resume")
	c.Flags().Float64Var(&f.Rate, "rate", 0, "clients that begin a second (default as many as --at-once allows)")
	c.Flags().IntVar(&f.AtOnce, "at-once", storm.DefaultAtOnce, "clients under way at a time")
	c.Flags().DurationVar(&f.Timers.Retry, "retry", storm.DefaultRetry, "time to the first retransmission; it grows by half")
	c.Flags().DurationVar(&f.Timers.DPD, "dpd", 0, "silence after which a client checks the gateway's liveness (default never)")
	c.Flags().Float64Var(&f.Weather.Loss, "loss", 0, "part of the datagrams that are lost, in each direction: 0.05 is one in twenty")
	c.Flags().Float64Var(&f.Weather.Duplicate, "duplicate", 0, "part of them that come twice")
	c.Flags().Float64Var(&f.Weather.Reorder, "reorder", 0, "part of them that are overtaken")
	c.Flags().BoolVar(&f.Echo, "echo", false, "measure beside it what two echoes of UDP cost on this machine")
	c.Flags().BoolVar(&f.Resume, "resume", false, "each client resumes once without a crash")
	c.Flags().BoolVar(&f.Simultaneous, "simultaneous", false, "after the crash all clients resume at the same moment")
	c.Flags().StringVar(&f.crash, "crash", "", "process, unit or command that kills the gateway")
	c.Flags().BoolVar(&f.BreakRing, "break-ring", false, "with --self: no ticket is good any more after the crash")
	c.Flags().IntVar(&f.Crashes, "crashes", 1, "how often the gateway crashes, each time when half of the clients are back")
	c.Flags().StringVar(&f.process, "process", "", "the gateway's process on this machine, to measure it: its number, the path of a file that has it, or its name (default that of --crash)")
	c.Flags().StringVar(&f.report, "report", "", "write the report as a page to this file")
	c.Flags().DurationVar(&f.Patience, "patience", 0, "the longest wait for all clients (default one that grows with them)")
}

// read makes the options of the flags.
func (f *stormFlags) read(args []string) (err error) {
	f.Process = storm.Process(f.process)
	if f.from != "" {
		if f.From, err = netip.ParsePrefix(f.from); err != nil {
			return fmt.Errorf("blackswan: --from: %q is no prefix: write one like 10.0.0.0/16", f.from)
		}
	}
	if f.Self {
		if len(args) > 0 || f.crash != "" {
			return errors.New("blackswan: --self starts and kills a gateway of its own: leave the other one out")
		}
		return nil
	}
	if len(args) == 0 {
		return errors.New("blackswan: name a gateway, or start one with --self")
	}
	f.NATPort = f.natPort
	if f.NATPort == 0 {
		f.NATPort = blackswan.DefaultNATPort
	}
	if f.Gateway, err = netip.ParseAddrPort(args[0]); err != nil {
		a, aerr := netip.ParseAddr(args[0])
		if aerr != nil {
			return fmt.Errorf("blackswan: %q is no IP address: write one, with a port if it is not 500", args[0])
		}
		f.Gateway = netip.AddrPortFrom(a, blackswan.DefaultPort)
	}
	f.Crash, err = storm.ParseCrash(f.crash, f.Process)
	return err
}

func runStorm(c *cobra.Command, f *stormFlags, args []string) error {
	if err := f.read(args); err != nil {
		return usage(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	f.Command = func(ctx context.Context, args ...string) *exec.Cmd { return exec.CommandContext(ctx, program, args...) }
	f.Status = func(dir string) (st blackswan.Status, err error) {
		err = control.Ask(dir, control.Request{Do: control.Status}, &st)
		return st, err
	}
	f.Revoke = func(dir string) error { return control.Ask(dir, control.Request{Do: control.RevokeKeys}, nil) }
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err == nil { // a terminal
		f.Progress = c.ErrOrStderr()
	}
	report, err := storm.Run(ctx, f.Options)
	if errors.Is(err, storm.ErrOptions) {
		return usage(err)
	}
	if err != nil {
		return err
	}
	if f.report != "" {
		if err := writePage(f.report, report); err != nil {
			return err
		}
	}
	return judged(c, report)
}

// stormEchoCommand is the process that a resume is compared with.
func stormEchoCommand() *cobra.Command {
	return &cobra.Command{
		Use: storm.EchoCommand, Hidden: true, Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return storm.Echo(ctx, logger(c))
		},
	}
}

func writePage(file string, report *storm.Report) error {
	var page bytes.Buffer
	if err := report.WritePage(&page); err != nil {
		return err
	}
	return os.WriteFile(file, page.Bytes(), 0o644)
}
