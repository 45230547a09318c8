package ike

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"blackswan/internal/propose"
	"blackswan/qcd"
	"blackswan/wire"
)

// tunnel is a connection that we bring up and keep up: at any time it has one
// SA, or an attempt, or a time for the next one.
type tunnel struct {
	conn    *Connection
	ike     [2]netip.AddrPort // our and the gateway's configured IKE ports
	sa      Handle
	ticket  []byte
	session []byte // encoded ticket.Session
	expires int64  // Unix seconds
	local   addr   // the path of the SA that the ticket is of (rule C4)
	remote  addr
	marker  bool
	mapped  bool // that path is to be tried first
	silent  int  // resumes in a row whose IKE_AUTH met silence
	unheard int  // resumes in a row whose RESUME met silence: the gateway is away
	found   bool // somebody answered an IKE_SA_INIT while RESUME met silence
	tries   int  // full handshakes in a row (rule E7)
	full    bool // the next attempt is a full handshake
	at      int64
	by      By
}

// maxSilent resumes without an answer to IKE_AUTH: a full handshake (rule E6).
// So many without any answer: one IKE_SA_INIT in between, in case the gateway
// does not know RESUME any more. If that is answered, the gateway may have come
// back just then: one more resume, and only if that meets silence too the next
// IKE_SA_INIT is meant. If it is not answered either, resumes again.
const maxSilent = 3

// Command takes an order of the owner.
func (e *Endpoint) Command(now time.Time, c Command) {
	e.at(now)
	switch c.Kind {
	case CommandConnect:
		t := &tunnel{conn: c.Conn, ike: [2]netip.AddrPort{c.Local, c.Remote}}
		if len(c.Ticket) > 0 {
			t.ticket, t.session = append([]byte(nil), c.Ticket...), append([]byte(nil), c.Session...)
			t.expires = c.Until
		}
		e.tunnels = append(e.tunnels, t)
		e.attempt(t)
	case CommandClose:
		e.closeTunnel(c.Conn)
	case CommandDelete:
		if sa := e.sa(c.SA); sa != nil {
			e.deleteSA(sa)
		}
	case CommandHint, CommandSuspended:
		e.hintAll()
	case CommandInitialContact:
		e.initialContact(nil, c.Identity)
	case CommandForget:
		for i := range e.slots {
			if sa := e.slots[i].sa; sa != nil {
				e.down(sa, "forgotten", true)
			}
		}
	default:
		e.change(c)
	}
}

// change takes what the store or the configuration changed.
func (e *Endpoint) change(c Command) {
	switch c.Kind {
	case CommandKeys:
		e.cfg.Ring = c.Ring
		e.ringRead, e.ringAsked = e.now, -int64(time.Hour)
		if err := e.ring.SetKeys(c.Ring); err != nil {
			e.event(nil, Event{Kind: EventFailed, Err: err})
		}
		if c.QCD != nil && e.tokens != nil {
			e.cfg.QCD = *c.QCD
			e.tokens = qcd.NewMaker(*c.QCD)
			e.replaceTokens()
		}
	case CommandEpoch:
		e.cfg.Boot.Epoch = c.Boot.Epoch // the base stays: this process made the older epoch
		e.sealer.SetEpoch(c.Boot.Epoch)
		e.rand.forget()
	case CommandConnections:
		e.setConnections(c.Connections)
	case CommandRollCall:
		e.callRoll(c.Entries)
	case CommandSurvivors:
		e.survive(c.Survivors)
	case CommandFloor:
		e.floors.Raise(c.Lineage, c.Floor, c.Until)
	case CommandNotBefore:
		e.barred.Set(c.Identity, c.Until)
	}
}

