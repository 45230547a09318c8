package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"blackswan/internal/pki"
)

func pkiCommand() *cobra.Command {
	return group("pki", "A small authority for certificates", pkiInitCommand(), pkiIssueCommand())
}

// algorithms are the values of --key.
var algorithms = map[string]pki.Algorithm{
	"ecdsa": pki.ECDSAP256, "rsa": pki.RSA3072, "ed25519": pki.Ed25519,
	"ecdsa-p256": pki.ECDSAP256, "ecdsa-p384": pki.ECDSAP384, "rsa-2048": pki.RSA2048, "rsa-3072": pki.RSA3072,
}

const algorithmHelp = "ecdsa, rsa or ed25519 (also ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072)"

func algorithm(text string) (pki.Algorithm, error) {
	a, ok := algorithms[text]
	if !ok {
		return a, usage(fmt.Errorf("blackswan: --key %q: write %s", text, algorithmHelp))
	}
	return a, nil
}

func pkiInitCommand() *cobra.Command {
	var name, key string
	var days int
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "Make an authority: DIR/ca.pem for peers, DIR/ca.key for nobody else",
		Long:  "Makes an authority. It never replaces one.\n" + exitCodes,
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := algorithm(key)
			if err != nil {
				return err
			}
			ca, err := pki.NewCA(name, a, days, time.Now())
			if err != nil {
				return usage(err)
			}
			if err := ca.Save(args[0]); err != nil {
				return err
			}
			files := []string{filepath.Join(args[0], pki.CAFile), filepath.Join(args[0], pki.CAKeyFile)}
			return print(c, map[string]string{"ca": files[0], "key": files[1]},
				fmt.Sprintf("%s is for gateways and clients to trust; keep %s to yourself\n", files[0], files[1]))
		},
	}
	c.Flags().StringVar(&name, "name", "Black Swan", "name of the authority")
	c.Flags().StringVar(&key, "key", "ecdsa", algorithmHelp)
	c.Flags().IntVar(&days, "days", 0, fmt.Sprintf("life in days (default %d)", pki.DefaultCADays))
	return c
}

func pkiIssueCommand() *cobra.Command {
	var id, kind, key, out string
	var days int
	c := &cobra.Command{
		Use:   "issue DIR --id NAME",
		Short: "Issue a certificate: PREFIX.pem and PREFIX.key",
		Long:  "Makes a key and a certificate of the authority in DIR. It never replaces one.\n" + exitCodes,
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			kinds := []string{string(pki.Gateway), string(pki.Client)}
			if id == "" || !slices.Contains(kinds, kind) {
				return usage(fmt.Errorf("blackswan: --id names whose certificate it is, --kind is one of %s", strings.Join(kinds, ", ")))
			}
			a, err := algorithm(key)
			if err != nil {
				return err
			}
			ca, err := pki.LoadCA(args[0])
			if err != nil {
				return fmt.Errorf("%w: 'blackswan pki init %s' makes an authority", err, args[0])
			}
			leaf, err := ca.Issue(pki.Request{ID: id, Kind: pki.Kind(kind), Algorithm: a, Days: days, Now: time.Now()})
			if err != nil {
				return usage(err)
			}
			if out == "" {
				out = filepath.Join(args[0], id)
			}
			if err := leaf.Save(out); err != nil {
				return err
			}
			return print(c, map[string]string{"cert": out + ".pem", "key": out + ".key", "ca": filepath.Join(args[0], pki.CAFile)},
				fmt.Sprintf("%s.pem and %s.key are %s's\n", out, out, id))
		},
	}
	c.Flags().StringVar(&id, "id", "", "a name (gw.example.org), a mail address or an IP address")
	c.Flags().StringVar(&kind, "kind", string(pki.Client), "gateway or client")
	c.Flags().StringVar(&key, "key", "ecdsa", algorithmHelp)
	c.Flags().StringVar(&out, "out", "", "prefix of the two files (default DIR/ID)")
	c.Flags().IntVar(&days, "days", 0, fmt.Sprintf("life in days (default %d)", pki.DefaultDays))
	return c
}
