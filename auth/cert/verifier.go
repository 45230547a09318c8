// Package cert authenticates with certificates: RSA, ECDSA and Ed25519 by RFC
// 7427, ECDSA by RFC 4754, chains to configured authorities, identities against
// the subjectAltName, revocation by CRL files. It implements both sides of
// package auth.
package cert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"blackswan/auth"
)

// Trust is what a Verifier believes.
type Trust struct {
	// Authorities are the trust anchors. One that is a peer's own certificate
	// trusts that peer alone.
	Authorities []*x509.Certificate

	// Intermediates are not trusted; they help where a peer leaves them out,
	// and their CRLs can be checked.
	Intermediates []*x509.Certificate

	// CRLs are revocation lists, each signed by one of the above. An authority
	// without one revokes nothing.
	CRLs []*x509.RevocationList

	// CompareAddress refuses an ID_IPV4_ADDR or ID_IPV6_ADDR that is not the
	// source of the message. It fails behind a NAT.
	CompareAddress bool
}

// Verifier implements [auth.Verifier].
type Verifier struct {
	trust         Trust
	roots         *x509.CertPool
	intermediates []*x509.Certificate
	anchors       map[[32]byte]bool // SHA-256 of DER
	revoked       revoked
	certReq       []byte
}

var _ auth.Verifier = (*Verifier)(nil)

// NewVerifier refuses trust without an anchor, weak anchors, and revocation
// lists that it cannot check.
func NewVerifier(trust Trust) (*Verifier, error) {
	if len(trust.Authorities) == 0 {
		return nil, fmt.Errorf("%w: no authority is configured, so no peer could prove who it is", auth.ErrUntrusted)
	}
	v := &Verifier{trust: trust, roots: x509.NewCertPool(), intermediates: trust.Intermediates, anchors: make(map[[32]byte]bool)}
	for _, a := range trust.Authorities {
		if err := strong(a.PublicKey); err != nil {
			return nil, fmt.Errorf("%w: authority %v: %w", auth.ErrCertificate, a.Subject, err)
		}
		fingerprint := sha256.Sum256(a.Raw)
		if v.anchors[fingerprint] {
			continue
		}
		v.anchors[fingerprint] = true
		v.roots.AddCert(a)
		key := keyHash(a)
		v.certReq = append(v.certReq, key[:]...)
	}
	var err error
	v.revoked, err = readRevoked(trust.CRLs, slices.Concat(trust.Authorities, trust.Intermediates))
	if err != nil {
		return nil, err
	}
	return v, nil
}

// CertReq implements [auth.Verifier].
func (v *Verifier) CertReq() []byte { return v.certReq }

// Verify implements [auth.Verifier].
func (v *Verifier) Verify(req auth.VerifyRequest) (auth.Result, error) {
	certs, err := parseCerts(req.Certs)
	if err != nil {
		return auth.Result{}, err
	}
	if len(req.Data) > auth.MaxSignature {
		return auth.Result{}, fmt.Errorf("%w: %d octets of AUTH", auth.ErrSignature, len(req.Data))
	}
	leaf := certs[0] // RFC 7296 3.6: the first is the one that signs
	name, addr, err := match(req.ID, leaf)
	if err != nil {
		return auth.Result{}, err
	}
	if v.trust.CompareAddress && addr.IsValid() && addr != req.Remote.Unmap() {
		return auth.Result{}, fmt.Errorf("%w: %v came from %v", auth.ErrIdentity, addr, req.Remote)
	}
	if err := strong(leaf.PublicKey); err != nil {
		return auth.Result{}, fmt.Errorf("%w: %v: %w", auth.ErrCertificate, leaf.Subject, err)
	}
	if err := verify(leaf.PublicKey, req.Method, req.Data, req.Octets); err != nil {
		return auth.Result{}, err
	}
	chain, err := v.chain(certs, req.Now)
	if err != nil {
		return auth.Result{}, err
	}
	return result(chain, name, addr), nil
}

