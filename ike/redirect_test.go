package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

var secondAddr = netip.MustParseAddrPort("192.0.2.200:500")

// second adds a gateway with the secrets of the first: what a cluster's store
// will do, a configuration does here (rule F2).
func (w *world) second(change ...func(c *Config)) *node {
	conn := *w.gw.conn
	n := w.newNode("gw2", secondAddr, &conn)
	n.cfg.Ring, n.cfg.QCD, n.cfg.SPIKeys, n.cfg.RollCall = w.gw.cfg.Ring, w.gw.cfg.QCD, w.gw.cfg.SPIKeys, w.gw.cfg.RollCall
	n.cfg.Boot.Node = 2
	for _, f := range change {
		f(&n.cfg)
	}
	w.start(n)
	w.more = append(w.more, n)
	return n
}

// redirectWorld has a client that follows REDIRECT to the second gateway.
func redirectWorld(t *testing.T, seed string, change ...func(gw, cl *Config)) (*world, *node) {
	w := newWorld(t, seed, append([]func(gw, cl *Config){quiet, func(_, cl *Config) {
		cl.Connections[0].Redirects, cl.Connections[0].Gateways = true, []Gateway{{Name: "gw2.test", Addr: secondAddr}}
	}}, change...)...)
	return w, w.second()
}

func (w *world) drainTo(n *node, gateway string) {
	n.e.Command(w.now, Command{Kind: CommandDrain, Name: gateway})
	w.drain(n)
}

// with fails unless the client's one SA is with n.
func (w *world) with(n *node) *SA {
	w.t.Helper()
	g, c := n.live(), w.cl.live()
	if len(g) != 1 || len(c) != 1 || g[0].spi != c[0].spi {
		w.t.Fatalf("%d SAs at %s, %d at the client; want the same one\n%s\n%s", len(g), n.name, len(c), w.text(), w.dump())
	}
	return g[0]
}

// RFC 5685 3: a gateway that sends clients away answers IKE_SA_INIT with
// REDIRECT, their nonce and SPIr zero, and the client says who sent it.
func TestRFC5685_3_InitIsRedirected(t *testing.T) {
	for _, to := range []string{secondAddr.Addr().String(), "GW2.test"} {
		w, gw2 := redirectWorld(t, to)
		tp := w.watch()
		w.drainTo(w.gw, to)
		w.connect()
		w.run(time.Second)
		w.with(gw2)
		first, answer := tp.of(w.cl, wire.ExchangeIKESAInit), tp.only(w.gw, wire.ExchangeIKESAInit)
		n := answer.notes(wire.NotifyRedirect)
		if len(n) != 1 || answer.h.SPIr != 0 || len(answer.kinds) != 1 {
			t.Fatal("the answer is no REDIRECT\n" + w.text())
		}
		r, err := wire.ParseRedirect(n[0].Data)
		if err != nil || string(r.Nonce) != string(first[0].bodies[first[0].at(wire.PayloadNonce)]) {
			t.Error("the nonce is not Ni", err)
		}
		from := first[1].notes(wire.NotifyRedirectedFrom)
		if !first[0].has(wire.NotifyRedirectSupported) || first[1].has(wire.NotifyRedirectSupported) || len(from) != 1 {
			t.Fatal("the client does not say what it supports, or who sent it")
		}
		if x, _ := wire.ParseRedirect(from[0].Data); x.String() != gwAddr.Addr().String() {
			t.Error("it says that it comes from", x)
		}
		if !w.gw.e.Empty() {
			t.Error("the gateway keeps something of it")
		}
		outcome(t, w, 1, 0)
	}
}

// RFC 5685 3: whoever does not announce it is never redirected.
func TestRFC5685_3_OnlyWhoSupportsIt(t *testing.T) {
	w, _ := redirectWorld(t, "unsupported", func(_, cl *Config) { cl.Connections[0].Redirects = false })
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.connect()
	w.one()
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.run(time.Minute)
	w.one()
	if w.gw.e.Count().Redirects != 0 || w.cl.e.Counters[DropRedirect] != 0 {
		t.Error("a client that follows no REDIRECT got one")
	}
}

// forgedRedirect answers the client's open first message.
func (w *world) forgedRedirect(x wire.ExchangeType, r wire.Redirect) {
	sa := w.cl.half()
	m := wire.NewWriter(nil, wire.Header{SPIi: sa.spi.I, Version: wire.Version, Exchange: x, Flags: wire.FlagResponse})
	m.Notify(wire.Notify{Type: wire.NotifyRedirect, Data: r.Append(nil)})
	w.cl.e.Packet(w.now, Packet{Local: w.cl.addr, Remote: w.gw.addr, Data: m.Finish()})
	w.drain(w.cl)
}

