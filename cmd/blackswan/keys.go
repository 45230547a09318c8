package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"blackswan/internal/control"
)

// revoked is the answer to control.RevokeKeys.
type revoked struct {
	Keys    int `json:"keys"`    // of the ring, gone
	Clients int `json:"clients"` // connected now, whose ticket went with it
}

func keysCommand() *cobra.Command {
	var dir string
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Make new keys now; tickets stay good",
		Long: `Makes a new key for tickets and a new secret for tokens. Those granted until now
stay good: their keys go when the last of them has expired. A gateway that shares
its ticket keys makes the secret alone, and says what to do about the keys.
` + exitCodes,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := askAny(dir, control.Request{Do: control.RotateKeys}, nil); err != nil {
				return err
			}
			return print(c, map[string]bool{"rotated": true}, "new keys are in use; tickets of the others stay good\n")
		},
	}
	revoke := &cobra.Command{
		Use:   "revoke",
		Short: "Throw all ticket keys away: every client logs in anew at its next start",
		Long: `Replaces all keys of tickets, as after a theft. No ticket that was ever granted
opens again. SAs that stand now go on. A gateway that shares its ticket keys
changes nothing, and says what to do instead.
` + exitCodes,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			var r revoked
			if err := askAny(dir, control.Request{Do: control.RevokeKeys}, &r); err != nil {
				return err
			}
			return print(c, r, fmt.Sprintf("%d keys are gone; %d connected clients, and all that are away, will log in anew\n", r.Keys, r.Clients))
		},
	}
	for _, c := range []*cobra.Command{rotate, revoke} {
		c.Flags().StringVar(&dir, "state", "", "state directory of the gateway")
	}
	return group("keys", "The keys of tickets and tokens: of a running gateway, or shared by several",
		rotate, revoke, newKeysCommand(), turnKeysCommand(), showKeysCommand())
}
