package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/conf"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file and print the effective one",
		Long: `Reads a configuration file, judges it as a start would, and prints what would be
used, defaults filled in, secrets left out, below advice about what would work
and is unwise. A file whose connections name a gateway is a client's, any other
a gateway's.
` + exitCodes,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, source, err := conf.Read(args[0])
			if err != nil {
				return err
			}
			role := blackswan.RoleGateway
			for i := range cfg.Connections {
				if cfg.Connections[i].Gateway != "" {
					role = blackswan.RoleClient
				}
			}
			cfg.Traffic = cmp.Or(cfg.Traffic, "auto")
			if cfg.StateDir == "" {
				cfg.StateDir = defaultState(role)
			}
			if err := conf.Check(args[0], source, &cfg, role); err != nil {
				return err
			}
			effective, err := conf.Print(cfg, role)
			if err != nil {
				return err
			}
			advice := cfg.Advice(role, time.Now())
			result := map[string]any{"ok": true, "role": role.String(), "advice": advice, "effective": string(effective)}
			text := fmt.Sprintf("# %s is a good configuration of a %s\n", args[0], role)
			for _, line := range advice {
				text += "# but " + line + "\n"
			}
			return print(c, result, text+string(effective))
		},
	}
}
