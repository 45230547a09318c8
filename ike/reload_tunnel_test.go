package ike

import (
	"testing"
	"time"

	"blackswan/wire"
)

// A client whose connection is another, in each state of its tunnel: whatever was
// under way, it ends with one SA by the settings of now, and a key that is no more
// takes its ticket along.
func TestReloadOfATunnel(t *testing.T) {
	same := func(*Connection) {}
	key := func(c *Connection) { c.PSK = Secret("another key of the test") }
	networks := func(c *Connection) { c.LocalTS = prefixes("10.2.4.0/24") }
	for _, row := range []struct {
		name    string
		state   func(w *world)
		change  func(*Connection)
		both    bool // the gateway's, too
		resumed bool
		again   bool // a new login
	}{
		{"up, as it was", func(w *world) {}, same, false, false, false},
		{"up, another key", func(w *world) {}, key, true, false, true},
		{"up, other networks", func(w *world) {}, networks, false, false, true},
		{"up, another identity", func(w *world) {}, func(c *Connection) { c.Local.ID = id("two.clients.test") }, false, false, true},
		{"up, as somebody else", func(w *world) { w.cl.e.tunnels[0].own = id("one.clients.test") }, same, false, false, false},
		{"a resume on its way", func(w *world) {
			w.crash(w.gw)
			w.resumeHeld()
		}, same, false, true, true},
		{"a resume on its way, another key", func(w *world) {
			w.crash(w.gw)
			w.resumeHeld()
		}, key, true, false, true},
		{"a login on its way", func(w *world) {
			w.crash(w.gw)
			w.cl.ticket = nil
			w.lose = func(*node, Packet) bool { return true }
			w.start(w.cl)
			w.connect()
			w.run(time.Second)
			w.lose = nil
		}, key, true, false, true},
		{"waiting", func(w *world) {
			sa := w.cl.live()[0]
			w.cl.e.ended(sa, "the test", false)
			w.drain(w.cl)
		}, key, true, false, true},
		{"deleting", func(w *world) {
			w.lose = func(*node, Packet) bool { return true }
			w.cl.e.Command(w.now, Command{Kind: CommandDelete, SA: w.cl.live()[0].handle()})
			w.drain(w.cl)
			w.lose = nil
		}, key, true, false, true},
		{"a new login beside the old SA", func(w *world) { w.relogin() }, same, false, false, true},
		{"a new login beside the old SA, another key", func(w *world) { w.relogin() }, key, true, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, "tunnel "+row.name, quiet)
			w.connect()
			w.run(time.Second)
			w.one()
			row.state(w)
			logins := w.cl.count(EventEstablished)
			if len(w.cl.live()) == 0 {
				w.cl.kids = nil // of the client before
			}
			if row.both {
				w.reload(w.gw, w.gw.conn.but(row.change))
			}
			next := w.cl.conn.but(row.change)
			w.reload(w.cl, next)
			w.run(time.Minute)
			g, c := w.one()
			if c.conn != next || w.cl.e.tunnels[0].conn != next || len(w.cl.e.tunnels) != 1 || c.resumed != row.resumed || g.spi != c.spi || len(w.cl.plane()) != 1 {
				t.Errorf("%v, resumed: %v, %d Child SAs\n%s\n%s", c, c.resumed, len(w.cl.plane()), w.text(), w.dump())
			}
			if again := w.cl.count(EventEstablished) - logins; (again == 1) != row.again || again > 1 {
				t.Errorf("%d new SAs\n%s", again, w.text())
			}
			w.crash(w.gw) // the ticket is that of the SA which is there
			w.run(time.Minute)
			if g, _ := w.one(); !g.resumed {
				t.Errorf("not resumed\n%s", w.text())
			}
		})
	}
}

// relogin has the client log in again while its gateway is deaf.
func (w *world) relogin() {
	w.lose = func(*node, Packet) bool { return true }
	w.cl.e.replace(w.cl.live()[0], false)
	w.drain(w.cl)
	w.lose = nil
}

