package ike

import (
	"encoding/binary"

	"blackswan/internal/frag"
	"blackswan/internal/suite"
	"blackswan/wire"
)

const (
	ipv4UDP   = 28 // octets of IPv4 and UDP header; Fragment does not count them
	maxPlain  = 1 << 16
	skHeader  = 4
	skfHeader = 8
)

// compose begins a protected message of sa in the scratch buffer. Inner
// payloads are added to the writer it returns; protect closes it.
func (e *Endpoint) compose(sa *SA, x wire.ExchangeType, response bool, id uint32) *wire.Writer {
	h := wire.Header{SPIi: sa.spi.I, SPIr: sa.spi.R, Version: wire.Version, Exchange: x, MessageID: id}
	if sa.Original {
		h.Flags |= wire.FlagInitiator
	}
	if response {
		h.Flags |= wire.FlagResponse
	}
	e.w = wire.NewWriter(e.composed[:0], h)
	e.w.StartSK(sa.suite.IVLen())
	return &e.w
}

// protect encrypts what compose began and returns the message, or its
// fragments back to back (RFC 7383), in the arena. atLeast pads a message that
// would be shorter (rule A3); only AEAD suites can pad to the octet.
func (e *Endpoint) protect(sa *SA, atLeast int) []byte {
	w := &e.w
	ivAt := w.SKOffset() + skHeader
	plainAt, plainEnd := ivAt+sa.suite.IVLen(), len(w.Buf)
	trailer := sa.suite.Trailer(plainEnd - plainAt)
	if pad := atLeast - plainEnd - trailer; pad > 0 && sa.suite.AEAD() {
		trailer += min(pad, 255)
	}
	limit := sa.fragmentLimit()
	if sa.frag && plainEnd+trailer > limit {
		e.composed = w.Buf
		return e.fragments(sa, w.Buf[plainAt:plainEnd], wire.PayloadType(w.Buf[w.SKOffset()]), limit)
	}
	w.CloseSK(trailer)
	e.composed = w.Buf
	msg := e.keep(w.Finish())
	e.seal(sa, msg, ivAt, plainAt, plainEnd)
	return msg
}

func (sa *SA) fragmentLimit() int {
	if sa.conn == nil || sa.conn.Fragment == 0 {
		return 1280 - ipv4UDP
	}
	return sa.conn.Fragment
}

// fragments seals plain piece by piece into SKF payloads.
func (e *Endpoint) fragments(sa *SA, plain []byte, first wire.PayloadType, limit int) []byte {
	h, _ := wire.ParseHeader(e.composed)
	ivLen := sa.suite.IVLen()
	most := frag.MaxPlain(limit, wire.HeaderLen+skfHeader+ivLen+sa.suite.ICVLen(), sa.suite.Block())
	total := frag.Pieces(len(plain), most)
	start := len(e.arena)
	for n := 1; n <= total; n++ {
		piece := frag.Piece(plain, most, n)
		at := len(e.arena)
		w := wire.NewWriter(e.arena, h)
		w.StartSKF(first, uint16(n), uint16(total), ivLen)
		plainAt := len(w.Buf) - at
		w.Buf = append(w.Buf, piece...)
		w.CloseSK(sa.suite.Trailer(len(piece)))
		w.Finish()
		e.arena = w.Buf
		e.seal(sa, e.arena[at:], plainAt-ivLen, plainAt, plainAt+len(piece))
	}
	return e.arena[start:]
}

func (e *Endpoint) seal(sa *SA, msg []byte, ivAt, plainAt, plainEnd int) {
	ek, ak := sa.outKeys()
	e.sealWith(sa.suite, ek, ak, &sa.iv, msg, ivAt, plainAt, plainEnd)
}

// sealWith encrypts msg in place. An AEAD's IV is a counter that never repeats
// under one key (RFC 5282 3.1); CBC's is random (RFC 7296 3.14).
func (e *Endpoint) sealWith(s suite.Suite, ek, ak []byte, count *uint64, msg []byte, ivAt, plainAt, plainEnd int) {
	iv := e.scratch.iv[:s.IVLen()]
	if s.AEAD() {
		*count++
		binary.BigEndian.PutUint64(iv, *count)
	} else {
		_, _ = e.rand.Read(iv)
	}
	if err := e.box.Seal(s, ek, ak, msg, ivAt, plainAt, plainEnd, iv); err != nil {
		panic("ike: sealing a message of ours: " + err.Error())
	}
}

// keep copies b into the arena, where it lives until the next input.
func (e *Endpoint) keep(b []byte) []byte {
	at := len(e.arena)
	e.arena = append(e.arena, b...)
	return e.arena[at:len(e.arena):len(e.arena)]
}

