package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"blackswan"
)

const whole = `# a gateway
listen: [192.0.2.1, "2001:db8::1"]
port: 5500
nat_port: 5501
ticket_keys: ring
qcd: on
roll_call: all
roll_call_age: 5m
cookie: always
keylog: keys.txt
state: state
timers:
  retry: {initial: 2s, max: 20s, tries: 7}
connections:
  - name: office
    local:  {id: gw.example.org, auth: cert, cert: gw.pem, key: /etc/gw.key}
    remote: {id: "*@example.org", auth: cert, ca: [ca.pem, /etc/ca2.pem]}
    ike: [aes256gcm16-prfsha256-x25519]
    esp: [aes256gcm16]
    local_ts: [10.7.0.0/16]
    remote_ts: [10.8.0.0/16]
    children:
      - name: data
      - {name: voice, local_ts: [10.6.0.0/16], esp: [chacha20poly1305]}
    fragment: 1280
    dpd: never
    lifetime: 8h
    tickets: {lifetime: 4h}
    libreswan: true
  - name: lab
    local: {id: 10.0.0.1}
    remote: {id: "*"}
    psk: 0x0011
    tickets: {off: true}
`

func TestParse(t *testing.T) {
	got, err := Parse("/etc/blackswan/gateway.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := blackswan.Config{
		Listen: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Port:   5500, NATPort: 5501, QCD: "on", RollCall: "all", RollCallAge: 5 * time.Minute, Cookie: "always",
		KeyLog: "/etc/blackswan/keys.txt", StateDir: "/etc/blackswan/state", TicketKeys: "/etc/blackswan/ring",
		Timers: blackswan.Timers{Retry: blackswan.Backoff{Initial: 2 * time.Second, Max: 20 * time.Second, Tries: 7}},
		Connections: []blackswan.Connection{{
			Name:   "office",
			Local:  blackswan.Side{ID: "gw.example.org", Auth: "cert", Cert: "/etc/blackswan/gw.pem", Key: "/etc/gw.key"},
			Remote: blackswan.Side{ID: "*@example.org", Auth: "cert", CA: []string{"/etc/blackswan/ca.pem", "/etc/ca2.pem"}},
			IKE:    []string{"aes256gcm16-prfsha256-x25519"}, ESP: []string{"aes256gcm16"},
			LocalTS: []string{"10.7.0.0/16"}, RemoteTS: []string{"10.8.0.0/16"},
			Children: []blackswan.Child{{Name: "data"}, {Name: "voice", LocalTS: []string{"10.6.0.0/16"}, ESP: []string{"chacha20poly1305"}}},
			Fragment: 1280, DPD: -1, Lifetime: 8 * time.Hour, Tickets: blackswan.TicketPolicy{Lifetime: 4 * time.Hour}, Libreswan: true,
		}, {
			Name: "lab", Local: blackswan.Side{ID: "10.0.0.1"}, Remote: blackswan.Side{ID: "*"}, PSK: "0x0011",
			Tickets: blackswan.TicketPolicy{Off: true},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Each row is a file and its one error, whole: file, line, column, key, cure.
func TestFormErrors(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"lisen: [192.0.2.1]", "f.yaml:1:1: lisen: unknown key: did you mean listen?"},
		{"connections:\n  - name: a\n    remote_tz: [10.0.0.0/8]", "f.yaml:3:5: connections[0].remote_tz: unknown key: did you mean remote_ts?"},
		{"connections:\n  - local: {id: a, frobnicate: 1}", "f.yaml:2:20: connections[0].local.frobnicate: unknown key: the keys here are id, auth, cert, key, ca, crl"},
		{"port: 70000", "f.yaml:1:7: port: is not a number from 0 to 65535: write it in decimal digits"},
		{"port: -1", "f.yaml:1:7: port: is not a number from 0 to 65535: write it in decimal digits"},
		{"port: 0x1f4", "f.yaml:1:7: port: is not a number from 0 to 65535: write it in decimal digits"},
		{"shards: many", "f.yaml:1:9: shards: is not a number from 0 to 2147483647: write it in decimal digits"},
		{"roll_call_age: 30", `f.yaml:1:16: roll_call_age: "30" is not a duration: it has no unit: write 30s`},
		{"roll_call_age: soon", `f.yaml:1:16: roll_call_age: "soon" is not a duration: write a number with its unit, as 30s, 15m or 8h`},
		{"roll_call_age: never", `f.yaml:1:16: roll_call_age: "never" is not a duration: write a number with its unit, as 30s, 15m or 8h`},
		{"roll_call_age: -5s", `f.yaml:1:16: roll_call_age: "-5s" is below zero: write a duration above zero, or leave the key out`},
		{"listen: 192.0.2.1", "f.yaml:1:9: listen: is not a list: write [192.0.2.1]"},
		{"listen: [gw.example.org]", `f.yaml:1:10: listen[0]: "gw.example.org" is not an IP address: write an address of this host, without a port`},
		{"any_port: maybe", "f.yaml:1:11: any_port: is neither true nor false: write one of the two"},
		{"qcd: true", "f.yaml:1:6: qcd: is not a text: write it between quotes"},
		{"qcd:", "f.yaml:1:6: qcd: has no value: give it one, or remove the key"},
		{"timers: fast", "f.yaml:1:9: timers: holds no keys: write keys with values here, the first is retry:"},
		{"- name: a", "f.yaml:1:1: holds no keys: write keys with values here, the first is state:"},
		{"qcd: on\n---\nqcd: off", "f.yaml:3:1: a second document: one file holds one configuration: remove the line ---"},
		{"qcd: on\nqcd: off", `f.yaml:2:1: mapping key "qcd" already defined at [1:1]: correct the YAML here`},
		{"x: &a {qcd: on}", "f.yaml:1:1: x: unknown key: the keys here are state, state_key, ticket_keys, listen, port, nat_port, any_port, qcd, roll_call, roll_call_age, cookie, keylog, shards, receive_buffer, timers, traffic, tunnel, connections, machine_id"},
		{"tunnel: {addresses: [fd00: :/64]}", "f.yaml:1:22: tunnel.addresses[0]: is not a text: write it between quotes"},
		{"tunnel: {addresses: [fd00:x]}", "f.yaml:1:22: tunnel.addresses[0]: is not a text: write it between quotes"},
		{"tunnel: {addresses: [{fd00: 1, fd01: 2}]}", "f.yaml:1:23: tunnel.addresses[0]: is not a text: write it between quotes"},
		{"tunnel: {addresses: [{fd00: [1]}]}", "f.yaml:1:23: tunnel.addresses[0]: is not a text: write it between quotes"},
		{"tunnel: {addresses: [::/0]}", "f.yaml:1:22: found an invalid key for this map: write IPv6 addresses between quotes here"},
		{"keylog: fd00::", "f.yaml:1:9: mapping value is not allowed in this context: write IPv6 addresses between quotes here"},
		{"timers: {<<: {retry: {}}}", "f.yaml:1:10: timers: anchors, merges and tags are not read: write the keys out"},
	} {
		_, err := Parse("f.yaml", []byte(row.text))
		if err == nil || err.Error() != row.want {
			t.Errorf("%q:\ngot  %v\nwant %s", row.text, err, row.want)
		}
	}
}

// An IPv6 address needs no quotes where it can be told from a key.
func TestAddressesWithoutQuotes(t *testing.T) {
	const before = "connections:\n  - name: a\n"
	for _, row := range []struct {
		text string
		want []string // local_ts
	}{
		{before + "    local_ts: [fd00::/64]\n", []string{"fd00::/64"}},
		{before + "    local_ts: [fd00::/64, 10.0.0.0/8, 2001:db8::1]\n", []string{"fd00::/64", "10.0.0.0/8", "2001:db8::1"}},
		{before + "    local_ts: [::/0, ::1, fd00::]\n", []string{"::/0", "::1", "fd00::"}},
		{before + "    local_ts:\n      - fd00::/64\n      - ::/0\n      - 2001:db8:0:1:2:3:4:5\n", []string{"fd00::/64", "::/0", "2001:db8:0:1:2:3:4:5"}},
		{before + "    local_ts:\n      - fd00::\n      - 2001:db8::  # a note\n", []string{"fd00::", "2001:db8::"}},
		{"connections: [{name: a, local_ts: [fd00::/64, 2001:db8::1/128, 12::/16, fd00::]}]\n", []string{"fd00::/64", "2001:db8::1/128", "12::/16", "fd00::"}},
		{"connections: [{name: a, local_ts: ['::/0', 1:2:3:4:5:6:7:8]}]\n", []string{"::/0", "1:2:3:4:5:6:7:8"}},
	} {
		cfg, err := Parse("f.yaml", []byte(row.text))
		if err != nil || !reflect.DeepEqual(cfg.Connections[0].LocalTS, row.want) {
			t.Errorf("%q: %v, %+v", row.text, err, cfg.Connections)
		}
	}
	cfg, err := Parse("f.yaml", []byte("listen: [2001:db8::1, fd00::]\nconnections:\n  - gateway: fd00::1\n    local: {id: fd00::2}\n"))
	if err != nil || len(cfg.Listen) != 2 || cfg.Connections[0].Gateway != "fd00::1" || cfg.Connections[0].Local.ID != "fd00::2" {
		t.Errorf("%v, %+v", err, cfg)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("f.yaml", []byte("port: many\nshards: few\nqdc: on\n"))
	var all Problems
	if !errors.As(err, &all) || len(all) != 3 || all[0].Line != 1 || all[1].Line != 2 || all[2].Line != 3 {
		t.Errorf("%v", err)
	}
}

// What the root package refuses is told with the place in the file.
func TestCheckErrors(t *testing.T) {
	const start = "state: s\nconnections:\n  - name: a\n"
	const sides = "    local: {id: gw.example.org}\n    remote: {id: \"*\"}\n"
	for _, row := range []struct {
		text         string
		line, column int
		key          string
	}{
		{"state: s\n", 1, 1, "connections"},
		{start + sides, 3, 5, "connections[0].psk"},
		{start + sides + "    psk: ''\n", 6, 10, "connections[0].psk"},
		{start + sides + "    psk: secretsecretsecret12\n    ike: [aes256gcm16-sha256-x25519, des-md5-modp768]\n", 7, 38, "connections[0].ike[1]"},
		{start + sides + "    psk: secretsecretsecret12\n    local_ts: [10.0.0.0/99]\n", 7, 16, "connections[0].local_ts[0]"},
		{start + "    local: {id: \"*\"}\n    remote: {id: b}\n    psk: secretsecretsecret12\n", 4, 17, "connections[0].local.id"},
		{start + "    local: {id: a, auth: cart}\n    remote: {id: b}\n    psk: secretsecretsecret12\n", 4, 26, "connections[0].local.auth"},
		{start + "    local: {id: a}\n    remote: {id: b, auth: cert}\n    psk: secretsecretsecret12\n", 5, 14, "connections[0].remote.ca"},
		{start + sides + "    psk: secretsecretsecret12\n    gateway: 192.0.2.1\n", 7, 14, "connections[0].gateway"},
		{start + sides + "    psk: secretsecretsecret12\n    children:\n      - name: a\n      - {name: b, esp: [rot13], local_ts: [10.0.0.0/8]}\n", 9, 25, "connections[0].children[1].esp[0]"},
		{start + sides + "    psk: secretsecretsecret12\n    children:\n      - name: a\n      - name: b\n", 9, 9, "connections[0].children[1]"},
		{"qcd: perhaps\n" + start + sides + "    psk: secretsecretsecret12\n", 1, 6, "qcd"},
		{"port: 500\nnat_port: 500\n" + start + sides + "    psk: secretsecretsecret12\n", 2, 11, "nat_port"},
		{start + sides + "    psk: secretsecretsecret12\n  - name: a\n    local: {id: c}\n    remote: {id: d}\n    psk: secretsecretsecret12\n", 7, 11, "connections[1].name"},
	} {
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		cfg, err := Parse(path, []byte(row.text))
		if err != nil {
			t.Errorf("%q: %v", row.text, err)
			continue
		}
		err = Check(path, []byte(row.text), &cfg, blackswan.RoleGateway)
		var all Problems
		if !errors.As(err, &all) || len(all) != 1 {
			t.Errorf("%q: got %v, want one problem of %s", row.text, err, row.key)
			continue
		}
		p := all[0]
		if p.Line != row.line || p.Column != row.column || p.Key != row.key || p.What == "" || p.Cure == "" {
			t.Errorf("%q: got %+v, want %d:%d of %s", row.text, p, row.line, row.column, row.key)
		}
		if want := fmt.Sprintf("%s:%d:%d: %s: ", path, row.line, row.column, row.key); !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), p.Cure) {
			t.Errorf("error %q does not begin with %q and end with the cure", err, want)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	_, _, err := Read(filepath.Join(dir, "none.yaml"))
	if want := filepath.Join(dir, "none.yaml") + ": no such file or directory: name a file that can be read"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(big); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("a file of more than 4 MiB: %v", err)
	}
	good := filepath.Join(dir, "good.yaml")
	if err := os.WriteFile(good, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, text, err := Read(good); err != nil || string(text) != whole || cfg.StateDir != filepath.Join(dir, "state") {
		t.Errorf("%v, state in %s", err, cfg.StateDir)
	}
}

// What is printed is read as the same configuration with its defaults, but for
// secrets, which are not in it.
func TestPrint(t *testing.T) {
	cfg, err := Parse("/etc/blackswan/gateway.yaml", []byte(whole+"state_key: "+strings.Repeat("7a", 32)+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := Print(cfg, blackswan.RoleGateway)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "7a7a") || strings.Contains(string(text), "0011") {
		t.Errorf("a secret is printed:\n%s", text)
	}
	got, err := Parse("/", text)
	if err != nil {
		t.Fatalf("what was printed is not read: %v\n%s", err, text)
	}
	want := effective(cfg, blackswan.RoleGateway)
	want.StateKey, want.Connections[1].PSK = []byte(redacted), redacted
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v\n%s", got, want, text)
	}
	for _, line := range []string{"lifetime: 24h0m0s", "since_ke: 24h0m0s", "since_auth: 168h0m0s", "dpd: never", "dpd: 30s", "fragment: 1252", "roll_call: all", "- dynamic"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
}

func TestEveryFieldHasOneKey(t *testing.T) {
	for _, row := range []struct {
		of   reflect.Type
		want string
	}{
		{reflect.TypeFor[blackswan.Config](), "state state_key ticket_keys listen port nat_port any_port qcd roll_call roll_call_age cookie keylog shards receive_buffer timers traffic tunnel connections machine_id"},
		{reflect.TypeFor[blackswan.Connection](), "name gateway gateway_nat_port gateways local remote psk ike esp local_ts remote_ts mode children addresses dns search fragment dpd liveness reauth lifetime child_lifetime child_volume tickets childless mobike routability redirect libreswan"},
		{reflect.TypeFor[blackswan.Child](), "name mode esp local_ts remote_ts"},
		{reflect.TypeFor[blackswan.Side](), "id auth cert key ca crl"},
		{reflect.TypeFor[blackswan.Tunnel](), "name mtu addresses encap replay_window"},
		{reflect.TypeFor[blackswan.Volume](), "packets octets"},
		{reflect.TypeFor[blackswan.TicketPolicy](), "off lifetime since_ke since_auth heal_after heal_before renewal"},
		{reflect.TypeFor[blackswan.Timers](), "retry liveness"},
		{reflect.TypeFor[blackswan.Backoff](), "initial max tries"},
	} {
		if got := strings.Join(keysOf(row.of), " "); got != row.want {
			t.Errorf("%v: got  %s\nwant %s", row.of, got, row.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"listen", "lisen", 1}, {"kitten", "sitting", 3}, {"local_ts", "remote_ts", 6}} {
		if got := distance(row.a, row.b); got != row.want {
			t.Errorf("%q to %q: got %d, want %d", row.a, row.b, got, row.want)
		}
	}
}

// FuzzParse: no panic, an error names the file, and what is read can be printed
// and is read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("listen: [192.0.2.1]\nconnections: [{name: a, psk: 0x00, dpd: never}]"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Add([]byte("listen:\n  - fd00::\nconnections: [{name: a, local_ts: [fd00::/64, 12::, '::/0']}]"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Add([]byte("--- !!binary aGk=\n...\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Parse("f.yaml", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml") {
				t.Errorf("%q: error %q names no file", text, err)
			}
			return
		}
		printed, err := Print(cfg, blackswan.RoleClient)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if _, err := Parse("f.yaml", printed); err != nil {
			t.Errorf("%q was printed as %q: %v", text, printed, err)
		}
	})
}

// What is printed of a connection in transport mode is a configuration that holds.
func TestPrintTransport(t *testing.T) {
	const text = `traffic: "on"
state: s
tunnel: {encap: auto}
connections:
  - name: a
    gateway: 192.0.2.1
    local: {id: b}
    remote: {id: c}
    psk: secretsecretsecret12
    addresses: [10.9.0.2/24]
`
	for _, more := range []string{"    mode: transport\n", "    children:\n      - name: net\n      - {name: host, mode: either, local_ts: [dynamic]}\n"} {
		cfg, err := Parse("f.yaml", []byte(text+more))
		if err != nil {
			t.Fatal(err)
		}
		printed, err := Print(cfg, blackswan.RoleClient)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("f.yaml", printed)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		again.Connections[0].PSK = "secretsecretsecret12"
		if err := again.Check(blackswan.RoleClient); err != nil || again.Connections[0].MOBIKE != "off" {
			t.Errorf("%v\n%s", err, printed)
		}
	}
}
