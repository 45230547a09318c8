package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/state"
)

// defaultState is where a role keeps its state if nothing else is said.
func defaultState(role blackswan.Role) string {
	base := os.Getenv("XDG_STATE_HOME")
	home, err := os.UserHomeDir()
	switch {
	case os.Geteuid() == 0:
		base = "/var/lib"
	case base == "" && err == nil:
		base = filepath.Join(home, ".local", "state")
	case base == "":
		base = os.TempDir()
	}
	return filepath.Join(base, "blackswan", role.String())
}

func stateCommand() *cobra.Command {
	var dir string
	adopt := &cobra.Command{
		Use:   "adopt",
		Short: "Say that the state directory belongs to this machine",
		Long: `After a move to another machine, or a new machine-id, a gateway does not answer
for the SAs that it had before: a copy of it might still run and hold them. If
none does, adopt the directory while the gateway is stopped.
` + exitCodes,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return adoptState(c, dir) },
	}
	adopt.Flags().StringVar(&dir, "state", defaultState(blackswan.RoleGateway), "state directory of the gateway")
	return group("state", "The state directory", adopt)
}

func adoptState(c *cobra.Command, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return usage(err)
	}
	d, err := state.Open(dir, state.Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Adopt(context.Background()); err != nil {
		return err
	}
	return print(c, map[string]string{"adopted": dir}, dir+" belongs to this machine now; it counts at the next start\n")
}