// attempt begins the next try of t: a resume if there is a ticket to show.
func (e *Endpoint) attempt(t *tunnel) {
	t.at = 0
	if !t.full && t.silent < maxSilent && t.unheard < maxSilent && e.mayResume(t) {
		e.startResume(t)
		return
	}
	if len(t.ticket) > 0 && !t.probing() {
		e.event(nil, Event{Kind: EventFallback, Connection: t.conn})
	}
	e.startInit(t) //rfc:5723-4.3.1-1
}

// probing says that the next IKE_SA_INIT only asks whether anybody is there.
func (t *tunnel) probing() bool { return len(t.ticket) > 0 && !t.full && t.unheard >= maxSilent }

// later plans t's next attempt.
func (e *Endpoint) later(t *tunnel, at int64) {
	t.at = at
	e.wake = sooner(e.wake, at)
}

// wakeTunnels begins the attempts that are due.
func (e *Endpoint) wakeTunnels() {
	e.wake = 0
	for _, t := range e.tunnels {
		if due(t.at, e.now) {
			e.attempt(t)
		}
		e.wake = sooner(e.wake, t.at)
	}
}

// path sets where sa sends to: the dead SA's path while that is worth a try,
// else the configured IKE ports.
func (e *Endpoint) path(sa *SA, t *tunnel) {
	sa.local, sa.remote, sa.marker = pack(t.ike[0]), pack(t.ike[1]), false
	if t.mapped {
		sa.local, sa.remote, sa.marker = t.local, t.remote, t.marker
	}
}

// startInit begins a full handshake; its key pair is a question.
func (e *Endpoint) startInit(t *tunnel) {
	sa := e.newSA(true)
	if sa == nil {
		e.later(t, e.now+int64(e.cfg.Timers.CrowdStep))
		return
	}
	t.sa, t.mapped = sa.handle(), false
	sa.tun, sa.conn, sa.state = t, t.conn, stateInit
	e.path(sa, t)
	sa.half = e.takeHalf()
	sa.half.ni = e.nonce(sa.half.ni)
	sa.half.group = t.conn.IKE[0].KE[0]
	e.ask(sa, Question{Kind: AskKeyPair, Group: sa.half.group})
}

// initiatorAnswer takes the key pair, or the shared secret.
func (e *Endpoint) initiatorAnswer(sa *SA, a *Answer) {
	hf := sa.half
	switch {
	case a.Err != nil:
		e.failed(sa, a.Err)
	case a.Pair != nil:
		hf.pair = a.Pair
		e.sendFirst(sa, e.initMessage(sa))
	default:
		e.deriveInit(sa, a.Shared)
		hf.pair = nil
		e.keyLog(sa)
		sa.state = stateAuth
		e.proveSelf(sa)
	}
}

// initMessage is IKE_SA_INIT: [N(COOKIE)], SAi1, KEi, Ni, notifies.
func (e *Endpoint) initMessage(sa *SA) []byte {
	hf := sa.half
	at := len(e.arena)
	w := wire.NewWriter(e.arena, wire.Header{SPIi: sa.spi.I, Version: wire.Version, Exchange: wire.ExchangeIKESAInit, Flags: wire.FlagInitiator})
	if len(hf.cookie) > 0 {
		w.Notify(wire.Notify{Type: wire.NotifyCookie, Data: hf.cookie})
	}
	w.SA(propose.Specs(sa.conn.IKE, nil)...)
	w.KE(wire.KE{Group: hf.group, Data: hf.pair.Public()})
	w.Nonce(hf.ni)
	e.addDetection(&w, sa, Packet{Local: sa.local.addrPort(), Remote: sa.remote.addrPort()})
	e.addSupport(&w, sa, true)
	w.Finish()
	e.arena = w.Buf
	return e.arena[at:]
}

