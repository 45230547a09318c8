package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"blackswan/auth"
	"blackswan/auth/authtest"
	"blackswan/wire"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

var rsaKeys sync.Map // bits: *rsa.PrivateKey

// rsaKey makes one key of each size: they take long.
func rsaKey(bits int) crypto.Signer {
	if k, ok := rsaKeys.Load(bits); ok {
		return k.(crypto.Signer)
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	rsaKeys.Store(bits, k)
	return k
}

func newKey(kind string) crypto.Signer {
	var k crypto.Signer
	var err error
	switch kind {
	case "P-224":
		k, err = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case "P-256":
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		k, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, k, err = ed25519.GenerateKey(rand.Reader)
	case "rsa-1024":
		return rsaKey(1024)
	case "rsa-2048":
		return rsaKey(2048)
	default:
		panic(kind)
	}
	if err != nil {
		panic(err)
	}
	return k
}

// issuer is a certificate with its key.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serial int64

// template is a certificate for all that a test may ask of it.
func template(name string) *x509.Certificate {
	serial++
	return &x509.Certificate{
		SerialNumber:   big.NewInt(serial),
		Subject:        pkix.Name{Organization: []string{"Black Swan"}, CommonName: name},
		NotBefore:      now.Add(-time.Hour),
		NotAfter:       now.Add(time.Hour),
		KeyUsage:       x509.KeyUsageDigitalSignature,
		DNSNames:       []string{name},
		EmailAddresses: []string{"alice@" + name},
		IPAddresses:    []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")},
	}
}

// authority is a template for an authority.
func authority(name string) *x509.Certificate {
	t := template(name)
	t.DNSNames, t.EmailAddresses, t.IPAddresses = nil, nil, nil
	t.BasicConstraintsValid, t.IsCA = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	t.NotAfter = now.Add(24 * time.Hour)
	return t
}

// issue signs a template; a nil parent signs itself.
func issue(t testing.TB, template *x509.Certificate, key crypto.Signer, parent *issuer) *issuer {
	t.Helper()
	by := &issuer{template, key}
	if parent != nil {
		by = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{c, key}
}

func root(t testing.TB) *issuer { return issue(t, authority("root"), newKey("P-256"), nil) }

func credential(t testing.TB, key crypto.Signer, authorities []*x509.Certificate, chain ...*x509.Certificate) *Credential {
	t.Helper()
	c, err := NewCredential(chain, key, authorities)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signer(t testing.TB, credentials ...*Credential) *Signer {
	t.Helper()
	s, err := NewSigner(credentials...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verifier(t testing.TB, trust Trust) *Verifier {
	t.Helper()
	v, err := NewVerifier(trust)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func fqdn(name string) wire.ID { return wire.ID{Type: wire.IDFQDN, Data: []byte(name)} }

// shown is a request with what a peer with this key and these certificates
// sends as gw.example. It signs whatever the certificates are worth.
func shown(t testing.TB, key crypto.Signer, certs ...*x509.Certificate) auth.VerifyRequest {
	t.Helper()
	c := &Credential{leaf: certs[0], key: key}
	for _, cert := range certs {
		c.send = append(c.send, cert.Raw)
	}
	octets := []byte("octets")
	s, err := signer(t, c).Sign(auth.SignRequest{Octets: octets, Hashes: authtest.Hashes()})
	if err != nil {
		t.Fatal(err)
	}
	return auth.VerifyRequest{ID: fqdn("gw.example"), Certs: s.Certs, Method: s.Method, Data: s.Data, Octets: octets, Now: now}
}
