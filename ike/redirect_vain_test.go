package ike

import (
	"testing"
	"time"

	"blackswan/wire"
)

// What becomes of a client whose new gateway is no good.
func TestRedirectedInVain(t *testing.T) {
	for _, c := range []struct {
		name          string
		trouble       func(w *world, gw2 *node)
		full, resumed int
		at2           bool
	}{
		{"nobody answers there: the old SA lives on", func(w *world, gw2 *node) {
			w.lose = dead(secondAddr.Addr())
			w.drainTo(w.gw, "192.0.2.200")
			w.run(20 * time.Second)
			w.one()
			w.drainTo(w.gw, "")
			w.lose = nil
		}, 1, 1, false},
		{"it has other secrets: a login there", func(w *world, gw2 *node) {
			gw2.cfg = w.newNode("gw2", secondAddr, gw2.conn).cfg
			w.start(gw2)
			w.drainTo(w.gw, "192.0.2.200")
		}, 2, 0, true},
		{"nobody knows its name", func(w *world, gw2 *node) {
			w.drainTo(w.gw, "nobody.test")
			w.run(time.Second)
			w.cl.e.Command(w.now, Command{Kind: CommandGateway, Conn: w.cl.conn, Name: "nobody.test"})
			w.drain(w.cl)
			w.drainTo(w.gw, "")
		}, 1, 1, false},
		{"a name that had to be asked for", func(w *world, gw2 *node) {
			w.drainTo(w.gw, "other.test")
			w.run(time.Second)
			w.cl.e.Command(w.now, Command{Kind: CommandGateway, Conn: w.cl.conn, Name: "other.test", Remote: secondAddr})
			w.drain(w.cl)
		}, 1, 1, true},
		{"the message is lost twice", func(w *world, gw2 *node) {
			n := 0
			w.lose = func(from *node, p Packet) bool { n++; return n <= 2 }
			w.drainTo(w.gw, "192.0.2.200")
		}, 1, 1, true},
		{"the old gateway dies at once", func(w *world, gw2 *node) {
			w.drainTo(w.gw, "192.0.2.200")
			w.deliver()
			w.lose = dead(gwAddr.Addr())
		}, 1, 1, true},
		{"the old gateway dies before it said a word", func(w *world, gw2 *node) {
			w.lose = dead(gwAddr.Addr())
		}, 1, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, gw2 := redirectWorld(t, c.name)
			w.connect()
			w.run(time.Second)
			c.trouble(w, gw2)
			w.run(5 * time.Minute)
			outcome(t, w, c.full, c.resumed)
			if c.at2 {
				w.with2(gw2)
			} else {
				w.with(w.gw)
			}
		})
	}
}

// An IKE_SA_INIT that is smaller than its REDIRECT gets none (rule A3).
func TestRedirectDoesNotAmplify(t *testing.T) {
	w, _ := redirectWorld(t, "amplify")
	w.drainTo(w.gw, string(make([]byte, 200)))
	m := wire.NewWriter(nil, wire.Header{SPIi: 7, Version: wire.Version, Exchange: wire.ExchangeSessionResume, Flags: wire.FlagInitiator})
	m.Nonce(make([]byte, 16))
	m.Notify(wire.Notify{Type: wire.NotifyTicketOpaque, Data: []byte{1}})
	m.Notify(wire.Notify{Type: wire.NotifyRedirectSupported})
	w.packets = 0
	w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: clAddr, Data: m.Finish()})
	w.drain(w.gw)
	if w.packets != 0 || w.gw.e.Counters[DropRedirect] != 1 {
		t.Error("a small request got a large answer")
	}
}

// A gateway whose name leads elsewhere now is looked for there: a dead one is
// left, and the ticket is shown at the new address.
func TestGatewayHasAnotherAddress(t *testing.T) {
	w, gw2 := redirectWorld(t, "rehome", func(_, cl *Config) { cl.Connections[0].Gateways = nil })
	w.connect()
	w.run(time.Second)
	home := func() {
		w.cl.e.Command(w.now, Command{Kind: CommandHome, Conn: w.cl.conn, Remote: secondAddr})
		w.drain(w.cl)
	}
	home()
	w.run(time.Minute)
	w.with(w.gw) // it lives: nobody leaves
	w.lose = dead(w.gw.addr.Addr())
	w.run(10 * time.Minute)
	w.gw.e.Command(w.now, Command{Kind: CommandForget})
	w.drain(w.gw)
	if w.with(gw2); !w.cl.last(EventEstablished).Resumed {
		t.Error("a full handshake at the new address")
	}
}
