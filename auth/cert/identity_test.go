package cert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"testing"

	"blackswan/auth"
	"blackswan/wire"
)

// TestRFC7296_3_5_Identity checks each type of identity against a certificate.
func TestRFC7296_3_5_Identity(t *testing.T) {
	c := template("gw.example")
	c.Subject = pkix.Name{CommonName: "cn.example", Organization: []string{"Black  Swan"}}
	c.DNSNames = []string{"gw.example", "*.wild.example", "kelvin.example"}
	c.EmailAddresses = []string{"Alice@mail.example"}
	c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")}
	leaf := issue(t, c, newKey("P-256"), nil).cert
	v6 := net.ParseIP("2001:db8::1")

	for _, row := range []struct {
		kind wire.IDType
		data string
		want string // "": refused
	}{
		{wire.IDFQDN, "gw.example", "gw.example"},
		{wire.IDFQDN, "GW.Example", "gw.example"},
		{wire.IDFQDN, "gw.example.", ""},
		{wire.IDFQDN, "gw.example\x00", ""},
		{wire.IDFQDN, "\x00", ""},
		{wire.IDFQDN, "sub.gw.example", ""},
		{wire.IDFQDN, "w.example", ""},
		{wire.IDFQDN, "cn.example", ""}, // the common name is no name
		{wire.IDFQDN, "a.wild.example", ""},
		{wire.IDFQDN, "*.wild.example", ""},
		{wire.IDFQDN, "\u212aelvin.example", ""}, // the Kelvin sign
		{wire.IDFQDN, "192.0.2.1", ""},
		{wire.IDFQDN, "Alice@mail.example", ""},
		{wire.IDFQDN, "", ""},
		{wire.IDRFC822Addr, "Alice@mail.example", "Alice@mail.example"},
		{wire.IDRFC822Addr, "Alice@MAIL.example", "Alice@mail.example"},
		{wire.IDRFC822Addr, "alice@mail.example", ""}, // RFC 5280 7.5: the mailbox has case
		{wire.IDRFC822Addr, "mail.example", ""},
		{wire.IDRFC822Addr, "@mail.example", ""},
		{wire.IDRFC822Addr, "gw.example", ""},
		{wire.IDIPv4Addr, "\xc0\x00\x02\x01", "192.0.2.1"},
		{wire.IDIPv4Addr, "\xc0\x00\x02\x02", ""},
		{wire.IDIPv4Addr, "192.0.2.1", ""},
		{wire.IDIPv6Addr, string(v6), "2001:db8::1"},
		{wire.IDIPv6Addr, string(v6[:15]) + "\x02", ""},
		{wire.IDIPv4Addr, "", ""},
		{wire.IDDERASN1DN, string(leaf.RawSubject), "CN=cn.example,O=Black  Swan"},
		{wire.IDDERASN1DN, string(leaf.RawSubject[:len(leaf.RawSubject)-1]), ""},
		{wire.IDDERASN1DN, "CN=cn.example,O=Black  Swan", ""},
		{wire.IDDERASN1DN, "", ""},
		{wire.IDDERASN1GN, string(leaf.RawSubject), ""},
		{wire.IDKeyID, string(leaf.SubjectKeyId), ""},
		{wire.IDNull, "", ""},
	} {
		got, _, err := match(wire.ID{Type: row.kind, Data: []byte(row.data)}, leaf)
		if got != row.want || (row.want == "") != errors.Is(err, auth.ErrIdentity) {
			t.Errorf("%v %q: %q %v", row.kind, row.data, got, err)
		}
	}
}

// TestEmptySubject: an empty name proves nothing, though it is the same.
func TestEmptySubject(t *testing.T) {
	c := template("gw.example")
	c.Subject = pkix.Name{}
	leaf := issue(t, c, newKey("P-256"), nil).cert
	if _, _, err := match(wire.ID{Type: wire.IDDERASN1DN, Data: leaf.RawSubject}, leaf); !errors.Is(err, auth.ErrIdentity) {
		t.Error(err)
	}
}

func TestNamesAreBounded(t *testing.T) {
	c := &x509.Certificate{DNSNames: make([]string, 10000)}
	if got := names(c); len(got) > 200 {
		t.Errorf("an error of %d octets", len(got))
	}
}

