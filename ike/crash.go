package ike

import (
	"bytes"
	"encoding/binary"

	"blackswan/internal/hashtable"
	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/wire"
)

// Quick crash detection, RFC 6290.
//
//	-> INFORMATIONAL SK {...}                       on an SA that we lost
//	<- INFORMATIONAL {N(INVALID_IKE_SPI), N(QCD_TOKEN)}
//
// The maker's side comes first, in the order of rule A4: live SAs and half-open
// ones were looked up before noSA is reached; then tombstones, then the verdict
// of the sealed SPI. Whoever doubts stays silent.

// noSA answers a message that belongs to no SA of ours (RFC 6290 4.5,
// RFC 7296 2.21.4).
func (e *Endpoint) noSA(p Packet, h wire.Header) {
	if !e.answerable(p, h) {
		e.calledLate(h)
		e.drop(DropUnknownSPI) //rfc:6290-3-4
		return
	}
	ours := ourSPI(h)
	made, ok := e.sealer.Open(uint64(ours))
	over := ok && e.over(ours, made)
	tokenDue := h.Exchange == wire.ExchangeInformational || h.Exchange == wire.ExchangeCreateChildSA
	if over && tokenDue && e.tokens != nil {
		if !e.replies().Allow(e.now, uint64(ours), p.Remote.Addr()) {
			e.drop(DropLimited)
			return
		}
		if e.showToken(p, h, made.Generation) {
			return
		}
	}
	if !e.replies().AllowPlain(e.now) { // rule A2
		e.drop(DropLimited)
		return
	}
	e.Answered[0]++
	e.reply(p, e.invalidSPI(h, nil))
}

// calledLate takes the roll call for an SA that we gave up before: the gateway
// is back. Its token is forgotten and proves nothing any more, so that this is a
// hint, like a network that is back: what waits is tried at once, and no more
// than that, once a second (rule A7).
func (e *Endpoint) calledLate(h wire.Header) {
	if h.Exchange != wire.ExchangeInformational || h.Flags&wire.FlagResponse == 0 || h.NextPayload != wire.PayloadNotify {
		return
	}
	t := e.silent[h.SPIs()]
	if t == nil || t.called != 0 && e.now-t.called < 1e9 {
		return
	}
	t.called = e.now
	if sa := e.sa(t.sa); sa != nil && sa.half != nil {
		e.again(sa)
	} else {
		e.hasten(t)
	}
}

// fellSilent notes that t has given up its SA because the peer was silent.
func (e *Endpoint) fellSilent(t *tunnel, gone wire.SPIs) {
	delete(e.silent, t.gone)
	t.gone = gone
	e.silent[gone] = t
}

// answerable is rule A1: a request that looks as if it were protected under
// an SA that we do not have. Anything else could make a loop.
func (e *Endpoint) answerable(p Packet, h wire.Header) bool {
	switch {
	case h.Flags&wire.FlagResponse != 0 || h.SPIi == 0 || h.SPIr == 0 || !e.usable(p): //rfc:7296-1.5-1
		return false
	case h.NextPayload != wire.PayloadSK && h.NextPayload != wire.PayloadSKF:
		return false
	}
	switch h.Exchange {
	case wire.ExchangeIKEAuth, wire.ExchangeCreateChildSA, wire.ExchangeInformational, wire.ExchangeIntermediate:
	default:
		return false
	}
	walk := wire.Walk(h.NextPayload, p.Data[wire.HeaderLen:])
	sk, ok := walk.Next()
	if _, more := walk.Next(); !ok || more || walk.Err() != nil {
		return false
	}
	if sk.Type == wire.PayloadSKF {
		f, err := wire.ParseSKF(sk.Body)
		return err == nil && f.Number == 1 && len(f.Body) >= shortestSK
	}
	return len(sk.Body) >= shortestSK
}

// shortestSK is the IV of 8, the pad length of 1 and the ICV of 16 octets of
// an AEAD, the shortest that any SA of ours can send.
const shortestSK = 8 + 1 + 16

// replies limits what is answered outside of any SA. It holds 2 MB: who never
// had to answer, as most clients, does without.
func (e *Endpoint) replies() *qcd.Limiter {
	if e.limiter == nil {
		e.limiter = qcd.NewLimiter(bytes.NewReader(e.limitKey[:])).Divide(max(e.cfg.Shards, 1))
	}
	return e.limiter
}

