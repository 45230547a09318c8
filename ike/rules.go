package ike

import (
	"errors"

	"blackswan/wire"
)

var (
	errPayloads = errors.New("payloads break the rules of the exchange")
	errCritical = errors.New("unknown critical payload")
)

// how often a payload may stand in a message.
type often uint8

const (
	never often = iota
	once        // exactly
	maybe       // at most once
	many        // bounded by the size of message
)

// rule is what one message of one exchange may hold, RFC 7296 appendix C and
// RFC 5723 4. Notify and Vendor ID may stand everywhere. Payload types are
// 33..48; the index is type - 33.
type rule [wire.PayloadEAP - wire.PayloadSA + 1]often

func allow(pairs map[wire.PayloadType]often) *rule {
	var r rule
	for t, n := range pairs {
		r[t-wire.PayloadSA] = n
	}
	r[wire.PayloadNotify-wire.PayloadSA] = many
	r[wire.PayloadVendorID-wire.PayloadSA] = many
	return &r
}

var (
	initRequest  = allow(map[wire.PayloadType]often{wire.PayloadSA: once, wire.PayloadKE: once, wire.PayloadNonce: once})
	initResponse = allow(map[wire.PayloadType]often{wire.PayloadSA: maybe, wire.PayloadKE: maybe, wire.PayloadNonce: maybe, wire.PayloadCERTREQ: many})

	// RFC 5723 4.3.2: no SA, no KE.
	resumeRequest  = allow(map[wire.PayloadType]often{wire.PayloadNonce: once})
	resumeResponse = allow(map[wire.PayloadType]often{wire.PayloadNonce: maybe})

	authRequest = allow(map[wire.PayloadType]often{
		wire.PayloadIDi: once, wire.PayloadCERT: many, wire.PayloadCERTREQ: many, wire.PayloadIDr: maybe, wire.PayloadAUTH: maybe,
		wire.PayloadCP: maybe, wire.PayloadSA: maybe, wire.PayloadTSi: maybe, wire.PayloadTSr: maybe,
	})
	authResponse = allow(map[wire.PayloadType]often{
		wire.PayloadIDr: maybe, wire.PayloadCERT: many, wire.PayloadAUTH: maybe,
		wire.PayloadCP: maybe, wire.PayloadSA: maybe, wire.PayloadTSi: maybe, wire.PayloadTSr: maybe, wire.PayloadEAP: maybe,
	})

	// RFC 5723 4.3.3: AUTH at once, and no CERT.
	resumedAuthRequest = allow(map[wire.PayloadType]often{
		wire.PayloadIDi: once, wire.PayloadIDr: maybe, wire.PayloadAUTH: once, wire.PayloadCERT: never, //rfc:5723-4.3.3-4
		wire.PayloadCP: maybe, wire.PayloadSA: maybe, wire.PayloadTSi: maybe, wire.PayloadTSr: maybe,
	})
	resumedAuthResponse = allow(map[wire.PayloadType]often{
		wire.PayloadIDr: maybe, wire.PayloadAUTH: maybe,
		wire.PayloadCP: maybe, wire.PayloadSA: maybe, wire.PayloadTSi: maybe, wire.PayloadTSr: maybe,
	})

	informational = allow(map[wire.PayloadType]often{wire.PayloadDelete: many, wire.PayloadCP: maybe})
	clearNotify   = allow(nil)

	// RFC 7296 1.3: without selectors it is about an IKE SA.
	createRequest = allow(map[wire.PayloadType]often{
		wire.PayloadSA: once, wire.PayloadNonce: once, wire.PayloadKE: maybe, wire.PayloadTSi: maybe, wire.PayloadTSr: maybe, wire.PayloadCP: maybe,
	})
	createResponse = allow(map[wire.PayloadType]often{
		wire.PayloadSA: maybe, wire.PayloadNonce: maybe, wire.PayloadKE: maybe, wire.PayloadTSi: maybe, wire.PayloadTSr: maybe, wire.PayloadCP: maybe,
	})
)

const (
	maxNotes = 32
	maxCerts = 8
	maxIDs   = 8 // Vendor IDs
)

