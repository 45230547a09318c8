package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/jar"
	"blackswan/internal/suite"
	"blackswan/ticket"
	"blackswan/wire"
)

func ticketCommand() *cobra.Command {
	var dir, gateway string
	inspect := &cobra.Command{
		Use:   "inspect [NAME]",
		Short: "Show the ticket that a client keeps for a connection",
		Long: `Shows what a client keeps to resume the connection NAME ("gateway" if it was made
by flags). With the state directory of its gateway, or the file of ticket keys
that it shares, it opens the ticket itself as the gateway would; nothing there is
changed. Keys are not shown.
` + exitCodes,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			name := flagsConnection
			if len(args) == 1 {
				name = args[0]
			}
			return inspectTicket(c, dir, name, gateway)
		},
	}
	inspect.Flags().StringVar(&dir, "state", defaultState(blackswan.RoleClient), "state directory of the client")
	inspect.Flags().StringVar(&gateway, "gateway-state", "", "state directory of the gateway, or its file of shared ticket keys")
	return group("ticket", "The tickets of a client", inspect)
}

// shown is what a person sees of a ticket.
type shown struct {
	Connection string    `json:"connection"`
	Octets     int       `json:"octets"`
	Form       string    `json:"form"`
	Gateway    string    `json:"gateway"`
	Expires    time.Time `json:"expires"`
	Client     *session  `json:"client"`            // what the client remembers
	Opened     *session  `json:"opened,omitempty"`  // what the gateway reads in the ticket
	Verdict    string    `json:"verdict,omitempty"` // of the gateway's ring
}

// session is a ticket.Session without its key.
type session struct {
	IDi      string    `json:"id_i"`
	IDr      string    `json:"id_r"`
	Suite    string    `json:"suite"`
	SPIi     string    `json:"spi_i"`
	SPIr     string    `json:"spi_r"`
	Lineage  string    `json:"lineage,omitempty"` // the gateway's alone
	Serial   uint32    `json:"serial"`
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires"`
	FullAuth time.Time `json:"full_authentication"`
	LastKE   time.Time `json:"last_key_exchange"`
	Reauth   time.Time `json:"reauthentication,omitzero"`
	SKd      string    `json:"sk_d"`
}

func inspectTicket(c *cobra.Command, dir, name, gateway string) error {
	if _, err := os.Stat(dir); err != nil {
		return usage(fmt.Errorf("blackswan: %w: name the client's state directory with --state", err))
	}
	j, err := jar.Open(filepath.Join(dir, "jar"))
	if err != nil {
		return err
	}
	defer j.Close()
	e, err := j.Peek(name)
	if errors.Is(err, jar.ErrNone) {
		return fmt.Errorf("blackswan: %s keeps no ticket for %q: it was never connected, or has logged out: %w", dir, name, err)
	}
	if err != nil {
		return err
	}
	s := shown{
		Connection: name, Octets: len(e.Ticket), Form: formOf(e.Ticket), Gateway: e.Gateway.String(), Expires: e.Expires.UTC(),
	}
	var own ticket.Session
	if err := ticket.ParseSession(e.Session, &own); err != nil {
		return err
	}
	s.Client = view(&own)
	if gateway != "" {
		keys, err := ringOf(gateway)
		if err != nil {
			return err
		}
		if s.Opened, s.Verdict, err = open(keys, e.Ticket); err != nil {
			return err
		}
	}
	return print(c, s, s.text())
}

func formOf(t []byte) string {
	if len(t) > 5 {
		switch ticket.Form(t) {
		case ticket.ByValue:
			return fmt.Sprintf("by value, key %x", t[1:5])
		case ticket.ByReference:
			return fmt.Sprintf("by reference, key %x", t[1:5])
		}
	}
	return "of another make"
}

// open reads t with the keys of a gateway.
func open(keys []ticket.Key, t []byte) (*session, string, error) {
	ring, err := ticket.NewRing(keys)
	if err != nil {
		return nil, "", err
	}
	var s ticket.Session
	switch err := ring.Open(&s, t, time.Now().Unix()); {
	case err == nil:
		return view(&s), "opens", nil
	case errors.Is(err, ticket.ErrExpired):
		return view(&s), err.Error(), nil
	default:
		return nil, err.Error(), nil
	}
}

func view(s *ticket.Session) *session {
	at := func(unix int64) time.Time {
		if unix == 0 {
			return time.Time{}
		}
		return time.Unix(unix, 0).UTC()
	}
	id := func(i ticket.ID) string { return wire.ID{Type: wire.IDType(i.Type), Data: i.Data}.String() }
	lineage := ""
	if s.Lineage != [16]byte{} {
		lineage = fmt.Sprintf("%x", s.Lineage)
	}
	return &session{
		IDi: id(s.IDi), IDr: id(s.IDr), SPIi: wire.SPI(s.SPIi).String(), SPIr: wire.SPI(s.SPIr).String(),
		Suite: suite.Suite{
			Encr: wire.TransformID(s.Suite.Encr), KeyBits: s.Suite.KeyBits, Integ: wire.TransformID(s.Suite.Integ),
			PRF: wire.TransformID(s.Suite.PRF), KE: wire.TransformID(s.Suite.KE),
		}.String(),
		Lineage: lineage, Serial: s.Serial, Issued: at(s.Issued), Expires: at(s.Expires),
		FullAuth: at(s.FullAuth), LastKE: at(s.LastKE), Reauth: at(s.Reauth), SKd: s.SKd.String(),
	}
}

func (s *shown) text() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "connection\t%s at %s\nticket\t%d octets, %s\nexpires\t%s, in %s\n", s.Connection, s.Gateway, s.Octets, s.Form,
		s.Expires.Format(time.DateTime), time.Until(s.Expires).Round(time.Second))
	fmt.Fprint(t, "\nthe client remembers\n")
	s.Client.write(t)
	if s.Verdict != "" {
		fmt.Fprintf(t, "\nat the gateway it %s\n", strings.TrimPrefix(s.Verdict, "ticket: "))
	}
	if s.Opened != nil {
		s.Opened.write(t)
	}
	_ = t.Flush() // into memory
	return b.String()
}

func (s *session) write(t *tabwriter.Writer) {
	fmt.Fprintf(t, "IDi\t%s\nIDr\t%s\nsuite\t%s\nSPIs\t%s_i %s_r\nSK_d\t%s\n", s.IDi, s.IDr, s.Suite, s.SPIi, s.SPIr, s.SKd)
	if s.Lineage != "" {
		fmt.Fprintf(t, "lineage\t%s, serial %d\n", s.Lineage, s.Serial)
	}
	for _, d := range []struct {
		what string
		at   time.Time
	}{{"issued", s.Issued}, {"expires", s.Expires}, {"logged in", s.FullAuth}, {"last key exchange", s.LastKE}, {"log in again", s.Reauth}} {
		if !d.at.IsZero() {
			fmt.Fprintf(t, "%s\t%s\n", d.what, d.at.Format(time.DateTime))
		}
	}
}