// over says that the SA of this SPI is gone for certain (rules A4, B3): a
// token shown for a live SA would let anybody end it (RFC 6290 9.2).
func (e *Endpoint) over(ours wire.SPI, made spi.Made) bool {
	if e.tombs.has(ours) {
		return true
	}
	verdict, _ := e.cfg.Boot.Verdict(made)
	return verdict == spi.Over //rfc:6290-9.2-1
}

// showToken answers with the token of the lost SA, which is the one that its
// peer was given: HMAC of both SPIs under a secret that outlives the crash.
func (e *Endpoint) showToken(p Packet, h wire.Header, gen uint8) bool {
	tok, ok := e.tokens.Token(e.scratch.token[:0], gen, uint64(h.SPIi), uint64(h.SPIr)) //rfc:6290-3-2 6290-4.5-1
	if !ok {
		return false
	}
	msg := e.invalidSPI(h, tok)
	if len(msg) > len(p.Data) && len(p.Data) < shortestToken { // rule A3: 76 octets to a request of 57 at most
		e.drop(DropUnknownSPI)
		return true
	}
	e.Answered[1]++
	e.reply(p, msg)
	return true
}

// shortestToken is the shortest protected request: an empty AEAD message.
const shortestToken = wire.HeaderLen + 4 + shortestSK

// invalidSPI is INVALID_IKE_SPI, and the token if there is one. SPIs, Message
// ID and exchange type are the request's (RFC 6290 4.5).
func (e *Endpoint) invalidSPI(h wire.Header, token []byte) []byte {
	at := len(e.arena)
	h.Flags = (h.Flags & wire.FlagInitiator) ^ wire.FlagInitiator | wire.FlagResponse
	h.Version = wire.Version
	w := wire.NewWriter(e.arena, h)
	w.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI}) //rfc:6290-4.5-1
	if token != nil {
		w.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: token}) //rfc:6290-4.1-1 6290-4.1-2 6290-4.1-3
	}
	w.Finish()
	e.arena = w.Buf
	return e.arena[at:]
}

// clear takes an unprotected message for a live SA of ours: the taker's side.
// Message ID, exchange type, R flag and source are not looked at: the token
// alone decides (RFC 6290 3, rule A6).
func (e *Endpoint) clear(sa *SA, p Packet, h wire.Header) {
	if err := e.msg.sort(clearNotify, h.NextPayload, p.Data[wire.HeaderLen:]); err != nil {
		e.drop(DropMalformed)
		return
	}
	if sa.spi.I != h.SPIi || sa.spi.R != h.SPIr {
		e.drop(DropFlags)
		return
	}
	switch shown, proved := e.tokenShown(sa); {
	case proved: //rfc:5723-9.4-1 6290-3-7 6290-4.5-3
		by := ByQCDReply
		if h.MessageID == 0 && h.Exchange == wire.ExchangeInformational && !e.awaits(sa, h.MessageID) {
			by = ByRollCall
		}
		e.crashed(sa, by)
	case shown: // never answered: RFC 6290 4.5 //rfc:6290-4.5-6
		e.drop(DropToken) //rfc:6290-3-4
	case e.msg.has(wire.NotifyInvalidIKESPI):
		e.drop(DropHint)
		e.lostHint(sa)
	default:
		e.drop(DropState)
	}
}

func (e *Endpoint) awaits(sa *SA, id uint32) bool {
	return sa.cold != nil && sa.cold.open.kind != requestNone && sa.cold.open.id == id
}

// tokenShown compares the QCD_TOKENs of the message at hand, eight at most,
// with those stored for sa, in constant time; ten comparisons a second.
func (e *Endpoint) tokenShown(sa *SA) (shown, proved bool) {
	left := 8 // RFC 6290 4.5 wants at least four //rfc:6290-4.5-2
	for _, n := range e.msg.notes[:e.msg.nNotes] {
		if n.Type != wire.NotifyQCDToken || left == 0 {
			continue
		}
		left--
		shown = true
		if sa.told == nil {
			break
		}
		if !sa.told.budget.Take(e.now) { //rfc:6290-8.1-1 6290-8.2-5
			e.drop(DropTokenRate)
			break
		}
		for _, d := range [...]*qcd.Digest{&sa.told.token, sa.told.before} {
			if d != nil && d.Verify(n.Data) { //rfc:6290-3-3
				proved = true
			}
		}
	}
	return shown, proved && sa.state >= stateEstablished
}