// message is a message's payloads, sorted. All slices view the message.
type message struct {
	sa, ke, nonce, idi, idr, auth, tsi, tsr, cp []byte
	certs                                       [maxCerts][]byte
	certReqs                                    [maxCerts][]byte
	deletes                                     [maxCerts][]byte
	vendors                                     [maxIDs][]byte
	notes                                       [maxNotes]wire.Notify
	nCerts, nCertReqs, nDeletes, nVendors       int
	nNotes                                      int
	critical                                    wire.PayloadType // the unknown critical payload
}

// reset forgets the last message; what lies beyond the counts is stale.
func (m *message) reset() {
	m.sa, m.ke, m.nonce, m.idi, m.idr, m.auth, m.tsi, m.tsr, m.cp = nil, nil, nil, nil, nil, nil, nil, nil, nil
	m.nCerts, m.nCertReqs, m.nDeletes, m.nVendors, m.nNotes, m.critical = 0, 0, 0, 0, 0, 0
}

// sort fills m from payloads by rule. What is over the bounds of m is left out
// when it may be ignored, and an error otherwise.
func (m *message) sort(r *rule, first wire.PayloadType, b []byte) error {
	m.reset()
	var seen [wire.PayloadEAP - wire.PayloadSA + 1]uint8
	walk := wire.Walk(first, b)
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		if p.Type < wire.PayloadSA || p.Type > wire.PayloadEAP {
			if p.Critical { //rfc:7296-2.5-4 7296-2.5-5
				m.critical = p.Type // RFC 7296 2.5
				return errCritical
			}
			continue
		}
		i := p.Type - wire.PayloadSA
		if r[i] == never || r[i] != many && seen[i] > 0 {
			return errPayloads
		}
		seen[i] = 1
		if err := m.take(p); err != nil {
			return err
		}
	}
	if err := walk.Err(); err != nil {
		return err
	}
	for i, n := range r {
		if n == once && seen[i] == 0 {
			return errPayloads
		}
	}
	return nil
}

func (m *message) take(p wire.Payload) error {
	switch p.Type {
	case wire.PayloadSA:
		m.sa = p.Body
	case wire.PayloadKE:
		m.ke = p.Body
	case wire.PayloadNonce:
		m.nonce = p.Body
	case wire.PayloadIDi:
		m.idi = p.Body
	case wire.PayloadIDr:
		m.idr = p.Body
	case wire.PayloadAUTH:
		m.auth = p.Body
	case wire.PayloadTSi:
		m.tsi = p.Body
	case wire.PayloadTSr:
		m.tsr = p.Body
	case wire.PayloadCP:
		m.cp = p.Body
	case wire.PayloadCERT:
		return fill(m.certs[:], &m.nCerts, p.Body)
	case wire.PayloadCERTREQ:
		_ = fill(m.certReqs[:], &m.nCertReqs, p.Body) // a hint: more may be ignored (RFC 7296 3.7)
	case wire.PayloadDelete:
		return fill(m.deletes[:], &m.nDeletes, p.Body)
	case wire.PayloadVendorID:
		_ = fill(m.vendors[:], &m.nVendors, p.Body) // more may be ignored
	case wire.PayloadNotify:
		n, err := wire.ParseNotify(p.Body)
		if err != nil {
			return err
		}
		if m.nNotes < maxNotes {
			m.notes[m.nNotes] = n
			m.nNotes++
		}
	}
	return nil
}

func fill(to [][]byte, n *int, body []byte) error {
	if *n == len(to) {
		return errPayloads
	}
	to[*n] = body
	*n++
	return nil
}

// note returns the first notify of type t.
func (m *message) note(t wire.NotifyType) (wire.Notify, bool) {
	for _, n := range m.notes[:m.nNotes] {
		if n.Type == t {
			return n, true
		}
	}
	return wire.Notify{}, false
}

func (m *message) has(t wire.NotifyType) bool {
	_, ok := m.note(t)
	return ok
}

// failure returns the first error notify.
func (m *message) failure() (wire.NotifyType, bool) {
	for _, n := range m.notes[:m.nNotes] {
		if n.Type.IsError() {
			return n.Type, true
		}
	}
	return 0, false
}
