package ike

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/ticket"
	"blackswan/wire"
)

// reload gives a node other connections, and tells what its data plane carries.
func (w *world) reload(n *node, conns ...*Connection) {
	n.cfg.Connections = conns
	n.e.Command(w.now, Command{Kind: CommandConnections, Connections: conns, Selected: func(spi uint32) (local, remote []wire.Selector, ok bool) {
		k, ok := n.plane()[spi]
		return k.LocalTS, k.RemoteTS, ok
	}})
	w.drain(n)
}

// but is a copy of c with a change.
func (c *Connection) but(change func(*Connection)) *Connection {
	next := *c
	next.IKE, next.ESP, next.Further = slices.Clone(c.IKE), slices.Clone(c.ESP), slices.Clone(c.Further)
	change(&next)
	return &next
}

// reloads are what may become of a connection with a shared key.
var reloads = map[string]struct {
	change func(*Connection) // nil: the connection is gone
	why    error             // nil: the SA goes on
}{
	"nothing": {func(*Connection) {}, nil},
	"timers": {func(c *Connection) {
		c.DPD, c.Lifetime, c.ChildLifetime, c.Reauth = 0, time.Hour, time.Minute, time.Hour
	}, nil},
	"tickets and the like": {func(c *Connection) {
		c.Tickets, c.MOBIKE, c.Fragment, c.Grant.SinceKE = false, !c.MOBIKE, 600, time.Minute
	}, nil},
	"its identity alone":           {func(c *Connection) { c.Remote = Side{ID: id("one.clients.test"), Auth: AuthPSK} }, nil},
	"all identities":               {func(c *Connection) { c.Remote = Side{Any: true, Auth: AuthPSK} }, nil},
	"one more proposal":            {func(c *Connection) { c.IKE = append(propose.DefaultIKE()[:1], c.IKE...) }, nil},
	"an authority that counts not": {func(c *Connection) { c.Recheck = func(*ticket.PeerCert, int64) error { return errForged } }, nil},

	"gone":                     {nil, errNoConnection},
	"another name":             {func(c *Connection) { c.Name = "second" }, errNoConnection},
	"another key":              {func(c *Connection) { c.PSK = Secret("another key of the test") }, errKey},
	"another print of the key": {func(c *Connection) { c.KeyPrint[7]++ }, errKey},
	"other identities":         {func(c *Connection) { c.Remote.Tail = ".guests.test" }, errPeerID},
	"another identity":         {func(c *Connection) { c.Remote = Side{ID: id("two.clients.test"), Auth: AuthPSK} }, errPeerID},
	"an identity of its type": {func(c *Connection) {
		c.Remote = Side{ID: wire.ID{Type: wire.IDRFC822Addr, Data: []byte("one.clients.test")}, Auth: AuthPSK}
	}, errPeerID},
	"ours":      {func(c *Connection) { c.Local.ID = id("gw2.test") }, errOwnID},
	"its proof": {func(c *Connection) { c.Remote.Auth = AuthCert }, errProof},
	"our proof": {func(c *Connection) { c.Local.Auth = AuthCert }, errProof},
	"its algorithms": {func(c *Connection) {
		c.IKE = propose.DefaultIKE()
		c.IKE[0].PRF = []wire.TransformID{wire.PRFHMACSHA512}
		c.IKE = c.IKE[:1]
	}, errAlgorithms},
}

// A reload ends the SA that its connection would not have, with a DELETE, its
// traffic at once and its tickets for good, also when the connection is again what
// it was (rule D6). Of all others no peer hears anything.
func TestRuleD6_Reload(t *testing.T) {
	for name, row := range reloads {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "reload "+name, quiet)
			w.connect()
			w.run(5 * time.Second)
			g, _ := w.one()
			kept, sent := *w.cl.ticket, w.packets
			was, spi, lineage := w.gw.conn, g.spi, g.lineage
			var conns []*Connection
			if row.change != nil {
				conns = append(conns, was.but(row.change))
			}
			w.reload(w.gw, conns...)
			w.gw.e.Advance(w.now)
			w.drain(w.gw)
			if row.why == nil {
				w.run(2 * time.Second)
				if g, _ := w.one(); w.packets != sent || g.spi != spi || g.conn != conns[0] || w.gw.count(EventUnfit) != 0 {
					t.Fatalf("it was disturbed: %d packets\n%s", w.packets-sent, w.text())
				}
			} else {
				if e := w.gw.last(EventUnfit); !errors.Is(e.Err, row.why) || w.gw.count(EventUnfit) != 1 || e.SPIs != spi || e.Connection != was || len(w.gw.plane()) != 0 {
					t.Fatalf("%v: %v, %d Child SAs", e.SPIs, e.Err, len(w.gw.plane()))
				}
				w.run(time.Second)
				revoked := slices.ContainsFunc(w.gw.records, func(r Record) bool {
					return r.Kind == RecordFloor && r.Lineage == lineage && r.Floor == ticket.Revoked && r.Durable
				})
				there := slices.ContainsFunc(w.gw.live(), func(sa *SA) bool { return sa.spi == spi })
				if !revoked || there || w.cl.last(EventDown).Reason != "deleted by the peer" {
					t.Fatalf("revoked: %v, there: %v\n%s\n%s", revoked, there, w.text(), w.dump())
				}
			}
			if w.gw.count(EventReloaded) != 1 {
				t.Errorf("it is not through")
			}
			w.reload(w.gw, was)
			w.start(w.cl)
			w.cl.events, w.cl.ticket = nil, &kept
			w.connect()
			w.run(30 * time.Second)
			if g, c := w.one(); g.resumed != (row.why == nil) || c.resumed != g.resumed {
				t.Errorf("resumed: %v\n%s", g.resumed, w.dump())
			}
		})
	}
}

