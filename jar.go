package blackswan

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"blackswan/auth"
	"blackswan/ike"
	"blackswan/internal/jar"
	"blackswan/ticket"
)

// openJar opens the client's tickets; they lie below its state directory.
func (c *Client) openJar() (err error) {
	if c.profile, err = c.cfg.Connections[0].profile(c.peer); err != nil {
		return fmt.Errorf("blackswan: profile of %s: %w", c.peer.Name, err)
	}
	if c.jar, err = jar.Open(filepath.Join(c.cfg.StateDir, "jar")); err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	c.keepTicket = c.saveTicket
	return nil
}

// showTicket adds to the order what the jar has for the connection. What does
// not fit the profile any more was wiped (rule D12); without a ticket the first
// handshake is a full one.
func (c *Client) showTicket(order *ike.Command) {
	e, err := c.jar.Match(c.peer.Name, c.profile, c.wall(time.Now()), c.trusts)
	switch {
	case errors.Is(err, jar.ErrNone):
	case err != nil:
		c.log.Warn("the ticket of the last run is not used", "connection", c.peer.Name, "error", err)
	default:
		order.Ticket, order.Session, order.Until = e.Ticket, e.Session, e.Expires.Unix()
		c.peer.leaf.Store(&e.PeerCert)
	}
}

// trusts reports whether a trust anchor is still configured.
func (c *Client) trusts(anchor [32]byte) bool {
	now := time.Now()
	return c.peer.verifier != nil && !errors.Is(c.peer.verifier.Recheck(anchor, nil, nil, now, now), auth.ErrUntrusted)
}

// saveTicket puts a ticket into the jar, or wipes what is there. It is on disk
// when it returns.
func (c *Client) saveTicket(r *ike.Record) error {
	if r.Kind == ike.RecordTicketGone {
		return c.jar.Wipe(c.peer.Name)
	}
	var s ticket.Session
	if err := ticket.ParseSession(r.Session, &s); err != nil {
		return err
	}
	own, _ := c.shards[0].port.Ports()
	e := &jar.Entry{
		Session: r.Session, Ticket: r.Ticket, Expires: time.Unix(r.Expires, 0),
		Gateways: []netip.AddrPort{*c.gateway.Load()}, Gateway: *c.gateway.Load(), LocalPort: own.Port(),
		Profile: c.profile, Anchor: s.PeerCert.Anchor,
	}
	if s.PeerCert.NotAfter != 0 {
		e.NotAfter = time.Unix(s.PeerCert.NotAfter, 0)
	}
	if leaf := c.peer.leaf.Load(); leaf != nil && len(s.PeerCert.Serial) > 0 {
		e.PeerCert = *leaf
	}
	return c.jar.Save(c.peer.Name, e)
}
