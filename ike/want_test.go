package ike

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/wire"
)

// severalWorld has a connection of three Child SAs at both ends, each with
// proposals of its own; the gateway lists them the other way round.
func severalWorld(t testing.TB, seed string, change ...func(gw, cl *Config)) *world {
	return newWorld(t, seed, append([]func(gw, cl *Config){func(gw, cl *Config) {
		policy := func(name, esp, local, remote string) Policy {
			p, err := propose.ParseESP(esp)
			if err != nil {
				t.Fatal(err)
			}
			return Policy{Child: name, ESP: []propose.ESP{p}, LocalTS: prefixes(local), RemoteTS: prefixes(remote)}
		}
		c, g := cl.Connections[0], gw.Connections[0]
		c.Policy = policy("data", "aes128gcm16", "10.2.3.0/24", "10.1.0.0/16")
		c.Further = []Policy{policy("voice", "aes256gcm16-x25519", "10.2.3.0/24", "10.5.0.0/16"), policy("video", "aes256-sha256", "10.2.3.0/24", "10.6.0.0/16")}
		g.Policy = policy("video", "aes256-sha256", "10.6.0.0/16", "10.2.0.0/16")
		g.Further = []Policy{policy("voice", "aes256gcm16-x25519", "10.5.0.0/16", "10.2.0.0/16"), policy("data", "aes128gcm16", "10.1.0.0/16", "10.2.0.0/16")}
		for _, x := range []*Connection{c, g} {
			x.Lifetime, x.ChildLifetime = 4*time.Hour, time.Hour
		}
	}}, change...)...)
}

// names are those of the Child SAs that a node shows, and of those it wants.
func (w *world) names(n *node) (up, wanted []string) {
	v := n.e.view(w.now, n.live()[0])
	if v.Child.In != 0 {
		up = append(up, v.Child.Name)
	}
	for _, c := range v.More {
		up = append(up, c.Name)
	}
	for _, x := range v.Wanted {
		wanted = append(wanted, x.Name)
	}
	slices.Sort(up)
	return up, wanted
}

var allThree = []string{"data", "video", "voice"}

// three fails unless both sides have the three Child SAs, as their policies say.
func (w *world) three() {
	w.t.Helper()
	w.agreed(3)
	for _, n := range w.nodes() {
		up, wanted := w.names(n)
		if !slices.Equal(up, allThree) || len(wanted) > 0 {
			w.t.Fatalf("%s has %q and wants %q\n%s", n.name, up, wanted, w.text())
		}
	}
	for _, c := range w.cl.plane() {
		at := slices.IndexFunc([]string{"10.1.0.0/16", "10.5.0.0/16", "10.6.0.0/16"}, func(p string) bool { return prefixes(p)[0] == c.RemoteTS[0] })
		bits := []uint16{128, 256, 256}
		if at < 0 || c.Suite.KeyBits != bits[at] || (c.Suite.Integ != 0) != (at == 2) || c.LocalTS[0] != prefixes("10.2.3.0/24")[0] {
			w.t.Fatalf("a Child SA with %+v carries %v and %v", c.Suite, c.LocalTS, c.RemoteTS)
		}
	}
}

// RFC 7296 1.3.1: IKE_AUTH makes the first Child SA, CREATE_CHILD_SA the others,
// whichever way the IKE SA came up, and all of them live through rekeys.
func TestRFC7296_1_3_1_FurtherChildSAs(t *testing.T) {
	w := severalWorld(t, "further")
	tp := w.watch()
	w.connect()
	w.three()
	if n := len(tp.of(w.cl, wire.ExchangeCreateChildSA)); n != 2 || w.cl.kids[0].RemoteTS[0] != prefixes("10.1.0.0/16")[0] {
		t.Errorf("%d CREATE_CHILD_SA; IKE_AUTH made the one for %v", n, w.cl.kids[0].RemoteTS)
	}
	w.run(9 * time.Hour) // two lifetimes of the IKE SA, nine of the Child SAs
	w.three()
	if w.cl.count(EventRekeyed) == 0 || w.cl.count(EventChildFailed)+w.gw.count(EventChildFailed) != 0 {
		t.Errorf("%d rekeys of the IKE SA\n%s", w.cl.count(EventRekeyed), w.dump())
	}
	outcome(t, w, 1, 0)

	w.crash(w.gw) // two round trips bring the first back, the next two the others
	tp.seen, w.cl.kids, w.cl.removed = nil, nil, nil
	w.callRoll(w.gw)
	w.run(0)
	w.three()
	outcome(t, w, 1, 1)
	var order []wire.ExchangeType
	for _, s := range tp.seen {
		if s.from == w.cl && !s.h.Response() && s.h.Exchange != wire.ExchangeInformational {
			order = append(order, s.h.Exchange)
		}
	}
	if want := []wire.ExchangeType{wire.ExchangeSessionResume, wire.ExchangeIKEAuth, wire.ExchangeCreateChildSA, wire.ExchangeCreateChildSA}; !slices.Equal(order, want) {
		t.Errorf("the client asked %v, want %v", order, want)
	}
}

