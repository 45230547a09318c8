package blackswan

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/dataplane/keysonly"
	"blackswan/internal/pki"
)

func TestConnectPSK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		plane := keysonly.Open()
		l.gw.Plane = plane
		g, gr := l.gateway()
		c, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		l.want("ann", Established, 1)
		l.want("gateway", Established, 1)
		gs, cs := g.Status(-1), c.Status(-1)
		if len(gs.SAs) != 1 || len(cs.SAs) != 1 {
			t.Fatalf("SAs: %+v and %+v", gs.SAs, cs.SAs)
		}
		a, b := gs.SAs[0], cs.SAs[0]
		if a.SPIi != b.SPIi || a.SPIr != b.SPIr || a.Ours != "r" || b.Ours != "i" || a.ChildIn != b.ChildOut || a.ChildOut != b.ChildIn {
			t.Errorf("the two ends disagree: %+v and %+v", a, b)
		}
		if a.Peer != "ann@example.org" || a.State != "established" || a.Connection != "office" || a.Suite == "" || b.Ticket.IsZero() {
			t.Errorf("SA: %+v and %+v", a, b)
		}
		if kept := plane.Children(); len(kept) != 1 || kept[0].Connection != "office" || len(kept[0].EncrIn) == 0 {
			t.Errorf("the data plane was told of %d Child SAs", len(kept))
		}
		cr.stop(t, nil)
		time.Sleep(time.Second)
		l.want("gateway", Down, 1)
		if kept := plane.Children(); len(kept) != 0 {
			t.Errorf("the data plane keeps %d Child SAs after the DELETE", len(kept))
		}
		gr.stop(t, nil)
	})
}

// certificates makes the lab use certificates, signed by an authority of its
// own, in place of the shared key.
func (l *lab) certificates(names ...string) (client func(name string) Config) {
	l.t.Helper()
	dir := l.t.TempDir()
	ca, err := pki.NewCA("lab", "", 0, time.Now())
	if err == nil {
		err = ca.Save(dir)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	anchors, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(anchors) == 0 {
		l.t.Fatalf("no authority in %s: %v", dir, err)
	}
	issue := func(id string, kind pki.Kind) Side {
		leaf, err := ca.Issue(pki.Request{ID: id, Kind: kind, Now: time.Now()})
		prefix := filepath.Join(dir, "leaf-"+strings.ReplaceAll(id, "@", "-"))
		if err == nil {
			err = leaf.Save(prefix)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		return Side{ID: id, Auth: "cert", Cert: prefix + ".pem", Key: prefix + ".key"}
	}
	conn := &l.gw.Connections[0]
	conn.PSK = ""
	conn.Local = issue("gw.example.org", pki.Gateway)
	conn.Remote = Side{ID: "*@example.org", Auth: "cert", CA: anchors[:1]}
	own := map[string]Side{}
	for _, name := range names {
		own[name] = issue(name+"@example.org", pki.Client)
	}
	return func(name string) Config {
		cfg := l.client(name)
		cfg.Connections[0].Local = own[name]
		cfg.Connections[0].Remote = Side{ID: "gw.example.org", Auth: "cert", CA: anchors[:1]}
		return cfg
	}
}

func TestConnectCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		client := l.certificates("ann")
		_, gr := l.gateway()
		cfg := client("ann")
		cfg.StateDir = filepath.Join(t.TempDir(), "ann")
		cfg.MachineID = l.gw.MachineID
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.want("ann", Established, 1)
		l.crash(gr)
		_, gr = l.gateway()
		time.Sleep(time.Second)
		l.want("ann", Resumed, 1)
		cr.stop(t, ErrKeepTicket)
		_, cr = l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.want("ann", Resumed, 2)
		l.want("ann", Established, 1)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

func TestWrongKeyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.client("ann")
		cfg.Connections[0].PSK = "another key"
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.refused("AUTH does not verify")
		if f := l.events("ann", Failed); len(f) == 0 || f[0].Err == nil {
			t.Errorf("the client was not told why:\n%s", l.story())
		}
		l.want("ann", Established, 0)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestA4_SilentBeforeRun: nothing is answered before all is restored.
func TestA4_SilentBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		cfg := l.gw
		cfg.StateDir, cfg.OnEvent, cfg.listen, cfg.Tap = l.dir, l.hear("gateway"), l.listen, l.tap
		g, err := NewGateway(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(500 * time.Millisecond)
		if n := l.sent(); n != 0 {
			t.Errorf("%d answers before Run", n)
		}
		gr := start(g.Run)
		time.Sleep(time.Second)
		l.want("ann", Established, 1)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

func TestCloseWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		cfg := l.gw
		cfg.StateDir, cfg.listen = l.dir, l.listen
		g, err := NewGateway(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := g.Run(context.Background()); err != nil {
			t.Errorf("Run after Close: %v", err)
		}
		if err := g.Delete("0000000000000000"); !errors.Is(err, errEnded) {
			t.Errorf("Delete after Close: %v", err)
		}
	})
}

func TestDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		if err := g.Delete("0123456789abcdef"); err == nil || !strings.Contains(err.Error(), "no SA") {
			t.Errorf("an unknown SPI: %v", err)
		}
		if err := g.Delete(g.Status(-1).SAs[0].SPIr); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		if d := l.events("ann", Down); len(d) != 1 || d[0].Reason != "deleted by the peer" {
			t.Errorf("the client was not told:\n%s", l.story())
		}
		time.Sleep(10 * time.Second)
		l.want("ann", Established, 2) // rule D13: with a full handshake
		l.want("ann", Resumed, 0)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestBehind: a shard that was busy for long does not answer a RESUME that has
// waited for half of its client's patience. The client shows its ticket again.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		l.crash(gr)
		g, gr := l.gateway()
		time.Sleep(l.net.Delay * 3 / 2) // the roll call has come to her, and her RESUME is on its way
		g.node.shards[0].order(func(time.Time) { time.Sleep(5 * time.Second) })
		time.Sleep(10 * time.Second)
		l.want("ann", Resumed, 1)
		l.want("ann", Established, 1)
		if st := g.Status(0); st.Counters["late"] == 0 || st.Totals.Established != 1 {
			t.Errorf("%v, %+v", st.Counters, st.Totals)
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestCookie: who listens to no COOKIE gets no SA, RFC 7296 2.6.
func TestCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.gw.Cookie = "always"
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		l.want("ann", Established, 1)
		if st := g.Status(0); st.Counters["cookie"] != 1 {
			t.Errorf("counters: %v", st.Counters)
		}
		l.crash(gr)
		g, gr = l.gateway()
		time.Sleep(time.Second)
		l.want("ann", Resumed, 1)
		if st := g.Status(0); st.Counters["cookie"] != 1 {
			t.Errorf("counters after the crash: %v", st.Counters)
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}
