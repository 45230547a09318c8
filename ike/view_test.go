package ike

import (
	"testing"
	"time"

	"blackswan/wire"
)

func views(n *node, now time.Time) (all []View) {
	n.e.Views(now, func(v View) bool { all = append(all, v); return true })
	return all
}

func TestViews(t *testing.T) {
	w := newWorld(t, "views")
	w.connect()
	g, c := w.one()
	w.run(3 * time.Second)
	gw, cl := views(w.gw, w.now), views(w.cl, w.now)
	if len(gw) != 1 || len(cl) != 1 {
		t.Fatalf("%d and %d views, want one each", len(gw), len(cl))
	}
	switch v := gw[0]; {
	case v.SPIs != g.spi || v.Original || v.State != "established" || v.Resumed || string(v.Identity[1:]) != "one.clients.test":
		t.Errorf("gateway: %+v", v)
	case v.Child.In != cl[0].Child.Out || v.Child.Out != cl[0].Child.In || v.Child.In == 0:
		t.Errorf("children: %+v, %+v", v, cl[0])
	case v.Silent != 3*time.Second:
		t.Errorf("silent for %v, want 3s", v.Silent)
	case v.Ticket != 0:
		t.Error("the gateway shows a ticket")
	}
	if v := cl[0]; v.SPIs != c.spi || !v.Original || v.Ticket <= w.now.Unix() {
		t.Errorf("client: %+v", v)
	}
	w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn})
	w.drain(w.cl)
	if w.cl.e.Empty() {
		t.Error("empty before the DELETE was answered")
	}
	w.deliver()
	if !w.cl.e.Empty() || !w.gw.e.Empty() {
		t.Error("not empty after the DELETE")
	}
}

// Of two IKE SAs one of which replaces the other only one is established.
func TestViewsOfARekey(t *testing.T) {
	w := rekeyWorld(t, "views of a rekey", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	old, _ := w.one()
	w.lose = func(from *node, _ Packet) bool { return from == w.gw }
	w.act(w.cl, "rekey ike")
	w.deliver()
	w.lose = nil
	all := views(w.gw, w.now)
	if len(all) != 2 {
		t.Fatalf("%d views", len(all))
	}
	for _, v := range all {
		if (v.SPIs == old.spi) != (v.State == "replaced") || (v.SPIs != old.spi) != (v.State == "established") {
			t.Errorf("%s is %s", v.SPIs, v.State)
		}
	}
}

func TestViewsStop(t *testing.T) {
	w := newWorld(t, "views stop")
	w.connect()
	n := 0
	w.gw.e.Views(w.now, func(View) bool { n++; return false })
	if n != 1 {
		t.Errorf("%d views after false", n)
	}
}

func TestCountOfRollCall(t *testing.T) {
	w := newWorld(t, "count")
	w.connect()
	w.one()
	if c := w.gw.e.Count(); c.Established != 1 || c.HalfOpen != 0 || c.RollCallLeft != 0 || c.RollCallShown != 0 {
		t.Errorf("before the crash: %+v", c)
	}
	w.crash(w.gw)
	w.lose = func(from *node, p Packet) bool { return true }
	w.callRoll(w.gw)
	if c := w.gw.e.Count(); c.RollCallLeft != 1 {
		t.Errorf("after the crash: %+v", c)
	}
	w.run(10 * time.Second)
	if c := w.gw.e.Count(); c.RollCallLeft != 1 || c.RollCallShown != 2 {
		t.Errorf("10 s later: %+v", c)
	}
	w.run(10 * time.Second)
	if c := w.gw.e.Count(); c.RollCallLeft != 0 || c.RollCallShown != 3 {
		t.Errorf("20 s later: %+v", c)
	}
}

// TestC3_RollCallStopsAtResume: who has come back is not shown its token again.
func TestC3_RollCallStopsAtResume(t *testing.T) {
	w := newWorld(t, "stops")
	w.connect()
	w.one()
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(time.Second)
	w.one()
	if c := w.gw.e.Count(); c.RollCallLeft != 0 || c.RollCallShown != 1 {
		t.Errorf("resumed: %+v", c)
	}
	w.run(20 * time.Second)
	if c := w.gw.e.Count(); c.RollCallShown != 1 {
		t.Errorf("20 s later: %+v", c)
	}
}

func TestCountOfHalfDone(t *testing.T) {
	w := newWorld(t, "half done")
	w.connect()
	w.one()
	w.crash(w.gw)
	w.lose = func(from *node, p Packet) bool { return p.Data[18] == byte(wire.ExchangeIKEAuth) }
	w.callRoll(w.gw)
	w.run(time.Second)
	if c := w.gw.e.Count(); c.HalfOpen != 1 || c.Claims != 1 || c.Questions != 0 || c.Reassemblies != 0 {
		t.Errorf("after a RESUME: %+v", c)
	}
	w.lose = nil
	w.run(30 * time.Second)
	if c := w.gw.e.Count(); c.HalfOpen != 0 || c.Claims != 0 || c.Established != 1 {
		t.Errorf("after its IKE_AUTH: %+v", c)
	}
}
