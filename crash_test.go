package blackswan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/internal/state"
)

func TestCrashRollCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		l.crash(gr)
		g, gr := l.gateway()
		time.Sleep(time.Second)
		l.detected("ann", "roll_call")
		l.want("ann", Resumed, 1)
		l.want("ann", FellBack, 0)
		if st := g.Status(0); st.Totals.RollCall != 1 || st.Totals.RollCallShown != 1 || st.Totals.Resumed != 1 || st.Totals.RollCallLeft != 0 {
			t.Errorf("status: %+v", st.Totals)
		}
		time.Sleep(31 * time.Second)
		l.want("gateway", Confirmed, 1) // rule D7
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestCrashTwice: an SA made by a resume is in the roll call too.
func TestCrashTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		for i := range 3 {
			time.Sleep(2 * time.Second)
			l.want("ann", Resumed, i)
			l.crash(gr)
			_, gr = l.gateway()
		}
		time.Sleep(2 * time.Second)
		l.want("ann", Resumed, 3)
		l.want("ann", FellBack, 0)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestCrashWithoutRollCall: the client's own liveness check is answered with
// its token, RFC 6290 4.5.
func TestCrashWithoutRollCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.gw.RollCall = "off"
		_, gr := l.gateway()
		cfg := l.client("ann")
		cfg.Connections[0].DPD = 5 * time.Second
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		l.crash(gr)
		g, gr := l.gateway()
		time.Sleep(6 * time.Second)
		l.detected("ann", "qcd_reply")
		l.want("ann", Resumed, 1)
		if st := g.Status(0); st.Totals.TokensShown != 1 || st.Totals.RollCall != 0 {
			t.Errorf("status: %+v", st.Totals)
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestCrashWithoutTokens: time alone tells, and the ticket is still good.
func TestCrashWithoutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.gw.QCD = "off"
		_, gr := l.gateway()
		cfg := l.client("ann")
		cfg.Connections[0].DPD = 5 * time.Second
		cfg.Timers.Liveness = Backoff{Initial: 100 * time.Millisecond, Max: 400 * time.Millisecond, Tries: 4}
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		l.crash(gr)
		g, gr := l.gateway()
		time.Sleep(7 * time.Second)
		l.detected("ann", "timeout")
		l.want("ann", Resumed, 1)
		if st := g.Status(0); st.QCD || st.Totals.TokensShown != 0 || st.Totals.RollCallShown != 0 {
			t.Errorf("status: %+v", st)
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestB4_OtherMachine: state that another machine may work with shows no token
// and calls no roll until it is adopted.
func TestB4_OtherMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.client("ann")
		cfg.Connections[0].DPD = 5 * time.Second
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		l.crash(gr)
		if err := os.WriteFile(l.gw.MachineID[0], []byte("ffffffffffffffffffffffffffffffff\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		g, gr := l.gateway()
		time.Sleep(10 * time.Second)
		if st := g.Status(0); st.QCD || len(st.Notes) == 0 || st.Totals.TokensShown+st.Totals.RollCallShown != 0 {
			t.Errorf("status: %+v", st)
		}
		l.want("ann", Detected, 0)
		cr.stop(t, ErrKeepTicket)
		gr.stop(t, nil)

		d, err := state.Open(l.dir, state.Options{MachineID: l.gw.MachineID})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Adopt(context.Background()), d.Close()); err != nil {
			t.Fatal(err)
		}
		g, gr = l.gateway()
		time.Sleep(time.Second)
		if st := g.Status(0); !st.QCD {
			t.Errorf("after adopt: %+v", st)
		}
		gr.stop(t, nil)
	})
}

// TestClientRestart: a client that is started again shows the ticket of its jar.
func TestClientRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		cr.stop(t, ErrKeepTicket)
		l.want("gateway", Down, 0)
		_, cr = l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.want("ann", Established, 1)
		l.want("ann", Resumed, 1)
		if d := l.events("gateway", Down); len(d) != 1 || d[0].Reason != "replaced by a resume" {
			t.Errorf("the old SA did not go:\n%s", l.story())
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestEndWipesTicket: a Run that ends says DELETE, and its ticket is gone from
// the disk (RFC 5723 6.2).
func TestEndWipesTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		if n := len(l.tickets(cfg)); n != 1 {
			t.Fatalf("%d tickets in the jar, want 1", n)
		}
		cr.stop(t, nil)
		time.Sleep(time.Second)
		if left := l.tickets(cfg); len(left) != 0 {
			t.Errorf("left in the jar: %v", left)
		}
		if d := l.events("gateway", Down); len(d) != 1 || d[0].Reason != "deleted by the peer" {
			t.Errorf("no DELETE came:\n%s", l.story())
		}
		_, cr = l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.want("ann", Established, 2)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestEndWithoutGateway: the answer to DELETE is waited for, but not for long.
func TestEndWithoutGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		gr.stop(t, nil)
		began := time.Now()
		cr.stop(t, nil)
		if took := time.Since(began); took != farewell {
			t.Errorf("it took %v, want %v", took, farewell)
		}
		if left := l.tickets(cfg); len(left) != 0 {
			t.Errorf("left in the jar: %v", left)
		}
	})
}