// What was redirected in IKE_AUTH carries nothing: its attempt at the other gateway
// begins anew by the settings of now, for one with the key of before would stand
// for good.
func TestReloadMeetsARedirectInAuth(t *testing.T) {
	for name, row := range map[string]struct {
		key           Secret
		full, resumed int
	}{
		"as it was":   {nil, 1, 1},
		"another key": {Secret("another key of the test"), 2, 0},
	} {
		w, gw2 := redirectWorld(t, "reload "+name)
		tp := w.watch()
		tp.lose = func(s sight) bool {
			if s.from == w.cl && s.h.Exchange == wire.ExchangeIKEAuth && len(w.gw.e.drain.to) == 0 {
				w.drainTo(w.gw, secondAddr.Addr().String())
			}
			return dead(secondAddr.Addr())(s.from, s.p)
		}
		w.connect()
		w.run(100 * time.Millisecond)
		x := w.cl.e.tunnels[0]
		old := w.cl.e.sa(x.old)
		if sa := w.cl.e.sa(x.sa); old == nil || old.carries() || sa == nil || sa.half == nil {
			t.Fatalf("no attempt at the other gateway\n%s\n%s", w.text(), w.dump())
		}
		next := w.cl.conn.but(func(c *Connection) {
			if row.key != nil {
				c.PSK = row.key
			}
		})
		w.reload(w.cl, next)
		if sa := w.cl.e.sa(x.sa); x.old != 0 || sa == nil || sa.conn != next || x.hasTicket() != (row.key == nil) {
			t.Errorf("%s: it goes on as before: %v, a ticket: %v\n%s", name, sa, x.hasTicket(), w.dump())
		}
		if row.key != nil {
			gw2.conn = gw2.conn.but(func(c *Connection) { c.PSK = row.key })
			w.reload(gw2, gw2.conn)
		}
		tp.lose = nil
		w.run(time.Minute)
		w.with2(gw2)
		if c := w.cl.live()[0]; c.conn != next || len(w.cl.plane()) != 1 || len(w.gw.live()) != 0 {
			t.Errorf("%s: %v, %d Child SAs, %d SAs at the first gateway\n%s", name, c, len(w.cl.plane()), len(w.gw.live()), w.text())
		}
		outcome(t, w, row.full, row.resumed)
	}
}

// A client whose connection is gone says goodbye and wants nothing any more.
func TestReloadWithoutATunnel(t *testing.T) {
	for _, up := range []bool{true, false} {
		w := newWorld(t, "no tunnel", quiet)
		if !up {
			w.lose = func(*node, Packet) bool { return true }
		}
		w.connect()
		w.run(time.Second)
		w.lose = nil
		w.reload(w.cl, w.cl.conn.but(func(c *Connection) { c.Name = "another" }))
		w.run(time.Minute)
		if len(w.gw.live())+len(w.cl.live())+len(w.cl.e.tunnels) != 0 || !w.cl.e.Empty() || w.cl.ticket != nil && w.cl.count(EventDown) != 1 {
			t.Errorf("up: %v\n%s", up, w.text())
		}
	}
}