func TestRFC7296_1_3_1_FurtherChildSAsOtherwise(t *testing.T) {
	for name, change := range map[string]func(gw, cl *Config){
		"childless":   func(_, cl *Config) { cl.Connections[0].Childless = true },
		"logins":      func(gw, _ *Config) { gw.Connections[0].Reauth = 10 * time.Minute },
		"no tickets":  func(_, cl *Config) { cl.Connections[0].Tickets = false },
		"one policy":  func(gw, _ *Config) { onePolicy(gw.Connections[0]) },
		"wide policy": func(gw, _ *Config) { gw.Connections[0].Further[1].LocalTS = prefixes("10.0.0.0/8") },
	} {
		t.Run(name, func(t *testing.T) {
			w := severalWorld(t, name, change)
			w.connect()
			w.run(2 * time.Hour)
			w.agreed(3)
			if up, _ := w.names(w.cl); !slices.Equal(up, allThree) {
				t.Errorf("the client has %q", up)
			}
			if len(w.cl.plane()) != 3 || w.cl.count(EventChildFailed) != 0 {
				t.Error(w.dump())
			}
		})
	}
}

// onePolicy lets one policy of c take all that severalWorld asks for.
func onePolicy(c *Connection) {
	for _, p := range c.Further {
		c.ESP = append(c.ESP, p.ESP...)
	}
	c.Policy.Child, c.LocalTS, c.Further = "", prefixes("10.0.0.0/8"), nil
}

// RFC 7296 2.9: a request belongs to the policy of which it asks for most.
func TestRFC7296_2_9_WhichPolicy(t *testing.T) {
	w := newWorld(t, "which")
	w.connect()
	g, _ := w.one()
	policies := func(local ...string) (all []Policy) {
		for _, l := range local {
			all = append(all, Policy{LocalTS: prefixes(l), RemoteTS: prefixes("10.2.0.0/16")})
		}
		return all
	}
	all := policies("10.0.0.0/8", "10.7.0.0/16", "10.7.1.0/24", "192.0.2.0/24")
	g.conn.Policy, g.conn.Further = all[0], all[1:]
	for _, row := range []struct {
		local string
		want  uint8
	}{
		{"10.7.0.0/16", 1},   // the whole of it, and a part of the first
		{"10.7.1.0/24", 2},   //
		{"10.7.2.0/24", 0},   // within two
		{"10.9.0.0/16", 0},   // within one
		{"192.0.2.7/32", 3},  // within one
		{"0.0.0.0/0", 0},     // the whole of each
		{"192.0.0.0/8", 3},   // more than one allows
		{"172.16.0.0/12", 0}, // none: it will be refused
	} {
		ts := func(s []wire.Selector) wire.TS {
			m := wire.NewWriter(nil, wire.Header{})
			m.TS(wire.PayloadTSi, s)
			x, err := wire.ParseTS(m.Buf[wire.HeaderLen+4:])
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		if got := w.gw.e.fitting(g, ts(prefixes(row.local)), ts(prefixes("10.2.3.0/24"))); got.policy() != row.want {
			t.Errorf("%s: policy %d, want %d", row.local, got.policy(), row.want)
		}
	}
}

// RFC 7296 1.3, 2.25: whatever one Child SA is refused for, the others work, and
// it is asked for again, later and later, until the peer takes it.
func TestRFC7296_1_3_OneIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		break_ func(gw *Connection)
		want   wire.NotifyType
		of     string
	}{
		"proposal":  {func(gw *Connection) { gw.Further[0].ESP = gw.ESP }, wire.NotifyNoProposalChosen, "voice"},
		"selectors": {func(gw *Connection) { gw.Further[0].LocalTS = prefixes("10.99.0.0/16") }, wire.NotifyTSUnacceptable, "voice"},
		"the first": {func(gw *Connection) { gw.Further[1].LocalTS = prefixes("10.99.0.0/16") }, wire.NotifyTSUnacceptable, "data"},
	} {
		t.Run(name, func(t *testing.T) {
			w := severalWorld(t, name)
			sane := slices.Clone(w.gw.conn.Further)
			c.break_(w.gw.conn)
			w.connect()
			w.run(30 * time.Minute)
			w.agreed(2)
			v := w.cl.e.view(w.now, w.cl.live()[0])
			if len(v.Wanted) != 1 || v.Wanted[0].Name != c.of || notifyOf(v.Wanted[0].Refusal) != c.want || v.Wanted[0].In <= 0 {
				t.Errorf("wanted: %+v", v.Wanted)
			}
			tries := w.cl.count(EventChildFailed)
			if last := w.cl.last(EventChildFailed); last.Child != c.of || tries < 5 || tries > 12 {
				t.Errorf("%d tries in half an hour, the last for %q: %v", tries, last.Child, last.Err)
			}
			w.gw.conn.Further = sane
			w.run(11 * time.Minute)
			w.three()
		})
	}
}

