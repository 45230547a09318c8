package cert

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"blackswan/auth"
	"blackswan/wire"
)

// TestRefusedChains shows a peer that has its private key and an identity that
// fits, and something else that is wrong.
func TestRefusedChains(t *testing.T) {
	top := root(t)
	middle := issue(t, authority("middle"), newKey("P-256"), top)
	leafTemplate := func(change func(*x509.Certificate)) *x509.Certificate {
		c := template("gw.example")
		change(c)
		return c
	}
	plainLeaf := func(by *issuer) *issuer { return issue(t, template("gw.example"), newKey("P-256"), by) }
	caTemplate := func(change func(*x509.Certificate)) *x509.Certificate {
		c := authority("changed")
		change(c)
		return c
	}

	chains := map[string]struct {
		want  error
		chain func() []*issuer // leaf first
	}{
		"unknown authority": {auth.ErrUntrusted, func() []*issuer { return []*issuer{plainLeaf(root(t))} }},
		"unknown authority that is shown": {auth.ErrUntrusted, func() []*issuer {
			other := root(t)
			return []*issuer{plainLeaf(other), other}
		}},
		"intermediate left out": {auth.ErrUntrusted, func() []*issuer { return []*issuer{plainLeaf(middle)} }},
		"self-signed":           {auth.ErrUntrusted, func() []*issuer { return []*issuer{issue(t, template("gw.example"), newKey("P-256"), nil)} }},
		"issued by a certificate that is no authority": {auth.ErrUntrusted, func() []*issuer {
			no := plainLeaf(top)
			return []*issuer{plainLeaf(no), no}
		}},
		"expired leaf": {auth.ErrExpired, func() []*issuer {
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }), newKey("P-256"), top)}
		}},
		"leaf not yet valid": {auth.ErrExpired, func() []*issuer {
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }), newKey("P-256"), top)}
		}},
		"expired intermediate": {auth.ErrExpired, func() []*issuer {
			old := issue(t, caTemplate(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }), newKey("P-256"), top)
			return []*issuer{plainLeaf(old), old}
		}},
		"path too long": {auth.ErrUntrusted, func() []*issuer {
			last := issue(t, caTemplate(func(c *x509.Certificate) { c.MaxPathLenZero = true }), newKey("P-256"), top)
			below := issue(t, authority("below"), newKey("P-256"), last)
			return []*issuer{plainLeaf(below), below, last}
		}},
		"chain signed with SHA-1": {auth.ErrUntrusted, func() []*issuer {
			old := issue(t, authority("sha1"), rsaKey(2048), top)
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }), newKey("P-256"), old), old}
		}},
		"RSA-1024 leaf": {auth.ErrCertificate, func() []*issuer { return []*issuer{issue(t, template("gw.example"), rsaKey(1024), top)} }},
		"RSA-1024 intermediate": {auth.ErrCertificate, func() []*issuer {
			weak := issue(t, authority("weak"), rsaKey(1024), top)
			return []*issuer{plainLeaf(weak), weak}
		}},
		"P-224 intermediate": {auth.ErrCertificate, func() []*issuer {
			weak := issue(t, authority("weak"), newKey("P-224"), top)
			return []*issuer{plainLeaf(weak), weak}
		}},
		"key usage without signatures": {auth.ErrCertificate, func() []*issuer {
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), newKey("P-256"), top)}
		}},
		"extended key usage for something else": {auth.ErrCertificate, func() []*issuer {
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), newKey("P-256"), top)}
		}},
		"intermediate for something else": {auth.ErrCertificate, func() []*issuer {
			mail := issue(t, caTemplate(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }), newKey("P-256"), top)
			return []*issuer{plainLeaf(mail), mail}
		}},
		"unknown critical extension": {auth.ErrUntrusted, func() []*issuer {
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
			}), newKey("P-256"), top)}
		}},
		"leaf too large": {auth.ErrCertificate, func() []*issuer {
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, auth.MaxCert)}}
			}), newKey("P-256"), top)}
		}},
		"serial number too long": {auth.ErrCertificate, func() []*issuer {
			return []*issuer{issue(t, leafTemplate(func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 168) }), newKey("P-256"), top)}
		}},
	}
	v := verifier(t, Trust{Authorities: []*x509.Certificate{top.cert}})
	for name, row := range chains {
		t.Run(name, func(t *testing.T) {
			var certs []*x509.Certificate
			chain := row.chain()
			for _, c := range chain {
				certs = append(certs, c.cert)
			}
			if _, err := v.Verify(shown(t, chain[0].key, certs...)); !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
		})
	}
	leaf := plainLeaf(middle)
	if _, err := v.Verify(shown(t, leaf.key, leaf.cert, middle.cert)); err != nil {
		t.Error("the chain that the others are changed from:", err)
	}
	if _, err := v.Verify(shown(t, newKey("P-256"), leaf.cert, middle.cert)); !errors.Is(err, auth.ErrSignature) {
		t.Error("without the private key:", err)
	}
}