// Child SAs in transport mode, or of dynamic selectors, stay as long as these do.
func TestReloadOfTransportMode(t *testing.T) {
	host := func(c *Connection) { c.Mode, c.LocalTS, c.RemoteTS, c.MOBIKE = ModeTransport, nil, nil, false }
	for name, row := range map[string]struct {
		change func(*Connection)
		stays  bool
	}{
		"as it was":   {func(*Connection) {}, true},
		"either mode": {func(c *Connection) { c.Mode = ModeEither }, true},
		"tunnel mode": {func(c *Connection) { c.Mode = ModeTunnel }, false},
		"networks":    {func(c *Connection) { c.LocalTS, c.RemoteTS = prefixes("192.0.2.0/24"), prefixes("198.51.100.0/24") }, true},
		"no networks": {func(c *Connection) { c.LocalTS = prefixes("203.0.113.0/24") }, false},
	} {
		w := newWorld(t, "transport "+name, quiet, func(gw, cl *Config) { host(gw.Connections[0]); host(cl.Connections[0]) })
		w.connect()
		w.run(5 * time.Second)
		if len(w.gw.kids) != 1 || !w.gw.kids[0].Transport {
			t.Fatal("no transport mode")
		}
		w.gw.e.Command(w.now, Command{Kind: CommandConnections, Connections: []*Connection{w.gw.conn.but(row.change)}}) // nobody tells what is carried
		w.drain(w.gw)
		w.run(100 * time.Millisecond)
		if g, _ := w.one(); g.carries() != row.stays {
			t.Errorf("%s: stays: %v\n%s", name, g.carries(), w.text())
		}
	}
}

// The short AUTH form ends with its switch.
func TestReloadOfTheShortForm(t *testing.T) {
	w := newWorld(t, "short form", quiet)
	w.connect()
	g, _ := w.one()
	g.form = formShort
	w.gw.conn = w.gw.conn.but(func(c *Connection) { c.Libreswan = true })
	w.reload(w.gw, w.gw.conn)
	w.run(time.Second)
	if len(w.gw.live()) != 1 || w.gw.count(EventUnfit) != 0 {
		t.Fatal(w.text())
	}
	w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.Libreswan = false }))
	w.gw.e.Advance(w.now)
	w.drain(w.gw)
	if w.gw.last(EventUnfit).Err != errForm {
		t.Error(w.gw.last(EventUnfit).Err)
	}
}

// What a peer makes by a request that was out when its SA was ended carries nothing.
func TestReloadMeetsAChild(t *testing.T) {
	w := rekeyWorld(t, "reload meets a child", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	var held []Packet
	w.lose = func(from *node, p Packet) bool {
		if h, _ := wire.ParseHeader(p.Data); from == w.cl && h.Exchange == wire.ExchangeCreateChildSA && h.Response() {
			p.Data = append([]byte(nil), p.Data...)
			held = append(held, p)
			return true
		}
		return false
	}
	w.act(w.gw, "rekey child")
	w.deliver()
	if len(held) != 1 {
		t.Fatalf("%d answers", len(held))
	}
	w.lose = nil
	w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.PSK = Secret("another key of the test") }))
	w.gw.e.Advance(w.now)
	w.drain(w.gw)
	p := held[0]
	p.Local, p.Remote = p.Remote, p.Local
	w.give(w.gw, p)
	if len(w.gw.plane()) != 0 {
		t.Errorf("%d Child SAs\n%s", len(w.gw.plane()), w.text())
	}
	w.run(10 * time.Second)
	if len(w.gw.live()) != 0 || !w.gw.e.Empty() {
		t.Errorf("%v is there\n%s", w.gw.live(), w.text())
	}
}

// A mobile client that does not answer is waited for (RFC 4555 3.11), but not when
// its SA is to end: what is asked of it holds the DELETE back no longer.
func TestReloadOfASilentClient(t *testing.T) {
	w := newWorld(t, "silent", quiet, func(gw, cl *Config) { gw.Connections[0].MOBIKE, cl.Connections[0].MOBIKE = true, true })
	w.connect()
	w.run(time.Second)
	w.lose = func(from *node, _ Packet) bool { return from == w.cl }
	w.run(45 * time.Second)
	if g := w.gw.live(); len(g) != 1 || g[0].cold == nil || g[0].cold.open.kind != requestEmpty {
		t.Fatalf("nothing is asked of it\n%s", w.text())
	}
	w.reload(w.gw)
	w.run(100 * time.Millisecond)
	if len(w.gw.plane()) != 0 {
		t.Error("it still sends")
	}
	if w.run(20 * time.Second); !w.gw.e.Empty() {
		t.Errorf("it is still there\n%s", w.text())
	}
}
