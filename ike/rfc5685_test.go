package ike

import (
	"reflect"
	"testing"
	"time"

	"blackswan/wire"
)

// RFC 5685 3: at the new gateway the client wants the identity and the secrets
// of its own configuration, which a REDIRECT does not change.
func TestRFC5685_3_SamePolicyAtTheNewGateway(t *testing.T) {
	for name, other := range map[string]func(c *Connection){
		"another identity": func(c *Connection) { c.Local.ID = id("other.test") },
		"another secret":   func(c *Connection) { c.PSK = Secret("the secret of somebody else") },
		"the same policy":  func(c *Connection) {},
	} {
		t.Run(name, func(t *testing.T) {
			w, gw2 := redirectWorld(t, name)
			other(gw2.conn)
			w.drainTo(w.gw, secondAddr.Addr().String())
			w.connect()
			w.run(time.Second)
			if got := len(w.cl.live()) == 1; got != (name == "the same policy") {
				t.Errorf("connected: %v\n%s", got, w.dump())
			}
		})
	}
}

// RFC 5685 6: without the client's AUTH no REDIRECT, without the gateway's
// nobody goes.
func TestRFC5685_6_BothProveThemselves(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		w, _ := redirectWorld(t, "client proves", func(_, cl *Config) { cl.Connections[0].PSK = Secret("a wrong one") })
		tp := w.watch()
		tp.lose = func(s sight) bool {
			if s.from == w.cl && s.h.Exchange == wire.ExchangeIKEAuth {
				w.drainTo(w.gw, secondAddr.Addr().String())
			}
			return false
		}
		w.connect()
		w.run(time.Second)
		if a := tp.of(w.gw, wire.ExchangeIKEAuth); len(a) == 0 || a[0].has(wire.NotifyRedirect) || !a[0].has(wire.NotifyAuthenticationFailed) {
			t.Error("whoever comes is redirected\n" + w.text())
		}
	})
	t.Run("gateway", func(t *testing.T) {
		w, _ := redirectWorld(t, "gateway proves")
		w.lose = func(from *node, p Packet) bool {
			h, _ := wire.ParseHeader(p.Data)
			return from == w.gw && h.Exchange == wire.ExchangeIKEAuth
		}
		w.connect()
		g := w.gw.live()[0]
		w.give(w.cl, w.craft(w.gw, g, wire.ExchangeIKEAuth, true, 1, func(m *wire.Writer) {
			m.ID(wire.PayloadIDr, w.gw.conn.Local.ID)
			m.Auth(wire.Auth{Method: wire.AuthSharedKey, Data: make([]byte, 32)})
			m.Notify(wire.Notify{Type: wire.NotifyRedirect, Data: wire.RedirectTo("192.0.2.200").Append(nil)})
		}))
		if w.cl.count(EventRedirected) != 0 || w.cl.count(EventFailed) != 1 {
			t.Error("a gateway that proved nothing redirects\n" + w.dump())
		}
	})
}

// RFC 5685 9: no SPI, protocol 0, in all three.
func TestRFC5685_9_Notifications(t *testing.T) {
	w, _ := redirectWorld(t, "notifications")
	tp := w.watch()
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.connect()
	w.run(time.Second)
	for _, kind := range []wire.NotifyType{wire.NotifyRedirectSupported, wire.NotifyRedirect, wire.NotifyRedirectedFrom} {
		seen := 0
		for _, s := range tp.seen {
			for _, n := range s.notes(kind) {
				if seen++; n.Protocol != 0 || len(n.SPI) != 0 {
					t.Errorf("%v is %v", kind, n)
				}
			}
		}
		if seen == 0 {
			t.Errorf("nobody sent %v", kind)
		}
	}
}

// say1 has the gateway send one notification in an INFORMATIONAL request.
func (w *world) say1(n *node, sa *SA, note wire.Notify) {
	id, _ := sa.sent.Open()
	w.say(n, sa, wire.ExchangeInformational, false, id, func(m *wire.Writer) { m.Notify(note) })
	sa.sent.Close()
}

// RFC 5685 9.2: a nonce has no place in a protected REDIRECT; it is acknowledged
// and not followed.
func TestRFC5685_9_2_NonceInAProtectedRedirect(t *testing.T) {
	w, gw2 := redirectWorld(t, "protected nonce")
	w.connect()
	g, _ := w.one()
	r := wire.RedirectTo("192.0.2.200")
	r.Nonce = make([]byte, 32)
	w.say1(w.gw, g, wire.Notify{Type: wire.NotifyRedirect, Data: r.Append(nil)})
	w.run(time.Second)
	if w.cl.e.Counters[DropRedirect] != 1 || len(gw2.live()) != 0 {
		t.Error("it was followed")
	}
	w.with(w.gw)
	r.Nonce = nil
	w.say1(w.gw, g, wire.Notify{Type: wire.NotifyRedirect, Data: r.Append(nil)})
	w.run(time.Second)
	w.with2(gw2)
}

// RFC 5685 10: a client redirects nobody.
func TestRFC5685_10_OnlyTheGatewayRedirects(t *testing.T) {
	w, gw2 := redirectWorld(t, "client redirects")
	w.connect()
	g, c := w.one()
	w.say1(w.cl, c, wire.Notify{Type: wire.NotifyRedirect, Data: wire.RedirectTo("192.0.2.200").Append(nil)})
	w.run(time.Second)
	w.same(g, c)
	if w.gw.e.Counters[DropRedirect] != 1 || !gw2.e.Empty() {
		t.Error("the gateway was redirected")
	}
}

// RFC 5685 11: a REDIRECT changes where the gateway is, and nothing else: who
// we are, whom we trust, where home is.
func TestRFC5685_11_NothingElseChanges(t *testing.T) {
	w, gw2 := redirectWorld(t, "nothing else changes")
	w.connect()
	_, c := w.one()
	before, home, tickets := *w.cl.conn, c.tun.home, string(c.tun.session())
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.lose = func(_ *node, p Packet) bool { return p.Data[18] == byte(wire.ExchangeIKEAuth) }
	w.run(time.Second)
	if c.tun.ike[1] != pack(secondAddr) || c.tun.home != home || string(c.tun.session()) != tickets {
		t.Errorf("the client goes to %v, and home is %v", c.tun.ike[1], c.tun.home)
	}
	w.lose = nil
	w.run(time.Minute)
	w.with2(gw2)
	if !reflect.DeepEqual(before.Local, w.cl.conn.Local) || !reflect.DeepEqual(before.Remote, w.cl.conn.Remote) || !before.PSK.Equal(w.cl.conn.PSK) {
		t.Error("the connection is another one now")
	}
}

// A REDIRECT that is overtaken by a rekey of its IKE SA is said again on the
// heir: a draining gateway is empty in the end.
func TestRFC5685_5_RekeyOvertakesRedirect(t *testing.T) {
	w, gw2 := redirectWorld(t, "overtaken")
	w.connect()
	w.run(time.Second)
	w.drainTo(w.gw, secondAddr.Addr().String())
	w.advanceNodes()
	said := w.flight // and is on its way for a while
	w.flight = nil
	w.act(w.cl, "rekey ike")
	w.deliver()
	w.flight = said
	w.deliver()
	w.run(time.Minute)
	w.with(gw2)
	if len(w.gw.live()) != 0 || w.gw.count(EventDrained) != 1 {
		t.Errorf("%d SAs are left\n%s", len(w.gw.live()), w.text())
	}
}
