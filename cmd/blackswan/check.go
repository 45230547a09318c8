package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/conf"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file and print the effective one",
		Long: `Reads a configuration file, judges it as a start would, and prints what would be
used, defaults filled in, secrets left out. A file whose connections name a
gateway is a client's, any other a gateway's.
` + exitCodes,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, text, err := conf.Read(args[0])
			if err != nil {
				return err
			}
			role := blackswan.RoleGateway
			for i := range cfg.Connections {
				if cfg.Connections[i].Gateway != "" {
					role = blackswan.RoleClient
				}
			}
			if cfg.StateDir == "" {
				cfg.StateDir = defaultState(role)
			}
			if err := conf.Check(args[0], text, &cfg, role); err != nil {
				return err
			}
			effective, err := conf.Print(cfg, role)
			if err != nil {
				return err
			}
			result := map[string]any{"ok": true, "role": role.String(), "effective": string(effective)}
			return print(c, result, fmt.Sprintf("# %s is a good configuration of a %s\n%s", args[0], role, effective))
		},
	}
}
