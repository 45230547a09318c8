package psk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"blackswan/wire"
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		text, want string
		err        error
	}{
		{"correct horse battery staple", "correct horse battery staple", nil},
		{"0x00ff10", "\x00\xff\x10", nil},
		{"0xABcd", "\xab\xcd", nil},
		{"0sAP8Q", "\x00\xff\x10", nil},
		{"0sAP8=", "\x00\xff", nil},
		{"00x1", "00x1", nil},
		{"sch\u00f6n", "sch\xc3\xb6n", nil},
		{strings.Repeat("a", maxSecret), strings.Repeat("a", maxSecret), nil},
		{"", "", errEmpty},
		{"0x", "", errEmpty},
		{"0s", "", errEmpty},
		{"0x123", "", errHex},
		{"0x12 34", "", errHex},
		{"0xzz", "", errHex},
		{"0sA", "", errBase64},
		{"0sAP8", "", errBase64},
		{"0sAP9=", "", errBase64}, // bits behind the last octet
		{" secret", "", errSpace},
		{"secret\n", "", errSpace},
		{"sec\nret", "", errSpace},
		{strings.Repeat("a", maxSecret+1), "", errLong},
	} {
		got, err := Parse(row.text)
		if string(got) != row.want || err != row.err {
			t.Errorf("%.40q: %q %v", row.text, []byte(got), err)
		}
		if err != nil && len(row.text) > 3 && strings.Contains(err.Error(), row.text) {
			t.Errorf("%.40q is in the error", row.text)
		}
	}
}

// TestRFC7296_5_Advice: shared keys that people think of are told of, random
// ones are not.
func TestRFC7296_5_Advice(t *testing.T) {
	for _, row := range []struct {
		secret string
		weak   bool
	}{
		{"a", true},
		{"secret", true},
		{"correct horse", true},
		{"12345678901234567890", true},
		{strings.Repeat("a", 200), true},
		{"7fQz9LmW2xRt5VbN8kPd", false},
		{"\x8f\x13\xe0\x5a\x99\x42\xc7\x0b\x1d\xf6\x38\x71\xae\x2c\xd4\x67", false},
		{"0123456789abcdef0123456789abcdef", false},
	} {
		if got := Secret(row.secret).Advice(); (got != "") != row.weak || strings.Contains(got, row.secret) && len(row.secret) > 1 {
			t.Errorf("%q: %q", row.secret, got)
		}
	}
}

func TestRedacted(t *testing.T) {
	e := Entry{Peer: "gw", Secret: Secret("geheim")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		got := fmt.Sprintf(verb, e)
		if strings.Contains(got, "geheim") || strings.Contains(got, fmt.Sprintf("%x", "geheim")) || strings.Contains(got, "103") {
			t.Errorf("%s: %s", verb, got)
		}
	}
	if got, err := json.Marshal(e.Secret); string(got) != `"redacted"` || err != nil {
		t.Errorf("%s %v", got, err)
	}
}

func id(kind wire.IDType, data string) wire.ID { return wire.ID{Type: kind, Data: []byte(data)} }

