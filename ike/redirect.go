package ike

import (
	"net/netip"
	"slices"
	"strings"

	"blackswan/wire"
)

// REDIRECT at the client, RFC 5685: the gateway names another one.
//
//	-> IKE_SA_INIT {..., N(REDIRECT_SUPPORTED)}            and IKE_SESSION_RESUME
//	<- IKE_SA_INIT {N(REDIRECT, gateway, Ni)}              nothing authenticates it
//	<- IKE_AUTH SK {IDr, AUTH, N(REDIRECT, gateway)}
//	<- INFORMATIONAL SK {N(REDIRECT, gateway)}             in a live SA
//
// What nothing authenticates leads only to gateways of the connection's own
// list. A live SA goes on until the new gateway has resumed it (rule F2). The
// gateway's side is in drain.go.

// Gateway is one that a client may be redirected to by a message that nothing
// authenticates. Silent gateways are left for the next of them, too.
type Gateway struct {
	Name string         // as REDIRECT may give it; may be empty
	Addr netip.AddrPort // its IKE port; invalid: ask for Name
}

// RFC 5685 7: so many redirects within so many ns, and no more.
const (
	maxRedirects   = 5
	redirectPeriod = int64(300e9)
)

// detour is where redirects have led a connection.
type detour struct {
	from      netip.Addr          // who redirected us last; invalid: nobody, or we are there
	wanted    string              // the gateway whose address is asked for
	elsewhere bool                // the new SA replaces the old one because of a redirect
	redirects int                 // how many were followed
	followed  [maxRedirects]int64 // when the last of them were
}

// stray is t's detour, made where there was none.
func (t *tunnel) stray() *detour {
	if t.detour == nil {
		t.detour = &detour{}
	}
	return t.detour
}

// arrived ends the detour where t is, which need not be where it led.
func (t *tunnel) arrived() {
	if d := t.detour; d != nil {
		d.from, d.wanted, d.elsewhere = netip.Addr{}, "", false
	}
}

// sentBy is who redirected t to where it goes; invalid: nobody.
func (t *tunnel) sentBy() netip.Addr {
	if t.detour == nil {
		return netip.Addr{}
	}
	return t.detour.from
}

func (t *tunnel) elsewhere() bool { return t.detour != nil && t.detour.elsewhere }

// addRedirect announces that we follow REDIRECT, or who sent us (RFC 5685 3, 9.3).
func (e *Endpoint) addRedirect(w *wire.Writer, t *tunnel) {
	from := t.sentBy()
	switch {
	case !t.conn.Redirects:
	case from.IsValid():
		w.Notify(wire.Notify{Type: wire.NotifyRedirectedFrom, Data: wire.RedirectTo(from.String()).Append(nil)}) //rfc:5685-3-8 5685-9.3-1 5685-9.3-2
	default:
		w.Notify(wire.Notify{Type: wire.NotifyRedirectSupported}) //rfc:5685-3-1 5685-9.1-1 5685-9.1-2
	}
}

// redirectOf is the REDIRECT of the message at hand. One that nothing
// authenticates has our nonce in it, any other none (RFC 5685 3, 5, 6).
func (e *Endpoint) redirectOf(sa *SA, ni []byte) (wire.Redirect, bool) {
	n, ok := e.msg.note(wire.NotifyRedirect)
	if !ok {
		return wire.Redirect{}, false
	}
	r, err := wire.ParseRedirect(n.Data)
	if err != nil || !sa.Client || sa.tun == nil || !sa.conn.Redirects || string(r.Nonce) != string(ni) { //rfc:5685-3-5 5685-3-6 5685-9.2-5 5685-10-1
		e.drop(DropRedirect)
		return r, false
	}
	return r, true
}

// redirectedFirst takes a REDIRECT that answers our first message. Unless it is
// followed, another answer is waited for.
func (e *Endpoint) redirectedFirst(sa *SA) {
	if r, ok := e.redirectOf(sa, sa.half.ni); ok {
		e.redirected(sa.tun, r, false)
	}
}

// sentAway follows a REDIRECT of IKE_AUTH: both sides have proved themselves,
// and there is no Child SA (RFC 5685 6). The SA goes when the new one stands.
func (e *Endpoint) sentAway(sa *SA, r wire.Redirect) {
	if !e.redirected(sa.tun, r, true) {
		e.deleteSA(sa)
	}
}

