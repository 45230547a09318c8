package blackswan

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"blackswan/auth/cert"
	"blackswan/ike"
	"blackswan/internal/pki"
	"blackswan/ticket"
	"blackswan/wire"
)

// office is a configuration that Check has nothing against.
func office(role Role) Config {
	c := Config{StateDir: "state", Connections: []Connection{{
		Name: "office", PSK: "a key of the test", Local: Side{ID: "gw.example.org"}, Remote: Side{ID: "*@example.org"},
	}}}
	if role == RoleClient {
		c.Connections[0].Gateway = "192.0.2.1"
	}
	return c
}

func TestCheckAccepts(t *testing.T) {
	for _, role := range []Role{RoleGateway, RoleClient} {
		c := office(role)
		if err := c.Check(role); err != nil {
			t.Errorf("%v: %v", role, err)
		}
	}
	c := office(RoleClient)
	c.StateDir = ""
	if err := c.Check(RoleClient); err != nil {
		t.Errorf("a client without state: %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open.key")
	if err := os.WriteFile(open, []byte("no key"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		role   Role
		change func(*Config)
		field  string
		what   string
	}{
		{"no state", RoleGateway, func(c *Config) { c.StateDir = "" }, "state", "forgets"},
		{"qcd", RoleGateway, func(c *Config) { c.QCD = "maybe" }, "qcd", `"maybe"`},
		{"roll call", RoleGateway, func(c *Config) { c.RollCall = "yes" }, "roll_call", `"yes"`},
		{"cookie", RoleGateway, func(c *Config) { c.Cookie = "chocolate" }, "cookie", "chocolate"},
		{"state key", RoleGateway, func(c *Config) { c.StateKey = []byte("short") }, "state_key", "state key"},
		{"no ring file", RoleGateway, func(c *Config) { c.TicketKeys = open + ".gone" }, "ticket_keys", "make it with 'blackswan keys new'"},
		{"ring file of all", RoleGateway, func(c *Config) { c.TicketKeys = open }, "ticket_keys", open},
		{"ring of a client", RoleClient, func(c *Config) { c.TicketKeys = open }, "ticket_keys", "a client grants no tickets"},
		{"one port", RoleGateway, func(c *Config) { c.Port, c.NATPort = 4500, 4500 }, "nat_port", "4500"},
		{"listen", RoleGateway, func(c *Config) { c.Listen = make([]netip.Addr, 1) }, "listen[0]", "address"},
		{"shards", RoleGateway, func(c *Config) { c.Shards = 65 }, "shards", "65"},
		{"backoff", RoleGateway, func(c *Config) { c.Timers.Retry = Backoff{Initial: 2, Max: 1} }, "timers.retry", "backoff"},
		{"roll call age", RoleGateway, func(c *Config) { c.RollCallAge = -1 }, "roll_call_age", "age"},
		{"traffic", RoleGateway, func(c *Config) { c.Traffic = "fast" }, "traffic", `"fast"`},
		{"encapsulation", RoleGateway, func(c *Config) { c.Tunnel.Encap = "never" }, "tunnel.encap", `"never"`},
		{"small packets", RoleGateway, func(c *Config) { c.Tunnel.MTU = 576 }, "tunnel.mtu", "576"},
		{"odd window", RoleGateway, func(c *Config) { c.Tunnel.ReplayWindow = 100 }, "tunnel.replay_window", "100"},
		{"inner address", RoleGateway, func(c *Config) { c.Tunnel.Addresses = []string{"10.1"} }, "tunnel.addresses[0]", "10.1"},
		{"addresses of a gateway's peer", RoleGateway, func(c *Config) { c.Connections[0].Addresses = []string{"10.1.0.2"} }, "connections[0].addresses", "client's"},
		{"resolver of a gateway's peer", RoleGateway, func(c *Config) { c.Connections[0].DNS = []string{"10.1.0.53"} }, "connections[0].dns", "client's"},
		{"client's address", RoleClient, func(c *Config) { c.Connections[0].Addresses = []string{"ten"} }, "connections[0].addresses[0]", "ten"},
		{"client's resolver", RoleClient, func(c *Config) { c.Connections[0].DNS = []string{"dns.example.org"} }, "connections[0].dns[0]", "not an IP address"},
		{"liveness", RoleClient, func(c *Config) { c.Connections[0].Liveness = "often" }, "connections[0].liveness", `"often"`},
		{"renewal", RoleClient, func(c *Config) { c.Connections[0].Tickets.Renewal = "daily" }, "connections[0].tickets.renewal", `"daily"`},
		{"mobike", RoleClient, func(c *Config) { c.Connections[0].MOBIKE = "yes" }, "connections[0].mobike", `"yes"`},
		{"routability", RoleGateway, func(c *Config) { c.Connections[0].Routability = "never" }, "connections[0].routability", `"never"`},
		{"redirect", RoleClient, func(c *Config) { c.Connections[0].Redirect = "maybe" }, "connections[0].redirect", `"maybe"`},
		{"other gateways of a gateway", RoleGateway, func(c *Config) { c.Connections[0].Gateways = []string{"x"} }, "connections[0].gateways", "names gateways"},
		{"port of another gateway", RoleClient, func(c *Config) { c.Connections[0].Gateways = []string{"gw2:0"} }, "connections[0].gateways[0]", "not a port"},
		{"a Child SA without a name", RoleGateway, func(c *Config) { c.Connections[0].Children = []Child{{}} }, "connections[0].children[0].name", "no name"},
		{"two of a name", RoleGateway, func(c *Config) {
			c.Connections[0].Children = []Child{{Name: "a"}, {Name: "a", LocalTS: []string{"10.1.0.0/16"}}}
		}, "connections[0].children[1].name", "twice"},
		{"two for the same", RoleGateway, func(c *Config) { c.Connections[0].Children = []Child{{Name: "a"}, {Name: "b"}} }, "connections[0].children[1]", "carry the same"},
		{"nine Child SAs", RoleGateway, func(c *Config) { c.Connections[0].Children = make([]Child, 9) }, "connections[0].children", "9 Child SAs"},
		{"bad proposal of a Child SA", RoleGateway, func(c *Config) { c.Connections[0].Children = []Child{{Name: "a", ESP: []string{"null"}}} }, "connections[0].children[0].esp[0]", "null"},
		{"bad prefix of a Child SA", RoleClient, func(c *Config) { c.Connections[0].Children = []Child{{Name: "a", RemoteTS: []string{"10.1"}}} }, "connections[0].children[0].remote_ts[0]", "10.1"},
		{"mode", RoleGateway, func(c *Config) { c.Connections[0].Mode = "bridge" }, "connections[0].mode", `"bridge"`},
		{"mode of a Child SA", RoleGateway, func(c *Config) { c.Connections[0].Children = []Child{{Name: "a", Mode: "both"}} }, "connections[0].children[0].mode", `"both"`},
		{"transport mode of a network", RoleGateway, func(c *Config) {
			c.Connections[0].Mode, c.Connections[0].RemoteTS = "transport", []string{"10.1.0.0/16"}
		}, "connections[0].remote_ts", "10.1.0.0/16"},
		{"transport mode in UDP", RoleClient, func(c *Config) { c.Connections[0].Mode, c.Traffic, c.StateDir = "either", "on", "s" }, "tunnel.encap", "transport mode"},
		{"transport mode that moves", RoleClient, func(c *Config) { c.Connections[0].Mode, c.Connections[0].MOBIKE = "transport", "on" }, "connections[0].mobike", "change its address"},
		{"no connections", RoleGateway, func(c *Config) { c.Connections = nil }, "connections", "no connection"},
		{"no name", RoleGateway, func(c *Config) { c.Connections[0].Name = "" }, "connections[0].name", "no name"},
		{"same name", RoleGateway, func(c *Config) { c.Connections = append(c.Connections, c.Connections[0]) }, "connections[1].name", "twice"},
		{"gateway of a gateway", RoleGateway, func(c *Config) { c.Connections[0].Gateway = "x" }, "connections[0].gateway", "names a gateway"},
		{"client without gateway", RoleClient, func(c *Config) { c.Connections[0].Gateway = "" }, "connections[0].gateway", "names no gateway"},
		{"port of the gateway", RoleClient, func(c *Config) { c.Connections[0].Gateway = "gw:0" }, "connections[0].gateway", "not a port"},
		{"brackets of the gateway", RoleClient, func(c *Config) { c.Connections[0].Gateway = "[::1" }, "connections[0].gateway", "[::1"},
		{"no identity", RoleGateway, func(c *Config) { c.Connections[0].Local.ID = "" }, "connections[0].local.id", "missing"},
		{"own pattern", RoleGateway, func(c *Config) { c.Connections[0].Local.ID = "*.example.org" }, "connections[0].local.id", "pattern"},
		{"bad pattern", RoleGateway, func(c *Config) { c.Connections[0].Remote.ID = "*example.org" }, "connections[0].remote.id", "not a pattern"},
		{"bad auth", RoleGateway, func(c *Config) { c.Connections[0].Remote.Auth = "eap" }, "connections[0].remote.auth", `"eap"`},
		{"no key", RoleGateway, func(c *Config) { c.Connections[0].PSK = "" }, "connections[0].psk", "empty"},
		{"bad proposal", RoleGateway, func(c *Config) { c.Connections[0].IKE = []string{"3des-sha1-modp1024"} }, "connections[0].ike[0]", "3des"},
		{"bad esp", RoleGateway, func(c *Config) { c.Connections[0].ESP = []string{"aes128gcm16", "null"} }, "connections[0].esp[1]", "null"},
		{"bad prefix", RoleGateway, func(c *Config) { c.Connections[0].LocalTS = []string{"10.1.0.0/16", "office"} }, "connections[0].local_ts[1]", `"office"`},
		{"small datagrams", RoleGateway, func(c *Config) { c.Connections[0].Fragment = 100 }, "connections[0].fragment", "100"},
		{"negative life", RoleGateway, func(c *Config) { c.Connections[0].Lifetime = -time.Hour }, "connections[0].lifetime", "-1h"},
		{"short Child SAs", RoleGateway, func(c *Config) { c.Connections[0].ChildLifetime = time.Millisecond }, "connections[0].child_lifetime", "1ms"},
		{"short tickets", RoleGateway, func(c *Config) { c.Connections[0].Tickets.Lifetime = time.Millisecond }, "connections[0].tickets.lifetime", "1ms"},
		{"long sas", RoleGateway, func(c *Config) {
			c.Connections[0].Lifetime, c.Connections[0].Tickets.Lifetime = 100*time.Hour, time.Hour
		}, "connections[0].lifetime", "twice"}, // RFC 5723 6.2, rule D10
		{"short since a key exchange", RoleGateway, func(c *Config) { c.Connections[0].Tickets.SinceKE = time.Millisecond }, "connections[0].tickets.since_ke", "1ms"},
		{"long since a key exchange", RoleGateway, func(c *Config) { c.Connections[0].Tickets.SinceKE = 169 * time.Hour }, "connections[0].tickets.since_ke", "169h"},
		{"no time since a login", RoleGateway, func(c *Config) { c.Connections[0].Tickets.SinceAuth = -time.Hour }, "connections[0].tickets.since_auth", "-1h"},
		{"long since a login", RoleClient, func(c *Config) { c.Connections[0].Tickets.SinceAuth = 169 * time.Hour }, "connections[0].tickets.since_auth", "169h"},
		{"healing that never ends", RoleClient, func(c *Config) { c.Connections[0].Tickets.HealBefore = 25 * time.Hour }, "connections[0].tickets.heal_before", "25h"},
		{"healing at once", RoleClient, func(c *Config) { c.Connections[0].Tickets.HealAfter = time.Millisecond }, "connections[0].tickets.heal_after", "1ms"},
		{"healing before it begins", RoleClient, func(c *Config) { c.Connections[0].Tickets.HealAfter = time.Hour }, "connections[0].tickets.heal_after", "not after 15m"},
		{"no authority", RoleGateway, func(c *Config) { c.Connections[0].Remote.Auth = "cert" }, "connections[0].remote.ca", "vouch"},
		{"authority is not there", RoleGateway, func(c *Config) {
			c.Connections[0].Remote = Side{ID: "*", Auth: "cert", CA: []string{"/does/not/exist"}}
		}, "connections[0].remote.ca[0]", "/does/not/exist"},
		{"list is not there", RoleGateway, func(c *Config) { c.Connections[0].Remote.CRL = []string{"/does/not/exist"} }, "connections[0].remote.crl[0]", "/does/not/exist"},
		{"no certificate", RoleGateway, func(c *Config) { c.Connections[0].Local.Auth = "cert" }, "connections[0].local.cert", "no certificate"},
		{"certificate without key", RoleGateway, func(c *Config) { c.Connections[0].Local = Side{ID: "x", Auth: "cert", Cert: open} }, "connections[0].local.key", "no key"},
		{"not a certificate", RoleGateway, func(c *Config) {
			c.Connections[0].Local = Side{ID: "x", Auth: "cert", Cert: open, Key: open}
		}, "connections[0].local.cert", "open.key"},
	} {
		c := office(test.role)
		test.change(&c)
		err := c.Check(test.role)
		var f *FieldError
		if !errors.As(err, &f) {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if f.Field != test.field || !strings.Contains(f.What, test.what) || f.Cure == "" {
			t.Errorf("%s: field %s, want %s; what %q, want %q; cure %q", test.name, f.Field, test.field, f.What, test.what, f.Cure)
		}
		if !strings.HasPrefix(f.Error(), "blackswan: ") || strings.Contains(f.Error(), "a key of the test") {
			t.Errorf("%s: %v", test.name, f)
		}
	}
}

// TestCheckTellsAll: one look shows everything that is wrong.
func TestCheckTellsAll(t *testing.T) {
	c := office(RoleGateway)
	c.QCD, c.StateDir, c.Connections[0].Fragment = "maybe", "", 1
	text := c.Check(RoleGateway).Error()
	for _, field := range []string{"qcd", "state", "connections[0].fragment"} {
		if !strings.Contains(text, ": "+field+": ") {
			t.Errorf("%s is not in\n%s", field, text)
		}
	}
}

// crlFiles makes an authority and its revocation list, due at next, and returns
// the two files.
func crlFiles(t *testing.T, now, next time.Time) (ca, crl string) {
	t.Helper()
	dir := t.TempDir()
	authority, err := pki.NewCA("lab", pki.Ed25519, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Save(dir); err != nil {
		t.Fatal(err)
	}
	key, err := cert.LoadKey(filepath.Join(dir, pki.CAKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: next}
	der, err := x509.CreateRevocationList(rand.Reader, list, authority.Certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	crl = filepath.Join(dir, "lab.crl")
	if err := os.WriteFile(crl, der, 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, pki.CAFile), crl
}

func TestConfigAdvice(t *testing.T) {
	now := time.Now()
	next := now.Add(time.Hour)
	ca, crl := crlFiles(t, now, next)
	lists := func(c *Connection) {
		c.Local.Auth, c.PSK = "psk", "0s5v3Jmx0aN0bQzJr2Qd6cUuYwGm0o5yZ1i8mD3f4r7kE="
		c.Remote.Auth, c.Remote.CA, c.Remote.CRL = "cert", []string{ca}, []string{crl}
	}
	for _, test := range []struct {
		name   string
		change func(*Connection)
		now    time.Time
		want   string
	}{
		{"a short key", func(*Connection) {}, now, "office: this pre-shared key"},
		{"a long key", func(c *Connection) { c.PSK = "7fQz9LmW2xRt5VbN8kPd" }, now, ""},
		{"a revocation list of today", lists, now, ""},
		{"a revocation list that ran out", lists, next.Add(time.Second), "office: revocation list of CN=lab"},
	} {
		for _, role := range []Role{RoleGateway, RoleClient} {
			c := office(role)
			test.change(&c.Connections[0])
			if err := c.Check(role); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			got := c.Advice(role, test.now)
			if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], test.want)) {
				t.Errorf("%s, %v: %q, want %q", test.name, role, got, test.want)
			}
		}
	}
}

// TestAges: rule D8 in the words of a configuration.
func TestAges(t *testing.T) {
	c := office(RoleGateway)
	c.Connections[0].Tickets = TicketPolicy{SinceKE: 8 * time.Hour, SinceAuth: 48 * time.Hour, HealAfter: time.Minute, HealBefore: time.Hour}
	peers, err := c.ready(RoleGateway)
	if err != nil {
		t.Fatal(err)
	}
	p := peers[0]
	want := ticket.Limits{Life: 8 * time.Hour, SinceKE: 8 * time.Hour, SinceAuth: 48 * time.Hour}
	if p.Grant != want || p.Lifetime != 8*time.Hour || p.HealAfter != time.Minute || p.HealBefore != time.Hour {
		t.Errorf("%+v, a lifetime of %v, healing from %v to %v", p.Grant, p.Lifetime, p.HealAfter, p.HealBefore)
	}
	c.Connections[0].PSK, c.Connections[0].Lifetime, c.Connections[0].Tickets.Lifetime = "7fQz9LmW2xRt5VbN8kPd", 9*time.Hour, 9*time.Hour
	if got := c.Advice(RoleGateway, time.Now()); len(got) != 1 || !strings.Contains(got[0], "office: an SA has no good ticket from 8h") {
		t.Errorf("advice: %q", got)
	}
}

func TestSplitGateway(t *testing.T) {
	for _, test := range []struct {
		text, host string
		port       uint16
	}{
		{"192.0.2.1", "192.0.2.1", 500},
		{"192.0.2.1:1500", "192.0.2.1", 1500},
		{"gw.example.org", "gw.example.org", 500},
		{"gw.example.org:1500", "gw.example.org", 1500},
		{"2001:db8::1", "2001:db8::1", 500},
		{"[2001:db8::1]:1500", "2001:db8::1", 1500},
	} {
		host, port, err := splitGateway(test.text)
		if err != nil || host != test.host || port != test.port {
			t.Errorf("%s: %s, %d, %v", test.text, host, port, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := office(RoleGateway)
	peers, err := c.ready(RoleGateway)
	if err != nil {
		t.Fatal(err)
	}
	p := peers[0]
	if p.Fragment != 1252 || p.DPD != 30*time.Second || p.Lifetime != 24*time.Hour || !p.Tickets || p.Grant != (ticket.Limits{Life: 24 * time.Hour}) || p.GatewayNAT != 4500 {
		t.Errorf("defaults: %+v", p.Connection)
	}
	if len(p.IKE) == 0 || len(p.ESP) == 0 || p.LocalTS != nil || p.Local.Auth != ike.AuthPSK || p.Remote.Tail != "@example.org" {
		t.Errorf("defaults: %+v", p.Connection)
	}
	if p.Local.ID.Type != wire.IDFQDN || string(p.PSK) != "a key of the test" {
		t.Errorf("defaults: %+v", p.Local)
	}
	c.Connections[0].DPD = -1
	c.Connections[0].Lifetime = time.Hour
	if peers, err = c.ready(RoleGateway); err != nil || peers[0].DPD != 0 || peers[0].Grant.Life != time.Hour {
		t.Errorf("DPD never, an hour: %+v, %v", peers[0].Connection, err)
	}
	if a, b := c.ports(); a != 500 || b != 4500 {
		t.Errorf("ports %d and %d", a, b)
	}
	c.AnyPort, c.NATPort = true, 4501
	if a, b := c.ports(); a != 0 || b != 4501 {
		t.Errorf("any ports: %d and %d", a, b)
	}
}

func TestTimers(t *testing.T) {
	c := Config{Timers: Timers{Retry: Backoff{Initial: 20 * time.Second}, Liveness: Backoff{Tries: 2}}, RollCallAge: time.Hour}
	got, std := c.timers(), ike.DefaultTimers()
	if got.Retry.Initial != 20*time.Second || got.Retry.Max != 20*time.Second || got.Retry.Tries != std.Retry.Tries || got.Retry.Factor != std.Retry.Factor || std.Retry.Factor != 150 {
		t.Errorf("retry: %+v", got.Retry)
	}
	if got.Liveness.Initial != std.Liveness.Initial || got.Liveness.Tries != 2 || got.RollCallAge != time.Hour {
		t.Errorf("liveness: %+v, %v", got.Liveness, got.RollCallAge)
	}
}

// TestD12_Profile: whatever proves the identities changes the profile; what
// does not, does not.
func TestD12_Profile(t *testing.T) {
	sum := func(change func(*Connection)) [32]byte {
		c := office(RoleClient)
		change(&c.Connections[0])
		peers, err := c.ready(RoleClient)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Connections[0].profile(peers[0])
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := sum(func(*Connection) {})
	for name, change := range map[string]func(*Connection){
		"own identity":    func(c *Connection) { c.Local.ID = "other.example.org" },
		"remote identity": func(c *Connection) { c.Remote.ID = "*" },
		"key":             func(c *Connection) { c.PSK = "another key of the test" },
	} {
		if sum(change) == base {
			t.Errorf("another %s leaves the profile as it was", name)
		}
	}
	if sum(func(c *Connection) { c.DPD, c.Local.Auth, c.Fragment = time.Hour, "psk", 1000 }) != base {
		t.Error("times and sizes change the profile")
	}
}

// TestPolicies: what a connection says about its tickets and its first Child SA
// is what the machine does.
func TestPolicies(t *testing.T) {
	for word, want := range map[string]ike.Renewal{"": ike.RenewalAsk, "ask": ike.RenewalAsk, "rekey": ike.RenewalRekey, "none": ike.RenewalNone} {
		c := office(RoleClient)
		c.Connections[0].Tickets.Renewal, c.Connections[0].Childless = word, word == "none"
		peers, err := c.ready(RoleClient)
		if err != nil {
			t.Fatal(err)
		}
		if p := peers[0]; p.Renewal != want || p.Childless != (word == "none") {
			t.Errorf("%q: renewal %d, childless %v", word, p.Renewal, p.Childless)
		}
	}
}