// TestAcceptedUsage: what people's certificates have, RFC 4945's own included.
func TestAcceptedUsage(t *testing.T) {
	top := root(t)
	v := verifier(t, Trust{Authorities: []*x509.Certificate{top.cert}})
	for name, change := range map[string]func(*x509.Certificate){
		"none":            func(c *x509.Certificate) { c.KeyUsage = 0 },
		"nonRepudiation":  func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment },
		"serverAuth":      func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"clientAuth":      func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"any":             func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
		"ipsecIKE":        func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidIPsecIKE} },
		"iKEIntermediate": func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidIKEIntermediate} },
		"one of many will": func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageClientAuth}
		},
	} {
		c := template("gw.example")
		change(c)
		leaf := issue(t, c, newKey("P-256"), top)
		if _, err := v.Verify(shown(t, leaf.key, leaf.cert)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestResult: a ticket remembers the whole chain below the anchor, and the
// earliest end of all of it (RFC 5723 5, rule D4).
func TestRuleD4_Result(t *testing.T) {
	top := root(t)
	short := authority("short")
	short.NotAfter = now.Add(time.Minute)
	middle := issue(t, short, newKey("P-256"), top)
	leaf := issue(t, template("gw.example"), newKey("P-256"), middle)
	v := verifier(t, Trust{Authorities: []*x509.Certificate{top.cert}, Intermediates: []*x509.Certificate{middle.cert}})
	r, err := v.Verify(shown(t, leaf.key, leaf.cert))
	if err != nil {
		t.Fatal(err)
	}
	middleName, topName := sha256.Sum256(middle.cert.RawSubject), sha256.Sum256(top.cert.RawSubject)
	wantSerial := append([]byte{1, byte(leaf.cert.SerialNumber.Int64())}, 1, byte(middle.cert.SerialNumber.Int64()))
	switch {
	case string(r.Identity) != "gw.example":
		t.Errorf("identity %q", r.Identity)
	case !bytes.Equal(r.CertIssuer, append(middleName[:], topName[:]...)):
		t.Errorf("issuer %x", r.CertIssuer)
	case !bytes.Equal(r.CertSerial, wantSerial):
		t.Errorf("serial %x, want %x", r.CertSerial, wantSerial)
	case !r.NotAfter.Equal(short.NotAfter):
		t.Errorf("ends %v, want the intermediate's %v", r.NotAfter, short.NotAfter)
	case r.Anchor != sha256.Sum256(top.cert.Raw) || r.Leaf != sha256.Sum256(leaf.cert.Raw):
		t.Error("fingerprints")
	case r.Addr.IsValid():
		t.Errorf("address %v of a certificate that was matched by name", r.Addr)
	}
}

func TestCompareAddress(t *testing.T) {
	top := root(t)
	leaf := issue(t, template("gw.example"), newKey("P-256"), top)
	for _, row := range []struct {
		remote  string
		compare bool
		ok      bool
	}{
		{"192.0.2.1", true, true},
		{"::ffff:192.0.2.1", true, true},
		{"192.0.2.2", true, false},
		{"192.0.2.2", false, true},
	} {
		req := shown(t, leaf.key, leaf.cert)
		req.ID = wire.ID{Type: wire.IDIPv4Addr, Data: []byte{192, 0, 2, 1}}
		req.Remote = netip.MustParseAddr(row.remote)
		r, err := verifier(t, Trust{Authorities: []*x509.Certificate{top.cert}, CompareAddress: row.compare}).Verify(req)
		if row.ok && (err != nil || r.Addr != netip.MustParseAddr("192.0.2.1")) || !row.ok && !errors.Is(err, auth.ErrIdentity) {
			t.Errorf("%+v: %v %v", row, r.Addr, err)
		}
	}
}

// revocations signs a list with these serial numbers.
func revocations(t *testing.T, by *issuer, list *x509.RevocationList, serials ...*big.Int) *x509.RevocationList {
	t.Helper()
	list.Number, list.ThisUpdate = big.NewInt(1), now.Add(-time.Hour)
	if list.NextUpdate.IsZero() {
		list.NextUpdate = now.Add(time.Hour)
	}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, by.cert, by.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestRevoked: a revoked certificate, or one below a revoked authority, neither
// logs in nor resumes (RFC 5723 5, rule D4).
func TestRevoked(t *testing.T) {
	top := root(t)
	middle := issue(t, authority("middle"), newKey("P-256"), top)
	leaf := issue(t, template("gw.example"), newKey("P-256"), middle)
	sibling := issue(t, template("gw.example"), newKey("P-256"), middle)
	trust := Trust{Authorities: []*x509.Certificate{top.cert}, Intermediates: []*x509.Certificate{middle.cert}}
	before, err := verifier(t, trust).Verify(shown(t, leaf.key, leaf.cert))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		crl     *x509.RevocationList
		revoked bool
	}{
		{"leaf", revocations(t, middle, &x509.RevocationList{}, leaf.cert.SerialNumber), true},
		{"leaf, by a list that has run out", revocations(t, middle, &x509.RevocationList{NextUpdate: now.Add(-time.Minute)}, leaf.cert.SerialNumber), true},
		{"intermediate", revocations(t, top, &x509.RevocationList{}, middle.cert.SerialNumber), true},
		{"sibling", revocations(t, middle, &x509.RevocationList{}, sibling.cert.SerialNumber), false},
		{"same number, another authority", revocations(t, top, &x509.RevocationList{}, leaf.cert.SerialNumber), false},
	} {
		trust.CRLs = []*x509.RevocationList{row.crl}
		v := verifier(t, trust)
		want := error(nil)
		if row.revoked {
			want = auth.ErrRevoked
		}
		if _, err := v.Verify(shown(t, leaf.key, leaf.cert)); !errors.Is(err, want) {
			t.Errorf("%s: login: %v", row.name, err)
		}
		if err := v.Recheck(before.Anchor, before.CertIssuer, before.CertSerial, before.NotAfter, now); !errors.Is(err, want) {
			t.Errorf("%s: resume: %v", row.name, err)
		}
		if stale := v.Stale(now); (len(stale) > 0) != strings.Contains(row.name, "run out") {
			t.Errorf("%s: stale %q", row.name, stale)
		}
	}
}

func TestRefusedTrust(t *testing.T) {
	top := root(t)
	stranger := root(t)
	old := issue(t, authority("sha1"), rsaKey(2048), nil)
	weak := issue(t, authority("weak"), rsaKey(1024), nil)
	noCRL := authority("no CRL")
	noCRL.KeyUsage = x509.KeyUsageCertSign
	cannot := issue(t, noCRL, newKey("P-256"), nil)
	withCRL := *cannot.cert
	withCRL.KeyUsage |= x509.KeyUsageCRLSign
	delta := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}
	indirect := x509.RevocationListEntry{
		SerialNumber: big.NewInt(7), RevocationTime: now,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}},
	}
	authorities := func(c ...*issuer) (all []*x509.Certificate) {
		for _, i := range c {
			all = append(all, i.cert)
		}
		return all
	}
	lists := func(c ...*x509.RevocationList) []*x509.RevocationList { return c }
	for name, row := range map[string]struct {
		trust Trust
		want  error
	}{
		"nobody":                       {Trust{}, auth.ErrUntrusted},
		"RSA-1024":                     {Trust{Authorities: authorities(top, weak)}, auth.ErrCertificate},
		"list of a stranger":           {Trust{Authorities: authorities(top), CRLs: lists(revocations(t, stranger, &x509.RevocationList{}))}, auth.ErrUntrusted},
		"list of who may not":          {Trust{Authorities: authorities(cannot), CRLs: lists(revocations(t, &issuer{&withCRL, cannot.key}, &x509.RevocationList{}))}, auth.ErrUntrusted},
		"list signed with SHA-1":       {Trust{Authorities: authorities(old), CRLs: lists(revocations(t, old, &x509.RevocationList{SignatureAlgorithm: x509.SHA1WithRSA}))}, auth.ErrCertificate},
		"list that is a delta":         {Trust{Authorities: authorities(top), CRLs: lists(revocations(t, top, &x509.RevocationList{ExtraExtensions: []pkix.Extension{delta}}))}, auth.ErrCertificate},
		"list with entries of another": {Trust{Authorities: authorities(top), CRLs: lists(revocations(t, top, &x509.RevocationList{RevokedCertificateEntries: []x509.RevocationListEntry{indirect}}))}, auth.ErrCertificate},
	} {
		if _, err := NewVerifier(row.trust); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

// TestRFC7296_3_7_CertReq: SHA-1 hashes of the anchors' keys, each anchor once.
func TestRFC7296_3_7_CertReq(t *testing.T) {
	a, b := root(t), root(t)
	got := verifier(t, Trust{Authorities: []*x509.Certificate{a.cert, b.cert, a.cert}}).CertReq()
	x, y := sha1.Sum(a.cert.RawSubjectPublicKeyInfo), sha1.Sum(b.cert.RawSubjectPublicKeyInfo)
	if !bytes.Equal(got, append(x[:], y[:]...)) {
		t.Errorf("%x", got)
	}
}

// TestManyCertificates: a peer's useless certificates make no chain and no long search.
func TestManyCertificates(t *testing.T) {
	top := root(t)
	key := newKey("P-256")
	var loop []*x509.Certificate
	for range auth.MaxCerts - 1 { // all of one name and key: each issued each other
		loop = append(loop, issue(t, authority("loop"), key, &issuer{authority("loop"), key}).cert)
	}
	leaf := issue(t, template("gw.example"), newKey("P-256"), &issuer{loop[0], key})
	req := shown(t, leaf.key, append([]*x509.Certificate{leaf.cert}, loop...)...)
	if _, err := verifier(t, Trust{Authorities: []*x509.Certificate{top.cert}}).Verify(req); !errors.Is(err, auth.ErrUntrusted) {
		t.Error(err)
	}
}
