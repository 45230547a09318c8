package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/control"
)

// listed is how many SAs a status shows unless all are asked for.
const listed = 100

func statusHandler(status func(most int) blackswan.Status) control.Handler {
	return func(_ context.Context, r control.Request) (any, error) {
		most := listed
		if r.All {
			most = -1
		}
		return status(most), nil
	}
}

func statusCommand() *cobra.Command {
	var all bool
	var dir string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what a running gateway or client does",
		Long: `Shows what the gateway or client that runs on a state directory does. Without
--state it asks the gateway of this user, or else the client.
` + exitCodes,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			var st blackswan.Status
			if err := askAny(dir, control.Request{Do: control.Status, All: all}, &st); err != nil {
				return err
			}
			return print(c, st, statusText(&st))
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory")
	c.Flags().BoolVar(&all, "all", false, fmt.Sprintf("list every SA, not only %d", listed))
	return c
}

// askAny asks the process on dir, or if that is "" the gateway or else the
// client of this user.
func askAny(dir string, r control.Request, result any) error {
	if dir != "" {
		return control.Ask(dir, r, result)
	}
	err := control.Ask(defaultState(blackswan.RoleGateway), r, result)
	if errors.Is(err, control.ErrNobody) && control.Ask(defaultState(blackswan.RoleClient), r, result) == nil {
		return nil
	}
	return err
}

func statusText(st *blackswan.Status) string {
	var b strings.Builder
	t := &st.Totals
	fmt.Fprintf(&b, "%s %s, process %d, up %s, epoch %d, listens at %s\n", st.Role, st.Version, st.PID,
		time.Since(st.Since).Round(time.Second), st.Epoch, join(st.Addresses))
	fmt.Fprintf(&b, "%d SAs, %d half-open; since the start %d by full handshake, %d resumed, %d fell back, %d failed, %d refused\n",
		t.SAs, t.HalfOpen, t.Full, t.Resumed, t.FellBack, t.Failed, t.Refused)
	if st.Role == "gateway" {
		fmt.Fprintf(&b, "tickets granted %d; tokens shown %d in answers, %d by roll call, %d entries of it left\n",
			t.Tickets, t.TokensShown, t.RollCallShown, t.RollCallLeft)
	}
	if tr := &st.Traffic; tr.Device != "" {
		fmt.Fprintf(&b, "traffic by %s: in %d packets, %d octets; out %d packets, %d octets; dropped %d\n",
			tr.Device, tr.InPackets, tr.InOctets, tr.OutPackets, tr.OutOctets, tr.Dropped)
	}
	for _, note := range st.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	if len(st.SAs) > 0 {
		b.WriteByte('\n')
		table(&b, st.SAs)
		children(&b, st.SAs)
	}
	if st.Unseen > 0 {
		fmt.Fprintf(&b, "and %d more: --all\n", st.Unseen)
	}
	counted(&b, "dropped", st.Counters)
	counted(&b, "dropped of the traffic", st.Traffic.Drops)
	return b.String()
}

// counted lists what was counted by reason.
func counted(b *strings.Builder, title string, by map[string]uint64) {
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		if by[reason] == 0 {
			continue
		}
		if title != "" {
			fmt.Fprintf(b, "\n%s:\n", title)
			title = ""
		}
		fmt.Fprintf(b, "%10d %s\n", by[reason], reason)
	}
}

func table(b *strings.Builder, sas []blackswan.SAStatus) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SPIi\tSPIr\tconnection\tpeer\tremote\tstate\tsince\theard\tin\tout\tsuite")
	for i := range sas {
		s := &sas[i]
		state := s.State
		if s.Resumed {
			state += ", resumed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", s.SPIi, s.SPIr, s.Connection, s.Peer, s.Remote, state,
			s.Age.Round(time.Second), s.Heard.Round(time.Second), s.Traffic.InPackets, s.Traffic.OutPackets, s.Suite)
	}
	_ = t.Flush() // into memory
}

// children tells of the Child SAs of connections that have several, and of those
// that are still to be made.
func children(b *strings.Builder, sas []blackswan.SAStatus) {
	for i := range sas {
		s := &sas[i]
		if s.Child == "" && s.Mode == "" && len(s.Wanted) == 0 {
			continue
		}
		fmt.Fprintf(b, "\nChild SAs of %s with %s:\n", s.Connection, s.Peer)
		if s.ChildIn != "" {
			fmt.Fprintf(b, "  %s %s\n", s.ChildIn, strings.TrimSpace(s.Child+" "+s.Mode))
		}
		for _, c := range s.Children {
			fmt.Fprintf(b, "  %s %s, in %d, out %d\n", c.In, strings.TrimSpace(c.Name+" "+c.Mode), c.Traffic.InPackets, c.Traffic.OutPackets)
		}
		for _, w := range s.Wanted {
			fmt.Fprintf(b, "  to be made: %s %s, in %s\n", w.Name, w.Refused, w.In.Round(time.Second))
		}
	}
}

func join[T fmt.Stringer](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

// hostOf is a gateway's name or address without port.
func hostOf(gateway string) string {
	if host, _, err := net.SplitHostPort(gateway); err == nil {
		return host
	}
	return gateway
}

func deleteCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "delete SPI",
		Short: "End an SA of a running gateway and revoke its tickets",
		Long:  "Ends the SA with this SPI of the gateway's own, as status shows it.\n" + exitCodes,
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if err := askAny(dir, control.Request{Do: control.DeleteSA, SPI: args[0]}, nil); err != nil {
				return err
			}
			return print(c, map[string]string{"deleted": args[0]}, "deleted "+args[0]+"\n")
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory of the gateway")
	return c
}
