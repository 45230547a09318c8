package cert

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	"blackswan/auth"
)

// maxSerial is the longest serial number, in octets, RFC 5280 4.1.2.2.
const maxSerial = 20

// issued names a certificate by who issued it, the SHA-256 of the name's DER,
// and by its serial number, big-endian without leading zeros.
type issued struct {
	issuer [32]byte
	serial string
}

func identify(c *x509.Certificate) issued {
	return issued{sha256.Sum256(c.RawIssuer), string(c.SerialNumber.Bytes())}
}

// revoked holds the entries of all lists. Two authorities of one name share
// their entries: that can refuse a certificate, never accept one.
type revoked map[issued]bool

// readRevoked checks each list against the authority that signed it. A list
// that has run out still revokes: Stale tells of it.
func readRevoked(lists []*x509.RevocationList, authorities []*x509.Certificate) (revoked, error) {
	all := make(revoked)
	for _, list := range lists {
		switch list.SignatureAlgorithm {
		case x509.SHA1WithRSA, x509.ECDSAWithSHA1: // rule G1; package x509 still takes them here
			return nil, fmt.Errorf("%w: revocation list of %v is signed with SHA-1: have it issued with SHA-256", auth.ErrCertificate, list.Issuer)
		}
		if !slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return list.CheckSignatureFrom(a) == nil }) {
			return nil, fmt.Errorf("%w: revocation list of %v is signed by no configured authority: add the certificate that signed it", auth.ErrUntrusted, list.Issuer)
		}
		if err := plain(list.Extensions); err != nil {
			return nil, fmt.Errorf("%w: revocation list of %v: %w", auth.ErrCertificate, list.Issuer, err)
		}
		issuer := sha256.Sum256(list.RawIssuer)
		for _, entry := range list.RevokedCertificateEntries {
			if err := plain(entry.Extensions); err != nil {
				return nil, fmt.Errorf("%w: revocation list of %v, entry %x: %w", auth.ErrCertificate, list.Issuer, entry.SerialNumber, err)
			}
			all[issued{issuer, string(entry.SerialNumber.Bytes())}] = true
		}
	}
	return all, nil
}

// plain refuses lists that are only a part: deltas, indirect lists and lists of
// some reasons say so in critical extensions (RFC 5280 5.2).
func plain(extensions []pkix.Extension) error {
	for _, x := range extensions {
		if x.Critical {
			return fmt.Errorf("critical extension %v: only complete lists of an authority's own certificates are read", x.Id)
		}
	}
	return nil
}

// Stale names the revocation lists whose next update is due. They still
// revoke what they name; what was revoked since is not known.
func (v *Verifier) Stale(now time.Time) []string {
	var all []string
	for _, list := range v.trust.CRLs {
		if !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			all = append(all, fmt.Sprintf("revocation list of %v was due for renewal on %v", list.Issuer, list.NextUpdate.UTC().Format(time.DateTime)))
		}
	}
	return all
}
