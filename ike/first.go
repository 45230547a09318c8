package ike

import (
	"encoding/binary"
	"net/netip"
	"time"

	"blackswan/internal/hashtable"
	"blackswan/wire"
)

// First messages: IKE_SA_INIT and IKE_SESSION_RESUME requests. Whoever sends
// one has shown nothing yet, so here are the duplicates (rule E4), the COOKIE
// (RFC 7296 2.6) and the classes of service (rule E5).

// firsts remembers answered first messages and queues those of low class.
type firsts struct {
	at              hashtable.Table[uint32] // place in answered, +1
	answered        []duplicate             // a ring, in the order of time
	oldest, n       int                     // of answered
	proved, strange queue
	turn            int
}

// duplicate is one answered first message: equality is the hash of the whole.
type duplicate struct {
	sum   uint64
	sa    Handle
	until int64
	key   uint32
}

func (f *firsts) waiting() bool { return f.proved.len()+f.strange.len() > 0 }

// remember keeps d. Beyond most the oldest goes: a copy of it is served anew,
// and its ticket is still used once only (rule D7).
func (f *firsts) remember(d duplicate, most int) {
	for f.n > 0 && f.n >= most {
		f.forget()
	}
	if f.n == len(f.answered) {
		f.grow()
	}
	at := (f.oldest + f.n) % len(f.answered)
	f.answered[at] = d
	f.n++
	f.at.Put(d.key, uint32(at+1))
}

func (f *firsts) grow() {
	old, oldest := f.answered, f.oldest
	f.answered, f.oldest = make([]duplicate, max(2*len(old), 64)), 0
	for i := range old {
		was := (oldest + i) % len(old)
		f.answered[i] = old[was]
		if key := old[was].key; f.at.Get(key) == uint32(was+1) {
			f.at.Put(key, uint32(i+1))
		}
	}
}

// find returns the answered message that is the same as this one.
func (f *firsts) find(key uint32, sum uint64) (duplicate, bool) {
	at := f.at.Get(key)
	if at == 0 || f.answered[at-1].sum != sum {
		return duplicate{}, false
	}
	return f.answered[at-1], true
}

// forget drops the oldest.
func (f *firsts) forget() {
	f.at.Delete(f.answered[f.oldest].key, uint32(f.oldest+1))
	f.oldest, f.n = (f.oldest+1)%len(f.answered), f.n-1
}

// unanswered says that a message which is remembered was not answered after all.
func (f *firsts) unanswered(key uint32) { f.at.Delete(key, f.at.Get(key)) }

func (f *firsts) expire(now int64) {
	for f.n > 0 && f.answered[f.oldest].until <= now {
		f.forget()
	}
	if f.n == 0 { // a storm's memory goes with it
		f.answered = nil
	}
}

// firstMessage takes a request that is addressed to no SA.
func (e *Endpoint) firstMessage(p Packet, h wire.Header) {
	resume := h.Exchange == wire.ExchangeSessionResume
	if !resume && h.Exchange != wire.ExchangeIKESAInit || h.MessageID != 0 {
		e.drop(DropFlags)
		return
	}
	if !e.usable(p) {
		e.drop(DropSelf)
		return
	}
	if e.late(resume, p.Waited) {
		e.drop(DropLate)
		return
	}
	r := initRequest
	if resume {
		r = resumeRequest
	}
	if err := e.msg.sort(r, h.NextPayload, p.Data[wire.HeaderLen:]); err != nil {
		e.refuseFirst(p, h, err)
		return
	}
	ni, err := wire.ParseNonce(e.msg.nonce)
	if err != nil {
		e.drop(DropMalformed)
		return
	}
	key := e.duplicateKey(h.SPIi, p.Remote, ni)
	if d, ok := e.first.find(key, e.hash(p.Data)); ok {
		e.repeatFirst(p, d)
		return
	}
	if e.sendAway(p, h, ni) {
		return
	}
	proved := e.cookieShown(p, h, ni)
	if resume {
		if e.resumeFast(p, h, key, proved) {
			return
		}
	} else if !proved && (e.cookieDue() || e.amplifies(p)) {
		e.sendCookie(p, h, ni)
		return
	}
	e.enqueue(p, proved)
}

// late says that a first message has waited too long to be answered. What its
// sender says next will wait as long: beyond half of a client's patience that is
// when the client has begun anew. Then all work is for nobody, and a gateway that
// is behind never catches up; silence costs it next to nothing, and the client
// asks again (rule E7). Patience after a RESUME is that of rule E6.
func (e *Endpoint) late(resume bool, waited time.Duration) bool {
	patience := e.cfg.Timers.Retry.Total()
	if resume {
		patience = e.cfg.Timers.AuthSilence
	}
	return waited > patience/2
}

// usable refuses what could only make a loop or a reflection.
func (e *Endpoint) usable(p Packet) bool {
	a := p.Remote.Addr()
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && p.Remote.Port() != 0 && p.Remote != p.Local
}

// refuseFirst answers what RFC 7296 2.5 names: an unknown critical payload.
func (e *Endpoint) refuseFirst(p Packet, h wire.Header, err error) {
	if err != errCritical {
		e.drop(DropMalformed)
		return
	}
	if len(p.Data) < wire.HeaderLen+8+1 { // the answer would be larger than its cause (rule A3)
		e.drop(DropMalformed)
		return
	}
	e.replyNotify(p, h, wire.Notify{Type: wire.NotifyUnsupportedCriticalPayload, Data: []byte{byte(e.msg.critical)}})
}