// A gateway that has no room, or no time, for one of them (RFC 7296 1.3, 2.25).
func TestRFC7296_2_25_OneMustWait(t *testing.T) {
	for _, n := range []wire.NotifyType{wire.NotifyNoAdditionalSAs, wire.NotifyTemporaryFailure} {
		t.Run(n.String(), func(t *testing.T) {
			w := severalWorld(t, n.String())
			w.connect()
			w.run(time.Second)
			_, c := w.agreed(3)
			in := c.childIn(childFor(w.cl, "10.5.0.0/16"))
			w.cl.e.at(w.now)
			w.cl.e.close(c, in.in)
			w.cl.e.want(c, want{ts: in.ts})
			refuse := true
			g := w.gw.live()[0]
			w.lose = func(from *node, p Packet) bool {
				if h, _ := wire.ParseHeader(p.Data); from == w.cl && h.Exchange == wire.ExchangeCreateChildSA && refuse {
					refuse = false
					w.say(w.gw, g, h.Exchange, true, h.MessageID, func(m *wire.Writer) { m.Notify(wire.Notify{Type: n}) })
					g.recv.Done()
					return true
				}
				return false
			}
			w.cl.e.pursue(c)
			w.drain(w.cl)
			w.run(2 * time.Second)
			if v := w.cl.e.view(w.now, c); len(v.Wanted) != 1 || v.Wanted[0].Name != "voice" || notifyOf(v.Wanted[0].Refusal) != n || len(w.cl.plane()) < 2 {
				t.Fatalf("wanted: %+v\n%s", v.Wanted, w.text())
			}
			w.run(20 * time.Second)
			w.three()
		})
	}
}

// childFor is the inbound SPI of a node's Child SA to those addresses.
func childFor(n *node, remote string) uint32 {
	for in, c := range n.plane() {
		if c.RemoteTS[0] == prefixes(remote)[0] {
			return in
		}
	}
	return 0
}

// RFC 7296 1.4.1: what the peer deletes is made again; of a peer that deletes it
// each time it is asked less and less.
func TestRFC7296_1_4_1_DeletedIsMadeAgain(t *testing.T) {
	w := severalWorld(t, "again")
	w.connect()
	w.run(time.Second)
	w.three()
	made := len(w.cl.kids)
	began := w.now
	for w.now.Sub(began) < time.Hour {
		for _, k := range slices.Collect(maps.Keys(w.gw.plane())) {
			if g := w.gw.live()[0]; w.gw.plane()[k].LocalTS[0] == prefixes("10.5.0.0/16")[0] && !g.childIn(k).waits {
				w.gw.e.at(w.now)
				w.gw.e.close(g, k)
				w.gw.e.pursue(g)
				w.drain(w.gw)
			}
		}
		w.run(time.Second)
	}
	if n := len(w.cl.kids) - made; n < 8 || n > 22 {
		t.Errorf("made %d times in an hour", n)
	}
	if last := w.cl.last(EventChildFailed); last.Child != "voice" || last.Err != errReleased {
		t.Errorf("told of %q: %v", last.Child, last.Err)
	}
	w.run(20 * time.Minute)
	w.three()
	outcome(t, w, 1, 0)
}

// Whatever the network loses, delays and turns round, and whatever is rekeyed
// meanwhile: at the end both sides have the three.
func TestFurtherChildSAsInAnyWeather(t *testing.T) {
	deeds := [][]string{{"", "rekey ike", "rekey child", "close child"}, {"", "rekey ike", "rekey child"}} // of the gateway, the client
	for seed := range uint64(120) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := severalWorld(t, fmt.Sprint("weather", seed))
			dice := rand.New(rand.NewPCG(seed, 11))
			var answers []func()
			w.slow = func(f func()) { answers = append(answers, f) }
			w.connect()
			loss := []float64{0, 0.1, 0.3}[seed%3]
			w.chaos(dice, loss, 40, &answers)
			for i, n := range w.nodes() {
				if d := deeds[i][dice.IntN(len(deeds[i]))]; d != "" {
					w.act(n, d)
				}
				w.chaos(dice, loss, 40, &answers)
			}
			for w.slow = nil; len(answers) > 0; answers = answers[1:] {
				answers[0]()
			}
			w.run(30 * time.Minute)
			w.three()
		})
	}
}
