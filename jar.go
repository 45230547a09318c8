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
	if c.jar, err = jar.Open(filepath.Join(c.cfg.StateDir, "jar")); err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	c.keepTicket = c.saveTicket
	return c.readProfile(&c.cfg.Connections[0], c.peer())
}

// readProfile gives p, made of conn, its profile if there is a jar.
func (c *Client) readProfile(conn *Connection, p *peer) (err error) {
	if c.jar == nil {
		return nil
	}
	if p.profile, err = conn.profile(p); err != nil {
		return fmt.Errorf("blackswan: profile of %s: %w", conn.Name, err)
	}
	return nil
}

// showTicket adds to the order what the jar has for the connection. What does
// not fit the profile any more was wiped (rule D12); without a ticket the first
// handshake is a full one.
func (c *Client) showTicket(order *ike.Command) {
	p := c.peer()
	e, err := c.jar.Match(p.Name, p.profile, c.wall(time.Now()), c.trusts)
	switch {
	case errors.Is(err, jar.ErrNone):
	case err != nil:
		c.log.Warn("the ticket of the last run is not used", "connection", p.Name, "error", err)
	default:
		order.Ticket, order.Session, order.Until = e.Ticket, e.Session, e.Expires.Unix()
		p.leaf.Store(&e.PeerCert)
	}
}

// trusts reports whether a trust anchor is still configured.
func (c *Client) trusts(anchor [32]byte) bool {
	now, verifier := time.Now(), c.peer().verifier
	return verifier != nil && !errors.Is(verifier.Recheck(anchor, nil, nil, now, now), auth.ErrUntrusted)
}

// saveTicket puts a ticket into the jar, or wipes what is there. It is on disk
// when it returns.
func (c *Client) saveTicket(r *ike.Record) error {
	p := c.peer()
	if r.Kind == ike.RecordTicketGone {
		return c.jar.Wipe(p.Name)
	}
	var s ticket.Session
	if err := ticket.ParseSession(r.Session, &s); err != nil {
		return err
	}
	own, _ := c.shards[0].port.Ports()
	e := &jar.Entry{
		Session: r.Session, Ticket: r.Ticket, Expires: time.Unix(r.Expires, 0),
		Gateways: []netip.AddrPort{*c.gateway.Load()}, Gateway: *c.gateway.Load(), LocalPort: own.Port(),
		Profile: p.profile, Anchor: s.PeerCert.Anchor,
	}
	if s.PeerCert.NotAfter != 0 {
		e.NotAfter = time.Unix(s.PeerCert.NotAfter, 0)
	}
	if leaf := p.leaf.Load(); leaf != nil && len(s.PeerCert.Serial) > 0 {
		e.PeerCert = *leaf
	}
	return c.jar.Save(p.Name, e)
}
