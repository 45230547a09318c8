// Package authtest is what every credential must pass: what its Signer signs,
// its Verifier accepts, and nothing else.
package authtest

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"blackswan/auth"
	"blackswan/wire"
)

// Pair is a credential and who can judge it.
type Pair struct {
	Signer   auth.Signer
	Verifier auth.Verifier
	ID       wire.ID         // that the credential proves
	Hashes   []uint16        // that the verifying side announces
	Method   wire.AuthMethod // that must be chosen
	Now      time.Time       // a time at which all of it is valid
	Remote   netip.Addr
}

// Hashes is what a peer of our make announces.
func Hashes() []uint16 {
	return []uint16{auth.HashSHA256, auth.HashSHA384, auth.HashSHA512, auth.HashIdentity}
}

// Run runs the kit.
func Run(t *testing.T, p Pair) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Pair)
	}{
		{"accepts", testAccepts},
		{"octets", testOctets},
		{"data", testData},
		{"method", testMethod},
		{"identity", testIdentity},
		{"certificates", testCertificates},
		{"time", testTime},
		{"recheck", testRecheck},
		{"CERTREQ", testCertReq},
		{"borrows", testBorrows},
		{"at once", testAtOnce},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, p) })
	}
}

var octets = []byte("message 1, the peer's nonce, the MACed ID")

func (p Pair) sign(t *testing.T) auth.VerifyRequest {
	t.Helper()
	s, err := p.Signer.Sign(auth.SignRequest{Octets: octets, Hashes: p.Hashes, CertReq: p.Verifier.CertReq()})
	if err != nil {
		t.Fatal("Sign:", err)
	}
	return auth.VerifyRequest{ID: p.ID, Certs: s.Certs, Method: s.Method, Data: s.Data, Octets: octets, Now: p.Now, Remote: p.Remote}
}

func (p Pair) accepted(t *testing.T) auth.Result {
	t.Helper()
	r, err := p.Verifier.Verify(p.sign(t))
	if err != nil {
		t.Fatal("Verify:", err)
	}
	return r
}

// refused wants one of the errors of the port, and no Result beside it.
func (p Pair) refused(t *testing.T, what string, req auth.VerifyRequest, want ...error) {
	t.Helper()
	r, err := p.Verifier.Verify(req)
	if err == nil {
		t.Errorf("%s: accepted", what)
		return
	}
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		t.Errorf("%s: %v, want one of %v", what, err, want)
	}
	if r.Identity != nil || r.CertSerial != nil || !r.NotAfter.IsZero() {
		t.Errorf("%s: a Result beside the error: %+v", what, r)
	}
}

func testAccepts(t *testing.T, p Pair) {
	req := p.sign(t)
	if req.Method != p.Method {
		t.Errorf("method %v, want %v", req.Method, p.Method)
	}
	r, err := p.Verifier.Verify(req)
	switch {
	case err != nil:
		t.Fatal("Verify:", err)
	case len(r.Identity) == 0:
		t.Error("no identity")
	case r.Anchor == [32]byte{} || r.Leaf == [32]byte{}:
		t.Error("no fingerprint of anchor or leaf")
	case !r.NotAfter.After(p.Now):
		t.Errorf("ends %v, before now", r.NotAfter)
	case len(r.CertIssuer) == 0 || len(r.CertIssuer)%32 != 0 || len(r.CertSerial) == 0:
		t.Errorf("issuer %x, serial %x: nothing for a ticket to remember", r.CertIssuer, r.CertSerial)
	}
}

func testOctets(t *testing.T, p Pair) {
	req := p.sign(t)
	for i := range octets {
		req.Octets = bytes.Clone(octets)
		req.Octets[i] ^= 1
		p.refused(t, "another octet signed", req, auth.ErrSignature)
	}
	req.Octets = octets[:len(octets)-1]
	p.refused(t, "one octet less signed", req, auth.ErrSignature)
}

// testData flips a bit of each octet of AUTH: the algorithm in front makes
// ErrMethod possible.
func testData(t *testing.T, p Pair) {
	req := p.sign(t)
	data := req.Data
	for i := range data {
		req.Data = bytes.Clone(data)
		req.Data[i] ^= 1 << (i % 8)
		p.refused(t, "a flipped bit of AUTH", req, auth.ErrSignature, auth.ErrMethod)
	}
	for _, n := range []int{0, 1, len(data) / 2, len(data) - 1} {
		req.Data = data[:n]
		p.refused(t, "AUTH cut short", req, auth.ErrSignature, auth.ErrMethod)
	}
	req.Data = append(bytes.Clone(data), 0)
	p.refused(t, "AUTH with an octet more", req, auth.ErrSignature)
	req.Data = make([]byte, auth.MaxSignature+1)
	p.refused(t, "AUTH over the limit", req, auth.ErrSignature)
}

func testMethod(t *testing.T, p Pair) {
	req := p.sign(t)
	for m := range 256 {
		if req.Method = wire.AuthMethod(m); req.Method != p.Method {
			p.refused(t, req.Method.String(), req, auth.ErrMethod, auth.ErrSignature)
		}
	}
}

