package ike

import (
	"encoding/binary"
	"errors"

	"blackswan/internal/natt"
	"blackswan/internal/propose"
	"blackswan/wire"
)

// IKE_SA_INIT, RFC 7296 1.2: the responder's half here, the initiator's in
// initiator.go.

const nonceLen = 32 // of ours; RFC 7296 2.10 wants half the PRF's key, at least 16

// initRequest answers an IKE_SA_INIT request that has passed the COOKIE.
func (e *Endpoint) initRequest(p Packet, h wire.Header, key uint32, ni []byte) {
	from := prefix(p.Remote.Addr())
	if e.counts.half >= e.cfg.Limits.HalfOpen || e.halfFrom[from] >= max(e.cfg.Limits.HalfOpen/4, 1) { // rule E5: fair by prefix
		e.drop(DropFull)
		return
	}
	sa, err := wire.ParseSA(e.msg.sa)
	ke, kerr := wire.ParseKE(e.msg.ke)
	if err != nil || kerr != nil {
		e.drop(DropMalformed)
		return
	}
	s, num, err := propose.SelectIKE(sa, e.offers, ke.Group)
	if err != nil {
		e.event(nil, Event{Kind: EventRefused, Remote: p.Remote, Err: &LocalError{wire.NotifyNoProposalChosen, "no common IKE proposal"}})
		e.replyNotify(p, h, wire.Notify{Type: wire.NotifyNoProposalChosen}) //rfc:7296-2.7-1
		return
	}
	if s.KE != ke.Group { // RFC 7296 1.2: name the group that we accept //rfc:7296-1.2-1
		e.replyNotify(p, h, wire.Notify{Type: wire.NotifyInvalidKEPayload, Data: binary.BigEndian.AppendUint16(nil, uint16(s.KE))})
		return
	}
	x := e.newSA(false)
	if x == nil {
		e.drop(DropFull)
		return
	}
	x.spi.I, x.suite, x.state = h.SPIi, s, stateHalf
	x.local, x.remote, x.marker = pack(p.Local), pack(p.Remote), p.Marker
	x.expires = e.now + int64(e.cfg.Timers.HalfOpen)
	hf := e.spare.halves.take()
	x.half = hf
	hf.ni, hf.msg1 = append(hf.ni[:0], ni...), append(hf.msg1[:0], p.Data...)
	hf.group, hf.proposal = ke.Group, num
	e.learnFirst(x)
	hf.from = from
	e.halfFrom[from]++
	e.counts.half++
	e.first.remember(duplicate{e.hash(p.Data), x.handle(), x.expires, key}, e.cfg.Limits.Duplicates)
	e.askCounted(x, Question{Kind: AskAgree, Group: ke.Group, Public: append([]byte(nil), ke.Data...)})
	e.schedule(x)
}

// initOverhead is our IKE_SA_INIT response without KE data and CERTREQ: header,
// SA, generic header of KE, Nr, NAT detection, support notifies, Vendor ID.
const initOverhead = wire.HeaderLen + 48 + 4 + 4 + nonceLen + 2*28 + 3*8 + len(signatureHashes) + 20

// amplifies says that the response would have over three times the octets of
// the request: then its source is proved by a COOKIE first (rule A3).
func (e *Endpoint) amplifies(p Packet) bool {
	return initOverhead+len(e.msg.ke)+5+len(e.cfg.CertReq) > 3*len(p.Data)
}

// learnFirst takes from a first message what later messages depend on: NAT,
// fragmentation, hashes, Vendor IDs.
func (e *Endpoint) learnFirst(sa *SA) {
	m := &e.msg
	sa.frag = m.has(wire.NotifyFragmentationSupported)
	sa.behind, sa.natted = e.detectNAT(sa)
	sa.half.direct = m.has(wire.NotifyNATDetectionSourceIP) && !sa.behind
	sa.redirects = e.goesAway() //rfc:5685-3-2
	for _, v := range m.vendors[:m.nVendors] {
		if string(v) == string(rollCallVendor[:]) {
			sa.rollCall = true
		}
	}
	if n, ok := m.note(wire.NotifySignatureHashAlgorithms); ok {
		sa.half.hashes = sa.half.hashes[:0]
		for b := n.Data; len(b) >= 2 && len(sa.half.hashes) < 16; b = b[2:] {
			sa.half.hashes = append(sa.half.hashes, binary.BigEndian.Uint16(b))
		}
	}
	for _, r := range m.certReqs[:m.nCertReqs] {
		if c, err := wire.ParseCertReq(r); err == nil && c.Encoding == wire.CertX509Signature {
			sa.half.certReq = append(sa.half.certReq, c.Hashes...)
		}
	}
}

// detectNAT compares the peer's NAT_DETECTION hashes with what we see
// (RFC 7296 2.23). The peer names one or more source addresses; a message
// without these notifies does not tell.
func (e *Endpoint) detectNAT(sa *SA) (found, ours bool) {
	spii, spir := uint64(sa.spi.I), uint64(sa.spi.R)
	if sa.state == stateHalf {
		spir = 0 // the request was hashed before our SPI was known
	}
	source, sources, dest := false, 0, true
	for _, n := range e.msg.notes[:e.msg.nNotes] {
		switch n.Type {
		case wire.NotifyNATDetectionSourceIP:
			sources++
			source = source || natt.Match(n.Data, spii, spir, sa.remote.addrPort())
		case wire.NotifyNATDetectionDestinationIP:
			dest = natt.Match(n.Data, spii, spir, sa.local.addrPort())
		}
	}
	return sources > 0 && (!source || !dest), sources > 0 && !dest
}

