package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"blackswan"
	"blackswan/internal/pki"
)

// newcomer is what a gateway without configuration makes at its first start: an
// authority, its own certificate and one for a first client.
type newcomer struct {
	ca, gateway, client string // files, without .pem but for the authority
	traffic             string
}

// The identities of a gateway without configuration, and of its first client.
const (
	newGateway = "gateway.blackswan"
	newClient  = "client.blackswan"
)

// The inner network of a gateway without configuration: its own address, and
// that of its first client.
const (
	newNetwork       = "10.78.0.0/24"
	newInner         = "10.78.0.1"
	newClientAddress = "10.78.0.2"
)

// welcome makes what is not there yet in the state directory, and the one
// connection of cfg.
func welcome(cfg *blackswan.Config) (*newcomer, error) {
	state, err := filepath.Abs(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(state, "pki")
	n := &newcomer{
		ca: filepath.Join(dir, pki.CAFile), gateway: filepath.Join(dir, "gateway"), client: filepath.Join(dir, "client"),
		traffic: cfg.Traffic,
	}
	ca, err := pki.LoadCA(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if ca, err = pki.NewCA("Black Swan", "", 0, time.Now()); err == nil {
			err = ca.Save(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, leaf := range []struct {
		prefix, id string
		kind       pki.Kind
	}{{n.gateway, newGateway, pki.Gateway}, {n.client, newClient, pki.Client}} {
		if err := issueOnce(ca, leaf.prefix, leaf.id, leaf.kind); err != nil {
			return nil, err
		}
	}
	cfg.Connections = []blackswan.Connection{{
		Name:   "clients",
		Local:  blackswan.Side{ID: newGateway, Auth: "cert", Cert: n.gateway + ".pem", Key: n.gateway + ".key"},
		Remote: blackswan.Side{ID: "*", Auth: "cert", CA: []string{n.ca}},

		LocalTS: []string{newInner}, RemoteTS: []string{newNetwork},
	}}
	if len(cfg.Tunnel.Addresses) == 0 {
		cfg.Tunnel.Addresses = []string{newInner + "/24"}
	}
	return n, nil
}

func issueOnce(ca *pki.CA, prefix, id string, kind pki.Kind) error {
	if _, err := os.Stat(prefix + ".pem"); err == nil {
		return nil
	}
	leaf, err := ca.Issue(pki.Request{ID: id, Kind: kind, Now: time.Now()})
	if err != nil {
		return err
	}
	return leaf.Save(prefix)
}

// print tells how to connect the first client to the gateway at addrs.
func (n *newcomer) print(c *cobra.Command, addrs []netip.AddrPort) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	words := []string{program, "connect",
		"--ca", n.ca, "--cert", n.client + ".pem", "--key", n.client + ".key",
		"--id", newClient, "--gateway-id", newGateway,
		"--address", newClientAddress, "--remote-ts", newInner}
	if nat := addrs[1].Port(); nat != blackswan.DefaultNATPort {
		words = append(words, "--gateway-nat-port", fmt.Sprint(nat))
	}
	if n.traffic == "off" {
		words = append(words, "--traffic", "off")
	}
	if os.Geteuid() == 0 {
		words = append(words, "--any-port") // the usual ones may be the gateway's
		if os.Getenv("SUDO_UID") != "" {
			words = append([]string{"sudo"}, words...) // the credential is root's
		}
	}
	addr, err := reachable(addrs[0].Addr())
	if err != nil {
		return err
	}
	words = append(words, netip.AddrPortFrom(addr, addrs[0].Port()).String())
	for i, w := range words {
		words[i] = quoted(w)
	}
	command := strings.Join(words, " ")
	return print(c, map[string]any{"connect": command, "argv": words},
		fmt.Sprintf("Connect a first client from this machine, or from another one with these three files:\n\n  %s\n\n", command))
}

// reachable is addr, or if that is none an address of this machine that others
// can reach, or the loopback address.
func reachable(addr netip.Addr) (netip.Addr, error) {
	if addr.IsValid() && !addr.IsUnspecified() {
		return addr, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return addr, fmt.Errorf("own addresses: %w", err)
	}
	var found netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().IsGlobalUnicast() && (!found.IsValid() || found.Is6() && p.Addr().Is4()) {
			found = p.Addr()
		}
	}
	return cmp.Or(found, netip.AddrFrom4([4]byte{127, 0, 0, 1})), nil
}

// quoted is a word as a shell reads it.
func quoted(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
