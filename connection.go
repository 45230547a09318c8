package blackswan

import (
	"cmp"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"blackswan/auth"
	"blackswan/auth/cert"
	"blackswan/auth/psk"
	"blackswan/ike"
	"blackswan/internal/propose"
	"blackswan/ticket"
	"blackswan/wire"
)

// peer is a Connection made ready: what the machine reads, and who signs and
// judges for it.
type peer struct {
	*ike.Connection
	signer   auth.Signer   // nil: Local.Auth is a shared key
	verifier auth.Verifier // nil: Remote.Auth is a shared key

	// Of a client: where the gateway is, and the SHA-256 of its certificate.
	host      string
	port      uint16
	ports     map[string]uint16 // IKE ports of its other gateways
	addresses []netip.Prefix    // inner
	dns       []netip.Addr
	search    []string
	profile   [32]byte // hash of its authentication part, where there is a jar
	leaf      atomic.Pointer[[32]byte]
}

// defaultFragment keeps a datagram within 1280 octets of IPv4 (RFC 7383 2.5.1).
const defaultFragment = 1280 - 28

const defaultChildLifetime = time.Hour

const defaultDPD = 30 * time.Second

// ready checks c, whose place in the configuration is at, and makes it ready.
func (c *Connection) ready(role Role, at string, f *findings) *peer {
	p := &peer{Connection: &ike.Connection{
		Name:       c.Name,
		GatewayNAT: cmp.Or(c.GatewayNATPort, DefaultNATPort),
		Fragment:   cmp.Or(c.Fragment, defaultFragment),
		DPD:        max(cmp.Or(c.DPD, defaultDPD), 0),
		Reauth:     c.Reauth,
		Lifetime:   c.lifetime(),

		ChildLifetime: cmp.Or(c.ChildLifetime, defaultChildLifetime),
		ChildVolume:   ike.Volume(c.ChildVolume),

		Tickets:   !c.Tickets.Off,
		MOBIKE:    c.MOBIKE != "off",
		Redirects: c.Redirect != "ignore",
		Childless: c.Childless,
		Renewal:   map[string]ike.Renewal{"rekey": ike.RenewalRekey, "none": ike.RenewalNone}[c.Tickets.Renewal],
		Libreswan: c.Libreswan,
		Grant:     ticket.Limits{Life: c.ticketLife(), SinceKE: c.Tickets.SinceKE, SinceAuth: c.Tickets.SinceAuth},

		HealAfter: c.Tickets.HealAfter, HealBefore: c.Tickets.HealBefore,
	}}
	c.checkScalars(at, f)
	if c.Liveness == "on_demand" {
		p.Connection.Liveness = ike.LivenessOnDemand
	}
	switch c.Routability {
	case "after":
		p.Connection.Routability = ike.RoutabilityAfter
	case "off":
		p.Connection.Routability = ike.RoutabilityOff
	}
	c.readyGateway(p, role, at, f)
	c.readyIKE(p, at, f)
	c.readyInner(p, role, at, f)
	c.readyPolicies(p, at, f)
	if p.straight() {
		p.MOBIKE = false // it is for tunnel mode (RFC 4555 1.3)
		if c.MOBIKE == "on" {
			f.add(at+".mobike", "leave it out: a Child SA in transport mode is between two addresses", "a client in transport mode cannot change its address")
		}
	}
	c.readySides(p, at, f)
	if role == RoleGateway && p.Remote.Auth == ike.AuthPSK {
		p.KeyPrint = keyPrint(p)
	}
	return p
}

func (c *Connection) checkScalars(at string, f *findings) {
	f.oneOf(at+".liveness", c.Liveness, "periodic", "on_demand")
	f.oneOf(at+".tickets.renewal", c.Tickets.Renewal, "ask", "rekey", "none")
	f.oneOf(at+".mobike", c.MOBIKE, "on", "off")
	f.oneOf(at+".routability", c.Routability, "before", "after", "off")
	f.oneOf(at+".redirect", c.Redirect, "follow", "ignore")
	if c.Name == "" {
		f.add(at+".name", "give it a name: tickets remember it", "a connection has no name")
	}
	if c.Fragment != 0 && (c.Fragment < 512 || c.Fragment > 65507) {
		f.add(at+".fragment", "write 512 to 65507 octets, or leave it out: 1252", "%d octets are no size of a datagram", c.Fragment)
	}
	for _, d := range []struct {
		field string
		time.Duration
	}{
		{"reauth", c.Reauth}, {"lifetime", c.Lifetime}, {"child_lifetime", c.ChildLifetime}, {"tickets.lifetime", c.Tickets.Lifetime},
		{"tickets.since_ke", c.Tickets.SinceKE}, {"tickets.since_auth", c.Tickets.SinceAuth},
		{"tickets.heal_after", c.Tickets.HealAfter}, {"tickets.heal_before", c.Tickets.HealBefore},
	} {
		if d.Duration < 0 || d.Duration > 0 && d.Duration < time.Second {
			f.add(at+"."+d.field, "write a time like 8h, or leave it out", "%v is no such time", d.Duration)
		}
	}
	c.checkAges(at+".tickets", f)
	if err := ticket.CheckLife(sealPeriod, c.ticketLife(), c.lifetime()); err != nil {
		f.wrap(at+".lifetime", "shorten it, or let tickets live longer", err)
	}
}

