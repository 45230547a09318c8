package storm

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"time"

	"blackswan/auth/cert"
	"blackswan/ike"
	"blackswan/internal/pki"
	"blackswan/internal/proof"
	"blackswan/internal/suite"
)

// authority issues a certificate for each client at the moment of its
// handshake, and judges the gateway's.
type authority struct {
	*pki.CA
	verifier *cert.Verifier
}

// openAuthority reads the authority in dir, as 'blackswan pki init' made it.
func openAuthority(dir string) (authority, error) {
	ca, err := pki.LoadCA(dir)
	if err != nil {
		return authority{}, err
	}
	v, err := cert.NewVerifier(cert.Trust{Authorities: []*x509.Certificate{ca.Certificate}})
	return authority{ca, v}, err
}

// sign answers AskSign with a certificate for that identity.
func (f *authority) sign(q *ike.Question, identity string, now time.Time, a *ike.Answer) error {
	leaf, err := f.Issue(pki.Request{ID: identity, Kind: pki.Client, Now: now})
	if err != nil {
		return err
	}
	credential, err := cert.NewCredential([]*x509.Certificate{leaf.Certificate}, leaf.Key, []*x509.Certificate{f.Certificate})
	if err != nil {
		return err
	}
	signer, err := cert.NewSigner(credential)
	if err != nil {
		return err
	}
	proof.Sign(q, signer, a)
	return a.Err
}

// answer does the work of a question here and now: the crowd has no better use
// for its CPU.
func (c *crowd) answer(q *ike.Question, now time.Time) ike.Answer {
	a := ike.Answer{ID: q.ID}
	switch q.Kind {
	case ike.AskKeyPair:
		a.Pair, a.Err = suite.NewKeyPair(q.Group, rand.Reader)
	case ike.AskAgree:
		a.Shared, a.Err = q.Pair.Shared(q.Public)
	case ike.AskSign:
		a.Err = c.authority.sign(q, c.identity(c.first+int(q.Owner)).String(), now, &a)
	case ike.AskVerify:
		proof.Verify(q, c.authority.verifier, now, &a)
	}
	return a
}

// ownAddress is the address from which the system reaches the gateway.
func ownAddress(gateway netip.AddrPort) (netip.Addr, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(gateway)) // sends nothing
	if err != nil {
		return netip.Addr{}, fmt.Errorf("storm: no way to the gateway: %w", err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}
