package blackswan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"blackswan/ike"
)

// Gateway waits for peers. It is killed at any moment and loses nothing: what
// it promised is on disk before the answer leaves (rule F6).
type Gateway struct{ *node }

// NewGateway opens the state directory and the sockets and reads what was left
// by the process before. Nothing is answered until Run. The error says what to
// do.
func NewGateway(cfg Config) (*Gateway, error) {
	n, err := newNode(cfg, RoleGateway)
	if err != nil {
		return nil, err
	}
	return &Gateway{n}, nil
}

// Run answers until ctx ends, then writes what is behind and closes everything.
// It says nothing to the peers: their tickets and the roll call bring them back
// to the next process. A data plane that loses its device or its sockets ends
// it with an error.
func (g *Gateway) Run(ctx context.Context) error {
	g.run()
	g.log.Info("listening", "addresses", g.Addrs(), "epoch", g.boot.SPI.Epoch, "roll_call", g.restored.entries)
	var err error
	select {
	case <-ctx.Done():
	case <-g.stop:
	case err = <-g.lost:
	}
	return errors.Join(err, g.close())
}

// Close ends Run, or frees what NewGateway opened.
func (g *Gateway) Close() error { return g.close() }

// Addrs are our IKE port and NAT traversal port at each address.
func (n *node) Addrs() (all []netip.AddrPort) {
	ike, nat := n.shards[0].port.Ports()
	if len(n.cfg.Listen) == 0 {
		return []netip.AddrPort{ike, nat}
	}
	for _, a := range n.cfg.Listen {
		all = append(all, netip.AddrPortFrom(a, ike.Port()), netip.AddrPortFrom(a, nat.Port()))
	}
	return all
}

var errEnded = errors.New("blackswan: it is not running any more")

// Delete sends DELETE for the SA with that SPI of ours, 16 hexadecimal digits,
// and revokes its tickets.
func (g *Gateway) Delete(spi string) error {
	found := false
	for _, s := range g.shards {
		ok := s.call(func(now time.Time) {
			var sa ike.Handle
			s.e.Views(now, func(v ike.View) bool {
				ours := v.SPIs.R
				if v.Original {
					ours = v.SPIs.I
				}
				if ours.String() == spi {
					sa = v.SA
				}
				return sa == 0
			})
			if sa != 0 {
				found = true
				s.command(now, ike.Command{Kind: ike.CommandDelete, SA: sa})
			}
		})
		if !ok {
			return errEnded
		}
	}
	if !found {
		return fmt.Errorf("blackswan: no SA has our SPI %s: 'blackswan status' lists them", spi)
	}
	return nil
}

// RotateQCD makes a new generation of the secret of tokens. It fails while SAs
// name the one whose place is needed (rule B2).
func (g *Gateway) RotateQCD(ctx context.Context) error {
	live := [4]bool{}
	for _, s := range g.shards {
		ok := s.call(func(now time.Time) {
			s.e.Views(now, func(v ike.View) bool { live[v.Generation&3] = true; return true })
		})
		if !ok {
			return errEnded
		}
	}
	made, err := g.dir.RotateQCD(ctx, rand.Reader, func(generation uint8) bool { return live[generation&3] })
	if err != nil {
		return err
	}
	g.all(ike.Command{Kind: ike.CommandKeys, Ring: *g.ring.Load(), QCD: &made})
	return nil
}