func (c *Connection) readyGateway(p *peer, role Role, at string, f *findings) {
	switch {
	case role == RoleGateway && c.Gateway != "":
		f.add(at+".gateway", "remove it here: clients name their gateway, a gateway waits for them", "a gateway's connection names a gateway")
	case role == RoleGateway && len(c.Gateways) > 0:
		f.add(at+".gateways", "remove them here: 'blackswan drain' names where clients are sent to", "a gateway's connection names gateways")
	case role == RoleGateway:
	case c.Gateway == "":
		f.add(at+".gateway", "write its address or name, with a port if it is not 500", "a client's connection names no gateway")
	default:
		var err error
		const cure = `write "host", "host:port" or "[IPv6 address]:port"`
		if p.host, p.port, err = splitGateway(c.Gateway); err != nil {
			f.wrap(at+".gateway", cure, err)
		}
		for i, text := range c.Gateways {
			host, port, err := splitGateway(text)
			if err != nil {
				f.wrap(fmt.Sprintf("%s.gateways[%d]", at, i), cure, err)
				continue
			}
			if p.ports == nil {
				p.ports = map[string]uint16{}
			}
			p.ports[host] = port
			g := ike.Gateway{Name: host}
			if a, err := netip.ParseAddr(host); err == nil {
				g.Addr = netip.AddrPortFrom(a, port)
			}
			p.Gateways = append(p.Gateways, g)
		}
	}
}

// readyInner reads what a client has inside the tunnel.
func (c *Connection) readyInner(p *peer, role Role, at string, f *findings) {
	if role == RoleGateway {
		for _, x := range []struct {
			field string
			list  []string
		}{{".addresses", c.Addresses}, {".dns", c.DNS}, {".search", c.Search}} {
			if len(x.list) > 0 {
				f.add(at+x.field, "remove it here; a gateway's own addresses are tunnel.addresses", "only a client's connection has inner addresses and resolvers")
			}
		}
		return
	}
	p.addresses = prefixes(c.Addresses, at+".addresses", f)
	p.dns = addresses(c.DNS, at+".dns", f)
	p.search = c.Search
}

const proposalCure = `write words like "aes256gcm16-sha256-x25519", strongest first, or leave the list out`

func (c *Connection) readyIKE(p *peer, at string, f *findings) {
	for i, text := range c.IKE {
		x, err := propose.ParseIKE(text)
		if err != nil {
			f.wrap(fmt.Sprintf("%s.ike[%d]", at, i), proposalCure, err)
		}
		p.IKE = append(p.IKE, x)
	}
	if len(p.IKE) == 0 {
		p.IKE = propose.DefaultIKE()
	}
}

// prefixes reads prefixes; an address is one of its whole length.
func prefixes(texts []string, at string, f *findings) (out []netip.Prefix) {
	for i, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil {
			prefix, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			f.add(fmt.Sprintf("%s[%d]", at, i), `write a prefix like "10.1.0.0/16"`, "%q is not a prefix", text)
			continue
		}
		out = append(out, prefix)
	}
	return out
}

// addresses reads addresses without a port.
func addresses(texts []string, at string, f *findings) (out []netip.Addr) {
	for i, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			f.add(fmt.Sprintf("%s[%d]", at, i), `write an address like "10.1.0.53"`, "%q is not an IP address", text)
			continue
		}
		out = append(out, a)
	}
	return out
}

func (c *Connection) readySides(p *peer, at string, f *findings) {
	p.Local = c.Local.ready(at+".local", f)
	if p.Local.Any || p.Local.Tail != "" {
		f.add(at+".local.id", "write the one name that we have", "our own identity is the pattern %q", c.Local.ID)
	}
	p.Remote = c.Remote.ready(at+".remote", f)
	if p.Local.Auth == ike.AuthPSK || p.Remote.Auth == ike.AuthPSK {
		secret, err := psk.Parse(c.PSK)
		if err != nil {
			f.wrap(at+".psk", "write the shared key: at least 20 random characters, or 0x and hexadecimal digits", err)
		}
		p.PSK = ike.Secret(secret)
	}
	authorities := c.readyVerifier(p, at, f)
	if p.Local.Auth == ike.AuthCert {
		c.readySigner(p, authorities, at+".local", f)
	}
}