// What the client has kept of a gateway's certificate is measured too, and what a
// gateway has kept of a client's.
func TestReloadOfAuthorities(t *testing.T) {
	w := newWorld(t, "authorities", quiet)
	certs(w, 600)
	w.start(w.gw)
	w.start(w.cl)
	w.connect()
	w.run(time.Second)
	recheck := func(err error) func(*Connection) {
		return func(c *Connection) { c.Recheck = func(*ticket.PeerCert, int64) error { return err } }
	}
	w.reload(w.gw, w.gw.conn.but(recheck(nil)))
	w.reload(w.cl, w.cl.conn.but(recheck(nil)))
	w.run(time.Second)
	w.one()
	revoked := errors.New("revoked")
	for i, n := range []*node{w.gw, w.cl} {
		w.reload(n, n.conn.but(recheck(revoked)))
		w.run(20 * time.Second)
		if e := n.last(EventUnfit); !errors.Is(e.Err, revoked) || w.cl.count(EventEstablished) != 2+i {
			t.Errorf("%s: %v\n%s", n.name, e.Err, w.dump())
		}
	}
}

// Child SAs of a connection that has others now: each row is what becomes of data,
// video and voice, of which the gateway knows what they carry.
func TestReloadOfPolicies(t *testing.T) {
	esp := func(text string) []propose.ESP {
		p, err := propose.ParseESP(text)
		if err != nil {
			t.Fatal(err)
		}
		return []propose.ESP{p}
	}
	for name, row := range map[string]struct {
		change func(c *Connection) // video, then voice and data
		stay   []string
	}{
		"another order": {func(c *Connection) { c.Policy, c.Further[1] = c.Further[1], c.Policy }, allThree},
		"narrower, and yet wide enough": {func(c *Connection) {
			c.RemoteTS = prefixes("10.2.2.0/23")
			c.Further[1].RemoteTS = prefixes("10.9.0.0/16", "10.2.3.0/24")
		}, allThree},
		"wider":                      {func(c *Connection) { c.LocalTS = prefixes("10.0.0.0/8") }, allThree},
		"not as wide as one carries": {func(c *Connection) { c.RemoteTS = prefixes("10.2.3.0/25") }, []string{"data", "voice"}},
		"other networks of ours":     {func(c *Connection) { c.Further[1].LocalTS = prefixes("10.7.0.0/16") }, []string{"video", "voice"}},
		"one less":                   {func(c *Connection) { c.Further = c.Further[:1] }, []string{"video", "voice"}},
		"the last alone":             {func(c *Connection) { c.Policy, c.Further = c.Further[1], nil }, []string{"data"}},
		"other names":                {func(c *Connection) { c.Child, c.Further[0].Child = "film", "talk" }, []string{"data", "film", "talk"}},
		"a longer key":               {func(c *Connection) { c.Further[1].ESP = esp("aes256gcm16") }, []string{"video", "voice"}},
		"one more algorithm":         {func(c *Connection) { c.Further[1].ESP = esp("aes256gcm16-aes128gcm16") }, allThree},
		"another group":              {func(c *Connection) { c.Further[0].ESP = esp("aes256gcm16-ecp256") }, []string{"data", "video"}},
		"no group":                   {func(c *Connection) { c.Further[0].ESP = esp("aes256gcm16") }, allThree},
		"another mode":               {func(c *Connection) { c.Mode = ModeTransport; c.LocalTS, c.RemoteTS = nil, nil }, []string{"data", "voice"}},
		"either mode":                {func(c *Connection) { c.Mode = ModeEither }, allThree},
		"the addresses themselves":   {func(c *Connection) { c.LocalTS, c.RemoteTS = nil, nil }, []string{"data", "voice"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := severalWorld(t, "policies "+name, quiet)
			w.connect()
			w.run(40 * time.Second) // the client's check shows that it has them all
			w.three()
			sent := w.packets
			w.reload(w.gw, w.gw.conn.but(row.change))
			w.run(100 * time.Millisecond)
			if up, wanted := w.names(w.gw); !slices.Equal(up, row.stay) || len(wanted) != 0 || w.gw.count(EventUnfit) != 3-len(row.stay) {
				t.Fatalf("%q of %q stay\n%s", up, row.stay, w.text())
			}
			if w.gw.count(EventDown) != 0 || len(row.stay) == 3 && w.packets != sent {
				t.Errorf("%d packets for nothing\n%s", w.packets-sent, w.text())
			}
			w.run(5 * time.Hour) // through rekeys of all that is there
			w.one()
		})
	}
}

