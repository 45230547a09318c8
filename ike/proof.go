package ike

import (
	"blackswan/internal/suite"
	"blackswan/wire"
)

// What AUTH covers, and the questions about it, RFC 7296 2.15.

// signedBy are the octets that the initiator or the responder signs
// (RFC 7296 2.15): its first message, the other's nonce, prf(SK_px, IDx').
func (e *Endpoint) signedBy(sa *SA, initiator bool) suite.AuthInput {
	hf := sa.half
	prf := e.prf(sa.suite)
	own := initiator == sa.Original
	var id []byte
	if own {
		id = e.idBody(sa.own(), 0)
	} else {
		id = e.idBody(sa.peerID(), 0)
	}
	if initiator {
		return suite.AuthInput{Message: hf.msg1, Nonce: hf.nr, MACedID: suite.MACedID(prf, e.scratch.macs[0][:0], hf.signs[0].bytes(), id)}
	}
	return suite.AuthInput{Message: hf.msg2, Nonce: hf.ni, MACedID: suite.MACedID(prf, e.scratch.macs[0][:0], hf.signs[1].bytes(), id)}
}

// pskAuth is the AUTH value of the shared key, of the initiator or responder.
func (e *Endpoint) pskAuth(sa *SA, initiator bool) []byte {
	in := e.signedBy(sa, initiator)
	return suite.AuthPSK(e.prf(sa.suite), e.scratch.macs[1][:0], sa.conn.PSK, in)
}

func (e *Endpoint) askVerify(sa *SA, auth wire.Auth) {
	m := &e.msg
	q := Question{Kind: AskVerify, Octets: e.signedBy(sa, !sa.Original).Append(nil), Auth: auth, Remote: sa.remote.ip}
	q.PeerID = wire.ID{Type: wire.IDType(sa.peer[0]), Data: sa.peer[1:]}
	for _, c := range m.certs[:m.nCerts] {
		if cert, err := wire.ParseCert(c); err == nil && cert.Encoding == wire.CertX509Signature {
			q.Certs = append(q.Certs, cert.Data)
		}
	}
	e.askCounted(sa, q)
}

func (e *Endpoint) askSign(sa *SA) {
	hf := sa.half
	e.askCounted(sa, Question{Kind: AskSign, Octets: e.signedBy(sa, sa.Original).Append(nil), Hashes: append([]uint16(nil), hf.hashes...), CertReq: append([]byte(nil), hf.certReq...)})
}

// askCounted asks for a peer: such questions are bounded (rule E7).
func (e *Endpoint) askCounted(sa *SA, q Question) {
	if !sa.Original {
		e.counts.questions++
		e.counts.mostQuestions = max(e.counts.mostQuestions, e.counts.questions)
	}
	e.ask(sa, q)
}

// idBody is an ID payload without its generic header; it lives in one of two
// scratch buffers.
func (e *Endpoint) idBody(id wire.ID, buf int) []byte {
	e.scratch.ids[buf] = id.Append(e.scratch.ids[buf][:0])
	return e.scratch.ids[buf]
}

// sameID compares an ID payload's body with type octet and data.
func sameID(body, id []byte) bool {
	return len(body) == 3+len(id) && len(id) > 0 && body[0] == id[0] && string(body[4:]) == string(id[1:])
}

func isID(body []byte, id wire.ID) bool {
	return len(body) == 4+len(id.Data) && body[0] == byte(id.Type) && string(body[4:]) == string(id.Data)
}