// RFC 5685 3 and rule F2: a forged REDIRECT has no effect but a count, and the
// true answer is still taken.
func TestRFC5685_3_ForgedRedirect(t *testing.T) {
	for _, resume := range []bool{false, true} {
		for _, c := range []struct {
			name string
			make func(ni []byte) wire.Redirect
		}{
			{"wrong nonce", func(ni []byte) wire.Redirect {
				r := wire.RedirectTo(secondAddr.Addr().String())
				r.Nonce = append([]byte{ni[0] ^ 1}, ni[1:]...)
				return r
			}},
			{"no nonce", func([]byte) wire.Redirect { return wire.RedirectTo(secondAddr.Addr().String()) }},
			{"to a gateway that is not on the list", func(ni []byte) wire.Redirect {
				r := wire.RedirectTo("192.0.2.66")
				r.Nonce = ni
				return r
			}},
			{"to a name that is not on the list", func(ni []byte) wire.Redirect {
				r := wire.RedirectTo("evil.test")
				r.Nonce = ni
				return r
			}},
			{"to itself", func(ni []byte) wire.Redirect {
				r := wire.RedirectTo(gwAddr.Addr().String())
				r.Nonce = ni
				return r
			}},
		} {
			t.Run(c.name, func(t *testing.T) {
				w, _ := redirectWorld(t, c.name)
				x := wire.ExchangeIKESAInit
				if resume {
					w.connect()
					w.start(w.cl)
					x = wire.ExchangeSessionResume
				}
				w.lose = func(*node, Packet) bool { return true }
				w.connect()
				sa := w.cl.half()
				w.forgedRedirect(x, c.make(sa.half.ni))
				if w.cl.half() != sa || w.cl.e.Counters[DropRedirect] != 1 || w.cl.count(EventRedirected) != 0 {
					t.Fatal("a forged REDIRECT was followed\n" + w.dump())
				}
				w.lose = nil
				w.run(2 * time.Second)
				w.with(w.gw)
			})
		}
	}
}

// RFC 5685 7: five redirects within 300 seconds, no more; then the client is
// where it began, and is served when the loop ends.
func TestRFC5685_7_Loop(t *testing.T) {
	w, gw2 := redirectWorld(t, "loop")
	w.drainTo(w.gw, "gw2.test")
	w.drainTo(gw2, "gw1.test")
	w.cl.conn.Gateways = append(w.cl.conn.Gateways, Gateway{Name: "gw1.test", Addr: gwAddr})
	w.connect()
	w.run(time.Second)
	if n := w.cl.count(EventRedirected); n != maxRedirects || w.cl.e.Counters[DropRedirect] == 0 {
		t.Fatalf("%d redirects were followed\n%s", n, w.text())
	}
	w.run(4 * time.Minute)
	if n := w.cl.count(EventRedirected); n != maxRedirects {
		t.Errorf("%d redirects within 300 s", n)
	}
	w.drainTo(gw2, "")
	w.run(6 * time.Minute)
	w.with(gw2)
}

// A gateway does not send back whom the other one sent.
func TestNoPingPong(t *testing.T) {
	w, gw2 := redirectWorld(t, "ping pong")
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.drainTo(gw2, gwAddr.Addr().String())
	w.connect()
	w.run(time.Second)
	w.with(gw2)
}