// TestLookup: the most particular entry wins, whatever their order.
func TestLookup(t *testing.T) {
	entries := []Entry{
		{Peer: "*", Secret: Secret("any")},
		{Peer: "*@example.org", Secret: Secret("mail")},
		{Peer: "*.example.org", Secret: Secret("host")},
		{Peer: "*.lab.example.org", Secret: Secret("lab")},
		{Peer: "alice@example.org", Secret: Secret("alice")},
		{Connection: "office", Peer: "alice@example.org", Secret: Secret("alice at the office")},
		{Connection: "office", Peer: "*", Secret: Secret("office")},
		{Connection: "office", Local: "gw2", Peer: "*", Secret: Secret("office gw2")},
		{Peer: "192.0.2.1", Secret: Secret("address")},
		{Peer: "2001:db8::1", Secret: Secret("address6")},
		{Peer: id(wire.IDKeyID, "\x00\xff").String(), Secret: Secret("key")},
	}
	v6 := "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	for turn := range 2 {
		s, err := New(entries...)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct {
			connection, local string
			peer              wire.ID
			want              string
		}{
			{"home", "gw", id(wire.IDRFC822Addr, "alice@example.org"), "alice"},
			{"home", "gw", id(wire.IDRFC822Addr, "Alice@Example.org"), "alice"},
			{"office", "gw", id(wire.IDRFC822Addr, "alice@example.org"), "alice at the office"},
			{"home", "gw", id(wire.IDRFC822Addr, "bob@example.org"), "mail"},
			{"office", "gw", id(wire.IDRFC822Addr, "bob@example.org"), "mail"}, // the peer says more than the connection
			{"home", "gw", id(wire.IDFQDN, "a.example.org"), "host"},
			{"home", "gw", id(wire.IDFQDN, "a.lab.example.org"), "lab"},
			{"home", "gw", id(wire.IDFQDN, ".example.org"), "any"}, // * is at least one octet
			{"home", "gw", id(wire.IDFQDN, "example.org"), "any"},
			{"home", "gw", id(wire.IDFQDN, "elsewhere"), "any"},
			{"office", "gw", id(wire.IDFQDN, "elsewhere"), "office"},
			{"office", "gw2", id(wire.IDFQDN, "elsewhere"), "office gw2"},
			{"home", "gw", id(wire.IDIPv4Addr, "\xc0\x00\x02\x01"), "address"},
			{"home", "gw", id(wire.IDIPv6Addr, v6), "address6"},
			{"home", "gw", id(wire.IDFQDN, "192.0.2.1"), "any"}, // a name is no address
			{"home", "gw", id(wire.IDKeyID, "\x00\xff"), "key"},
			{"home", "gw", id(wire.IDKeyID, "x.example.org"), "any"},
			{"home", "gw", id(wire.IDFQDN, id(wire.IDKeyID, "\x00\xff").String()), "any"}, // nor a key
		} {
			got, ok := s.Lookup(row.connection, id(wire.IDFQDN, row.local), row.peer)
			if !ok || string(got) != row.want {
				t.Errorf("turn %d: %s %v: %q, want %q", turn, row.connection, row.peer, []byte(got), row.want)
			}
		}
		for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
			entries[i], entries[j] = entries[j], entries[i]
		}
	}
}

func TestLookupNothing(t *testing.T) {
	s, err := New(Entry{Connection: "a", Local: "gw", Peer: "bob", Secret: Secret("s")})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][3]string{{"b", "gw", "bob"}, {"a", "gw2", "bob"}, {"a", "gw", "bobby"}, {"a", "gw", "bo"}, {"a", "gw", "bob\x00"}} {
		if got, ok := s.Lookup(row[0], id(wire.IDFQDN, row[1]), id(wire.IDFQDN, row[2])); ok || got != nil {
			t.Errorf("%q: found", row)
		}
	}
	if _, ok := s.Lookup("a", id(wire.IDFQDN, "gw"), id(wire.IDFQDN, "BOB")); !ok {
		t.Error("another case: not found")
	}
}

func TestNewRefuses(t *testing.T) {
	good := Entry{Connection: "a", Peer: "bob", Secret: Secret("s")}
	for name, entries := range map[string][]Entry{
		"no peer":           {{Secret: Secret("s")}},
		"no secret":         {{Peer: "bob"}},
		"* in the middle":   {{Peer: "a*b", Secret: Secret("s")}},
		"* twice":           {{Peer: "**", Secret: Secret("s")}},
		"* in our identity": {{Local: "gw*", Peer: "bob", Secret: Secret("s")}},
		"the same twice":    {good, {Connection: "a", Peer: "BOB", Secret: Secret("t")}},
	} {
		if _, err := New(entries...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestNewCopies: wiping the caller's octets changes nothing.
func TestNewCopies(t *testing.T) {
	secret := Secret("geheim")
	s, err := New(Entry{Peer: "*", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	clear(secret)
	if got, _ := s.Lookup("", wire.ID{}, id(wire.IDFQDN, "bob")); !bytes.Equal(got, []byte("geheim")) {
		t.Errorf("%q", []byte(got))
	}
}
