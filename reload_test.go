package blackswan

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/auth"
	"blackswan/dataplane/keysonly"
)

const otherKey = "0x2222222222222222222222222222222222222222"

// anew is the lab's gateway with other connections.
func (l *lab) anew(change func([]Connection) []Connection) Config {
	next := l.gw
	next.StateDir = l.dir
	next.Connections = change(slices.Clone(l.gw.Connections))
	return next
}

// with is the lab's gateway with its first connection changed.
func (l *lab) with(change func(*Connection)) Config {
	return l.anew(func(all []Connection) []Connection { change(&all[0]); return all })
}

// reload makes g take next.
func (l *lab) reload(g *Gateway, next Config) {
	l.t.Helper()
	if err := g.Reload(next); err != nil {
		l.t.Fatal(err)
	}
}

// second is another connection of the lab's gateway, and bob of it.
func (l *lab) second() (bob Config) {
	lab := l.gw.Connections[0]
	lab.Name, lab.Remote, lab.PSK = "lab", Side{ID: "*@lab.example.org"}, "0x3333333333333333333333333333333333333333"
	lab.RemoteTS = []string{"10.3.0.0/16"}
	l.gw.Connections = append(l.gw.Connections, lab)
	bob = l.keeping("bob")
	bob.Listen = bobAddr
	c := &bob.Connections[0]
	c.Local, c.PSK, c.LocalTS = Side{ID: "bob@lab.example.org"}, lab.PSK, lab.RemoteTS
	return bob
}

// told fails the test unless the gateway ended so many SAs, each for that reason.
func (l *lab) told(who, why string, n int) {
	l.t.Helper()
	l.want(who, Unfit, n)
	for _, e := range l.events(who, Unfit) {
		if !strings.Contains(e.Err.Error(), why) {
			l.t.Errorf("%s ended an SA because %v, want %q", who, e.Err, why)
		}
	}
}

// diary is a log in memory.
type diary struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(b)
}

func (d *diary) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.String()
}

// TestReload: of two connections one is changed. The SA of the other does not
// notice, and its ticket is good; the SA of the one is deleted, and whoever has the
// new key is let in.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		bob := l.second()
		var log diary
		l.gw.Log = slog.New(slog.NewTextHandler(&log, nil))
		g, gr := l.gateway()
		var packets atomic.Int64
		ann := l.keeping("ann")
		ann.Tap = func(bool, []byte, time.Time) { packets.Add(1) }
		c, cr := l.connect("ann", ann)
		_, br := l.connect("bob", bob)
		time.Sleep(20 * time.Second)
		before, heard := c.Status(-1).SAs[0], packets.Load()

		bad := l.anew(func([]Connection) []Connection { return nil })
		if err := g.Reload(bad); err == nil {
			t.Error("a configuration without connections was taken")
		}
		time.Sleep(time.Second)
		l.want("gateway", Unfit, 0)
		l.reload(g, l.anew(func(all []Connection) []Connection {
			all[1].PSK = otherKey
			all[0].DPD, all[0].Lifetime, all[0].ChildLifetime = time.Hour, 8*time.Hour, 30*time.Minute
			return all
		}))
		time.Sleep(5 * time.Second)
		l.told("gateway", "its shared key is another now", 1)
		if d := l.events("bob", Down); len(d) != 1 || d[0].Reason != "deleted by the peer" || len(l.tickets(bob)) != 0 {
			t.Errorf("bob was not told, or keeps his ticket:\n%s", l.story())
		}
		after := c.Status(-1).SAs[0]
		if packets.Load() != heard || after.SPIi != before.SPIi || after.ChildIn != before.ChildIn || after.State != "established" {
			t.Errorf("ann was disturbed: %d packets, %+v", packets.Load()-heard, after)
		}
		if sas := g.Status(-1).SAs; len(sas) != 1 || sas[0].Peer != "ann@example.org" || sas[0].Connection != "office" {
			t.Errorf("the gateway has %+v", sas)
		}
		if text := log.text(); !strings.Contains(text, `msg="ended by a reload" connection=lab number=1 why="its shared key is another now"`) || strings.Contains(text, "connection=office number") {
			t.Errorf("the log does not tell it:\n%s", text)
		}
		br.stop(t, nil)
		bob.Connections[0].PSK = otherKey
		_, br = l.connect("bob", bob)
		time.Sleep(10 * time.Second)
		l.want("bob", Established, 2)
		cr.stop(t, ErrKeepTicket)
		_, cr = l.connect("ann", ann)
		time.Sleep(time.Second)
		l.want("ann", Resumed, 1)
		br.stop(t, nil)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestD6_ReloadEndsTickets: a client that is not there when its SA is ended shows
