package cert

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"blackswan/auth"
	"blackswan/auth/authtest"
	"blackswan/wire"
)

func hashOf(c *x509.Certificate) []byte {
	h := sha1.Sum(c.RawSubjectPublicKeyInfo)
	return h[:]
}

// TestRFC7296_3_7_Pick: CERTREQ chooses among the credentials that the peer can
// verify, and is no reason to fail.
func TestRFC7296_3_7_Pick(t *testing.T) {
	one, two := root(t), root(t)
	middle := issue(t, authority("middle"), newKey("P-256"), two)
	first := issue(t, template("gw.example"), rsaKey(2048), one)
	second := issue(t, template("gw.example"), newKey("P-256"), middle)
	third := issue(t, template("gw.example"), newKey("ed25519"), two)
	s := signer(t,
		credential(t, first.key, []*x509.Certificate{one.cert}, first.cert),
		credential(t, second.key, []*x509.Certificate{one.cert, two.cert}, second.cert, middle.cert),
		credential(t, third.key, []*x509.Certificate{two.cert}, third.cert),
	)
	all := authtest.Hashes()
	for _, row := range []struct {
		name    string
		certReq []byte
		hashes  []uint16
		want    *issuer
	}{
		{"no CERTREQ: the default", nil, all, first},
		{"the first one's authority", hashOf(one.cert), all, first},
		{"the second one's authority", hashOf(two.cert), all, second},
		{"the second one's intermediate", hashOf(middle.cert), all, second},
		{"several, one of ours", slices.Concat(make([]byte, 20), hashOf(two.cert)), all, second},
		{"both: the default", slices.Concat(hashOf(two.cert), hashOf(one.cert)), all, first},
		{"a stranger: the default", make([]byte, 20), all, first},
		{"not a hash: the default", hashOf(two.cert)[:19], all, first},
		{"a key that the peer cannot verify is passed over", hashOf(two.cert), []uint16{auth.HashIdentity}, third},
		{"RFC 4754 knows ECDSA only", hashOf(one.cert), nil, second},
		{"Ed25519 needs its own number", hashOf(two.cert), []uint16{auth.HashSHA256}, second},
	} {
		got, err := s.Sign(auth.SignRequest{Octets: []byte("octets"), Hashes: row.hashes, CertReq: row.certReq})
		if err != nil || !bytes.Equal(got.Certs[0], row.want.cert.Raw) {
			t.Errorf("%s: another one, %v", row.name, err)
		}
	}
}

// TestRFC7427_4_Hash: only a hash that the peer announced.
func TestRFC7427_4_Hash(t *testing.T) {
	top := root(t)
	for _, row := range []struct {
		key    string
		hashes []uint16
		want   scheme // zero: refused
	}{
		{"P-256", []uint16{4, 3, 2}, scheme{formECDSA, crypto.SHA256, 0}},
		{"P-256", []uint16{3, 4}, scheme{formECDSA, crypto.SHA384, 0}},
		{"P-384", []uint16{2, 3, 4}, scheme{formECDSA, crypto.SHA384, 0}},
		{"P-384", []uint16{2, 4}, scheme{formECDSA, crypto.SHA512, 0}},
		{"P-521", []uint16{2, 3}, scheme{formECDSA, crypto.SHA256, 0}},
		{"rsa-2048", []uint16{4}, scheme{formPSS, crypto.SHA512, 64}},
		{"rsa-2048", []uint16{1, 2, 77}, scheme{formPSS, crypto.SHA256, 32}},
		{"ed25519", []uint16{2, 5}, scheme{form: formEd25519}},
		{"P-256", []uint16{1}, scheme{}},
		{"P-256", []uint16{5}, scheme{}},
		{"rsa-2048", []uint16{1, 5}, scheme{}},
		{"rsa-2048", nil, scheme{}},
		{"ed25519", nil, scheme{}},
		{"ed25519", []uint16{2, 3, 4}, scheme{}}, // RFC 8420 2
	} {
		leaf := issue(t, template("gw.example"), newKey(row.key), top)
		got, err := signer(t, credential(t, leaf.key, nil, leaf.cert)).Sign(auth.SignRequest{Octets: []byte("octets"), Hashes: row.hashes})
		if row.want == (scheme{}) {
			if !errors.Is(err, auth.ErrNoCredential) {
				t.Errorf("%s for %v: %v", row.key, row.hashes, err)
			}
			continue
		}
		if err != nil || got.Method != wire.AuthSignature {
			t.Errorf("%s for %v: %v %v", row.key, row.hashes, got.Method, err)
			continue
		}
		if s, _, err := unframe(got.Data); s != row.want || err != nil {
			t.Errorf("%s for %v: %+v %v", row.key, row.hashes, s, err)
		}
	}
}