// redirected sends t where r leads, and reports whether it goes there.
func (e *Endpoint) redirected(t *tunnel, r wire.Redirect, proved bool) bool {
	to, name, listed := t.gateway(r)
	d := t.stray()
	oldest := d.followed[d.redirects%maxRedirects]
	switch {
	case pack(to) == t.ike[1], name == "" && !e.usable(Packet{Local: t.ike[0].addrPort(), Remote: to}),
		!proved && !listed,                           //rfc:5685-3-7
		oldest != 0 && e.now-oldest < redirectPeriod: //rfc:5685-7-1
		e.drop(DropRedirect)
		return false
	case !to.IsValid() && d.wanted == name: // asked already
		return true
	case !to.IsValid():
		d.wanted = name // goes on with CommandGateway
		e.lastAsked++
		e.put(Output{Kind: OutputAsk, Question: &Question{Kind: AskGateway, ID: e.lastAsked, Conn: t.conn, Name: name}})
		return true
	}
	e.goTo(t, to)
	return true
}

// gateway is where r leads: an address, or a name for which the address must be
// asked; and whether it is of the connection's own list.
func (t *tunnel) gateway(r wire.Redirect) (to netip.AddrPort, name string, listed bool) {
	a, addressed := r.Addr()
	home := t.home.addrPort()
	switch {
	case addressed && a == home.Addr():
		return home, "", true
	case addressed:
		to = netip.AddrPortFrom(a, home.Port())
	case r.Type == wire.GatewayFQDN:
		name = strings.ToLower(string(r.Identity))
	}
	for _, g := range t.conn.Gateways {
		if addressed && g.Addr.Addr() == a || name != "" && strings.EqualFold(g.Name, name) {
			return g.Addr, name, true
		}
	}
	return to, name, false
}

// goTo begins at another gateway: an attempt goes on there, a live SA is
// replaced from there.
func (e *Endpoint) goTo(t *tunnel, to netip.AddrPort) {
	d := t.stray()
	d.followed[d.redirects%maxRedirects] = e.now
	d.redirects++
	d.from, d.wanted = t.ike[1].addrPort().Addr(), ""
	t.ike[1], t.mapped = pack(to), false //rfc:5685-11-1
	t.silent, t.unheard, t.found = 0, 0, false
	sa := e.sa(t.sa)
	e.event(sa, Event{Kind: EventRedirected, Connection: t.conn, Remote: to})
	switch {
	case sa == nil:
		e.attempt(t)
	case sa.state == stateEstablished:
		d.elsewhere = true
		e.replace(sa, true)
	case sa.half != nil:
		resume := sa.half.resume
		e.discard(sa)
		if t.sa = 0; t.old == 0 {
			e.attempt(t)
		} else {
			e.begin(t, resume)
		}
	}
}

// resolved takes the address of a gateway that AskGateway asked for. Without
// one the redirect is as good as none.
func (e *Endpoint) resolved(t *tunnel, name string, to netip.AddrPort) {
	d := t.detour
	if d == nil || d.wanted == "" || d.wanted != name {
		e.drop(DropStale)
		return
	}
	d.wanted = ""
	if !to.IsValid() || pack(to) == t.ike[1] || !e.usable(Packet{Local: t.ike[0].addrPort(), Remote: to}) {
		e.drop(DropRedirect)
		return
	}
	e.goTo(t, to)
}

// rehome takes another address of the configured gateway: its name leads there
// now. A live SA stays where it is; who waits does so no longer.
func (e *Endpoint) rehome(t *tunnel, to netip.AddrPort) {
	was := t.home
	t.home = pack(to)
	if t.ike[1] != was || t.home == was {
		return
	}
	t.ike[1], t.mapped = t.home, false
	switch sa := e.sa(t.sa); {
	case sa == nil && t.at != 0:
		e.later(t, e.now)
	case sa != nil && sa.half != nil:
		e.discard(sa)
		t.sa = 0
		e.attempt(t)
	}
}

// nextGateway goes to the next gateway of the connection's own list, the
// configured one first: nobody stays where a redirect led and nobody answers.
func (t *tunnel) nextGateway() {
	list := []addr{t.home}
	for _, g := range t.conn.Gateways {
		if g.Addr.IsValid() && pack(g.Addr) != t.home {
			list = append(list, pack(g.Addr))
		}
	}
	t.ike[1] = list[(slices.Index(list, t.ike[1])+1)%len(list)]
	if t.detour != nil {
		t.detour.from = netip.Addr{}
	}
}
