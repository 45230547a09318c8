package ike

import (
	"errors"

	"blackswan/wire"
)

// LocalError is a refusal of ours: the notify that the peer gets, and why.
type LocalError struct {
	Notify wire.NotifyType
	Why    string
}

func (e *LocalError) Error() string { return e.Notify.String() + " sent: " + e.Why }

// PeerError is a refusal of the peer's.
type PeerError struct{ Notify wire.NotifyType }

func (e *PeerError) Error() string { return e.Notify.String() + " received" }

// notifyOf is what a refusal of the peer's says, 0 if err is none.
func notifyOf(err error) wire.NotifyType {
	if p, ok := err.(*PeerError); ok {
		return p.Notify
	}
	return 0
}

// ErrBusy is the Err of an Answer whose question nobody had time for. A peer's
// request then meets silence, and its next copy is served (rule E7).
var ErrBusy = errors.New("all workers are busy")

var (
	errTimeout   = errors.New("the peer does not answer")
	errForged    = errors.New("AUTH does not verify")
	errMalformed = errors.New("malformed response")
	errTunnel    = errors.New("the Child SA was made in tunnel mode: the peer, or a NAT on the path, allows no transport mode")
	errReleased  = errors.New("the peer deleted the Child SA")
	errIdentity  = errors.New("the peer's identity is not the configured one")
)

// Reason is why an input changed nothing. Each is a counter.
type Reason uint8

const (
	DropNone       Reason = iota
	DropShort             // shorter than an IKE header, or its length field disagrees
	DropVersion           // major version is not 2
	DropFlags             // flags that no peer may set on this message
	DropUnknownSPI        // no SA, and no answer is due (rule A1)
	DropLimited           // an answer was due but its rate limit was reached (rules A2, A5)
	DropMalformed         // payloads break the rules of their exchange
	DropICV               // integrity check failed
	DropMessageID         // outside the window
	DropRepeat            // a repeated request that is not a copy, or repeated too often
	DropState             // a message that this SA does not expect now
	DropCookie            // a first message that had to show a COOKIE and was told so
	DropFull              // a limit of memory was reached
	DropToken             // QCD_TOKEN that proves nothing (RFC 6290 4.5)
	DropTokenRate         // tokens compared too often (rule A6)
	DropTicket            // a ticket refused with TICKET_NACK
	DropFragment          // fragment that does not fit
	DropExpired           // a half-open SA whose time ran out
	DropHint              // unauthenticated notify: at most a hint (rule A7)
	DropSelf              // addressed to ourselves or from an unusable address
	DropStale             // an answer or command for what is gone
	DropRedirect          // a REDIRECT that is not followed (RFC 5685)
	DropPath              // a MOBIKE path that was refused, or a COOKIE2 that is wrong (RFC 4555)
	DropLate              // a first message that has waited for half of its sender's patience
	DropShut              // a first message to a gateway that says goodbye
	reasons
)

var reasonNames = [reasons]string{
	"none", "short", "version", "flags", "unknown_spi", "limited", "malformed", "icv", "message_id", "repeat",
	"state", "cookie", "full", "token", "token_rate", "ticket", "fragment", "expired", "hint", "self", "stale", "redirect", "path", "late", "shut",
}

func (r Reason) String() string { return reasonNames[r] }

// Counters counts dropped inputs by reason.
type Counters [reasons]uint64

// Each calls f for every reason that was met.
func (c *Counters) Each(f func(reason string, n uint64)) {
	for r, n := range c {
		if n > 0 {
			f(Reason(r).String(), n)
		}
	}
}
