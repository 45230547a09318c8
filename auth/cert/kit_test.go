package cert

import (
	"crypto/x509"
	"slices"
	"testing"

	"blackswan/auth"
	"blackswan/auth/authtest"
	"blackswan/wire"
)

// TestKit runs the kit for each algorithm in both of its methods, with and
// without an intermediate authority, for each type of identity.
func TestKit(t *testing.T) {
	top := root(t)
	middle := issue(t, authority("middle"), newKey("P-384"), top)
	leafOf := func(kind string, by *issuer) *issuer { return issue(t, template("gw.example"), newKey(kind), by) }
	dn := func(l *issuer) wire.ID { return wire.ID{Type: wire.IDDERASN1DN, Data: l.cert.RawSubject} }

	for _, row := range []struct {
		name   string
		key    string
		pkcs1  bool
		deep   bool // below the intermediate authority
		hashes []uint16
		method wire.AuthMethod
		id     wire.ID // zero: the subject
	}{
		{"RFC 7427 RSASSA-PSS", "rsa-2048", false, false, authtest.Hashes(), wire.AuthSignature, fqdn("gw.example")},
		{"RFC 7427 RSASSA-PSS with SHA-512", "rsa-2048", false, true, []uint16{1, auth.HashSHA512}, wire.AuthSignature, fqdn("GW.example")},
		{"RFC 7427 RSASSA-PKCS1-v1_5", "rsa-2048", true, true, authtest.Hashes(), wire.AuthSignature, wire.ID{}},
		{"RFC 7427 ECDSA P-256", "P-256", false, false, authtest.Hashes(), wire.AuthSignature, wire.ID{Type: wire.IDIPv4Addr, Data: []byte{192, 0, 2, 1}}},
		{"RFC 7427 ECDSA P-384", "P-384", false, true, authtest.Hashes(), wire.AuthSignature, wire.ID{Type: wire.IDRFC822Addr, Data: []byte("alice@GW.example")}},
		{"RFC 7427 ECDSA P-521 with SHA-256", "P-521", false, false, []uint16{auth.HashSHA256}, wire.AuthSignature, fqdn("gw.example")},
		{"RFC 8420 Ed25519", "ed25519", false, true, authtest.Hashes(), wire.AuthSignature, wire.ID{Type: wire.IDIPv6Addr, Data: []byte{0x20, 1, 0xd, 0xb8, 15: 1}}},
		{"RFC 4754 method 9", "P-256", false, true, nil, wire.AuthECDSA256, fqdn("gw.example")},
		{"RFC 4754 method 10", "P-384", false, false, nil, wire.AuthECDSA384, wire.ID{}},
		{"RFC 4754 method 11", "P-521", false, false, nil, wire.AuthECDSA521, fqdn("gw.example")},
	} {
		t.Run(row.name, func(t *testing.T) {
			chain, parent := []*x509.Certificate(nil), top
			if row.deep {
				chain, parent = []*x509.Certificate{middle.cert}, middle
			}
			leaf := leafOf(row.key, parent)
			c := credential(t, leaf.key, []*x509.Certificate{top.cert}, slices.Insert(chain, 0, leaf.cert)...)
			c.PKCS1v15 = row.pkcs1
			id := row.id
			if id.Data == nil {
				id = dn(leaf)
			}
			authtest.Run(t, authtest.Pair{
				Signer: signer(t, c), Verifier: verifier(t, Trust{Authorities: []*x509.Certificate{top.cert}}),
				ID: id, Hashes: row.hashes, Method: row.method, Now: now,
			})
		})
	}
}

// TestPinned: a peer's own certificate as the anchor trusts that peer.
func TestPinned(t *testing.T) {
	leaf := issue(t, template("gw.example"), newKey("P-256"), nil)
	authtest.Run(t, authtest.Pair{
		Signer:   signer(t, credential(t, leaf.key, nil, leaf.cert)),
		Verifier: verifier(t, Trust{Authorities: []*x509.Certificate{leaf.cert}}),
		ID:       fqdn("gw.example"), Hashes: authtest.Hashes(), Method: wire.AuthSignature, Now: now,
	})
}