// thief is a client with a copy of the jar that ann has now.
func (l *lab) thief(cfg Config) Config {
	l.t.Helper()
	copied := filepath.Join(l.t.TempDir(), "copy")
	if err := os.CopyFS(filepath.Join(copied, "jar"), os.DirFS(filepath.Join(cfg.StateDir, "jar"))); err != nil {
		l.t.Fatal(err)
	}
	for _, dir := range []string{copied, filepath.Join(copied, "jar")} {
		if err := os.Chmod(dir, 0o700); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, file := range l.tickets(Config{StateDir: copied}) {
		if err := os.Chmod(file, 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	cfg.StateDir, cfg.Listen = copied, bobAddr
	cfg.Connections = append([]Connection(nil), cfg.Connections...)
	return cfg
}

// TestRFC5723_4_3_1_UsedTicketAfterCrash: which tickets were used survives the
// crash, written behind (rule D5).
func TestRFC5723_4_3_1_UsedTicketAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		thief := l.thief(cfg)
		cr.stop(t, ErrKeepTicket)
		_, cr = l.connect("ann", cfg)
		time.Sleep(35 * time.Second)
		l.want("gateway", Confirmed, 1)
		cr.stop(t, ErrKeepTicket)
		for range 2 { // the floors move from one epoch's pages to the next's
			l.crash(gr)
			_, gr = l.gateway()
			time.Sleep(2 * time.Second)
		}
		_, tr := l.connect("thief", thief)
		time.Sleep(5 * time.Second)
		l.want("thief", Resumed, 0)
		l.refused("it was used or revoked")
		tr.stop(t, ErrKeepTicket)
		gr.stop(t, nil)
	})
}

// TestRFC5723_6_2_DeletedTicketAfterCrash: a ticket that a DELETE ended stays
// dead although the gateway crashed a moment after its answer (rules D5, F6).
func TestRFC5723_6_2_DeletedTicketAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		thief := l.thief(cfg)
		cr.stop(t, nil) // ends when the answer is here
		l.crash(gr)
		_, gr = l.gateway()
		_, tr := l.connect("thief", thief)
		time.Sleep(5 * time.Second)
		l.want("thief", Resumed, 0)
		l.refused("it was used or revoked")
		tr.stop(t, ErrKeepTicket)
		gr.stop(t, nil)
	})
}

func TestRevokeTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		if err := g.RotateTickets(t.Context()); err != nil {
			t.Fatal(err)
		}
		cr.stop(t, ErrKeepTicket)
		_, cr = l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.want("ann", Resumed, 1) // rule D10: the older key opens
		cr.stop(t, ErrKeepTicket)
		if n, err := g.RevokeTickets(t.Context()); err != nil || n != 2 {
			t.Errorf("RevokeTickets: %d, %v; want 2 keys", n, err)
		}
		time.Sleep(time.Minute) // the ring is read again before it is judged
		_, cr = l.connect("ann", cfg)
		time.Sleep(10 * time.Second)
		l.want("ann", Resumed, 1)
		l.want("ann", FellBack, 1)
		l.want("ann", Established, 2)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestTicketToAClient: who grants no tickets opens none, and is not harmed.
func TestTicketToAClient(t *testing.T) {
	for name, configure := range map[string]func(*lab) Config{
		"without state": func(l *lab) Config { return l.client("ann") },
		"with state":    func(l *lab) Config { return l.keeping("ann") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				_, gr := l.gateway()
				c, cr := l.connect("ann", configure(l))
				cfg := l.keeping("bob")
				cfg.Listen = bobAddr
				_, br := l.connect("bob", cfg)
				time.Sleep(time.Minute)
				br.stop(t, ErrKeepTicket)
				cfg.Connections[0].Gateway = clientAddr.String()
				_, br = l.connect("bob", cfg)
				time.Sleep(5 * time.Second)
				l.want("bob", Resuming, 1)
				l.want("bob", Resumed, 0)
				if st := c.Status(0); st.Totals.SAs != 1 || st.Counters["ticket"] == 0 {
					t.Errorf("status: %+v, %v", st.Totals, st.Counters)
				}
				br.stop(t, ErrKeepTicket)
				cr.stop(t, nil)
				gr.stop(t, nil)
			})
		})
	}
}

func TestRotateQCD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		if err := g.RotateQCD(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.crash(gr)
		_, gr = l.gateway()
		time.Sleep(time.Second)
		l.detected("ann", "roll_call") // of the generation that its SPI names
		l.want("ann", Resumed, 1)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}