// unprotect verifies and decrypts an SK or SKF message of sa in place. It
// returns whole plaintext only: of a fragment before the last it returns done
// false and counts nothing.
func (e *Endpoint) unprotect(sa *SA, data []byte, h wire.Header) (first wire.PayloadType, plain []byte, done bool) {
	ek, ak := sa.inKeys()
	e.lastPiece = 0
	first, plain, piece, ok := e.decrypt(sa.suite, ek, ak, data, h)
	if !ok {
		return 0, nil, false
	}
	e.lastPiece = max(piece.Number, 1)
	if piece.Total == 0 {
		e.dropPieces(sa, direction(h))
		return first, plain, true
	}
	return e.reassemble(sa, h, piece, first, plain)
}

// decrypt opens one SK or SKF message, which must hold nothing else.
func (e *Endpoint) decrypt(s suite.Suite, ek, ak, data []byte, h wire.Header) (first wire.PayloadType, plain []byte, piece wire.SKF, ok bool) {
	walk := wire.Walk(h.NextPayload, data[wire.HeaderLen:])
	p, _ := walk.Next()
	if _, more := walk.Next(); more || walk.Err() != nil {
		e.drop(DropMalformed)
		return
	}
	ivAt := wire.HeaderLen + skHeader
	if p.Type == wire.PayloadSKF {
		var err error
		if piece, err = wire.ParseSKF(p.Body); err != nil {
			e.drop(DropMalformed)
			return
		}
		ivAt = wire.HeaderLen + skfHeader
	}
	plain, err := e.box.Open(s, ek, ak, data, ivAt)
	if err != nil {
		e.drop(DropICV)
		return
	}
	return p.Next, plain, piece, true
}

// reassemble collects authenticated fragments (RFC 7383 2.6); their number,
// size and time are bounded.
func (e *Endpoint) reassemble(sa *SA, h wire.Header, piece wire.SKF, first wire.PayloadType, plain []byte) (wire.PayloadType, []byte, bool) {
	if !sa.frag {
		e.drop(DropFragment)
		return 0, nil, false
	}
	dir := direction(h)
	if c := sa.cold; c != nil && c.pieces[dir] != nil && c.pieces[dir].id != h.MessageID {
		e.dropPieces(sa, dir) // of a message that never came whole
	}
	c := e.chill(sa)
	if c.pieces[dir] == nil {
		if e.counts.pieces >= e.cfg.Limits.Reassemblies {
			e.drop(DropFull)
			return 0, nil, false
		}
		e.counts.pieces++
		c.pieces[dir] = &pieces{Reassembly: frag.Reassembly{Since: e.now}, id: h.MessageID}
		e.schedule(sa)
	}
	whole, inner, done, err := c.pieces[dir].Add(piece.Number, piece.Total, uint8(first), plain)
	if err != nil {
		e.drop(DropFragment)
		return 0, nil, false
	}
	if done {
		e.dropPieces(sa, dir)
	}
	return wire.PayloadType(inner), whole, done
}

// piecesLife is how long fragments are kept, in ns; a retransmission of the
// message sends all of them again (RFC 7383 2.6).
const piecesLife = int64(30e9)

// direction tells requests, 0, and responses, 1, apart.
func direction(h wire.Header) int {
	if h.Flags&wire.FlagResponse != 0 {
		return 1
	}
	return 0
}

// dropPieces forgets the fragments of that direction.
func (e *Endpoint) dropPieces(sa *SA, dir int) {
	if c := sa.cold; c != nil && c.pieces[dir] != nil {
		c.pieces[dir] = nil
		e.counts.pieces--
	}
}

// expirePieces forgets fragments that waited too long for the rest.
func (e *Endpoint) expirePieces(sa *SA) {
	if sa.cold == nil {
		return
	}
	for dir, p := range sa.cold.pieces {
		if p != nil && p.Age(e.now) >= piecesLife {
			e.dropPieces(sa, dir)
		}
	}
	e.thaw(sa)
}

// chill gives sa its cold part.
func (e *Endpoint) chill(sa *SA) *cold {
	if sa.cold == nil {
		sa.cold = e.spare.colds.take()
		*sa.cold = cold{}
	}
	return sa.cold
}

// thaw takes an idle cold part away.
func (e *Endpoint) thaw(sa *SA) {
	if c := sa.cold; c != nil && c.open.kind == requestNone && len(c.waiting) == 0 && c.pieces == [2]*pieces{} && c.settled(e.now) {
		e.melt(sa)
	}
}

// melt takes sa's cold part away, whatever is in it.
func (e *Endpoint) melt(sa *SA) {
	if sa.cold != nil {
		e.spare.colds.give(sa.cold)
		sa.cold = nil
	}
}