// its ticket in vain, also to the next process of the gateway, and also when the
// connection is again what it was. That of a connection that stayed is good.
func TestD6_ReloadEndsTickets(t *testing.T) {
	for name, change := range map[string]func([]Connection) []Connection{
		"another key": func(all []Connection) []Connection { all[1].PSK = otherKey; return all },
		"gone":        func(all []Connection) []Connection { return all[:1] },
		"others":      func(all []Connection) []Connection { all[1].Remote.ID = "*@other.example.org"; return all },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				bob, ann := l.second(), l.keeping("ann")
				g, gr := l.gateway()
				_, cr := l.connect("ann", ann)
				_, br := l.connect("bob", bob)
				time.Sleep(time.Second)
				cr.stop(t, ErrKeepTicket)
				br.stop(t, ErrKeepTicket)
				l.reload(g, l.anew(change))
				time.Sleep(time.Second)
				l.want("gateway", Unfit, 1)
				for _, sa := range g.Status(-1).SAs {
					if ends := sa.Connection == "lab"; (sa.State == "deleting") != ends || (sa.ChildIn == "") != ends {
						t.Errorf("the gateway has %+v", sa)
					}
				}
				l.crash(gr) // and the configuration of before
				_, gr = l.gateway()
				_, cr = l.connect("ann", ann)
				_, br = l.connect("bob", bob)
				time.Sleep(10 * time.Second)
				l.want("ann", Resumed, 1)
				l.want("bob", Resumed, 0)
				l.want("bob", Established, 2)
				l.refused("it was used or revoked")
				cr.stop(t, nil)
				br.stop(t, nil)
				gr.stop(t, nil)
			})
		})
	}
}

// TestReloadOfCertificates: an SA ends when the authority that its peer's
// certificate comes from is trusted no more, and stays when one more is trusted or
// our own certificate is another.
func TestReloadOfCertificates(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *Connection, other Side)
		why    error
	}{
		"one more authority": {func(c *Connection, other Side) { c.Remote.CA = append(c.Remote.CA, other.CA...) }, nil},
		"another authority":  {func(c *Connection, other Side) { c.Remote.CA = other.CA }, auth.ErrUntrusted},
		"our certificate":    {func(c *Connection, other Side) { c.Local.Cert, c.Local.Key = other.Cert, other.Key }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.certificates()
				other := l.gw.Connections[0].Local
				other.CA = l.gw.Connections[0].Remote.CA
				client := l.certificates("ann")
				g, gr := l.gateway()
				_, cr := l.connect("ann", client("ann"))
				time.Sleep(time.Second)
				l.want("ann", Established, 1)
				l.reload(g, l.with(func(c *Connection) { test.change(c, other) }))
				time.Sleep(500 * time.Millisecond)
				unfit := l.events("gateway", Unfit)
				if test.why == nil && len(unfit) != 0 || test.why != nil && (len(unfit) != 1 || !errors.Is(unfit[0].Err, test.why)) {
					t.Errorf("want %v:\n%s", test.why, l.story())
				}
				cr.stop(t, nil)
				gr.stop(t, nil)
			})
		})
	}
}

// TestReloadOfSelectors: where the plane knows what a Child SA was narrowed to, it
// stays as long as that is configured, and ends alone.
func TestReloadOfSelectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		plane := keysonly.Open()
		l.gw.Plane = plane
		g, gr := l.gateway()
		cfg := l.client("ann")
		cfg.Connections[0].LocalTS = []string{"10.2.3.0/24"}
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.reload(g, l.with(func(c *Connection) { c.RemoteTS = []string{"10.2.2.0/23"} }))
		time.Sleep(time.Second)
		l.want("gateway", Unfit, 0)
		l.reload(g, l.with(func(c *Connection) { c.RemoteTS = []string{"10.2.4.0/23"} }))
		time.Sleep(time.Second)
		l.told("gateway", "a Child SA", 1)
		if sas := g.Status(-1).SAs; len(sas) != 1 || sas[0].State != "established" || len(plane.Children()) != 0 {
			t.Errorf("%+v, %d Child SAs", sas, len(plane.Children()))
		}
		l.want("ann", Down, 0)
		l.reload(g, l.with(func(c *Connection) { c.RemoteTS = []string{"10.2.3.0/25"} }))
		time.Sleep(time.Minute)
		if kept := plane.Children(); len(kept) != 1 || kept[0].RemoteTS[0].End != netip.MustParseAddr("10.2.3.127") {
			t.Errorf("she has not got what there is now: %+v\n%s", kept, l.story())
		}
		l.want("ann", Established, 1)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestReloadOfAKey: tickets of a shared key that was changed are refused, and
