package storm

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"blackswan/auth/psk"
	"blackswan/ike"
	"blackswan/internal/propose"
	"blackswan/internal/udp"
	"blackswan/wire"
)

// Timers are those of the clients. Zero values are the defaults.
type Timers struct {
	Retry time.Duration // after the first transmission; half as much more each time, to 16 s; 0: DefaultRetry
	DPD   time.Duration // silence after which the gateway's liveness is checked; 0: never
}

// tries is how often a client sends a request.
const tries = 6

// Defaults of Options. So many handshakes under way keep both sides busy and
// overrun no queue.
const (
	DefaultRetry  = 2 * time.Second
	DefaultAtOnce = 256

	DefaultID  = "client-%d@storm"
	DefaultIKE = "chacha20poly1305-prfsha256-x25519"
	DefaultESP = "aes256gcm16"
)

// loopback is where clients live when the gateway is on the loopback interface.
var loopback = netip.MustParsePrefix("127.64.0.0/10")

// plan is Options made ready: what every client has in common.
type plan struct {
	*Options
	common    ike.Connection
	from      addresses
	authority authority // with certificates
}

// ready checks o.
func (o *Options) ready() (*plan, error) {
	p := &plan{Options: o}
	if o.BreakRing && !o.Self {
		return nil, fmt.Errorf("%w: --break-ring is for --self alone: have --crash drop the ticket keys of another gateway before it is killed, of ours by 'blackswan keys revoke --state DIR'", ErrOptions)
	}
	id := cmp.Or(o.ID, DefaultID)
	if o.ID = id; strings.Count(id, "%") != 1 || !strings.Contains(id, "%d") {
		return nil, fmt.Errorf("%w: the identity %q needs one %%d, for the number of the client", ErrOptions, id)
	}
	x, err := propose.ParseIKE(cmp.Or(o.IKE, DefaultIKE))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	y, err := propose.ParseESP(cmp.Or(o.ESP, DefaultESP))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	p.common = ike.Connection{
		Name: "storm", IKE: []propose.IKE{x}, Policy: ike.Policy{ESP: []propose.ESP{y}}, GatewayNAT: o.NATPort, Gateway: o.Gateway,
		Fragment: 1252, DPD: o.Timers.DPD, Lifetime: 24 * time.Hour, Tickets: true, Libreswan: o.Libreswan,
		Remote: ike.Side{Any: o.GatewayID == ""},
	}
	if o.GatewayID != "" {
		p.common.Remote.ID = wire.TextID(o.GatewayID)
	}
	if err := p.credentials(); err != nil {
		return nil, err
	}
	return p, p.places()
}

// credentials reads how both sides prove themselves.
func (p *plan) credentials() (err error) {
	switch p.Auth {
	case "", "psk":
		secret, err := psk.Parse(p.PSK)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOptions, err)
		}
		p.common.PSK = ike.Secret(secret)
		p.common.Local.Auth, p.common.Remote.Auth = ike.AuthPSK, ike.AuthPSK
		return nil
	case "cert":
		p.common.Local.Auth, p.common.Remote.Auth = ike.AuthCert, ike.AuthCert
		if p.authority, err = openAuthority(p.CA); err != nil {
			return fmt.Errorf("%w: %w", ErrOptions, err)
		}
		p.common.CertReq = p.authority.verifier.CertReq()
		return nil
	}
	return fmt.Errorf("%w: authentication by %q: choose psk or cert", ErrOptions, p.Auth)
}

// places finds the addresses of the clients.
func (p *plan) places() error {
	from := p.From
	switch {
	case from.IsValid() && p.Ports && !from.IsSingleIP():
		return fmt.Errorf("%w: clients that differ in their ports have one address: write --from %v/%d, or leave it out", ErrOptions, from.Addr(), from.Addr().BitLen())
	case from.IsValid():
	case p.Ports: // one address for all
		own, err := ownAddress(p.Gateway)
		p.from = addresses{own, 1}
		return err
	case p.Gateway.Addr().IsLoopback() && p.Gateway.Addr().Is4():
		from = loopback
	default:
		own, err := ownAddress(p.Gateway)
		if err != nil {
			return err
		}
		p.from = addresses{own, 1}
		return nil
	}
	if from.Addr().Is4() != p.Gateway.Addr().Is4() {
		return fmt.Errorf("%w: the clients' prefix %v and the gateway %v are of two families", ErrOptions, from, p.Gateway)
	}
	p.from = spread(from)
	return nil
}

// sockets opens those of n clients, of which the first has that number.
func (p *plan) sockets(first, n int) (sockets, error) {
	if p.Ports {
		return openPorts(p.from.of(0), netip.AddrPortFrom(p.Gateway.Addr(), p.NATPort), first, n)
	}
	port, err := udp.Listen(udp.Config{Addr: p.any(), ReceiveBuffer: 32 << 20, SendBuffer: 8 << 20, Batch: batch})
	return shared{port, p.from}, err
}

// any is where the sockets of the clients listen: at all addresses of the
// gateway's family.
func (p *plan) any() netip.Addr {
	if p.Gateway.Addr().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// identity is that of client n, counted from 0.
func (p *plan) identity(n int) wire.ID { return wire.TextID(fmt.Sprintf(p.ID, n+1)) }

func (p *plan) timers() ike.Timers {
	t := ike.DefaultTimers()
	t.Retry.Initial, t.Retry.Tries = cmp.Or(p.Timers.Retry, DefaultRetry), tries
	return t
}
