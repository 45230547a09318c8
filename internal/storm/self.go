package storm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"blackswan"
	"blackswan/internal/child"
	"blackswan/internal/pki"
	"blackswan/internal/udp"
)

// own is a gateway of ours: a child, with a state directory of its own.
type own struct {
	o   *Options
	dir string
	p   *child.Process
}

// raise starts a gateway and makes o fit it.
func raise(ctx context.Context, o *Options) (*own, error) {
	dir, err := os.MkdirTemp("", "blackswan-storm-")
	if err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	g := &own{o: o, dir: dir}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	o.PSK, o.GatewayID, o.Crash = "0x"+hex.EncodeToString(secret), "gateway.storm", g
	if o.Auth == "cert" {
		err = g.certify()
	}
	if err == nil {
		err = g.configure()
	}
	if err == nil {
		_, err = g.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.fall())
	}
	return g, nil
}

// configure finds two free ports and writes the gateway's configuration.
func (g *own) configure() error {
	free, err := udp.Listen(udp.Config{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})})
	if err != nil {
		return err
	}
	ike, nat := free.Ports()
	if err := free.Close(); err != nil {
		return err
	}
	g.o.Gateway, g.o.NATPort = ike, nat.Port()
	return os.WriteFile(filepath.Join(g.dir, "gateway.yaml"), g.config(), 0o600)
}

func (g *own) config() []byte {
	o := g.o
	rollCall := "ours"
	if o.Simultaneous { // nobody is to be told before all are
		rollCall = "off"
	}
	proof, local, remote := fmt.Sprintf("psk: %q", o.PSK), "auth: psk", "auth: psk"
	if o.Auth == "cert" {
		own := filepath.Join(g.dir, "gateway")
		proof = "reauth: 0s"
		local = fmt.Sprintf("auth: cert, cert: %q, key: %q", own+".pem", own+".key")
		remote = fmt.Sprintf("auth: cert, ca: [%q]", filepath.Join(o.CA, pki.CAFile))
	}
	return fmt.Appendf(nil, `state: %q
listen: [%v]
port: %d
nat_port: %d
qcd: "on"
roll_call: %q
traffic: "off"
connections:
  - name: storm
    %s
    ike: [%q]
    esp: [%q]
    local: {id: %q, %s}
    remote: {id: "*", %s}
`, g.state(), o.Gateway.Addr(), o.Gateway.Port(), o.NATPort, rollCall, proof, cmp.Or(o.IKE, DefaultIKE), cmp.Or(o.ESP, DefaultESP), o.GatewayID, local, remote)
}

// certify makes an authority and a certificate for the gateway.
func (g *own) certify() error {
	g.o.CA = filepath.Join(g.dir, "ca")
	ca, err := pki.NewCA("storm", pki.ECDSAP256, 0, time.Now())
	if err != nil {
		return err
	}
	leaf, err := ca.Issue(pki.Request{ID: g.o.GatewayID, Kind: pki.Gateway, Now: time.Now()})
	if err != nil {
		return err
	}
	return errors.Join(ca.Save(g.o.CA), leaf.Save(filepath.Join(g.dir, "gateway")))
}

// start runs the program until it listens.
func (g *own) start(ctx context.Context) (time.Time, error) {
	var said struct{ Time time.Time }
	cmd := g.o.Command(ctx, "gateway", "--json", "--config", filepath.Join(g.dir, "gateway.yaml"))
	p, err := child.Watch("gateway", cmd, g.o.cores.give(), "listening", &said)
	if err != nil {
		return time.Time{}, fmt.Errorf("storm: %w", err)
	}
	g.p = p
	return said.Time, nil
}

func (g *own) process(context.Context) (Process, error) {
	return Process(strconv.Itoa(g.p.PID())), nil
}

func (g *own) kill(context.Context) error {
	g.p.Kill()
	return nil
}

// status asks the gateway about itself.
func (g *own) status() (blackswan.Status, error) { return g.o.Status(g.state()) }

func (g *own) state() string { return filepath.Join(g.dir, "state") }

// fall ends the gateway and removes what it had.
func (g *own) fall() error {
	if g.p != nil {
		g.p.Kill()
	}
	return os.RemoveAll(g.dir)
}
