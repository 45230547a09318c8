package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

// Certificate is a certificate and its key, made for one test run.
type Certificate struct {
	cert   *x509.Certificate
	key    crypto.Signer
	issuer *Certificate // nil for a root
}

var serial int64

// issue makes a certificate; by == nil makes a root. name is the common name
// and, for an end entity, the identity of IKE as SAN: an e-mail address if it
// has an @, a DNS name otherwise.
func issue(t testing.TB, name string, key crypto.Signer, by *Certificate, ca bool) *Certificate {
	t.Helper()
	serial++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Black Swan interop"}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  ca,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	switch {
	case ca:
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	case strings.Contains(name, "@"):
		template.EmailAddresses = []string{name}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	default:
		template.DNSNames = []string{name}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	c := &Certificate{key: key, issuer: by}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

// CertPEM is the certificate alone.
func (c *Certificate) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// ChainPEM is the certificate and those between it and the root.
func (c *Certificate) ChainPEM() []byte {
	var chain []byte
	for ; c.issuer != nil; c = c.issuer {
		chain = append(chain, c.CertPEM()...)
	}
	return chain
}

// Root is the end of the chain.
func (c *Certificate) Root() *Certificate {
	for c.issuer != nil {
		c = c.issuer
	}
	return c
}

// KeyPEM is the key in PKCS #8.
func (c *Certificate) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecdsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ed25519Key(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// loadCertificate reads PREFIX.pem and PREFIX.key, issued by the root in ca.
func loadCertificate(t testing.TB, prefix, ca string) *Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(prefix+".pem", prefix+".key")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &Certificate{cert: pair.Leaf, key: pair.PrivateKey.(crypto.Signer), issuer: &Certificate{cert: root}}
}
