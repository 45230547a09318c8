package blackswan

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"blackswan/auth/cert"
	"blackswan/auth/psk"
	"blackswan/ike"
	"blackswan/internal/hostnet"
	"blackswan/internal/state"
	"blackswan/internal/udp"
	"blackswan/ticket"
)

// FieldError is one thing in a Config that a run would refuse.
type FieldError struct {
	Field string // as the configuration file calls it, "connections[1].local.cert"
	What  string
	Cure  string
	Err   error // why, or nil
}

// Error is "blackswan: what: where: cure".
func (e *FieldError) Error() string {
	return "blackswan: " + e.What + ": " + e.Field + ": " + e.Cure
}

// Unwrap returns why.
func (e *FieldError) Unwrap() error { return e.Err }

// Check returns everything that a run in that role would refuse, as FieldErrors
// in one errors.Join; nil if there is nothing. It reads the files that c names.
func (c *Config) Check(role Role) error {
	_, err := c.ready(role)
	return err
}

// Advice says what a run in that role would take and a person should change all
// the same: shared keys that can be guessed, revocation lists that have run out
// by now, shared ticket keys that nobody turns, settings of this host under
// which a gateway's packets go no further.
// It is for a Config that Check finds nothing in.
func (c *Config) Advice(role Role, now time.Time) []string {
	peers, _ := c.ready(role)
	out := advice(peers, now)
	if ring, err := state.ReadRing(c.TicketKeys); c.TicketKeys != "" && err == nil {
		if text := unturned(c.TicketKeys, ring, now); text != "" {
			out = append(out, text)
		}
	}
	if role == RoleClient || c.Traffic == "off" || c.Traffic == "" {
		return out
	}
	var routes []netip.Prefix
	for _, p := range peers {
		for policy := range p.Policies {
			for _, s := range slices.Concat(policy.LocalTS, policy.RemoteTS) {
				routes = append(routes, s.Prefixes()...)
			}
		}
	}
	for _, hint := range hostnet.Forwarding(os.DirFS("/proc/sys"), routes) {
		out = append(out, hint.Problem+" "+hint.Cure)
	}
	return out
}

func advice(peers []*peer, now time.Time) []string {
	out := []string{} // JSON knows it from null
	for _, p := range peers {
		if text := psk.Secret(p.PSK).Advice(); len(p.PSK) > 0 && text != "" {
			out = append(out, p.Name+": "+text)
		}
		if ke := cmp.Or(p.Grant.SinceKE, ticket.DefaultSinceKE); p.Tickets && p.host == "" && p.Lifetime > ke {
			out = append(out, fmt.Sprintf("%s: an SA has no good ticket from %v after its last key exchange until the next one, before %v: shorten lifetime", p.Name, ke, p.Lifetime))
		}
		if v, ok := p.verifier.(*cert.Verifier); ok {
			for _, list := range v.Stale(now) {
				out = append(out, p.Name+": "+list+": fetch the next one")
			}
		}
	}
	return out
}

// findings collects FieldErrors.
type findings []error

func (f *findings) add(field, cure, what string, args ...any) {
	*f = append(*f, &FieldError{Field: field, What: fmt.Sprintf(what, args...), Cure: cure})
}

// wrap takes an error that says what and why itself.
func (f *findings) wrap(field, cure string, err error) {
	*f = append(*f, &FieldError{Field: field, What: err.Error(), Cure: cure, Err: err})
}

// oneOf wants a field to be empty or one of some words.
func (f *findings) oneOf(field, value string, words ...string) {
	if value != "" && !slices.Contains(words, value) {
		f.add(field, fmt.Sprintf("write one of %q", words), "%q is not a choice", value)
	}
}

// ready checks c and makes its connections ready for use.
func (c *Config) ready(role Role) ([]*peer, error) {
	var f findings
	c.checkNode(role, &f)
	if len(c.Connections) == 0 {
		f.add("connections", "configure at least one", "no connection is configured")
	}
	var peers []*peer
	names := map[string]bool{}
	for i := range c.Connections {
		at := fmt.Sprintf("connections[%d]", i)
		conn := &c.Connections[i]
		if conn.Name != "" && names[conn.Name] {
			f.add(at+".name", "give each connection a name of its own: tickets remember it", "connection %q is there twice", conn.Name)
		}
		names[conn.Name] = true
		p := conn.ready(role, at, &f)
		if p.straight() && c.Traffic != "off" && c.Traffic != "" && c.Tunnel.Encap != "auto" {
			f.add("tunnel.encap", `write "auto": where ESP goes in UDP there is no transport mode`, "connection %q wants transport mode", conn.Name)
		}
		peers = append(peers, p)
	}
	return peers, errors.Join(f...)
}