// initAgreed finishes the response when the key agreement is done.
func (e *Endpoint) initAgreed(sa *SA, a *Answer) {
	e.counts.questions--
	e.admit.answered(e.now - sa.expires + int64(e.cfg.Timers.HalfOpen))
	hf := sa.half
	p := Packet{Local: sa.local.addrPort(), Remote: sa.remote.addrPort(), Marker: sa.marker}
	if a.Err != nil {
		e.first.unanswered(e.duplicateKey(sa.spi.I, p.Remote, hf.ni))
		if errors.Is(a.Err, ErrBusy) {
			e.drop(DropFull)
		} else { // a public value that RFC 6989 refuses
			e.drop(DropMalformed)
			e.event(sa, Event{Kind: EventRefused, Err: a.Err})
		}
		e.discard(sa)
		return
	}
	hf.nr = e.nonce(hf.nr)
	e.deriveInit(sa, a.Shared)
	sa.recv.Done() // Message ID 0 was IKE_SA_INIT's
	at := len(e.arena)
	w := wire.NewWriter(e.arena, wire.Header{SPIi: sa.spi.I, SPIr: sa.spi.R, Version: wire.Version, Exchange: wire.ExchangeIKESAInit, Flags: wire.FlagResponse})
	w.SA(propose.SpecOf(sa.suite, hf.proposal))
	w.KE(wire.KE{Group: hf.group, Data: a.Public})
	w.Nonce(hf.nr)
	e.addDetection(&w, sa, p)
	if len(e.cfg.CertReq) > 0 {
		w.CertReq(wire.CertReq{Encoding: wire.CertX509Signature, Hashes: e.cfg.CertReq})
	}
	e.addSupport(&w, sa, true)
	w.Notify(wire.Notify{Type: wire.NotifyChildlessIKEv2Supported}) // RFC 6023 3
	w.Finish()
	e.arena = w.Buf
	msg := e.arena[at:]
	hf.msg2 = append(hf.msg2[:0], msg...)
	e.keyLog(sa)
	e.reply(p, msg)
}

// addDetection adds both NAT_DETECTION hashes. Without a way to receive bare
// ESP ours never matches, so that the peer encapsulates (rule G4).
func (e *Endpoint) addDetection(w *wire.Writer, sa *SA, p Packet) {
	var b [20]byte
	src := natt.Hash(b[:0], uint64(sa.spi.I), uint64(sa.spi.R), p.Local)
	if e.cfg.ForceEncap {
		_, _ = e.rand.Read(src)
	}
	w.Notify(wire.Notify{Type: wire.NotifyNATDetectionSourceIP, Data: src}) //rfc:7296-2.23-1
	w.Notify(wire.Notify{Type: wire.NotifyNATDetectionDestinationIP, Data: natt.Hash(b[:0], uint64(sa.spi.I), uint64(sa.spi.R), p.Remote)})
}

// addSupport adds what we announce in both first messages.
func (e *Endpoint) addSupport(w *wire.Writer, sa *SA, signatures bool) {
	w.Notify(wire.Notify{Type: wire.NotifyFragmentationSupported})
	if signatures {
		w.Notify(wire.Notify{Type: wire.NotifySignatureHashAlgorithms, Data: signatureHashes[:]})
	}
	if e.cfg.RollCall != RollCallOff {
		w.VendorID(rollCallVendor[:])
	}
}

// signatureHashes are SHA2-256, SHA2-384, SHA2-512 and Identity (RFC 7427 4,
// RFC 8420). SHA-1 is not among them (rule G1).
var signatureHashes = [...]byte{0, 2, 0, 3, 0, 4, 0, 5}

func (e *Endpoint) nonce(b []byte) []byte {
	if cap(b) < nonceLen {
		b = make([]byte, nonceLen)
	}
	b = b[:nonceLen]
	_, _ = e.rand.Read(b) //rfc:7296-2.10-1
	return b
}

// freeHalf gives sa's half back, wiped of secrets; its slices keep their room.
func (e *Endpoint) freeHalf(sa *SA) {
	h := sa.half
	if h == nil {
		return
	}
	if h.question != 0 {
		delete(e.asked, h.question)
		if sa.state == stateHalf || sa.state == stateProving {
			e.counts.questions--
		}
	}
	sa.half = nil
	for i := range h.candidates {
		c := &h.candidates[i]
		*c = candidate{nr: c.nr[:0], req: c.req[:0]}
	}
	for _, secret := range [...]*[2]mac{h.signs, h.short} {
		if secret != nil {
			*secret = [2]mac{}
		}
	}
	*h = half{ni: h.ni[:0], nr: h.nr[:0], msg1: room(h.msg1), msg2: room(h.msg2), candidates: h.candidates[:0]}
	e.spare.halves.give(h)
}

// room is the memory of b for another message, unless a peer made it large.
func room(b []byte) []byte {
	if cap(b) > 1024 {
		return nil
	}
	return b[:0]
}
