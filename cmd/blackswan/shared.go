package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"blackswan/internal/state"
	"blackswan/ticket"
)

// ringFile is what a person sees of a file of shared ticket keys.
type ringFile struct {
	File string    `json:"file"`
	Turn time.Time `json:"turn_at"` // when the next turn is due
	Keys []ringKey `json:"keys"`
}

type ringKey struct {
	ID         string    `json:"id"` // as 'ticket inspect' shows it
	SealsFrom  time.Time `json:"seals_from"`
	SealsUntil time.Time `json:"seals_until"`
	OpensUntil time.Time `json:"opens_until"`
}

func newKeysCommand() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "new FILE",
		Short: "Make a file of ticket keys that several gateways share",
		Long: `Makes a file of ticket keys. Gateways whose configurations name a copy of it as
ticket_keys resume each other's clients. Who has the file can do so too: copy it
by scp, for the user of the gateway alone. With --from the tickets that a gateway
has granted until now stay good.
` + exitCodes,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var older []ticket.Key
			var err error
			if from != "" {
				if older, err = ringOf(from); err != nil {
					return err
				}
			}
			keys, err := state.CreateRing(args[0], older, time.Now(), rand.Reader)
			if err != nil {
				return err
			}
			return printRing(c, args[0], keys, "copy it to every gateway that shares it, and name it as ticket_keys in the configuration of each")
		},
	}
	c.Flags().StringVar(&from, "from", "", "take over the keys of the gateway with this state directory")
	return c
}

func turnKeysCommand() *cobra.Command {
	var in time.Duration
	c := &cobra.Command{
		Use:   "turn FILE",
		Short: "Add a key to a file of shared ticket keys; tickets stay good",
		Long: `Adds a new key to the file, which is used in a while: copy the file to every
gateway that shares it before that. Each reads it by itself. Keys whose last
ticket has expired leave the file. Do so once a day, on one machine alone; a key
that is not turned for two days seals no more tickets.
` + exitCodes,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			keys, err := state.TurnRing(args[0], time.Now(), in, rand.Reader)
			if errors.Is(err, state.ErrTooSoon) {
				return usage(err)
			}
			if err != nil {
				return err
			}
			return printRing(c, args[0], keys, fmt.Sprintf("copy it to every gateway that shares it: the new key is used in %v", in))
		},
	}
	c.Flags().DurationVar(&in, "in", 10*time.Minute, "when the new key is used")
	return c
}

func showKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Show what a file of shared ticket keys has, without the keys themselves",
		Long:  "Shows the names and times of the keys in a file of shared ticket keys.\n" + exitCodes,
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			keys, err := state.ReadRing(args[0])
			if err != nil {
				return err
			}
			return printRing(c, args[0], keys, "")
		},
	}
}

// printRing shows what the file has, and says what is to be done now.
func printRing(c *cobra.Command, file string, keys []ticket.Key, next string) error {
	at := func(unix int64) time.Time { return time.Unix(unix, 0).UTC() }
	shown := ringFile{File: file, Turn: state.TurnAt(keys).UTC()}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "key\tseals from\tseals until\topens until")
	for _, k := range keys {
		key := ringKey{fmt.Sprintf("%08x", k.ID), at(k.Created).Add(ticket.PublishDelay), at(k.SealUntil), at(k.OpenUntil)}
		shown.Keys = append(shown.Keys, key)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", key.ID, key.SealsFrom.Format(time.DateTime), key.SealsUntil.Format(time.DateTime), key.OpensUntil.Format(time.DateTime))
	}
	_ = t.Flush() // into memory
	fmt.Fprintf(&b, "%s: the next turn is due at %s UTC\n", file, shown.Turn.Format(time.DateTime))
	if next != "" {
		fmt.Fprintf(&b, "%s: %s\n", file, next)
	}
	return print(c, shown, b.String())
}
