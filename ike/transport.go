package ike

import "blackswan/wire"

// Transport mode, RFC 7296 1.3.1: the initiator asks for it by USE_TRANSPORT_MODE
// and gets it if the response says that too; else the Child SA is in tunnel mode.
// It carries what goes between the two peers themselves, so that its selectors are
// the addresses of the IKE SA, one on each side.
//
// A NAT changes these addresses, which RFC 7296 2.23.1 and the checksums of TCP and
// UDP would have to be mended for. We use transport mode only where there is none,
// and where nobody wants ESP in UDP, which looks alike.

// mayBeTransport reports whether a Child SA of that policy may be in transport
// mode on the path of sa.
func (e *Endpoint) mayBeTransport(sa *SA, p *Policy) bool {
	return p.Mode != ModeTunnel && !sa.behind && !e.cfg.ForceEncap
}

// addMode asks for transport mode, or takes it.
func addMode(w *wire.Writer, transport bool) {
	if transport { //rfc:7296-1.3.1-1
		w.Notify(wire.Notify{Type: wire.NotifyUseTransportMode})
	}
}

// declined reports whether the peer has made a Child SA in tunnel mode of one that
// has to be in transport mode: then we delete it (RFC 7296 1.3.1).
func declined(sa *SA, o *offer) bool {
	return !o.straight && sa.conn.policy(wholeOf(o.of)).Mode == ModeTransport
}
