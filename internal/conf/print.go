package conf

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"blackswan"
	"blackswan/ike"
	"blackswan/internal/propose"
	"blackswan/ticket"
)

// redacted stands for a secret in what is printed.
const redacted = "redacted"

// Print returns what a run in that role would use, defaults filled in, as a
// file that Parse reads. Secrets are not in it.
func Print(cfg blackswan.Config, role blackswan.Role) ([]byte, error) {
	cfg = effective(cfg, role)
	text, err := yaml.MarshalWithOptions(plain(reflect.ValueOf(cfg)), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("print the configuration: %w", err)
	}
	return text, nil
}

// plain turns a value into maps, lists and scalars, keys in the order of the
// fields, without what is empty.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		if x < 0 {
			return "never"
		}
		return x.String()
	case netip.Addr:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		var m yaml.MapSlice
		for f := range fields(v.Type()) {
			key, value := keyOf(f), v.FieldByIndex(f.Index)
			switch {
			case value.IsZero():
			case key == "psk" || key == "state_key":
				m = append(m, yaml.MapItem{Key: key, Value: redacted})
			default:
				m = append(m, yaml.MapItem{Key: key, Value: plain(value)})
			}
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

// effective fills in the defaults that blackswan.Config tells of.
func effective(cfg blackswan.Config, role blackswan.Role) blackswan.Config {
	if !cfg.AnyPort {
		cfg.Port = cmp.Or(cfg.Port, blackswan.DefaultPort)
		cfg.NATPort = cmp.Or(cfg.NATPort, blackswan.DefaultNATPort)
	}
	cfg.QCD = cmp.Or(cfg.QCD, "auto")
	cfg.RollCall = cmp.Or(cfg.RollCall, "ours")
	cfg.RollCallAge = cmp.Or(cfg.RollCallAge, 10*time.Minute)
	cfg.Cookie = cmp.Or(cfg.Cookie, "auto")
	cfg.Traffic = cmp.Or(cfg.Traffic, "off")
	if cfg.Traffic != "off" {
		cfg.Tunnel.MTU = cmp.Or(cfg.Tunnel.MTU, blackswan.DefaultMTU)
		cfg.Tunnel.Encap = cmp.Or(cfg.Tunnel.Encap, "always")
		cfg.Tunnel.ReplayWindow = cmp.Or(cfg.Tunnel.ReplayWindow, 1024)
	}
	cfg.Timers.Retry = backoff(cfg.Timers.Retry, blackswan.Backoff{Initial: time.Second, Max: 16 * time.Second, Tries: 6})
	cfg.Timers.Liveness = backoff(cfg.Timers.Liveness, blackswan.Backoff{Initial: time.Second, Max: 8 * time.Second, Tries: 5})
	if role == blackswan.RoleGateway {
		cfg.ReceiveBuffer = cmp.Or(cfg.ReceiveBuffer, 32<<20)
	} else {
		cfg.Shards = cmp.Or(cfg.Shards, 1)
	}
	connections := cfg.Connections
	cfg.Connections = make([]blackswan.Connection, len(connections))
	for i, c := range connections {
		cfg.Connections[i] = effectiveConnection(c, role)
	}
	return cfg
}

func effectiveConnection(c blackswan.Connection, role blackswan.Role) blackswan.Connection {
	if role == blackswan.RoleClient {
		c.GatewayNATPort = cmp.Or(c.GatewayNATPort, blackswan.DefaultNATPort)
	}
	c.Local.Auth, c.Remote.Auth = cmp.Or(c.Local.Auth, "psk"), cmp.Or(c.Remote.Auth, "psk")
	if len(c.IKE) == 0 {
		for _, p := range propose.DefaultIKE() {
			c.IKE = append(c.IKE, p.String())
		}
	}
	if len(c.ESP) == 0 {
		for _, p := range propose.DefaultESP() {
			c.ESP = append(c.ESP, p.String())
		}
	}
	c.Mode = cmp.Or(c.Mode, "tunnel")
	if len(c.LocalTS) == 0 && c.Mode == "tunnel" {
		c.LocalTS = slices.Clone(c.Addresses)
	}
	for _, ts := range []*[]string{&c.LocalTS, &c.RemoteTS} {
		if len(*ts) == 0 {
			*ts = []string{"dynamic"}
		}
	}
	c.Fragment = cmp.Or(c.Fragment, 1252)
	c.DPD = cmp.Or(c.DPD, 30*time.Second)
	c.Liveness = cmp.Or(c.Liveness, "periodic")
	c.MOBIKE = cmp.Or(c.MOBIKE, mobike(c))
	if role == blackswan.RoleClient {
		c.Redirect = cmp.Or(c.Redirect, "follow")
	} else {
		c.Routability = cmp.Or(c.Routability, "before")
	}
	c.Lifetime = cmp.Or(c.Lifetime, min(cmp.Or(c.Tickets.SinceKE, ticket.DefaultSinceKE), 24*time.Hour))
	c.ChildLifetime = cmp.Or(c.ChildLifetime, time.Hour)
	if !c.Tickets.Off {
		c.Tickets.Renewal = cmp.Or(c.Tickets.Renewal, "ask")
		c.Tickets.Lifetime = min(cmp.Or(c.Tickets.Lifetime, 24*time.Hour), c.Lifetime)
		c.Tickets.SinceAuth = cmp.Or(c.Tickets.SinceAuth, ticket.DefaultSinceAuth)
		if role == blackswan.RoleClient {
			c.Tickets.HealAfter = cmp.Or(c.Tickets.HealAfter, ike.DefaultHealAfter)
			c.Tickets.HealBefore = cmp.Or(c.Tickets.HealBefore, ike.DefaultHealBefore)
		} else {
			c.Tickets.SinceKE = cmp.Or(c.Tickets.SinceKE, ticket.DefaultSinceKE)
		}
	}
	return c
}

// mobike is "on", unless a Child SA may be in transport mode.
func mobike(c blackswan.Connection) string {
	for _, child := range append(c.Children, blackswan.Child{Mode: c.Mode}) {
		if child.Mode == "transport" || child.Mode == "either" {
			return "off"
		}
	}
	return "on"
}

func backoff(b, standard blackswan.Backoff) blackswan.Backoff {
	return blackswan.Backoff{
		Initial: cmp.Or(b.Initial, standard.Initial),
		Max:     cmp.Or(b.Max, standard.Max),
		Tries:   cmp.Or(b.Tries, standard.Tries),
	}
}