// parseCerts bounds what is parsed before parsing it.
func parseCerts(ders [][]byte) ([]*x509.Certificate, error) {
	switch {
	case len(ders) == 0:
		return nil, fmt.Errorf("%w: the peer sent none: have it send its certificate", auth.ErrCertificate)
	case len(ders) > auth.MaxCerts:
		return nil, fmt.Errorf("%w: the peer sent %d, at most %d are read", auth.ErrCertificate, len(ders), auth.MaxCerts)
	}
	certs := make([]*x509.Certificate, 0, len(ders))
	for i, der := range ders {
		if len(der) > auth.MaxCert {
			return nil, fmt.Errorf("%w: number %d has %d octets, at most %d are read", auth.ErrCertificate, i+1, len(der), auth.MaxCert)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: number %d: %w", auth.ErrCertificate, i+1, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// chain finds a way from the leaf to an anchor that is valid now, strong, and
// not revoked. Package x509 refuses signatures with MD5 and SHA-1.
func (v *Verifier) chain(certs []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	pool := x509.NewCertPool()
	for _, c := range slices.Concat(certs[1:], v.intermediates) {
		pool.AddCert(c)
	}
	leaf := certs[0]
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: v.roots, Intermediates: pool, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // judged by mayAuthenticate: x509 has no name for IKE's own
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return nil, fmt.Errorf("%w: %v: %w", auth.ErrExpired, invalid.Cert.Subject, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %v: %w", auth.ErrUntrusted, leaf.Subject, err)
	}
	for _, chain := range chains {
		if err = v.accept(chain); err == nil {
			return chain, nil
		}
	}
	return nil, err
}

// accept judges a chain whose signatures, dates and lengths are right.
func (v *Verifier) accept(chain []*x509.Certificate) error {
	if err := mayAuthenticate(chain[0]); err != nil {
		return fmt.Errorf("%w: %v: %w", auth.ErrCertificate, chain[0].Subject, err)
	}
	for _, c := range belowAnchor(chain) {
		if err := strong(c.PublicKey); err != nil {
			return fmt.Errorf("%w: %v: %w", auth.ErrCertificate, c.Subject, err)
		}
		if !forIKE(c) {
			return fmt.Errorf("%w: %v: %w", auth.ErrCertificate, c.Subject, errKeyUsage)
		}
		if n := len(c.SerialNumber.Bytes()); n > maxSerial {
			return fmt.Errorf("%w: %v: serial number of %d octets: at most %d are allowed (RFC 5280 4.1.2.2)", auth.ErrCertificate, c.Subject, n, maxSerial)
		}
		if v.revoked[identify(c)] {
			return fmt.Errorf("%w: %v, serial number %x", auth.ErrRevoked, c.Subject, c.SerialNumber)
		}
	}
	return nil
}

// belowAnchor leaves out the anchor, which nobody but the configuration
// vouches for; a chain that is an anchor alone stays.
func belowAnchor(chain []*x509.Certificate) []*x509.Certificate {
	return chain[:max(1, len(chain)-1)]
}

func result(chain []*x509.Certificate, name string, addr netip.Addr) auth.Result {
	r := auth.Result{
		Identity: []byte(name),
		NotAfter: chain[0].NotAfter,
		Anchor:   sha256.Sum256(chain[len(chain)-1].Raw),
		Leaf:     sha256.Sum256(chain[0].Raw),
		Addr:     addr,
	}
	for _, c := range chain {
		if c.NotAfter.Before(r.NotAfter) {
			r.NotAfter = c.NotAfter
		}
	}
	for _, c := range belowAnchor(chain) {
		id := identify(c)
		r.CertIssuer = append(r.CertIssuer, id.issuer[:]...)
		r.CertSerial = append(append(r.CertSerial, byte(len(id.serial))), id.serial...)
	}
	return r
}

// Recheck implements [auth.Verifier].
func (v *Verifier) Recheck(anchor [32]byte, issuer, serial []byte, notAfter, now time.Time) error {
	if !v.anchors[anchor] {
		return fmt.Errorf("%w: the authority %x is not configured any more", auth.ErrUntrusted, anchor[:8])
	}
	if now.After(notAfter) {
		return fmt.Errorf("%w: it ended %v", auth.ErrExpired, notAfter.UTC())
	}
	for more := true; more; more = len(issuer) > 0 || len(serial) > 0 {
		if len(issuer) < 32 || len(serial) < 1 || len(serial) < 1+int(serial[0]) {
			return fmt.Errorf("%w: what is remembered of it cannot be read", auth.ErrCertificate)
		}
		n := 1 + int(serial[0])
		if id := (issued{[32]byte(issuer), string(serial[1:n])}); v.revoked[id] {
			return fmt.Errorf("%w: serial number %x", auth.ErrRevoked, id.serial)
		}
		issuer, serial = issuer[32:], serial[n:]
	}
	return nil
}

var (
	oidIPsecIKE        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17}
	oidIKEIntermediate = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 2, 2}
)

var errKeyUsage = errors.New("its key usage does not allow it to sign for an IKE peer: issue it with digitalSignature, and with no extended key usage or with serverAuth, clientAuth or id-kp-ipsecIKE")

// mayAuthenticate judges key usage and extended key usage of a peer's own certificate.
func mayAuthenticate(c *x509.Certificate) error {
	const signs = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	if c.KeyUsage != 0 && c.KeyUsage&signs == 0 || !forIKE(c) {
		return errKeyUsage
	}
	return nil
}

// forIKE says whether extended key usage is absent or names IKE or what stands
// for it in the certificates that people have.
func forIKE(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageAny || u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageClientAuth
	}) || slices.ContainsFunc(c.UnknownExtKeyUsage, func(oid asn1.ObjectIdentifier) bool {
		return oid.Equal(oidIPsecIKE) || oid.Equal(oidIKEIntermediate)
	})
}