// sendFirst sends message 1 and keeps it: AUTH covers it.
func (e *Endpoint) sendFirst(sa *SA, msg []byte) {
	sa.half.msg1 = append(sa.half.msg1[:0], msg...)
	if sa.sent.Idle() {
		_, _ = sa.sent.Open() // Message ID 0; a COOKIE or another group repeats it
	}
	c := e.chill(sa)
	c.open = exchange{kind: requestFirst, msgs: sa.half.msg1, at: e.now + int64(e.cfg.Timers.Retry.Delay(0, e.random()))}
	e.sendSA(sa, sa.half.msg1)
	e.schedule(sa)
}

// firstAnswer takes an answer to our IKE_SA_INIT or IKE_SESSION_RESUME.
func (e *Endpoint) firstAnswer(sa *SA, p Packet, h wire.Header) {
	switch {
	case h.MessageID != 0 || sa.half == nil:
		e.drop(DropState)
	case sa.half.resume && h.Exchange == wire.ExchangeSessionResume:
		e.resumeAnswer(sa, p, h)
	case !sa.half.resume && sa.state == stateInit && h.Exchange == wire.ExchangeIKESAInit && sa.half.question == 0:
		e.initAnswer(sa, p, h)
	default:
		e.drop(DropState)
	}
}

func (e *Endpoint) initAnswer(sa *SA, p Packet, h wire.Header) {
	if err := e.msg.sort(initResponse, h.NextPayload, p.Data[wire.HeaderLen:]); err != nil {
		e.drop(DropMalformed)
		return
	}
	m, hf := &e.msg, sa.half
	switch {
	case m.sa != nil && m.ke != nil && m.nonce != nil && h.SPIr != 0:
		e.initAccepted(sa, p, h)
	case m.has(wire.NotifyCookie):
		e.cookieAsked(sa)
	case m.has(wire.NotifyInvalidKEPayload):
		n, _ := m.note(wire.NotifyInvalidKEPayload)
		if len(n.Data) != 2 || !e.otherGroup(sa, wire.TransformID(binary.BigEndian.Uint16(n.Data))) {
			e.drop(DropState)
		}
	default: // a refusal can be forged: a valid answer still wins for a while (RFC 7296 2.21.1)
		if n, ok := m.failure(); ok && !hf.nacked {
			hf.nacked, hf.refusal = true, n
			hf.nackAt = e.now + int64(e.cfg.Timers.NackWait)
			e.schedule(sa)
		}
	}
}

// otherGroup begins anew with the group that the responder named, if it is one
// that we offered and have not tried (RFC 7296 1.2).
func (e *Endpoint) otherGroup(sa *SA, g wire.TransformID) bool {
	hf := sa.half
	offered := slices.ContainsFunc(sa.conn.IKE, func(p propose.IKE) bool { return slices.Contains(p.KE, g) })
	if !offered || g == hf.group || hf.cookies >= 8 {
		return false
	}
	hf.cookies++
	hf.group = g
	sa.cold = nil
	e.ask(sa, Question{Kind: AskKeyPair, Group: g})
	return true
}

// cookieAsked sends message 1 again with the COOKIE before it (RFC 7296 2.6).
func (e *Endpoint) cookieAsked(sa *SA) {
	hf := sa.half
	n, _ := e.msg.note(wire.NotifyCookie)
	if len(n.Data) == 0 || len(n.Data) > 64 || hf.cookies >= 8 || len(hf.candidates) > 0 {
		e.drop(DropState)
		return
	}
	hf.cookies++
	hf.cookie = append(hf.cookie[:0], n.Data...)
	if hf.resume {
		e.sendFirst(sa, e.resumeRequestMessage(sa))
	} else {
		e.sendFirst(sa, e.initMessage(sa))
	}
}