// RFC 5685 5 and rule F2: in a live SA the client acknowledges, resumes at the
// new gateway and sends no DELETE: its ticket, and all others, live on.
func TestRFC5685_5_LiveSAIsRedirected(t *testing.T) {
	w, gw2 := redirectWorld(t, "live")
	w.connect()
	w.run(time.Second)
	g, c := w.one()
	old := c.handle()
	tp := w.watch()
	tp.lose = func(s sight) bool {
		if s.from == w.cl && s.h.Exchange == wire.ExchangeIKEAuth && w.cl.e.sa(old) == nil {
			t.Error("the old SA went before the new one stood")
		}
		return false
	}
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.run(time.Second)
	tp.lose = nil
	x := w.with2(gw2)
	if !x.resumed || x.lineage != g.lineage {
		t.Fatal("not resumed at the new gateway\n" + w.text())
	}
	redirect := tp.of(w.gw, wire.ExchangeInformational)[0]
	if r, err := wire.ParseRedirect(redirect.notes(wire.NotifyRedirect)[0].Data); err != nil || len(r.Nonce) != 0 {
		t.Error("a nonce in a protected REDIRECT", err)
	}
	for _, s := range tp.of(w.cl, wire.ExchangeInformational) {
		if s.at(wire.PayloadDelete) >= 0 {
			t.Error("DELETE ends the ticket that was resumed")
		}
	}
	if w.gw.count(EventDrained) != 0 {
		t.Error("drained while an SA is left")
	}
	w.run(31 * time.Second)
	if w.gw.count(EventDrained) != 1 || len(w.gw.live()) != 0 || w.gw.last(EventDown).Reason != "redirected" {
		t.Error("the SA did not go\n" + w.dump())
	}
	for _, r := range w.gw.records {
		if r.Kind == RecordFloor {
			t.Error("a ticket died of the drain")
		}
	}
	w.crash(gw2) // and again and again
	w.run(time.Minute)
	if x := w.with(gw2); !x.resumed {
		t.Error("not resumed after a crash of the new gateway")
	}
	outcome(t, w, 1, 2)
}

// with2 is the one SA that n and the client share; an old one may be left elsewhere.
func (w *world) with2(n *node) *SA {
	w.t.Helper()
	if len(n.live()) != 1 || len(w.cl.live()) != 1 {
		w.t.Fatalf("%d SAs at %s, %d at the client\n%s\n%s", len(n.live()), n.name, len(w.cl.live()), w.text(), w.dump())
	}
	return n.live()[0]
}

// Who was about to be sent away when the drain ended stays.
func TestDrainIsCalledOff(t *testing.T) {
	w, _ := redirectWorld(t, "called off")
	w.connect()
	w.run(time.Second)
	g, _ := w.one()
	tp := w.watch()
	tp.lose = func(sight) bool { return true }
	w.gw.e.at(w.now)
	w.gw.e.request(g, requestEmpty) // REDIRECT waits behind it
	w.drain(w.gw)
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.advanceNodes()
	w.drainTo(w.gw, "")
	tp.lose = nil
	w.run(2 * time.Minute)
	outcome(t, w, 1, 0)
	for _, s := range tp.of(w.gw, wire.ExchangeInformational) {
		if s.has(wire.NotifyRedirect) {
			t.Error("a REDIRECT to nowhere")
		}
	}
}

// RFC 5685 5: without a ticket the client logs in at the new gateway, and then
// deletes the old SA.
func TestRFC5685_5_WithoutATicket(t *testing.T) {
	w, gw2 := redirectWorld(t, "no ticket", func(gw, _ *Config) { gw.Connections[0].Tickets = false })
	w.connect()
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.run(time.Second)
	w.with(gw2)
	outcome(t, w, 2, 0)
	if w.gw.last(EventDown).Reason != "deleted by the peer" || w.gw.count(EventDrained) != 1 {
		t.Error("the old SA was not deleted\n" + w.dump())
	}
}

// RFC 5685 6: who is in IKE_AUTH when the drain begins gets REDIRECT and no
// Child SA; both have proved themselves; its ticket is good at the other.
func TestRFC5685_6_AuthIsRedirected(t *testing.T) {
	for _, resume := range []bool{false, true} {
		w, gw2 := redirectWorld(t, "auth")
		logins, resumes := 1, 1
		if resume {
			w.connect()
			w.start(w.cl)
			w.cl.events = nil
			logins, resumes = 0, 2
		}
		tp := w.watch()
		tp.lose = func(s sight) bool {
			if s.from == w.cl && s.h.Exchange == wire.ExchangeIKEAuth && len(w.gw.e.drain.to) == 0 {
				w.drainTo(w.gw, secondAddr.Addr().String())
			}
			return false
		}
		w.connect()
		w.run(time.Second)
		w.with2(gw2)
		answer := tp.of(w.gw, wire.ExchangeIKEAuth)[0]
		if !answer.has(wire.NotifyRedirect) || answer.at(wire.PayloadAUTH) < 0 || answer.at(wire.PayloadSA) >= 0 {
			t.Errorf("IKE_AUTH was answered with %v", answer.kinds)
		}
		outcome(t, w, logins, resumes)
		w.run(31 * time.Second)
		if len(w.gw.live()) != 0 {
			t.Error("the SA stays")
		}
	}
}
