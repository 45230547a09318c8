// Package proof answers the machine's questions about credentials with the
// signers and verifiers of package auth.
package proof

import (
	"net/netip"
	"time"

	"blackswan/auth"
	"blackswan/ike"
	"blackswan/ticket"
	"blackswan/wire"
)

// Sign answers AskSign.
func Sign(q *ike.Question, signer auth.Signer, a *ike.Answer) {
	made, err := signer.Sign(auth.SignRequest{Octets: q.Octets, Hashes: q.Hashes, CertReq: q.CertReq})
	a.Auth, a.Certs, a.Err = wire.Auth{Method: made.Method, Data: made.Data}, made.Certs, err
}

// Verify answers AskVerify. leaf is the SHA-256 of the peer's certificate, if
// that is good.
func Verify(q *ike.Question, verifier auth.Verifier, now time.Time, a *ike.Answer) (leaf [32]byte) {
	r, err := verifier.Verify(auth.VerifyRequest{
		ID: q.PeerID, Certs: q.Certs, Method: q.Auth.Method, Data: q.Auth.Data, Octets: q.Octets,
		Now: now, Remote: netip.AddrFrom16(q.Remote).Unmap(),
	})
	if err != nil {
		a.Err = err
		return leaf
	}
	a.Cert = &ticket.PeerCert{Issuer: r.CertIssuer, Serial: r.CertSerial, NotAfter: r.NotAfter.Unix(), Anchor: r.Anchor}
	a.Until = r.NotAfter.Unix()
	return r.Leaf
}