// initAccepted takes the responder's choice and asks for the shared secret.
func (e *Endpoint) initAccepted(sa *SA, p Packet, h wire.Header) {
	hf := sa.half
	choice, err := wire.ParseSA(e.msg.sa)
	ke, kerr := wire.ParseKE(e.msg.ke)
	nr, nerr := wire.ParseNonce(e.msg.nonce)
	if err != nil || kerr != nil || nerr != nil {
		e.drop(DropMalformed)
		return
	}
	s, err := propose.CheckIKE(choice, sa.conn.IKE)
	if err != nil || s.KE != hf.group || ke.Group != hf.group {
		e.drop(DropMalformed)
		return
	}
	if sa.tun.probing() {
		if !sa.tun.found {
			e.answered(sa)
			return
		}
		e.event(nil, Event{Kind: EventFallback, Connection: sa.conn})
	}
	sa.suite, sa.spi.R = s, h.SPIr
	e.learnFirst(sa)
	hf.nr = append(hf.nr[:0], nr...)
	sa.resp = append([]byte(nil), p.Data...) // AUTH covers it
	hf.nacked, hf.nackAt = false, 0
	sa.cold = nil
	if sa.behind || e.cfg.ForceEncap {
		e.float(sa)
	}
	e.ask(sa, Question{Kind: AskAgree, Pair: hf.pair, Group: hf.group, Public: append([]byte(nil), ke.Data...)})
}

// answered ends a probe: somebody is there, so the ticket is shown once more.
func (e *Endpoint) answered(sa *SA) {
	t := sa.tun
	e.discard(sa)
	t.found, t.unheard, t.silent = true, 0, 0
	e.attempt(t)
}

// float moves to UDP encapsulation's port (RFC 7296 2.23).
func (e *Endpoint) float(sa *SA) {
	if sa.marker {
		return
	}
	sa.marker = true
	sa.local.port, sa.remote.port = e.cfg.NATPort, sa.conn.GatewayNAT
}

// failed ends an attempt of ours and plans the next one.
func (e *Endpoint) failed(sa *SA, err error) {
	t, resume := sa.tun, sa.half != nil && sa.half.resume
	e.event(sa, Event{Kind: EventFailed, Err: err})
	e.discard(sa)
	if t == nil {
		return
	}
	t.sa = 0
	switch {
	case err != errTimeout:
		e.crowd(t)
	case resume:
		t.mapped = false
		if t.unheard++; t.found {
			t.unheard = maxSilent
		}
		e.attempt(t)
	case len(t.ticket) > 0 && !t.full: // the gateway is away, not unwilling
		t.unheard, t.silent, t.found = 0, 0, false
		e.attempt(t)
	default:
		e.crowd(t)
	}
}

// crowd plans a full handshake after random(0, 2 s x 2^n), at most a minute:
// when one ticket fails, all may have failed (rule E7).
func (e *Endpoint) crowd(t *tunnel) {
	wait := min(int64(e.cfg.Timers.CrowdStep)<<min(t.tries, 16), int64(e.cfg.Timers.CrowdCap))
	t.full = true
	t.tries++
	e.later(t, e.now+1+e.within(wait))
}

// within is a random time from 0 to d.
func (e *Endpoint) within(d int64) int64 {
	hi, _ := bits.Mul64(uint64(e.random())<<32, uint64(d))
	return int64(hi)
}

func (e *Endpoint) random() uint32 {
	var b [4]byte
	_, _ = e.rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:])
}

// closeTunnel ends a connection for good: DELETE, and its ticket is wiped.
func (e *Endpoint) closeTunnel(conn *Connection) {
	for i, t := range e.tunnels {
		if t.conn != conn {
			continue
		}
		e.forgetTicket(t) //rfc:5723-6.2-1
		e.tunnels = append(e.tunnels[:i], e.tunnels[i+1:]...)
		if sa := e.sa(t.sa); sa != nil {
			sa.tun = nil
			e.deleteSA(sa)
		}
		return
	}
}

// lost begins anew after an established SA of t ended without a DELETE.
func (e *Endpoint) lost(t *tunnel, by By) {
	t.sa, t.by, t.silent, t.unheard, t.found, t.tries, t.full = 0, by, 0, 0, false, 0, false
	e.attempt(t)
}
