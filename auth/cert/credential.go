package cert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"fmt"
	"slices"

	"blackswan/auth"
	"blackswan/wire"
)

// Credential is one certificate of ours, the way from it to an authority, and
// its private key. It never changes and prints without the key.
type Credential struct {
	// PKCS1v15 makes an RSA key sign with RSASSA-PKCS1-v1_5 instead of
	// RSASSA-PSS, for a peer that has only that. Set it before the first use.
	PKCS1v15 bool

	leaf    *x509.Certificate
	key     crypto.Signer
	send    [][]byte   // DER for CERT payloads, leaf first, no trust anchor
	leadsTo [][20]byte // SHA-1 of the keys of the authorities above the leaf, for CERTREQ
}

// NewCredential joins a certificate chain, leaf first and each one issued by
// the next, with the leaf's private key. Authorities may hold further
// certificates, from which the way up is completed: the peer's CERTREQ names
// the authority by its key, which the chain alone may not have.
func NewCredential(chain []*x509.Certificate, key crypto.Signer, authorities []*x509.Certificate) (*Credential, error) {
	if len(chain) == 0 || len(chain) > auth.MaxCerts {
		return nil, fmt.Errorf("%w: %d certificates: want 1 to %d, our own first", auth.ErrCertificate, len(chain), auth.MaxCerts)
	}
	leaf := chain[0]
	if err := strong(leaf.PublicKey); err != nil {
		return nil, fmt.Errorf("%w: %v: %w: issue it again with a better key", auth.ErrCertificate, leaf.Subject, err)
	}
	if err := mayAuthenticate(leaf); err != nil {
		return nil, fmt.Errorf("%w: %v: %w", auth.ErrCertificate, leaf.Subject, err)
	}
	if !samePublic(leaf.PublicKey, key.Public()) {
		return nil, fmt.Errorf("%w: %v: the private key belongs to another certificate: our own certificate comes first in its file", auth.ErrCertificate, leaf.Subject)
	}
	c := &Credential{leaf: leaf, key: key, send: [][]byte{leaf.Raw}}
	last := leaf
	for _, next := range chain[1:] {
		if err := last.CheckSignatureFrom(next); err != nil {
			return nil, fmt.Errorf("%w: %v is not issued by %v, which follows it: put each certificate behind the one that it issued: %w", auth.ErrCertificate, last.Subject, next.Subject, err)
		}
		if !selfIssued(next) {
			c.send = append(c.send, next.Raw)
		}
		c.leadsTo = append(c.leadsTo, keyHash(next))
		last = next
	}
	c.climb(last, authorities)
	return c, nil
}

// climb follows the issuers of last through authorities.
func (c *Credential) climb(last *x509.Certificate, authorities []*x509.Certificate) {
	for range auth.MaxCerts {
		if selfIssued(last) {
			return
		}
		i := slices.IndexFunc(authorities, func(a *x509.Certificate) bool { return last.CheckSignatureFrom(a) == nil })
		if i < 0 {
			return
		}
		last = authorities[i]
		c.leadsTo = append(c.leadsTo, keyHash(last))
	}
}

// Certificate returns our own certificate. It is shared.
func (c *Credential) Certificate() *x509.Certificate { return c.leaf }

// Proves says whether our certificate is for the identity. A peer would refuse
// one that is not, so a configuration with such a pair is wrong.
func (c *Credential) Proves(id wire.ID) error {
	_, _, err := match(id, c.leaf)
	return err
}

// String names the certificate, and neither it nor Format shows the key.
func (c *Credential) String() string { return fmt.Sprintf("credential of %v", c.leaf.Subject) }

// Format keeps the key out of every verb.
func (c *Credential) Format(f fmt.State, _ rune) { f.Write([]byte(c.String())) }

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// keyHash names an authority in CERTREQ: SHA-1 of its SubjectPublicKeyInfo,
// RFC 7296 3.7. No security rests on it.
func keyHash(c *x509.Certificate) [20]byte { return sha1.Sum(c.RawSubjectPublicKeyInfo) }

// A Signer signs with the first of its credentials that the peer can verify.
type Signer struct{ credentials []*Credential }