func (e *Endpoint) duplicateKey(spii wire.SPI, from netip.AddrPort, ni []byte) uint32 {
	b := binary.BigEndian.AppendUint64(e.scratch.key[:0], uint64(spii))
	a := from.Addr().As16()
	b = append(b, a[:]...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = append(b, ni...)
	e.scratch.key = b
	return uint32(e.hash(b))
}

// repeatGap is the least time between two copies of an answer, in ns: whoever
// recorded a request can replay it from any source.
const repeatGap = int64(250e6)

// maxRepeats of an answer are sent in all.
const maxRepeats = 32

// repeatFirst repeats a positive answer that made half-open state: 4 a second,
// 32 in all. Once IKE_AUTH came, the old request is ignored (RFC 7296 2.1).
func (e *Endpoint) repeatFirst(p Packet, d duplicate) {
	sa := e.sa(d.sa)
	if sa == nil || sa.state != stateHalf || len(sa.half.msg2) == 0 {
		e.drop(DropRepeat)
		return
	}
	if hf := sa.half; hf.repeats >= maxRepeats || e.now-hf.lastRepeat < repeatGap {
		e.drop(DropLimited)
	} else {
		hf.repeats++
		hf.lastRepeat = e.now
		e.reply(p, e.keep(hf.msg2))
	}
}

// cookieShown reports whether the message shows a COOKIE of ours that is right
// for it. A wrong one counts as absent (rule E2).
func (e *Endpoint) cookieShown(p Packet, h wire.Header, ni []byte) bool {
	n, ok := e.msg.note(wire.NotifyCookie)
	return ok && e.cookies.Check(e.now, n.Data, ni, p.Remote.Addr(), uint64(h.SPIi), e.ticketShown())
}

// ticketShown is the ticket of the message at hand: a COOKIE is bound to it.
func (e *Endpoint) ticketShown() []byte {
	n, _ := e.msg.note(wire.NotifyTicketOpaque)
	return n.Data
}

func (e *Endpoint) cookieDue() bool {
	at := e.cfg.Limits.CookieAt
	return at >= 0 && e.counts.half+e.first.strange.len() >= at
}

// sendCookie asks for a COOKIE and forgets the request (RFC 7296 2.6).
func (e *Endpoint) sendCookie(p Packet, h wire.Header, ni []byte) {
	e.drop(DropCookie)
	var b [64]byte
	e.replyNotify(p, h, wire.Notify{Type: wire.NotifyCookie, Data: e.cookies.Make(b[:0], e.now, ni, p.Remote.Addr(), uint64(h.SPIi), e.ticketShown())})
}

// replyNotify answers a first message with one notify, in clear, statelessly.
func (e *Endpoint) replyNotify(p Packet, h wire.Header, n wire.Notify) {
	at := len(e.arena)
	w := wire.NewWriter(e.arena, wire.Header{SPIi: h.SPIi, SPIr: h.SPIr, Version: wire.Version, Exchange: h.Exchange, Flags: wire.FlagResponse, MessageID: h.MessageID})
	w.Notify(n)
	w.Finish()
	e.arena = w.Buf
	e.reply(p, e.arena[at:])
}

// enqueue puts a first message of class 3 or 4 in its queue. They are served
// by Advance, after everything of class 1 and 2.
func (e *Endpoint) enqueue(p Packet, proved bool) {
	p.Data = append([]byte(nil), p.Data...)
	q := &e.first.strange
	if proved {
		q = &e.first.proved
	}
	if !q.push(waitingFirst{p, proved, e.now - int64(p.Waited)}, e.cfg.Limits.Queue) {
		e.drop(DropFull)
	}
}

// served reports whether a queue has something that may be served now. While
// all workers are busy nothing is due: an answer is what goes on.
func (e *Endpoint) served() bool { return e.first.waiting() && e.admit.open(e.counts.questions) }

// serveQueues serves class 3 and 4 two to one; an idle share passes down.
func (e *Endpoint) serveQueues(n int) {
	for ; n > 0 && e.served(); n-- {
		first, second := &e.first.proved, &e.first.strange
		if e.first.turn = (e.first.turn + 1) % 3; e.first.turn == 0 {
			first, second = second, first
		}
		w, ok := first.pop()
		if !ok {
			w, _ = second.pop()
		}
		if e.late(false, time.Duration(e.now-w.at)) {
			e.drop(DropLate)
		} else {
			e.serveFirst(w)
		}
	}
}

// serveFirst takes a queued message up again.
func (e *Endpoint) serveFirst(w waitingFirst) {
	h, _ := wire.ParseHeader(w.p.Data)
	r := initRequest
	if h.Exchange == wire.ExchangeSessionResume {
		r = resumeRequest
	}
	if err := e.msg.sort(r, h.NextPayload, w.p.Data[wire.HeaderLen:]); err != nil {
		e.drop(DropMalformed)
		return
	}
	ni, _ := wire.ParseNonce(e.msg.nonce)
	key := e.duplicateKey(h.SPIi, w.p.Remote, ni)
	if d, ok := e.first.find(key, e.hash(w.p.Data)); ok {
		e.repeatFirst(w.p, d)
		return
	}
	if h.Exchange == wire.ExchangeSessionResume {
		e.resumeRefusal(w.p, h)
		return
	}
	e.initRequest(w.p, h, key, ni)
}

// admission bounds the open questions of full handshakes by how long their
// answers take (rule E7): the limit halves when an answer took over a second
// and grows again by one with each quick one. Excess is met by silence.
type admission struct {
	limit, most int
}

func (a *admission) open(questions int) bool { return questions < max(a.limit, 1) }

func (a *admission) answered(took int64) {
	a.most = max(a.most, a.limit)
	switch {
	case took > 1e9:
		a.limit = max(a.limit/2, 2)
	case a.limit < a.most:
		a.limit++
	}
}