// An SA that is being rekeyed when the reload comes does not slip through: neither
// while its heir is not known to its peer, nor by a place that was passed.
func TestReloadMeetsARekey(t *testing.T) {
	for _, by := range []string{"client", "gateway"} {
		for lost := range 6 {
			w := rekeyWorld(t, fmt.Sprint("reload in a rekey ", by, lost), "aes128gcm16", "aes128gcm16")
			w.connect()
			w.run(time.Second)
			tp, n := w.watch(), 0
			began := w.now
			tp.lose = func(sight) bool { n++; return n > lost && w.now.Sub(began) < time.Second }
			w.act(map[string]*node{"client": w.cl, "gateway": w.gw}[by], "rekey ike")
			w.deliver()
			w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.PSK = Secret("another key of the test") }))
			w.run(time.Minute)
			for _, sa := range w.gw.live() {
				t.Errorf("by the %s, %d messages arrive: %v is there\n%s", by, lost, sa, w.text())
			}
			if w.gw.e.reload.at != 0 || w.gw.count(EventReloaded) != 1 || len(w.gw.plane()) != 0 {
				t.Errorf("by the %s, %d messages arrive: not through, %d Child SAs", by, lost, len(w.gw.plane()))
			}
		}
	}
}

func TestReloadLooksAtHeirsInPlacesThatWerePassed(t *testing.T) {
	w := rekeyWorld(t, "passed", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	w.act(w.gw, "rekey ike")
	w.run(time.Minute)
	if g, _ := w.agreed(1); g.slot != 1 {
		t.Fatalf("the heir has place %d", g.slot)
	}
	w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.Remote.Tail = ".guests.test" }))
	w.gw.e.reload.slot = 1 // the first place, which is free, was passed
	at := w.gw.e.reload.at
	w.gw.e.reload.at = at + int64(time.Second)
	w.act(w.cl, "rekey ike")
	w.deliver()
	w.run(10 * time.Second)
	if len(w.gw.live()) != 0 || w.gw.count(EventUnfit) != 1 || w.gw.count(EventReloaded) != 1 {
		t.Errorf("%v is there\n%s", w.gw.live(), w.text())
	}
}

// Who is on the way in when the reload comes is judged by what there is now.
func TestReloadMeetsALogin(t *testing.T) {
	spoil := func(c *Connection) { c.Remote.Tail = ".guests.test" }
	t.Run("resume", func(t *testing.T) {
		w := newWorld(t, "reload in a resume", quiet)
		w.connect()
		w.run(time.Second)
		w.crash(w.gw)
		_, gw, _ := w.resumeHeld()
		w.gw.events = nil
		w.reload(w.gw, w.gw.conn.but(spoil))
		w.run(100 * time.Millisecond)
		if gw.half != nil {
			t.Error("the half-open resume is still there")
		}
		w.run(time.Minute)
		if len(w.gw.live()) != 0 || w.gw.count(EventEstablished) != 0 {
			t.Error(w.text())
		}
	})
	for _, kind := range []QuestionKind{AskVerify, AskSign} {
		for _, fits := range []bool{true, false} {
			t.Run(fmt.Sprint("question ", kind, fits), func(t *testing.T) {
				w := newWorld(t, "reload in a login", quiet)
				certs(w, 600)
				w.start(w.gw)
				w.start(w.cl)
				var late []func()
				asked := 0
				w.gw.hook = func(q *Question) {
					if q.Kind == kind {
						asked++
					}
				}
				work := w.gw.answer
				w.gw.answer = func(q *Question) *Answer {
					if q.Kind == kind && asked == 1 { // the answer comes after the reload
						a := work(q)
						a.ID = q.ID
						late = append(late, func() { w.gw.e.Answer(w.now, *a); w.drain(w.gw) })
						return &Answer{}
					}
					return work(q)
				}
				w.gw.conn = w.gw.conn.but(func(*Connection) {})
				w.connect()
				next := w.gw.conn
				if !fits {
					next = w.gw.conn.but(spoil)
				}
				w.reload(w.gw, next.but(func(*Connection) {}))
				w.gw.e.Advance(w.now)
				w.drain(w.gw)
				for _, answer := range late {
					answer()
				}
				w.run(time.Minute)
				if n := len(w.gw.live()); (n == 1) != fits || w.gw.e.counts.questions != 0 {
					t.Errorf("%d SAs, %d questions\n%s", n, w.gw.e.counts.questions, w.dump())
				}
			})
		}
	}
}