// so is who has the old one; those of a connection that stayed as it was are good.
func TestReloadOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		for _, psk := range []string{l.gw.Connections[0].PSK, otherKey} {
			cr.stop(t, ErrKeepTicket)
			l.reload(g, l.with(func(c *Connection) { c.PSK = psk }))
			_, cr = l.connect("ann", cfg)
			time.Sleep(10 * time.Second)
			l.want("ann", Resumed, 1)
		}
		l.want("ann", Established, 1)
		cr.stop(t, ErrKeepTicket)
		gr.stop(t, nil)
	})
}

// TestClientReload: what a client does when its own connection is another.
func TestClientReload(t *testing.T) {
	for name, test := range map[string]struct {
		gateway, client func(*Connection)
		established     int    // in all
		why             string // she leaves her SA; "": she does not
	}{
		"as it was":        {nil, func(*Connection) {}, 1, ""},
		"timers":           {nil, func(c *Connection) { c.DPD, c.Lifetime = time.Minute, time.Hour }, 1, ""},
		"another order":    {nil, func(c *Connection) { c.IKE = append([]string{"aes256gcm16-sha256-x25519"}, c.IKE...) }, 1, ""},
		"another key":      {func(c *Connection) { c.PSK = otherKey }, func(c *Connection) { c.PSK = otherKey }, 2, "its shared key is another now"},
		"another identity": {nil, func(c *Connection) { c.Local.ID = "eve@example.org" }, 2, "our identity is another now"},
		"other networks":   {nil, func(c *Connection) { c.RemoteTS = []string{"10.1.1.0/24"} }, 2, "other Child SAs are wanted now"},
		"another gateway":  {nil, func(c *Connection) { c.Gateway = "127.0.0.1:1" }, 1, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				g, gr := l.gateway()
				cfg := l.keeping("ann")
				c, cr := l.connect("ann", cfg)
				time.Sleep(time.Second)
				ticket := l.tickets(cfg)
				if len(ticket) != 1 {
					t.Fatal("no ticket")
				}
				was, err := os.ReadFile(ticket[0])
				if err != nil {
					t.Fatal(err)
				}
				sent := l.sent()
				if test.gateway != nil {
					l.reload(g, l.with(test.gateway))
					time.Sleep(100 * time.Millisecond)
				}
				next := cfg
				next.Connections = slices.Clone(cfg.Connections)
				test.client(&next.Connections[0])
				if err := c.Reload(next); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				l.want("ann", Established, test.established)
				l.want("ann", Resumed, 0)
				now, err := os.ReadFile(ticket[0])
				if kept := err == nil && bytes.Equal(now, was); kept != (test.why == "") || test.why == "" && l.sent() != sent {
					t.Errorf("her ticket is kept: %v; %d datagrams came\n%s", kept, l.sent()-sent, l.story())
				}
				if test.why != "" && test.gateway == nil && len(l.events("gateway", Down)) != 1 {
					t.Errorf("the gateway was not told:\n%s", l.story())
				}
				if test.why != "-" && test.gateway == nil {
					l.told("ann", test.why, min(len(test.why), 1))
				}
				cr.stop(t, nil)
				gr.stop(t, nil)
			})
		})
	}
}

// TestClientReloadOfNothing: a client whose connection is gone logs out and ends.
func TestClientReloadOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.keeping("ann")
		c, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		next := cfg
		next.Connections = slices.Clone(cfg.Connections)
		next.Connections[0].Name = "another"
		if err := c.Reload(next); err != nil {
			t.Fatal(err)
		}
		if err := <-cr.ended; err != nil {
			t.Error(err)
		}
		if d := l.events("gateway", Down); len(d) != 1 || d[0].Reason != "deleted by the peer" || len(l.tickets(cfg)) != 0 {
			t.Errorf("she did not log out:\n%s", l.story())
		}
		gr.stop(t, nil)
	})
}