// crashed ends an SA that its peer has lost, in silence, and begins a resume
// (RFC 6290 4.5 and 7).
func (e *Endpoint) crashed(sa *SA, by By) {
	t, heir := sa.tun, e.unknown(sa)
	e.event(sa, Event{Kind: EventDetected, By: by}) //rfc:6290-3-6
	e.down(sa, "the peer lost it", true)            //rfc:6290-3-5 6290-4.5-5
	if heir != nil {                                // which the peer may never have had: no token of it is known
		e.press(heir)
	}
	if t != nil && !t.letGo(sa) {
		e.lost(t, by) //rfc:6290-3-8
	}
}

// lostHint takes INVALID_IKE_SPI without proof. Established: check liveness,
// no more (RFC 5723 9.4). Not yet established: no token can exist, so a second
// attempt may begin beside the first, at most one a second (rule A2).
func (e *Endpoint) lostHint(sa *SA) {
	if sa.state == stateEstablished { //rfc:5723-9.4-1 7296-2.4-3
		e.hint(sa)
		return
	}
	if hf := sa.half; sa.state == stateAuth && hf != nil && hf.resume && hf.question == 0 {
		hf.silentAt = sooner(hf.silentAt, e.now+1e9)
		e.schedule(sa)
	}
}

// espNotice is INVALID_SPI from outside of any SA: R=0, I=1, in clear. The
// header's SPIs are not used.
func (e *Endpoint) espNotice(p Packet, h wire.Header) (wire.Notify, bool) {
	if h.Exchange != wire.ExchangeInformational || h.Flags&wire.FlagResponse != 0 || h.NextPayload != wire.PayloadNotify {
		return wire.Notify{}, false
	}
	if e.msg.sort(clearNotify, h.NextPayload, p.Data[wire.HeaderLen:]) != nil {
		return wire.Notify{}, false
	}
	return e.msg.note(wire.NotifyInvalidSPI)
}

// takeESPNotice finds the SA by the ESP SPI that we send to. A right token
// proves the crash; a wrong one proves nothing (RFC 6290 8.2).
func (e *Endpoint) takeESPNotice(n wire.Notify) {
	if len(n.Data) != 4 {
		e.drop(DropMalformed)
		return
	}
	sa := e.in(e.outbound.Get(binary.BigEndian.Uint32(n.Data)))
	if sa == nil {
		e.drop(DropUnknownSPI)
		return
	}
	switch shown, proved := e.tokenShown(sa); {
	case proved: //rfc:5723-9.4-1 6290-8.2-3 6290-8.2-4
		e.crashed(sa, ByESPReply)
	case shown:
		e.drop(DropToken)
	default:
		e.drop(DropHint)
		e.hint(sa)
	}
}

// replaceTokens gives every SA whose generation was revoked the token of the
// next kept one (RFC 6290 4.4, rule B2).
func (e *Endpoint) replaceTokens() {
	for i := range e.slots {
		if sa := e.slots[i].sa; sa != nil && sa.state == stateEstablished && !e.cfg.QCD.Kept[sa.gen] { //rfc:6290-4.4-3
			e.request(sa, requestToken) //rfc:6290-4.4-1
		}
	}
}

// tombstones are the SPIs of SAs that this process dropped without a delivered
// DELETE; the oldest goes first.
type tombstones struct {
	max  int
	at   hashtable.Table[wire.SPI] // 1: it is in ring
	ring []wire.SPI
	next int
}

func (t *tombstones) add(s wire.SPI) {
	if t.max <= 0 {
		return
	}
	if len(t.ring) < t.max {
		t.ring = append(t.ring, s)
	} else {
		t.at.Delete(t.ring[t.next], 1)
		t.ring[t.next] = s
	}
	t.next = (t.next + 1) % t.max
	t.at.Put(s, 1)
}

func (t *tombstones) has(s wire.SPI) bool { return t.at.Get(s) != 0 }

// bucket is so many a second, in all.
type bucket struct {
	second int64
	n      int
}

func (b *bucket) take(now int64, most int) bool {
	if s := now / 1e9; s != b.second {
		b.second, b.n = s, 0
	}
	b.n++
	return b.n <= most
}
