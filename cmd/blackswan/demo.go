package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"blackswan"
	"blackswan/internal/demo"
)

func demoCommand() *cobra.Command {
	var opt demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Kill a gateway and watch its clients come back",
		Long: `Starts a gateway and a process with many clients on the loopback interface,
kills the gateway with SIGKILL, starts it again, and shows how every client
learned of it and came back: a ladder of one client's messages and a table.
Needs no root, no configuration and no network, and leaves nothing behind.
` + exitCodes,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return runDemo(c, opt) },
	}
	c.Flags().IntVar(&opt.Clients, "clients", 20, "how many clients")
	c.Flags().BoolVar(&opt.NoRollCall, "no-roll-call", false, "no roll call: clients learn of the crash when they next check the gateway")
	c.Flags().BoolVar(&opt.NoQCD, "no-qcd", false, "no crash detection at all: clients learn by silence")
	return c
}

func runDemo(c *cobra.Command, opt demo.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	opt.Command = func(ctx context.Context, role, file string) *exec.Cmd {
		return exec.CommandContext(ctx, program, demoChild, role, file)
	}
	if !wantsJSON(c) {
		opt.Progress = c.OutOrStdout()
	}
	report, err := demo.Run(ctx, opt)
	if errors.Is(err, demo.ErrOptions) {
		return usage(err)
	}
	if err != nil {
		return err
	}
	return judged(c, report)
}

// errNotAll says nothing: the report did.
var errNotAll = errors.New("")

const demoChild = "demo-child"

// demoChildCommand is a process of the demo.
func demoChildCommand() *cobra.Command {
	return &cobra.Command{
		Use: demoChild, Hidden: true, Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			// The terminal sends its signals to us too; our supervisor ends us.
			signal.Ignore(os.Interrupt)
			ctx, stop := context.WithCancelCause(context.Background())
			defer stop(nil)
			if args[0] == demo.Clients { // the gateway hears it by the end of its stdin, and cleans up
				go func() {
					awaitDeaf(os.Stdout)
					stop(blackswan.ErrKeepTicket)
				}()
			}
			return demo.Child(ctx, args[0], args[1], os.Stdin, c.OutOrStdout())
		},
	}
}

// awaitDeaf waits until nobody can read any more what is written to f: our
// supervisor was killed.
func awaitDeaf(f *os.File) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(f.Fd())}}, -1) // no events: errors alone
		if n > 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}