// TestSend: CERT payloads hold the leaf first and no trust anchor.
func TestSend(t *testing.T) {
	top := root(t)
	middle := issue(t, authority("middle"), newKey("P-256"), top)
	leaf := issue(t, template("gw.example"), newKey("P-256"), middle)
	s := signer(t, credential(t, leaf.key, nil, leaf.cert, middle.cert, top.cert))
	got, err := s.Sign(auth.SignRequest{Octets: []byte("octets"), Hashes: authtest.Hashes()})
	if err != nil || len(got.Certs) != 2 || !bytes.Equal(got.Certs[0], leaf.cert.Raw) || !bytes.Equal(got.Certs[1], middle.cert.Raw) {
		t.Errorf("%d certificates, %v", len(got.Certs), err)
	}
}

// opaque is a key of a kind that nobody knows.
type opaque struct{ crypto.Signer }

func (opaque) Public() crypto.PublicKey { return "a string" }

func TestRefusedCredentials(t *testing.T) {
	top := root(t)
	other := root(t)
	leaf := issue(t, template("gw.example"), newKey("P-256"), top)
	weak := issue(t, template("gw.example"), rsaKey(1024), top)
	encrypts := template("gw.example")
	encrypts.KeyUsage = x509.KeyUsageKeyEncipherment
	useless := issue(t, encrypts, newKey("P-256"), top)
	for name, row := range map[string]struct {
		chain []*x509.Certificate
		key   crypto.Signer
	}{
		"no certificate":         {nil, leaf.key},
		"too many":               {slices.Repeat([]*x509.Certificate{leaf.cert}, auth.MaxCerts+1), leaf.key},
		"another key":            {[]*x509.Certificate{leaf.cert}, newKey("P-256")},
		"a key of another kind":  {[]*x509.Certificate{leaf.cert}, rsaKey(2048)},
		"a key of unknown kind":  {[]*x509.Certificate{leaf.cert}, opaque{leaf.key}},
		"the authority first":    {[]*x509.Certificate{top.cert, leaf.cert}, leaf.key},
		"another authority":      {[]*x509.Certificate{leaf.cert, other.cert}, leaf.key},
		"RSA-1024":               {[]*x509.Certificate{weak.cert}, weak.key},
		"a key usage that fails": {[]*x509.Certificate{useless.cert}, useless.key},
	} {
		if _, err := NewCredential(row.chain, row.key, nil); !errors.Is(err, auth.ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewSigner(); !errors.Is(err, auth.ErrNoCredential) {
		t.Errorf("no credential: %v", err)
	}
}

func TestProves(t *testing.T) {
	leaf := issue(t, template("gw.example"), newKey("P-256"), root(t))
	c := credential(t, leaf.key, nil, leaf.cert)
	if err := c.Proves(fqdn("gw.example")); err != nil {
		t.Error(err)
	}
	err := c.Proves(fqdn("www.example"))
	if !errors.Is(err, auth.ErrIdentity) || !strings.Contains(err.Error(), `"gw.example"`) {
		t.Errorf("%v does not say what the certificate is for", err)
	}
}

func TestCredentialRedacted(t *testing.T) {
	leaf := issue(t, template("gw.example"), newKey("ed25519"), root(t))
	c := credential(t, leaf.key, nil, leaf.cert)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		if got := fmt.Sprintf(verb, c); got != "credential of CN=gw.example,O=Black Swan" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, key := range []string{"P-256", "ed25519", "rsa-2048"} {
		b.Run(key, func(b *testing.B) {
			leaf := issue(b, template("gw.example"), newKey(key), root(b))
			s := signer(b, credential(b, leaf.key, nil, leaf.cert))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sign(auth.SignRequest{Octets: []byte("octets"), Hashes: authtest.Hashes()}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, key := range []string{"P-256", "ed25519", "rsa-2048"} {
		b.Run(key, func(b *testing.B) {
			top := root(b)
			leaf := issue(b, template("gw.example"), newKey(key), top)
			v := verifier(b, Trust{Authorities: []*x509.Certificate{top.cert}})
			req := shown(b, leaf.key, leaf.cert)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