var (
	oidCN = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidO  = asn1.ObjectIdentifier{2, 5, 4, 10}
)

// av is a type and a value in a kind of string.
func av(oid asn1.ObjectIdentifier, tag int, value string) attribute {
	return attribute{oid, asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
}

func dnOf(steps ...attributeSET) []byte { return marshal(steps) }

// TestRFC5280_7_1_EqualDN: names that people would call the same, and names
// that they would not.
func TestRFC5280_7_1_EqualDN(t *testing.T) {
	const utf8, printable, ia5, t61, bmp = asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagT61String, asn1.TagBMPString
	base := dnOf(attributeSET{av(oidO, printable, "Black Swan")}, attributeSET{av(oidCN, printable, "gw")})
	two := dnOf(attributeSET{av(oidO, utf8, "a"), av(oidCN, utf8, "b")})
	for _, row := range []struct {
		name string
		a, b []byte
		want bool
	}{
		{"the same octets", base, base, true},
		{"another kind of string", base, dnOf(attributeSET{av(oidO, utf8, "Black Swan")}, attributeSET{av(oidCN, ia5, "gw")}), true},
		{"two octets a letter", base, dnOf(attributeSET{av(oidO, printable, "Black Swan")}, attributeSET{av(oidCN, bmp, "\x00g\x00w")}), true},
		{"another case", base, dnOf(attributeSET{av(oidO, printable, "BLACK swan")}, attributeSET{av(oidCN, printable, "GW")}), true},
		{"more spaces", base, dnOf(attributeSET{av(oidO, printable, " Black   Swan ")}, attributeSET{av(oidCN, printable, "gw")}), true},
		{"no spaces", base, dnOf(attributeSET{av(oidO, printable, "BlackSwan")}, attributeSET{av(oidCN, printable, "gw")}), false},
		{"another order", base, dnOf(attributeSET{av(oidCN, printable, "gw")}, attributeSET{av(oidO, printable, "Black Swan")}), false},
		{"another type", base, dnOf(attributeSET{av(oidO, printable, "Black Swan")}, attributeSET{av(oidO, printable, "gw")}), false},
		{"one step less", base, dnOf(attributeSET{av(oidO, printable, "Black Swan")}), false},
		{"one step more", base, dnOf(attributeSET{av(oidO, printable, "Black Swan")}, attributeSET{av(oidCN, printable, "gw")}, attributeSET{av(oidCN, printable, "gw")}), false},
		{"a step of two", two, dnOf(attributeSET{av(oidO, utf8, "A"), av(oidCN, utf8, "B")}), true},
		{"a step of two, one of them changed", two, dnOf(attributeSET{av(oidO, utf8, "a"), av(oidCN, utf8, "c")}), false},
		{"a step of two, one of them twice", dnOf(attributeSET{av(oidO, utf8, "a"), av(oidO, printable, "A")}), dnOf(attributeSET{av(oidO, utf8, "a"), av(oidO, utf8, "b")}), false},
		{"a kind of string that nobody can read", dnOf(attributeSET{av(oidCN, t61, "gw")}), dnOf(attributeSET{av(oidCN, printable, "gw")}), false},
		{"an empty name", []byte{0x30, 0}, []byte{0x30, 0}, false},
		{"rubbish", []byte("rubbish"), base, false},
		{"octets behind", append(dnOf(attributeSET{av(oidCN, utf8, "gw")}), 0), dnOf(attributeSET{av(oidCN, printable, "gw")}), false},
	} {
		if got := equalDN(row.a, row.b); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
		if got := equalDN(row.b, row.a); got != row.want {
			t.Errorf("%s, the other way round: %v", row.name, got)
		}
	}
}

// FuzzEqualDN: the order of the names does not matter, a name equals itself,
// and nothing panics.
func FuzzEqualDN(f *testing.F) {
	f.Add(dnOf(attributeSET{av(oidO, 19, "Black Swan")}), dnOf(attributeSET{av(oidO, 12, "black swan")}))
	f.Add([]byte{0x30, 0}, []byte{0x30, 2, 0x31, 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if equalDN(a, b) != equalDN(b, a) {
			t.Errorf("%x and %x", a, b)
		}
		if _, ok := parseDN(a); ok && len(a) > 2 && !equalDN(a, a) {
			t.Errorf("%x is not itself", a)
		}
	})
}
