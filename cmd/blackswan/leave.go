package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/control"
)

// left is the answer to control.Drain and control.Stop.
type left struct {
	SAs int `json:"sas"` // that there were
}

func drainCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "drain GATEWAY",
		Short: "Send every client of a running gateway to another one, then stop it",
		Long: `Sends every client of a running gateway to another one (RFC 5685), a name or an
address that has the same identity and shares its ticket keys ('blackswan keys
new'), and stops the gateway when they are gone. They resume there: no ticket dies
of it. Clients that do not follow are left behind in silence. It waits for the
end, half a minute after the last client was told.
` + exitCodes,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return leave(c, dir, control.Request{Do: control.Drain, To: args[0]}, "clients were sent away")
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory of the gateway")
	return c
}

func stopCommand() *cobra.Command {
	var dir string
	var goodbye bool
	c := &cobra.Command{
		Use:   "stop",
		Short: "Stop a running gateway, in silence or with a goodbye",
		Long: `Stops a running gateway as SIGTERM does: in silence, so that its clients resume
when it is back. With --goodbye every peer is told DELETE, which ends its ticket:
it logs in anew wherever it finds a gateway. It waits for the end.
` + exitCodes,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			said := "clients were left in silence"
			if goodbye {
				said = "clients were told goodbye"
			}
			return leave(c, dir, control.Request{Do: control.Stop, Goodbye: goodbye}, said)
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory of the gateway")
	c.Flags().BoolVar(&goodbye, "goodbye", false, "send DELETE to every peer first")
	return c
}

// leave asks a gateway to end and waits until nobody answers there.
func leave(c *cobra.Command, dir string, r control.Request, said string) error {
	if dir == "" {
		dir = defaultState(blackswan.RoleGateway)
	}
	var l left
	if err := control.Ask(dir, r, &l); err != nil {
		return err
	}
	for look := time.NewTicker(100 * time.Millisecond); ; <-look.C {
		err := control.Ask(dir, control.Request{Do: control.Status}, nil)
		if errors.Is(err, control.ErrNobody) {
			return print(c, l, fmt.Sprintf("the gateway has ended; %d %s\n", l.SAs, said))
		}
	}
}
