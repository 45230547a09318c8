package blackswan

import (
	"cmp"
	"slices"
	"time"

	"blackswan/ike"
	"blackswan/internal/udp"
	"blackswan/internal/window"
)

// machine is the configuration of the Endpoints.
func (n *node) machine(port udp.Port) *ike.Config {
	local, nat := port.Ports()
	cfg := &ike.Config{
		Shards: n.count, Connections: connections(*n.peers.Load()),
		Boot: n.boot.SPI, SPIKeys: n.boot.SPIKeys, SPICurrent: n.boot.SPICurrent, Ring: n.boot.Ring, QCD: n.boot.QCD, Tokens: n.tokens,
		RollCall:  map[string]ike.RollCall{"all": ike.RollCallAll, "off": ike.RollCallOff}[n.cfg.RollCall],
		Addresses: n.cfg.Listen[:min(len(n.cfg.Listen), mostAddresses)],
		IKEPort:   local.Port(), NATPort: nat.Port(), CertReq: n.certReq(), ForceEncap: n.encap,
		Limits: n.limits(), Timers: n.cfg.timers(), Clock: n.boot.Clock, KeyLog: n.keys != nil,
	}
	if n.cfg.RollCall == "" || n.cfg.RollCall == "ours" {
		cfg.RollCall = ike.RollCallOurs
	}
	if n.role == RoleClient {
		cfg.Ring = nil // who grants no tickets opens none
	}
	ahead := n.began.Sub(n.boot.Clock)
	cfg.Doubt = !n.boot.Clock.IsZero() && (ahead < 0 || ahead > leap) // rule D11
	return cfg
}

// mostAddresses is how many of its own a gateway tells a MOBIKE client.
const mostAddresses = 8

// leap is how far ahead of the last run a clock may be and be believed at once.
const leap = 7 * 24 * time.Hour

// limits are this shard's share of what strangers can make us hold.
func (n *node) limits() ike.Limits {
	l := ike.DefaultLimits()
	switch n.cfg.Cookie {
	case "always":
		l.CookieAt, l.ResumeCookieAt = 0, 0
	case "never":
		l.CookieAt = -n.count
	}
	for _, x := range []*int{
		&l.HalfOpen, &l.CookieAt, &l.HalfResumes, &l.ResumeCookieAt, &l.SAs, &l.SAsOfPeer, &l.Questions, &l.Queue,
		&l.Duplicates, &l.Responses, &l.Reassemblies, &l.Tombstones, &l.Survivors, &l.Floors,
	} {
		*x /= n.count
	}
	return l
}

func (c *Config) timers() ike.Timers {
	t := ike.DefaultTimers()
	c.Timers.Retry.set(&t.Retry)
	c.Timers.Liveness.set(&t.Liveness)
	t.RollCallAge = cmp.Or(c.RollCallAge, t.RollCallAge)
	return t
}

// set replaces what b names.
func (b Backoff) set(w *window.Backoff) {
	w.Initial = cmp.Or(b.Initial, w.Initial)
	w.Max = max(cmp.Or(b.Max, w.Max), w.Initial)
	w.Tries = cmp.Or(b.Tries, w.Tries)
}

// certReq are the authorities of all connections, each once.
func (n *node) certReq() (all []byte) {
	seen := map[string]bool{}
	for _, p := range *n.peers.Load() {
		for key := range slices.Chunk(p.CertReq, 20) {
			if !seen[string(key)] {
				seen[string(key)] = true
				all = append(all, key...)
			}
		}
	}
	return all
}

func connections(peers []*peer) (all []*ike.Connection) {
	for _, p := range peers {
		all = append(all, p.Connection)
	}
	return all
}

// peerOf is the peer whose connection the machine knows as c, or nil.
func (n *node) peerOf(c *ike.Connection) *peer {
	for _, p := range *n.peers.Load() {
		if p.Connection == c {
			return p
		}
	}
	return nil
}