func (s *Side) ready(at string, f *findings) (side ike.Side) {
	switch {
	case s.ID == "":
		f.add(at+".id", `write a name like "gw.example.org", a mail address, an IP address, or for a group of peers "*@example.org"`, "an identity is missing")
	case s.ID == "*":
		side.Any = true
	case strings.HasPrefix(s.ID, "*"):
		side.Tail = s.ID[1:]
		if len(side.Tail) < 2 || side.Tail[0] != '.' && side.Tail[0] != '@' || strings.Contains(side.Tail, "*") {
			f.add(at+".id", `write "*", "*.example.org" or "*@example.org"`, "%q is not a pattern", s.ID)
		}
	default:
		side.ID = wire.TextID(s.ID)
	}
	switch s.Auth {
	case "", "psk":
		side.Auth = ike.AuthPSK
	case "cert":
		side.Auth = ike.AuthCert
	default:
		f.add(at+".auth", `write "psk" or "cert"`, "%q is not a way to prove an identity", s.Auth)
	}
	return side
}

// readyVerifier loads the authorities of the remote side; they also complete
// our own chain.
func (c *Connection) readyVerifier(p *peer, at string, f *findings) (authorities []*x509.Certificate) {
	trust := cert.Trust{}
	for i, path := range c.Remote.CA {
		certs, err := cert.LoadCertificates(path)
		if err != nil {
			f.wrap(fmt.Sprintf("%s.remote.ca[%d]", at, i), "name a PEM file of authorities", err)
		}
		trust.Authorities = append(trust.Authorities, certs...)
	}
	for i, path := range c.Remote.CRL {
		lists, err := cert.LoadRevocations(path)
		if err != nil {
			f.wrap(fmt.Sprintf("%s.remote.crl[%d]", at, i), "name a PEM file of revocation lists", err)
		}
		trust.CRLs = append(trust.CRLs, lists...)
	}
	switch {
	case p.Remote.Auth != ike.AuthCert:
	case len(c.Remote.CA) == 0:
		f.add(at+".remote.ca", "name the PEM file of the authority that issued the peer's certificate", "nobody is trusted to vouch for the peer")
	case len(trust.Authorities) > 0:
		v, err := cert.NewVerifier(trust)
		if err != nil {
			f.wrap(at+".remote.ca", "give the authorities and revocation lists that belong together", err)
			break
		}
		p.verifier, p.CertReq = v, v.CertReq()
		p.Recheck = func(c *ticket.PeerCert, now int64) error {
			return v.Recheck(c.Anchor, c.Issuer, c.Serial, time.Unix(c.NotAfter, 0), time.Unix(now, 0))
		}
	}
	return trust.Authorities
}

func (c *Connection) readySigner(p *peer, authorities []*x509.Certificate, at string, f *findings) {
	switch {
	case c.Local.Cert == "":
		f.add(at+".cert", "name the PEM file of our certificate; 'blackswan pki issue' makes one", "there is no certificate to prove who we are")
		return
	case c.Local.Key == "":
		f.add(at+".key", "name the PEM file of the certificate's private key", "there is no key to sign with")
		return
	}
	own, err := cert.LoadCredential(c.Local.Cert, c.Local.Key, authorities)
	if err != nil {
		f.wrap(at+".cert", "give a certificate and its own key", err)
		return
	}
	if err := own.Proves(p.Local.ID); err != nil && c.Local.ID != "" {
		f.wrap(at+".id", "use the name that the certificate has, or a certificate for this name", err)
	}
	signer, err := cert.NewSigner(own)
	if err != nil {
		f.wrap(at+".cert", "give another certificate", err)
		return
	}
	p.signer = signer
}

// keyPrint tells a shared key from others in a gateway's tickets, whose resume is
// refused when the key was changed. Only who has the ring can read it there, and
// guesses cost as much as here.
func keyPrint(p *peer) (sum [32]byte) {
	slow, err := pbkdf2.Key(sha256.New, string(p.PSK), []byte("blackswan key print v1 "+p.Name), 20_000, len(sum))
	if err == nil {
		copy(sum[:], slow)
	}
	return sum
}

// profile is the hash of the authentication part: a ticket of another profile
// is not shown (rule D12). The shared key goes in by way of a slow function,
// since the hash lies in the jar, whose thief must not guess the key with it.
func (c *Connection) profile(p *peer) (sum [32]byte, err error) {
	h := sha256.New()
	field := func(b []byte) {
		_ = binary.Write(h, binary.BigEndian, uint32(len(b)))
		h.Write(b)
	}
	for _, s := range []*Side{&c.Local, &c.Remote} {
		field([]byte(s.ID))
		field([]byte(cmp.Or(s.Auth, "psk")))
	}
	field(p.CertReq)
	if len(p.PSK) > 0 {
		slow, err := pbkdf2.Key(sha256.New, string(p.PSK), []byte("blackswan profile v1 "+c.Name), 200_000, len(sum))
		if err != nil {
			return sum, err
		}
		field(slow)
	}
	h.Sum(sum[:0])
	return sum, nil
}