func (c *Config) checkNode(role Role, f *findings) {
	f.oneOf("qcd", c.QCD, "auto", "on", "off")
	f.oneOf("roll_call", c.RollCall, "ours", "all", "off")
	f.oneOf("cookie", c.Cookie, "auto", "always", "never")
	f.oneOf("traffic", c.Traffic, "auto", "on", "off")
	f.oneOf("tunnel.encap", c.Tunnel.Encap, "always", "auto")
	c.Tunnel.check(f)
	if role == RoleGateway && c.StateDir == "" {
		f.add("state", "name a directory that survives a crash", "a gateway without state forgets all clients when it dies")
	}
	if len(c.StateKey) > 0 {
		if _, err := state.ParseStateKey(c.StateKey); err != nil {
			f.wrap("state_key", "write 64 hexadecimal digits, or leave it out: the directory then has a key of its own", err)
		}
	}
	switch {
	case c.TicketKeys == "":
	case role == RoleClient:
		f.add("ticket_keys", "leave it out", "a client grants no tickets")
	default:
		if _, err := state.ReadRing(c.TicketKeys); err != nil {
			f.wrap("ticket_keys", "name the file that 'blackswan keys new' has made", err)
		}
	}
	if ike, nat := c.ports(); ike == nat && ike != 0 {
		f.add("nat_port", "use 500 and 4500, or two other ports", "port %d cannot be both the IKE port and the NAT traversal port", ike)
	}
	for i, a := range c.Listen {
		if !a.IsValid() || a.IsMulticast() {
			f.add(fmt.Sprintf("listen[%d]", i), "write an address of this machine, or leave it out: all are used then", "%v is not an address to listen on", a)
		}
	}
	if c.Shards < 0 || c.Shards > udp.MaxGroup {
		f.add("shards", fmt.Sprintf("write 1 to %d, or leave it out: each CPU gets one", udp.MaxGroup), "%d shards", c.Shards)
	}
	for _, b := range []struct {
		field string
		Backoff
	}{{"timers.retry", c.Timers.Retry}, {"timers.liveness", c.Timers.Liveness}} {
		if b.Initial < 0 || b.Max < 0 || b.Tries < 0 || b.Max > 0 && b.Initial > b.Max {
			f.add(b.field, "write initial <= max and a number of tries, or leave them out", "a backoff from %v to %v, %d tries", b.Initial, b.Max, b.Tries)
		}
	}
	if c.RollCallAge < 0 {
		f.add("roll_call_age", "write a time like 10m, or leave it out", "%v is no age", c.RollCallAge)
	}
}

func (t *Tunnel) check(f *findings) {
	if t.MTU != 0 && (t.MTU < 1280 || t.MTU > 65535-512) {
		f.add("tunnel.mtu", "write 1280 to 9000 octets, or leave it out: 1400", "%d octets are no size of a packet", t.MTU)
	}
	if w := t.ReplayWindow; w != 0 && (w < 64 || w > 4096 || w%64 != 0) {
		f.add("tunnel.replay_window", "write a multiple of 64 from 64 to 4096, or leave it out: 1024", "a window of %d packets", w)
	}
	prefixes(t.Addresses, "tunnel.addresses", f)
}

// ports are our own ports; 0: any free one.
func (c *Config) ports() (ike, nat uint16) {
	if c.AnyPort {
		return c.Port, c.NATPort
	}
	return cmp.Or(c.Port, DefaultPort), cmp.Or(c.NATPort, DefaultNATPort)
}

// splitGateway reads "host" or "host:port"; an IPv6 address may stand in
// brackets.
func splitGateway(text string) (host string, port uint16, err error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.String(), DefaultPort, nil
	}
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		if addr := (&net.AddrError{}); errors.As(err, &addr) && addr.Err == "missing port in address" {
			return text, DefaultPort, nil
		}
		return "", 0, err
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q is not a port", service)
	}
	return host, uint16(n), nil
}

// sealPeriod is how long a key of the ring seals (rule D10).
const sealPeriod = 24 * time.Hour

// ticketLife is the longest life of a ticket of c.
func (c *Config) ticketLife() time.Duration {
	life := time.Duration(0)
	for i := range c.Connections {
		life = max(life, c.Connections[i].ticketLife())
	}
	return cmp.Or(life, ticket.DefaultLife)
}

// lifetime is a day unless told otherwise: so long may a ticket rest on one key
// exchange (rule D8), and the rekey before that is over makes the next one. What
// carries traffic, the Child SA, has new keys each hour.
func (c *Connection) lifetime() time.Duration {
	return cmp.Or(c.Lifetime, min(cmp.Or(c.Tickets.SinceKE, ticket.DefaultSinceKE), 24*time.Hour))
}

// checkAges judges what bounds a ticket beside its own life (rule D8).
func (c *Connection) checkAges(at string, f *findings) {
	t := &c.Tickets
	if t.SinceKE > ticket.DefaultSinceAuth {
		f.add(at+".since_ke", "write 168h at most", "%v is longer than it is remembered which tickets are spent", t.SinceKE)
	}
	if t.SinceAuth > ticket.DefaultSinceAuth {
		f.add(at+".since_auth", "write 168h at most", "%v is longer than it is remembered which tickets are spent", t.SinceAuth)
	}
	after, before := cmp.Or(t.HealAfter, ike.DefaultHealAfter), cmp.Or(t.HealBefore, ike.DefaultHealBefore)
	if after > before {
		f.add(at+".heal_after", "write heal_after <= heal_before; left out they are 2m and 15m", "new keys not before %v and not after %v", after, before)
	}
	if most := cmp.Or(t.SinceKE, ticket.DefaultSinceKE); t.HealBefore > most {
		f.add(at+".heal_before", "write a shorter time", "%v is longer than a ticket may rest on one key exchange, %v", t.HealBefore, most)
	}
}

// ticketLife is never longer than the IKE SA's (RFC 5723 6.2).
func (c *Connection) ticketLife() time.Duration {
	return min(cmp.Or(c.Tickets.Lifetime, ticket.DefaultLife), c.lifetime())
}
