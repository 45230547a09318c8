package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"strings"

	"blackswan/auth"
	"blackswan/wire"
)

// match checks that the certificate is for the identity of IDi or IDr (RFC
// 7296 2.15 and 3.5): names and addresses against the subjectAltName, a
// distinguished name against the subject. It returns the identity's human form
// and, for an address, the address. The common name is never looked at.
func match(id wire.ID, c *x509.Certificate) (name string, addr netip.Addr, err error) {
	text := string(id.Data)
	switch id.Type {
	case wire.IDFQDN:
		for _, san := range c.DNSNames {
			if isName(text) && equalFoldASCII(san, text) {
				return strings.ToLower(text), netip.Addr{}, nil
			}
		}
	case wire.IDRFC822Addr:
		for _, san := range c.EmailAddresses {
			if equalMail(san, text) {
				return san, netip.Addr{}, nil
			}
		}
	case wire.IDIPv4Addr, wire.IDIPv6Addr:
		want, ok := netip.AddrFromSlice(id.Data)
		for _, san := range c.IPAddresses {
			if a, _ := netip.AddrFromSlice(san); ok && a.Unmap() == want.Unmap() {
				return want.Unmap().String(), want.Unmap(), nil
			}
		}
	case wire.IDDERASN1DN:
		if equalDN(id.Data, c.RawSubject) {
			return c.Subject.String(), netip.Addr{}, nil
		}
	default:
		return "", netip.Addr{}, fmt.Errorf("%w: an identity of type %v cannot be proven by a certificate: use a name, an e-mail address, an address or the certificate's subject", auth.ErrIdentity, id.Type)
	}
	return "", netip.Addr{}, fmt.Errorf("%w: %v is asked for and the certificate names %s", auth.ErrIdentity, id, names(c))
}

// names lists what a certificate could prove, for an error.
func names(c *x509.Certificate) string {
	all := []string{"the subject " + fmt.Sprintf("%q", c.Subject.String())}
	for _, n := range c.DNSNames {
		all = append(all, fmt.Sprintf("%q", n))
	}
	for _, n := range c.EmailAddresses {
		all = append(all, fmt.Sprintf("%q", n))
	}
	for _, n := range c.IPAddresses {
		all = append(all, n.String())
	}
	const most = 8 // a peer's certificate may have a thousand
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("%d more", len(all)-most))
	}
	return strings.Join(all, ", ")
}

// isName refuses wildcards: a certificate for *.example.org is for hosts of
// TLS, and an IKE identity is one name.
func isName(s string) bool { return s != "" && !strings.Contains(s, "*") }

// equalMail compares the host part without case, the mailbox exactly (RFC 5280 7.5).
func equalMail(a, b string) bool {
	boxA, hostA, okA := cutLast(a, '@')
	boxB, hostB, okB := cutLast(b, '@')
	return okA && okB && boxA != "" && boxA == boxB && equalFoldASCII(hostA, hostB)
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// equalFoldASCII does not know letters outside ASCII: in a host name, the
// Kelvin sign is no k.
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// attribute is one type and value of a distinguished name.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeSET is one step of the name; its type's suffix means SET to asn1.
type attributeSET []attribute

// equalDN compares two distinguished names in DER: as octets, and else step by
// step without case, kind of string, and runs of spaces (RFC 5280 7.1). Two
// implementations seldom encode one name alike.
func equalDN(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return len(a) > 2 // an empty name is no identity
	}
	x, okX := parseDN(a)
	y, okY := parseDN(b)
	if !okX || !okY || len(x) != len(y) {
		return false
	}
	for i := range x {
		if !equalStep(x[i], y[i]) {
			return false
		}
	}
	return len(x) > 0
}

func parseDN(der []byte) (steps []attributeSET, ok bool) {
	rest, err := asn1.Unmarshal(der, &steps)
	return steps, err == nil && len(rest) == 0
}

// equalStep compares sets: DER sorts them by octets, and octets may differ
// between names that are equal.
func equalStep(x, y attributeSET) bool {
	if len(x) != len(y) {
		return false
	}
	var used [8]bool
	if len(x) > len(used) {
		return false
	}
next:
	for _, a := range x {
		for i, b := range y {
			if !used[i] && a.Type.Equal(b.Type) && equalValue(a.Value, b.Value) {
				used[i] = true
				continue next
			}
		}
		return false
	}
	return true
}

func equalValue(a, b asn1.RawValue) bool {
	if bytes.Equal(a.FullBytes, b.FullBytes) {
		return true
	}
	s, okS := textOf(a)
	t, okT := textOf(b)
	return okS && okT && strings.EqualFold(s, t)
}

// textOf reads the kinds of string that a name may have, without needless
// spaces. Other kinds are compared as octets only.
func textOf(v asn1.RawValue) (string, bool) {
	var s string
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagBMPString:
	default:
		return "", false
	}
	if v.Class != asn1.ClassUniversal {
		return "", false
	}
	if rest, err := asn1.Unmarshal(v.FullBytes, &s); err != nil || len(rest) > 0 {
		return "", false
	}
	return strings.Join(strings.Fields(s), " "), true
}