func testIdentity(t *testing.T, p Pair) {
	req := p.sign(t)
	for _, id := range []wire.ID{
		{},
		{Type: p.ID.Type},
		{Type: p.ID.Type, Data: p.ID.Data[:len(p.ID.Data)-1]},
		{Type: p.ID.Type, Data: append(bytes.Clone(p.ID.Data), 'x')},
		{Type: wire.IDFQDN, Data: []byte("mallory.example")},
		{Type: wire.IDFQDN, Data: []byte("*")},
		{Type: wire.IDRFC822Addr, Data: []byte("mallory@example")},
		{Type: wire.IDIPv4Addr, Data: []byte{192, 0, 2, 66}},
		{Type: wire.IDIPv6Addr, Data: make([]byte, 16)},
		{Type: wire.IDDERASN1DN, Data: []byte{0x30, 0}},
		{Type: wire.IDDERASN1GN, Data: p.ID.Data},
		{Type: wire.IDKeyID, Data: p.ID.Data},
		{Type: wire.IDNull, Data: p.ID.Data},
	} {
		req.ID = id
		p.refused(t, id.String(), req, auth.ErrIdentity)
	}
}

func testCertificates(t *testing.T, p Pair) {
	req := p.sign(t)
	certs := req.Certs
	for what, c := range map[string][][]byte{
		"no certificate":           nil,
		"an empty certificate":     {{}},
		"a certificate cut short":  {certs[0][:len(certs[0])-1]},
		"an oversized certificate": {make([]byte, auth.MaxCert+1)},
		"rubbish behind the leaf":  append(slices.Clone(certs), []byte("rubbish")),
		"too many certificates":    slices.Repeat(certs[:1], auth.MaxCerts+1),
	} {
		req.Certs = c
		p.refused(t, what, req, auth.ErrCertificate)
	}
}

func testTime(t *testing.T, p Pair) {
	end := p.accepted(t).NotAfter
	req := p.sign(t)
	req.Now = end
	if _, err := p.Verifier.Verify(req); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	req.Now = end.Add(time.Second)
	p.refused(t, "a second after its end", req, auth.ErrExpired)
	req.Now = time.Unix(0, 0)
	p.refused(t, "in 1970", req, auth.ErrExpired)
}

func testRecheck(t *testing.T, p Pair) {
	r := p.accepted(t)
	check := func(what string, want error, anchor [32]byte, issuer, serial []byte, now time.Time) {
		t.Helper()
		if err := p.Verifier.Recheck(anchor, issuer, serial, r.NotAfter, now); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("now", nil, r.Anchor, r.CertIssuer, r.CertSerial, p.Now)
	check("in its last second", nil, r.Anchor, r.CertIssuer, r.CertSerial, r.NotAfter)
	check("a second after its end", auth.ErrExpired, r.Anchor, r.CertIssuer, r.CertSerial, r.NotAfter.Add(time.Second))
	check("under another anchor", auth.ErrUntrusted, [32]byte{1}, r.CertIssuer, r.CertSerial, p.Now)
	check("without the issuer", auth.ErrCertificate, r.Anchor, nil, r.CertSerial, p.Now)
	check("without the serial number", auth.ErrCertificate, r.Anchor, r.CertIssuer, nil, p.Now)
	check("with half an issuer", auth.ErrCertificate, r.Anchor, r.CertIssuer[:len(r.CertIssuer)-1], r.CertSerial, p.Now)
	check("with half a serial number", auth.ErrCertificate, r.Anchor, r.CertIssuer, r.CertSerial[:len(r.CertSerial)-1], p.Now)
}

// testCertReq: CERTREQ is a hint, never a reason to fail (RFC 7296 3.7).
func testCertReq(t *testing.T, p Pair) {
	if n := len(p.Verifier.CertReq()); n == 0 || n%20 != 0 {
		t.Errorf("CERTREQ of %d octets", n)
	}
	for _, certReq := range [][]byte{nil, make([]byte, 20), make([]byte, 19), make([]byte, 20*500)} {
		if _, err := p.Signer.Sign(auth.SignRequest{Octets: octets, Hashes: p.Hashes, CertReq: certReq}); err != nil {
			t.Errorf("CERTREQ of %d octets: %v", len(certReq), err)
		}
	}
}

// testBorrows overwrites a request after the call.
func testBorrows(t *testing.T, p Pair) {
	want := p.accepted(t)
	req := p.sign(t)
	req.ID.Data, req.Data, req.Octets = bytes.Clone(req.ID.Data), bytes.Clone(req.Data), bytes.Clone(req.Octets)
	certs := make([][]byte, len(req.Certs))
	for i := range certs {
		certs[i] = bytes.Clone(req.Certs[i])
	}
	req.Certs = certs
	got, err := p.Verifier.Verify(req)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range append(certs, req.ID.Data, req.Data, req.Octets) {
		clear(b)
	}
	if !bytes.Equal(got.Identity, want.Identity) || !bytes.Equal(got.CertSerial, want.CertSerial) || !bytes.Equal(got.CertIssuer, want.CertIssuer) {
		t.Errorf("the Result changed with the request: %+v", got)
	}
}

func testAtOnce(t *testing.T, p Pair) {
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			s, err := p.Signer.Sign(auth.SignRequest{Octets: octets, Hashes: p.Hashes})
			if err != nil {
				t.Error(err)
				return
			}
			req := auth.VerifyRequest{ID: p.ID, Certs: s.Certs, Method: s.Method, Data: s.Data, Octets: octets, Now: p.Now, Remote: p.Remote}
			if _, err := p.Verifier.Verify(req); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
