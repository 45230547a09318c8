// Package pki is a small certificate authority, so that a first tunnel needs no
// other tool: one authority, and certificates for gateways and clients that
// package cert and other makes of IKE accept.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"
)

// Kind is what a certificate is for.
type Kind string

// The two kinds.
const (
	Gateway Kind = "gateway"
	Client  Kind = "client"
)

// Algorithm is the kind of a key. The zero Algorithm is ECDSAP256.
type Algorithm string

// Algorithms, strong enough for their certificates' lives.
const (
	ECDSAP256 Algorithm = "ecdsa-p256"
	ECDSAP384 Algorithm = "ecdsa-p384"
	Ed25519   Algorithm = "ed25519"
	RSA2048   Algorithm = "rsa-2048"
	RSA3072   Algorithm = "rsa-3072"
)

// Days that certificates live if nobody says how many.
const (
	DefaultCADays = 3650
	DefaultDays   = 730
)

// maxDays keeps dates within four digits of a year.
const maxDays = 36500

// skew is how far in the past a certificate begins, for peers whose clock is
// behind ours.
const skew = time.Hour

// oidIPsecIKE is the extended key usage of RFC 4945 5.1.3.12.
var oidIPsecIKE = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17}

// A CA issues certificates. It prints without its key.
type CA struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// A Leaf is an issued certificate with its key. It prints without the key.
type Leaf struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// String names the certificate. Format keeps the key out of every verb.
func (ca *CA) String() string              { return fmt.Sprintf("authority %v", ca.Certificate.Subject) }
func (ca *CA) Format(f fmt.State, _ rune)  { f.Write([]byte(ca.String())) }
func (l *Leaf) String() string             { return fmt.Sprintf("certificate of %v", l.Certificate.Subject) }
func (l *Leaf) Format(f fmt.State, _ rune) { f.Write([]byte(l.String())) }

// NewCA makes an authority that signs itself. It may issue certificates for
// peers, not for other authorities. Days 0 is DefaultCADays.
func NewCA(name string, algorithm Algorithm, days int, now time.Time) (*CA, error) {
	if name == "" || len(name) > maxCommonName {
		return nil, fmt.Errorf("pki: the name %q of the authority has %d octets: want 1 to %d", name, len(name), maxCommonName)
	}
	template, err := begin(days, DefaultCADays, now)
	if err != nil {
		return nil, err
	}
	template.Subject = pkix.Name{CommonName: name}
	template.BasicConstraintsValid, template.IsCA, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := newKey(algorithm)
	if err != nil {
		return nil, err
	}
	certificate, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &CA{certificate, key}, nil
}

// Request asks for a certificate.
type Request struct {
	ID        string // a name, an e-mail address or an IP address: becomes the subjectAltName
	Kind      Kind
	Algorithm Algorithm
	Days      int // 0: DefaultDays; never longer than the authority's own
	Now       time.Time
}

// Issue makes a key and a certificate for it.
func (ca *CA) Issue(req Request) (*Leaf, error) {
	template, err := begin(req.Days, DefaultDays, req.Now)
	if err != nil {
		return nil, err
	}
	if err := name(template, req.ID); err != nil {
		return nil, err
	}
	if !req.Now.Before(ca.Certificate.NotAfter) {
		return nil, fmt.Errorf("pki: the authority %v ended %v: make a new one", ca.Certificate.Subject, ca.Certificate.NotAfter.UTC().Format(time.DateOnly))
	}
	if template.NotAfter.After(ca.Certificate.NotAfter) {
		template.NotAfter = ca.Certificate.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidIPsecIKE}
	switch req.Kind {
	case Gateway:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} // Windows and iOS ask for it
	case Client:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	default:
		return nil, fmt.Errorf("pki: kind %q: want %q or %q", req.Kind, Gateway, Client)
	}
	key, err := newKey(req.Algorithm)
	if err != nil {
		return nil, err
	}
	certificate, err := sign(template, ca.Certificate, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	return &Leaf{certificate, key}, nil
}

// begin makes a template with a random serial number of 128 bits and dates.
func begin(days, fallback int, now time.Time) (*x509.Certificate, error) {
	if days == 0 {
		days = fallback
	}
	if days < 1 || days > maxDays {
		return nil, fmt.Errorf("pki: %d days: want 1 to %d", days, maxDays)
	}
	serial := make([]byte, 16)
	rand.Read(serial)
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		NotBefore:    now.Add(-skew),
		NotAfter:     now.AddDate(0, 0, days),
	}, nil
}

// maxCommonName is the upper bound of RFC 5280 A.1, in characters.
const maxCommonName = 64

// name writes an identity into the subjectAltName, where RFC 7296 3.5's types
// are looked for, and into the subject for people, if it is short enough.
func name(template *x509.Certificate, id string) error {
	address, err := netip.ParseAddr(id)
	switch {
	case err == nil && address.Zone() == "":
		template.IPAddresses = append(template.IPAddresses, address.Unmap().AsSlice())
	case strings.Contains(id, "@"):
		if !mailbox(id) {
			return fmt.Errorf("pki: %q is not an e-mail address such as alice@example.org", id)
		}
		template.EmailAddresses = []string{id}
	case hostname(id):
		template.DNSNames = []string{id}
	default:
		return fmt.Errorf("pki: %q is neither a name such as gw.example.org nor an e-mail address nor an IP address", id)
	}
	if len(id) <= maxCommonName {
		template.Subject = pkix.Name{CommonName: id}
	}
	return nil
}

// hostname wants labels of letters, digits, - and _, of 1 to 63 octets each.
func hostname(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(s) <= 253
}

func mailbox(s string) bool {
	box, host, _ := strings.Cut(s, "@")
	return box != "" && hostname(host) && !strings.ContainsFunc(box, func(r rune) bool { return r <= ' ' || r > '~' })
}

func newKey(algorithm Algorithm) (crypto.Signer, error) {
	switch algorithm {
	case "", ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	return nil, fmt.Errorf("pki: algorithm %q: want %s, %s, %s, %s or %s", algorithm, ECDSAP256, ECDSAP384, Ed25519, RSA2048, RSA3072)
}

// sign adds both key identifiers. The subject's is made as in RFC 7093 2,
// method 1; package x509 takes the authority's from its certificate.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	hash := sha256.Sum256(info.Key.Bytes)
	template.SubjectKeyId = hash[:20]
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return x509.ParseCertificate(der)
}