// 200 SAs that end are told at the pace of a drain, and 200 that stay are not told.
func TestReloadIsPaced(t *testing.T) {
	w := newWorld(t, "paced", quiet)
	const many = 200
	for i := range many {
		w.cl.e.Command(w.now, Command{Kind: CommandConnect, Conn: w.cl.conn, Local: w.cl.addr, Remote: w.gw.addr, Own: id(fmt.Sprintf("c%d.clients.test", i)), Owner: uint32(i)})
		w.drain(w.cl)
		w.deliver()
	}
	w.run(time.Second)
	if n := len(w.gw.live()); n != many {
		t.Fatalf("%d SAs", n)
	}
	sent := w.packets
	w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.DPD = time.Hour }))
	w.run(time.Second)
	if w.packets != sent || w.gw.count(EventReloaded) != 1 {
		t.Fatalf("%d packets", w.packets-sent)
	}
	deletes := map[time.Duration]int{}
	tp, began := w.watch(), w.now
	tp.lose = func(s sight) bool {
		if s.from == w.gw && !s.h.Response() && slices.Contains(s.kinds, wire.PayloadDelete) {
			deletes[w.now.Sub(began)/time.Duration(drainEvery)]++
		}
		return false
	}
	w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.PSK = Secret("another key of the test") }))
	w.run(time.Duration(drainEvery)*4 - 1)
	for i, want := range []int{drainBatch, drainBatch, drainBatch, many - 3*drainBatch} {
		if got := deletes[time.Duration(i)]; got != want {
			t.Errorf("%d DELETEs in batch %d, want %d", got, i, want)
		}
	}
	if w.run(time.Second); len(w.gw.live()) != 0 || w.gw.count(EventUnfit) != many {
		t.Errorf("%d SAs are left, %d were ended", len(w.gw.live()), w.gw.count(EventUnfit))
	}
}

// Reloads at any time, in any order, with loss: when they are through, all that is
// there fits, and what was there and fits was not ended.
func TestReloadsAtRandom(t *testing.T) {
	for seed := range uint64(40) {
		w := severalWorld(t, fmt.Sprint("random reload ", seed))
		dice := rand.New(rand.NewPCG(seed, 11))
		loss := 0.0
		w.lose = func(*node, Packet) bool { return dice.Float64() < loss }
		w.connect()
		w.run(5 * time.Second)
		was := w.gw.conn
		for range 12 {
			loss = float64(dice.IntN(3)) / 10
			switch dice.IntN(5) {
			case 0:
				w.act(w.cl, "rekey ike")
			case 1:
				w.act(w.gw, "rekey child")
			case 2:
				w.reload(w.gw, was.but(func(c *Connection) { c.Further = c.Further[:dice.IntN(3)] }))
			case 3:
				w.reload(w.gw, was.but(func(c *Connection) { c.PSK = Secret(fmt.Sprintf("key %d of the test", dice.IntN(2))) }))
			default:
				w.reload(w.gw, was.but(func(*Connection) {}))
			}
			w.run(time.Duration(dice.IntN(3000)) * time.Millisecond)
		}
		loss = 0
		w.run(5 * time.Minute)
		now := w.gw.cfg.Connections[0]
		if w.gw.e.reload.at != 0 {
			t.Fatalf("seed %d: not through", seed)
		}
		for _, sa := range w.gw.live() {
			if sa.conn != now || !sa.conn.PSK.Equal(now.PSK) {
				t.Errorf("seed %d: %v has another connection", seed, sa)
			}
			for k := range sa.installed {
				if int(k.ts.policy()) > len(now.Further) {
					t.Errorf("seed %d: a Child SA of policy %d", seed, k.ts.policy())
				}
			}
		}
	}
}
