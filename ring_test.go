package blackswan

import (
	"bytes"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/internal/state"
	"blackswan/internal/udp"
)

// otherAddr is where the second gateway of a test is.
var otherAddr = netip.MustParseAddr("192.0.2.2")

// share gives the lab's gateways a ring file.
func (l *lab) share() {
	l.t.Helper()
	l.gw.TicketKeys = filepath.Join(l.t.TempDir(), "ring")
	if _, err := state.CreateRing(l.gw.TicketKeys, nil, time.Now(), rand.Reader); err != nil {
		l.t.Fatal(err)
	}
}

// turn adds a key to the ring file, which is used in a minute.
func (l *lab) turn() {
	l.t.Helper()
	if _, err := state.TurnRing(l.gw.TicketKeys, time.Now(), time.Minute, rand.Reader); err != nil {
		l.t.Fatal(err)
	}
}

// another starts a gateway at otherAddr, on another machine, which has nothing
// of the lab's gateway but a copy of the ring file as it is now.
func (l *lab) another() (*Gateway, *running) {
	l.t.Helper()
	cfg := l.gw
	cfg.Listen = []netip.Addr{otherAddr}
	cfg.StateDir, cfg.MachineID = filepath.Join(l.t.TempDir(), "other"), []string{machineID(l.t)}
	cfg.TicketKeys = filepath.Join(l.t.TempDir(), "copy")
	l.copyRing(cfg.TicketKeys)
	cfg.OnEvent, cfg.listen = l.hear("other"), l.listen
	g, err := NewGateway(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	return g, start(g.Run)
}

func (l *lab) copyRing(to string) {
	l.t.Helper()
	b, err := os.ReadFile(l.gw.TicketKeys)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// roaming is a client with a state directory that knows both gateways.
func (l *lab) roaming(name string) Config {
	cfg := l.keeping(name)
	cfg.Connections[0].Gateways = []string{otherAddr.String()}
	cfg.Connections[0].DPD = 5 * time.Second
	cfg.Timers.Liveness = Backoff{Initial: 100 * time.Millisecond, Max: 400 * time.Millisecond, Tries: 4}
	return cfg
}

// TestDrain: everybody is sent to the other gateway and resumes there; this one
// ends by itself, and no ticket has died. When the other one is killed and this
// one is back, they resume here, with the tickets of the other (rules D6, F2,
// RFC 5685 5).
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.share()
		_, or := l.another()
		g, gr := l.gateway()
		cfg := l.roaming("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		l.want("gateway", Established, 1)
		if n, err := g.Drain(otherAddr.String()); n != 1 || err != nil {
			t.Fatalf("Drain: %d SAs, %v", n, err)
		}
		if err := <-gr.ended; err != nil {
			t.Errorf("the drained gateway: %v", err)
		}
		time.Sleep(time.Second)
		l.want("ann", Redirected, 1)
		l.want("other", Resumed, 1)
		l.want("other", Established, 0)
		for _, e := range l.events("gateway", Down) {
			if strings.Contains(e.Reason, "delete") {
				t.Errorf("a DELETE was sent: %s", e.Reason)
			}
		}
		if len(l.tickets(cfg)) != 1 {
			t.Errorf("the client's tickets: %v", l.tickets(cfg))
		}

		or.stop(t, nil)
		_, gr = l.gateway()
		time.Sleep(time.Minute)
		l.want("gateway", Resumed, 1)
		l.want("gateway", Established, 1)
		l.want("ann", FellBack, 0)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestRuleD10_UnknownKeyIsReadOnce: a ticket under a key that a gateway has not
// read is judged by the file as it is now, not as it was a minute ago.
func TestRuleD10_UnknownKeyIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.share()
		o, or := l.another()
		_, gr := l.gateway()
		l.turn()
		time.Sleep(2*time.Minute + 30*time.Second) // the new key is read here, and used; the other has looked half a minute ago
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		cr.stop(t, ErrKeepTicket)
		l.copyRing(o.cfg.TicketKeys)
		cfg.Connections[0].Gateway = otherAddr.String()
		cfg.Connections[0].Gateways = []string{gatewayAddr.String()}
		_, cr = l.connect("ann", cfg)
		time.Sleep(5 * time.Second)
		l.want("other", Resumed, 1)
		l.want("ann", FellBack, 0)
		l.want("other", Refused, 0)
		if n := len(*o.ring.Load()); n != 2 {
			t.Errorf("%d keys at the other", n)
		}
		cr.stop(t, nil)
		or.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestRuleD10_SilenceWithoutTheFile: while the ring file cannot be read, nobody
// is told that a ticket of an unknown key is bad; what was read before is used.
func TestRuleD10_SilenceWithoutTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.share()
		o, or := l.another()
		_, gr := l.gateway()
		old := l.keeping("bob")
		old.Listen = bobAddr
		_, br := l.connect("bob", old)
		l.turn()
		time.Sleep(2*time.Minute + 30*time.Second)
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		cr.stop(t, ErrKeepTicket)
		br.stop(t, ErrKeepTicket)
		if err := os.WriteFile(o.cfg.TicketKeys, []byte("blackswan ticket keys\nhalf"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Config{&cfg, &old} {
			c.Connections[0].Gateway = otherAddr.String()
			c.Connections[0].Gateways = []string{gatewayAddr.String()}
		}
		_, cr = l.connect("ann", cfg)
		_, br = l.connect("bob", old)
		time.Sleep(8 * time.Second)
		l.want("other", Resumed, 1) // bob's, of a key that was read before
		l.want("bob", Resumed, 1)
		l.want("other", Refused, 0)
		l.copyRing(o.cfg.TicketKeys)
		time.Sleep(20 * time.Second)
		l.want("ann", Resumed, 1)
		l.want("ann", FellBack, 0)
		l.want("other", Refused, 0)
		cr.stop(t, nil)
		br.stop(t, nil)
		or.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestSharedRingIsTurnedByNoGateway: a gateway says what to run instead, says it
// by itself when nobody does, and takes the turned ring within a minute.
func TestSharedRingIsTurnedByNoGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.share()
		var log bytes.Buffer // written to by the gateway's goroutines until it has ended
		l.gw.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		g, gr := l.gateway()
		want := *g.ring.Load()
		err := g.RotateTickets(t.Context())
		if !errors.Is(err, ErrShared) || !strings.Contains(err.Error(), "'blackswan keys turn "+l.gw.TicketKeys+"'") {
			t.Errorf("RotateTickets: %v", err)
		}
		_, err = g.RevokeTickets(t.Context())
		if !errors.Is(err, ErrShared) || !strings.Contains(err.Error(), "'blackswan keys new "+l.gw.TicketKeys+"'") {
			t.Errorf("RevokeTickets: %v", err)
		}
		note := func() string { return strings.Join(g.Status(0).Notes, "\n") }
		time.Sleep(state.TurnEvery - time.Minute)
		if text := note(); text != "" {
			t.Errorf("too early: %s", text)
		}
		time.Sleep(6 * time.Hour)
		if text := note(); !strings.Contains(text, "29h59m0s old") || !strings.Contains(text, "after 18h1m0s more no client gets a ticket") {
			t.Errorf("after 30 hours: %q", text)
		}
		time.Sleep(18*time.Hour + time.Minute)
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Minute)
		if text := note(); !strings.Contains(text, "no client gets a ticket until then") {
			t.Errorf("after two days: %q", text)
		}
		if ring := *g.ring.Load(); !slices.Equal(ring, want) {
			t.Errorf("the gateway turned the ring: %d keys", len(ring))
		}
		if n := g.Status(0).Totals.Tickets; n != 0 {
			t.Errorf("%d tickets under a key that seals no more", n)
		}
		l.turn()
		time.Sleep(2 * time.Minute)
		if text := note(); text != "" {
			t.Errorf("after the turn: %s", text)
		}
		if ring := *g.ring.Load(); len(ring) != 2 {
			t.Errorf("%d keys after the turn", len(ring))
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
		if n := strings.Count(log.String(), "'blackswan keys turn"); n < 20 || n > 30 {
			t.Errorf("said %d times in a day:\n%s", n, log.String())
		}
	})
}

// TestAdviceOnTheRing: a check tells that nobody turns a ring file.
func TestAdviceOnTheRing(t *testing.T) {
	c := office(RoleGateway)
	c.TicketKeys = filepath.Join(t.TempDir(), "ring")
	if _, err := state.CreateRing(c.TicketKeys, nil, time.Now(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	for late, want := range map[time.Duration]int{time.Hour: 0, 25 * time.Hour: 1} {
		got := strings.Join(c.Advice(RoleGateway, time.Now().Add(late)), "\n")
		if strings.Count(got, "'blackswan keys turn "+c.TicketKeys+"'") != want {
			t.Errorf("after %v: %s", late, got)
		}
	}
}

// TestReloadReadsTheRing: a reload takes the ring file as it is, or nothing.
func TestReloadReadsTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.share()
		g, gr := l.gateway()
		l.turn()
		cfg := l.gw
		cfg.StateDir = l.dir
		if err := g.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		if n := len(*g.ring.Load()); n != 2 {
			t.Errorf("%d keys after the reload", n)
		}
		if err := os.Chmod(l.gw.TicketKeys, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := g.Reload(cfg); err == nil || !strings.Contains(err.Error(), l.gw.TicketKeys) {
			t.Errorf("a file that others may read: %v", err)
		}
		if n := len(*g.ring.Load()); n != 2 {
			t.Errorf("%d keys after a reload that failed", n)
		}
		gr.stop(t, nil)
		if _, err := NewGateway(cfg); err == nil || !strings.Contains(err.Error(), "ticket_keys") {
			t.Errorf("a start with a file that others may read: %v", err)
		}
	})
}

// TestRuleB3_SharedTicketsShareNoTokens: gateways that share their ticket keys
// share nothing else: what a client of one sends is led to the other, which
// has crashed before and knows how to show tokens, and shows none.
func TestRuleB3_SharedTicketsShareNoTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.share()
		var astray atomic.Bool
		var led, answers atomic.Int32
		l.net.Path = func(m *udp.Message) bool {
			if astray.Load() && m.Remote.Addr() == gatewayAddr {
				m.Remote = netip.AddrPortFrom(otherAddr, m.Remote.Port())
				led.Add(1)
			}
			if m.Local.Addr() == otherAddr {
				answers.Add(1)
			}
			return true
		}
		g, gr := l.gateway()
		o, or := l.another()
		for _, secret := range [][2]any{{g.boot.QCD, o.boot.QCD}, {g.boot.SPIKeys[0], o.boot.SPIKeys[0]}, {g.boot.Installation, o.boot.Installation}} {
			if secret[0] == secret[1] {
				t.Errorf("a %T is shared", secret[0])
			}
		}
		if !slices.Equal(*g.ring.Load(), *o.ring.Load()) {
			t.Error("the ring is not shared")
		}
		cfg := o.cfg
		for range 3 { // epochs that have ended
			or.stop(t, nil)
			var err error
			if o, err = NewGateway(cfg); err != nil {
				t.Fatal(err)
			}
			or = start(o.Run)
		}
		client := l.roaming("ann")
		client.Timers.Liveness.Tries = 20
		c, cr := l.connect("ann", client)
		time.Sleep(2 * time.Second)
		l.want("gateway", Established, 1)

		astray.Store(true)
		for range 3 {
			c.linkChanged() // a liveness check
			time.Sleep(2 * time.Second)
		}
		astray.Store(false)
		if led.Load() == 0 || answers.Load() == 0 {
			t.Errorf("%d messages were led astray, %d answered", led.Load(), answers.Load())
		}
		if st := o.Status(0); !st.QCD || st.Epoch < 4 || st.Totals.TokensShown != 0 || st.Totals.RollCallShown != 0 {
			t.Errorf("the other one: %+v", st)
		}
		time.Sleep(10 * time.Second)
		l.want("ann", Detected, 0)
		l.want("ann", Down, 0)
		l.want("ann", Resumed, 0)
		cr.stop(t, nil)
		or.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestThreatSharedRing_SpentAtTheOther: each gateway keeps its own floors. A
// ticket that was spent at one opens at the other once more, and there it is
// spent then.
func TestThreatSharedRing_SpentAtTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.share()
		_, gr := l.gateway()
		_, or := l.another()
		cfg := l.roaming("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		thief := l.thief(cfg)
		cr.stop(t, ErrKeepTicket)
		cfg.Connections[0].Gateway, cfg.Connections[0].Gateways[0] = otherAddr.String(), gatewayAddr.String()
		_, cr = l.connect("ann", cfg)
		time.Sleep(35 * time.Second)
		l.want("other", Confirmed, 1)
		cr.stop(t, nil) // it is spent there, and ended by a DELETE

		second := l.thief(thief)
		_, tr := l.connect("thief", thief)
		time.Sleep(35 * time.Second)
		l.want("thief", Resumed, 1) // the attacker wins
		l.want("gateway", Confirmed, 1)
		tr.stop(t, ErrKeepTicket)
		_, tr = l.connect("second", second)
		time.Sleep(2 * time.Second)
		l.want("second", Resumed, 0)
		l.refused("it was used or revoked")
		tr.stop(t, ErrKeepTicket)
		or.stop(t, nil)
		gr.stop(t, nil)
	})
}
