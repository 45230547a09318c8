package ike

import (
	"testing"
	"time"

	"blackswan/wire"
)

// lackNone fails unless the client's plane and, with both, the gateway's carry
// what each of the three policies of severalWorld allows.
func (w *world) lackNone(both bool) {
	w.t.Helper()
	for _, to := range []string{"10.1.0.0/16", "10.5.0.0/16", "10.6.0.0/16"} {
		there := childFor(w.cl, to) != 0
		if both {
			at := false
			for _, c := range w.gw.plane() {
				at = at || c.LocalTS[0] == prefixes(to)[0]
			}
			there = there && at
		}
		if !there {
			w.t.Fatalf("nothing carries what goes to %s\n%s", to, w.text())
		}
	}
}

// RFC 4478 2, RFC 7296 2.8.3: of several Child SAs none lacks a moment while the
// client logs in anew: the old IKE SA goes when those of the new one stand, were
// refused, or when nobody has answered for a while.
func TestRFC4478_2_NoChildSALacksAMoment(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(gw, cl *Config)
		trouble func(gw *Connection) // once the first SA has all three
		lose    bool                 // what the gateway is asked for, then
		answers int                  // to CREATE_CHILD_SA before the old SA is deleted
		after   time.Duration        // since the new one stands
		whole   bool                 // none lacks it afterwards
	}{
		{"all are made", func(_, _ *Config) {}, func(*Connection) {}, false, 2, 0, true},
		{"none is made by IKE_AUTH", func(_, cl *Config) { cl.Connections[0].Childless = true }, func(*Connection) {}, false, 3, 0, true},
		{"one is refused", func(_, _ *Config) {}, func(gw *Connection) { gw.Further[0].ESP = gw.ESP }, false, 2, 0, false},
		{"the first is refused", func(_, _ *Config) {}, func(gw *Connection) { gw.Further[1].ESP = gw.ESP }, false, 2, 0, false},
		{"nobody answers", func(_, _ *Config) {}, func(*Connection) {}, true, 0, 10 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := severalWorld(t, c.name, c.change, func(gw, _ *Config) { gw.Connections[0].Reauth = 10 * time.Minute })
			w.connect()
			w.run(time.Second)
			w.three()
			c.trouble(w.gw.conn)
			old, _ := w.one()
			was := old.spi
			var stood, left time.Time
			answers := 0
			tp := w.watch()
			tp.lose = func(s sight) bool {
				if left.IsZero() || c.whole {
					w.lackNone(true)
				}
				create := s.h.Exchange == wire.ExchangeCreateChildSA
				switch {
				case s.from == w.gw && s.h.Exchange == wire.ExchangeIKEAuth:
					stood = w.now
				case s.from == w.gw && create:
					answers++
				case s.from == w.cl && s.h.SPIs() == was && s.at(wire.PayloadDelete) >= 0:
					left = w.now
				}
				return c.lose && create && s.from == w.cl
			}
			for left.IsZero() && w.cl.count(EventReauth) < 2 {
				w.run(time.Second)
			}
			if left.Sub(stood) != c.after || answers != c.answers {
				t.Errorf("the old SA is deleted after %v and %d answers, want %v and %d\n%s", left.Sub(stood), answers, c.after, c.answers, w.text())
			}
			w.lose = nil
			w.run(2 * time.Second)
			w.one()
		})
	}
}

// The old SA carries on, too, when the new one is with another gateway, after a
// resume: no DELETE then (rule F2).
func TestRFC5685_5_NoChildSALacksAMoment(t *testing.T) {
	w := severalWorld(t, "elsewhere", func(_, cl *Config) {
		cl.Connections[0].Redirects, cl.Connections[0].Gateways = true, []Gateway{{Name: "gw2.test", Addr: secondAddr}}
	})
	w.connect()
	w.run(time.Second)
	w.three()
	gw2 := w.second()
	tp := w.watch()
	tp.lose = func(s sight) bool {
		w.lackNone(false)
		return false
	}
	w.drainTo(w.gw, "gw2.test")
	w.run(time.Minute)
	w.lackNone(false)
	if g := w.with(gw2); !g.resumed || len(w.cl.plane()) != 3 {
		t.Errorf("resumed %v, with %d Child SAs", g.resumed, len(w.cl.plane()))
	}
	for _, s := range tp.of(w.cl, wire.ExchangeInformational) {
		if s.at(wire.PayloadDelete) >= 0 {
			t.Error("DELETE after a resume")
		}
	}
}

// Whatever becomes of the new SA while the old one still waits for its Child SAs,
// nothing is left of the old one.
func TestTheOldSAIsNotForgotten(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *world)
		live int // SAs of the client afterwards
	}{
		{"the connection is closed", func(w *world) { w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn}) }, 0},
		{"the new SA is rekeyed", func(w *world) { w.act(w.cl, "rekey ike") }, 1},
		{"the client logs in once more", func(w *world) { w.cl.e.at(w.now); w.cl.e.replace(w.cl.live()[0], false) }, 1},
		{"the gateway deletes the new SA", func(w *world) { w.act(w.gw, "delete") }, 1},
		{"the gateway crashes", func(w *world) { w.crash(w.gw); w.callRoll(w.gw) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := severalWorld(t, c.name, func(gw, _ *Config) { gw.Connections[0].Reauth = 10 * time.Minute })
			w.connect()
			w.run(time.Second)
			old, _ := w.one()
			was := old.spi
			w.lose = func(n *node, p Packet) bool {
				h, _ := wire.ParseHeader(p.Data)
				return n == w.cl && h.Exchange == wire.ExchangeCreateChildSA && h.SPIs() != was
			}
			for w.cl.count(EventEstablished) < 2 {
				w.run(time.Second)
			}
			if w.cl.e.sa(w.cl.live()[0].cold.past) == nil {
				t.Fatal("the old SA is gone already")
			}
			w.lose = nil
			c.do(w)
			w.drain(w.cl)
			w.drain(w.gw)
			w.run(2 * time.Minute)
			if n := len(w.cl.live()); n != c.live || len(w.gw.live()) != n {
				t.Fatalf("%d SAs at the client, %d at the gateway\n%s\n%s", n, len(w.gw.live()), w.text(), w.dump())
			}
			if c.live == 0 {
				if !w.cl.e.Empty() || !w.gw.e.Empty() || len(w.cl.plane())+len(w.gw.plane()) != 0 {
					t.Error("something is left")
				}
				return
			}
			w.three()
		})
	}
}