// NewSigner takes at least one credential, the default one first.
func NewSigner(credentials ...*Credential) (*Signer, error) {
	if len(credentials) == 0 {
		return nil, fmt.Errorf("%w: none is configured", auth.ErrNoCredential)
	}
	return &Signer{credentials}, nil
}

var _ auth.Signer = (*Signer)(nil)

// Sign implements [auth.Signer].
func (s *Signer) Sign(req auth.SignRequest) (auth.Signature, error) {
	c, err := s.pick(req)
	if err != nil {
		return auth.Signature{}, err
	}
	// RFC 7427 3: where both ends announced hashes, method 14 and no other.
	if scheme, ok := c.scheme(req.Hashes); ok {
		signature, err := scheme.sign(c.key, req.Octets)
		if err != nil {
			return auth.Signature{}, fmt.Errorf("auth: key of %v: %w", c.leaf.Subject, err)
		}
		return auth.Signature{Method: wire.AuthSignature, Data: scheme.frame(signature), Certs: c.send}, nil
	}
	method, raw, err := signRaw(c.key, c.leaf.PublicKey.(*ecdsa.PublicKey), req.Octets)
	if err != nil {
		return auth.Signature{}, fmt.Errorf("auth: key of %v: %w", c.leaf.Subject, err)
	}
	return auth.Signature{Method: method, Data: raw, Certs: c.send}, nil
}

// pick honours CERTREQ among the credentials that the peer can verify.
func (s *Signer) pick(req auth.SignRequest) (*Credential, error) {
	var fits *Credential
	for _, c := range s.credentials {
		if !c.fits(req.Hashes) {
			continue
		}
		if fits == nil {
			fits = c
		}
		if c.below(req.CertReq) {
			return c, nil
		}
	}
	switch {
	case fits != nil:
		return fits, nil
	case len(req.Hashes) == 0:
		return nil, fmt.Errorf("%w: it announced no SIGNATURE_HASH_ALGORITHMS (RFC 7427), and without them only ECDSA keys can sign: give this connection an ECDSA certificate", auth.ErrNoCredential)
	}
	return nil, fmt.Errorf("%w: it announced the signature hashes %v and none fits our keys: give this connection an ECDSA or RSA certificate, or the peer SHA-2", auth.ErrNoCredential, req.Hashes)
}

// fits says whether a peer that announced hashes can verify this key.
func (c *Credential) fits(announced []uint16) bool {
	if len(announced) == 0 {
		_, ok := c.leaf.PublicKey.(*ecdsa.PublicKey) // RFC 4754
		return ok
	}
	_, ok := c.scheme(announced)
	return ok
}

// scheme chooses the algorithm for method 14, with a hash that the peer
// announced (RFC 7427 4): the hash of the key's strength, else a longer one,
// else a shorter one.
func (c *Credential) scheme(announced []uint16) (scheme, bool) {
	s := scheme{form: formPSS, hash: crypto.SHA256}
	switch k := c.leaf.PublicKey.(type) {
	case ed25519.PublicKey:
		return scheme{form: formEd25519}, slices.Contains(announced, auth.HashIdentity)
	case *ecdsa.PublicKey:
		s = scheme{form: formECDSA, hash: curves[k.Curve].hash}
	case *rsa.PublicKey:
		if c.PKCS1v15 {
			s.form = formPKCS1
		}
	}
	at := slices.IndexFunc(hashes, func(h hashRow) bool { return h.hash == s.hash })
	for _, row := range slices.Concat(hashes[at:], hashes[:at]) {
		if slices.Contains(announced, row.id) {
			s.hash = row.hash
			if s.form == formPSS {
				s.salt = s.hash.Size() // as long as the hash, RFC 4055 3.1
			}
			return s, true
		}
	}
	return scheme{}, false
}

// below says whether one of the authorities in CERTREQ stands above the certificate.
func (c *Credential) below(certReq []byte) bool {
	for h := range slices.Chunk(certReq, 20) {
		if len(h) == 20 && slices.Contains(c.leadsTo, [20]byte(h)) {
			return true
		}
	}
	return false
}
