package blackswan

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		c, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		if len(l.events("ann", Established)) != 1 || len(l.events("gateway", Established)) != 1 {
			t.Fatalf("not connected:\n%s", l.story())
		}
		gs, cs := g.Status(-1), c.Status(-1)
		if len(gs.SAs) != 1 || len(cs.SAs) != 1 || gs.SAs[0].SPIi != cs.SAs[0].SPIi || gs.SAs[0].ChildIn != cs.SAs[0].ChildOut {
			t.Errorf("SAs: %+v and %+v", gs.SAs, cs.SAs)
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
		if len(l.events("gateway", Down)) != 1 {
			t.Errorf("no DELETE came:\n%s", l.story())
		}
	})
}

func TestCrashRollCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		l.crash(gr)
		g, gr := l.gateway()
		time.Sleep(time.Second)
		if d := l.events("ann", Detected); len(d) != 1 || d[0].By != "roll_call" {
			t.Errorf("not detected by roll call:\n%s", l.story())
		}
		if len(l.events("ann", Resumed)) != 1 {
			t.Errorf("not resumed:\n%s", l.story())
		}
		if st := g.Status(0); st.Totals.RollCall != 1 || st.Totals.RollCallShown != 1 || st.Totals.Resumed != 1 {
			t.Errorf("status: %+v", st.Totals)
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}
