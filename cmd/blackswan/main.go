// Command blackswan is an IKEv2 VPN, gateway and client, whose clients come
// back by themselves when the gateway was killed.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"blackswan"
	"blackswan/internal/conf"
)

// Exit codes, told by every --help.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitDemo   = 3
)

const exitCodes = `
Exit codes: 0 success, 1 failure, 2 wrong usage or configuration,
3 demo and storm: not every client resumed.`

// coded is an error with its exit code.
type coded struct {
	code int
	error
}

func (c coded) Unwrap() error { return c.error }

func usage(err error) error { return coded{exitUsage, err} }

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if err := keysStayInMemory(); err != nil {
		fmt.Fprintln(stderr, "blackswan:", err)
		return exitFailed
	}
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, text)
	}
	var c coded
	var problems conf.Problems
	var field *blackswan.FieldError
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &problems), errors.As(err, &field):
		return exitUsage
	}
	return exitFailed
}

// keysStayInMemory turns core dumps off, and reading by a debugger of the same
// user (rule G5).
func keysStayInMemory() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	return nil
}

// command is the whole program.
func command() *cobra.Command {
	root := group("blackswan", "An IKEv2 VPN whose clients come back when the gateway was killed",
		gatewayCommand(), connectCommand(), demoCommand(), demoChildCommand(), stormCommand(), stormEchoCommand(), statusCommand(), deleteCommand(),
		drainCommand(), stopCommand(),
		ticketCommand(), keysCommand(), stateCommand(), pkiCommand(), checkCommand(), versionCommand())
	root.Long = `An IKEv2 VPN, gateway and client. When the gateway is killed, its clients learn
of it at once (RFC 6290) and resume in two round trips without their
credentials (RFC 5723).

Start with:  blackswan demo
Then:        blackswan gateway     it prints the command for a first client
` + exitCodes
	root.SilenceUsage, root.SilenceErrors = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().Bool("json", false, "print JSON instead of text")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w: see '%s --help'", err, c.CommandPath()))
	})
	return root
}

// group is a command that has others and does nothing itself.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: short + ".\n" + exitCodes, Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// args makes what cobra says about arguments a fault of usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage(fmt.Errorf("%w: see '%s --help'", err, c.CommandPath()))
		}
		return nil
	}
}
