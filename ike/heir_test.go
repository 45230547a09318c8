package ike

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// RFC 7296 1.3.2, 2.18: an IKE SA is rekeyed by either side. The heir has new
// SPIs and keys and counters from 0, and everything else of the old one; SKEYSEED
// comes of the old SK_d and a new key exchange.
func TestRFC7296_1_3_2_IKERekey(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		t.Run(who, func(t *testing.T) {
			w := rekeyWorld(t, "ike rekey "+who, "aes128gcm16", "aes128gcm16")
			w.connect()
			w.run(time.Second)
			g, c := w.agreed(1)
			before, skd := *g, bytes.Clone(g.keys.D(g.suite))
			n, other := w.gw, w.cl
			if who == "cl" {
				n, other = other, n
			}
			var shared []byte
			n.hook = func(q *Question) {
				if q.Kind == AskAgree {
					shared, _ = q.Pair.Shared(q.Public)
				}
			}
			tp := w.watch()
			w.act(n, "rekey ike")
			w.deliver()
			w.run(3 * time.Second)
			g2, c2 := w.agreed(1)
			switch {
			case g2 == g || c2 == c || g2.spi.I == before.spi.I || g2.spi.R == before.spi.R || sameKeys(g2.keys, before.keys):
				t.Fatal("no new IKE SA")
			case g2.Original != (who == "gw"): // who rekeys is the original initiator of the heir
				t.Error("the original initiator is the other one")
			case g2.child.in != before.child.in || g2.child.out != before.child.out || len(w.gw.kids) != 1 || len(w.gw.removed) != 0:
				t.Error("the Child SA is another one")
			case g2.lineage != before.lineage || !bytes.Equal(g2.peer, before.peer) || g2.fullAuth != before.fullAuth || g2.lastKE != w.now.Unix()-3:
				t.Errorf("the heir has not what is its own: %+v", g2)
			case w.cl.e.sa(w.cl.e.tunnels[0].sa) != c2:
				t.Error("the tunnel serves another SA")
			}
			req, resp := tp.of(n, wire.ExchangeCreateChildSA)[0], tp.of(other, wire.ExchangeCreateChildSA)[0]
			var want suite.Keys
			suite.DeriveRekey(w.gw.e.prf(before.suite), w.gw.e.prf(g2.suite), g2.suite, &want, skd, shared,
				req.bodies[req.at(wire.PayloadNonce)], resp.bodies[resp.at(wire.PayloadNonce)], uint64(g2.spi.I), uint64(g2.spi.R))
			if !sameKeys(g2.keys, want.Held(g2.suite)) {
				t.Error("SKEYSEED is not prf(SK_d (old), g^ir | Ni | Nr)")
			}
			if i := slices.IndexFunc(tp.seen, func(s sight) bool { return s.h.SPIs() == g2.spi }); i < 0 || tp.seen[i].h.MessageID != 0 {
				t.Error("the first request on the heir has not Message ID 0")
			}
			last := slices.DeleteFunc(slices.Clone(tp.seen), func(s sight) bool { return s.h.SPIs() != before.spi || s.from != n || s.h.Response() })
			if s := last[len(last)-1]; s.at(wire.PayloadDelete) < 0 {
				t.Error("the last request on the old SA is no DELETE")
			}
			w.run(time.Minute) // it is alive
			w.agreed(1)
		})
	}
}

// RFC 6290 4.3: the responder's new token comes in the rekey, the initiator's
// right after it; with each the other learns of a crash.
func TestRFC6290_4_3_TokensAfterARekey(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		w := rekeyWorld(t, "token "+who, "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		n, other := w.gw, w.cl
		if who == "cl" {
			n, other = other, n
		}
		tp := w.watch()
		w.act(n, "rekey ike")
		w.deliver()
		if resp := tp.of(other, wire.ExchangeCreateChildSA); len(resp) != 1 || len(resp[0].notes(wire.NotifyQCDToken)) != 1 {
			t.Errorf("%s: no token in the response", who)
		}
		inform := slices.DeleteFunc(tp.of(n, wire.ExchangeInformational), func(s sight) bool { return s.h.Response() })
		if len(inform) == 0 || !inform[0].has(wire.NotifyQCDToken) {
			t.Errorf("%s: the initiator's token does not come first", who)
		}
		w.run(3 * time.Second)
		w.agreed(1)
		w.lose = nil
		w.crash(w.gw)
		w.run(31 * time.Second)
		if by := w.cl.last(EventDetected).By; by != ByQCDReply {
			t.Errorf("%s: detected by %v", who, by)
		}
		outcome(t, w, 1, 1)
	}
}

// RFC 5723 4.1, 6.2: a rekey of the IKE SA ends its tickets. The client asks for
// the next in the same exchange, or by INFORMATIONAL after a rekey that the
// gateway began; an old one is refused (rule D5).
func TestRFC5723_6_2_RekeyEndsTheTicket(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		w := rekeyWorld(t, "ticket "+who, "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		old := *w.cl.ticket
		n := w.gw
		if who == "cl" {
			n = w.cl
		}
		tp := w.watch()
		w.act(n, "rekey ike")
		w.deliver()
		create := tp.of(n, wire.ExchangeCreateChildSA)[0]
		if create.has(wire.NotifyTicketRequest) != (who == "cl") {
			t.Errorf("%s: the request asks %v", who, create.has(wire.NotifyTicketRequest))
		}
		asked := false
		for _, s := range tp.of(w.cl, wire.ExchangeInformational) {
			asked = asked || s.has(wire.NotifyTicketRequest)
		}
		if asked != (who == "gw") {
			t.Errorf("%s: asked by INFORMATIONAL: %v", who, asked)
		}
		w.run(time.Second)
		w.agreed(1) // the ticket is of the heir
		w.lose = nil
		w.start(w.cl)
		w.cl.ticket = &old
		w.connect()
		w.run(10 * time.Second)
		if w.gw.e.Counters[DropTicket] == 0 || w.gw.last(EventEstablished).Resumed {
			t.Errorf("%s: an old ticket resumes", who)
		}
	}
}

// Rule D5: the gateway ends the old ticket when it knows that the client has the
// heir. A rekey whose answer is lost for good costs no login.
func TestRuleD5_LostAnswerOfARekey(t *testing.T) {
	for _, traffic := range []bool{false, true} {
		w := rekeyWorld(t, "lost answer", "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		old := *w.cl.ticket
		w.lose = func(from *node, p Packet) bool { return from == w.gw }
		w.act(w.cl, "rekey ike")
		w.run(time.Second)
		if traffic { // by a Child SA that the client has had before: it proves nothing of the heir
			w.report(w.gw, ReportUsed, w.gw.kids[0].SPIIn)
		}
		w.lose = nil
		w.start(w.cl)
		w.cl.ticket, w.cl.kids = &old, nil
		w.connect()
		w.run(time.Second)
		if g, _ := w.one(); !g.resumed {
			t.Errorf("traffic %v: the ticket is void, and its client has no other\n%s", traffic, w.text())
		}
		w.run(5 * time.Minute)
		w.agreed(1)
	}
}

// Rule D8: what a thief of a ticket could read ends with a new key exchange, 2
// to 15 minutes after a resume; the client begins it, once.
func TestRuleD8_HealingRekey(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { heals(t, 2*time.Minute, 15*time.Minute, func(*Connection) {}) })
	t.Run("as told", func(t *testing.T) {
		heals(t, time.Hour, 2*time.Hour, func(c *Connection) { c.HealAfter, c.HealBefore = time.Hour, 2*time.Hour })
	})
}

func heals(t *testing.T, after, before time.Duration, change func(*Connection)) {
	w := newWorld(t, "heal", func(_, cl *Config) { change(cl.Connections[0]) })
	w.connect()
	w.run(time.Second)
	tp := w.watch()
	w.run(30 * time.Minute)
	if n := len(tp.of(w.cl, wire.ExchangeCreateChildSA)); n != 0 {
		t.Fatalf("%d rekeys of an SA that was not resumed", n)
	}
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(time.Second)
	began := w.now
	w.run(after - time.Second)
	if g, _ := w.one(); !g.resumed || len(tp.of(w.cl, wire.ExchangeCreateChildSA)) != 0 {
		t.Errorf("healed before %v are over", after)
	}
	w.run(began.Add(before).Sub(w.now))
	g, c := w.agreed(1)
	if n := len(tp.of(w.cl, wire.ExchangeCreateChildSA)); n != 1 || g.resumed || g.lastKE < began.Unix() || c.lastKE != g.lastKE {
		t.Errorf("%d rekeys within %v", n, before)
	}
	w.run(3 * time.Hour)
	if n := len(tp.of(w.cl, wire.ExchangeCreateChildSA)); n != 1 {
		t.Errorf("healed %d times", n)
	}
}

// Rule C2: the roll call and the survivors' map follow the heir: after a crash
// each client is called once, by its new SPIs.
func TestRuleC2_RollCallFollowsTheHeir(t *testing.T) {
	w := rekeyWorld(t, "roll", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	w.act(w.gw, "rekey ike")
	w.deliver()
	w.run(2 * time.Second)
	g, _ := w.agreed(1)
	if len(w.gw.roll) != 1 || w.gw.roll[int(g.slot)].SPIs != g.spi {
		t.Errorf("the roll is %v, the SA %s", w.gw.roll, g.spi)
	}
	if s := w.gw.kidmap[int(g.slot)]; len(w.gw.kidmap) != 1 || s.SPIs != g.spi || s.ESPSPI != g.child.in {
		t.Errorf("the survivors are %v", w.gw.kidmap)
	}
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(time.Second)
	if by := w.cl.last(EventDetected).By; by != ByRollCall {
		t.Errorf("detected by %v", by)
	}
	outcome(t, w, 1, 1)
}

// RFC 7296 2.8: IKE SAs have lifetimes, too; the client rekeys before the
// gateway, and nobody ends anything.
func TestRFC7296_2_8_LifetimesOfIKESAs(t *testing.T) {
	w := rekeyWorld(t, "ike lifetimes", "aes128gcm16", "aes128gcm16")
	w.connect()
	tp := w.watch()
	w.run(20 * time.Hour)
	w.run(10 * time.Second)
	w.agreed(1)
	outcome(t, w, 1, 0)
	if n := w.cl.count(EventRekeyed); n != 5 || w.gw.count(EventRekeyed) != 5 || w.gw.count(EventOutlived) != 0 {
		t.Errorf("%d rekeys of an IKE SA of four hours in twenty", n)
	}
	for _, s := range tp.of(w.gw, wire.ExchangeCreateChildSA) {
		if !s.h.Response() {
			t.Error("the gateway began a rekey")
		}
	}
}

// An IKE SA that keeps its SPIs and keys is another one for old messages: what
// was recorded on the old SA reaches nobody.
func TestReplayedRekey(t *testing.T) {
	w := rekeyWorld(t, "replayed", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	tp := w.watch()
	w.act(w.cl, "rekey child")
	w.deliver()
	w.run(10 * time.Second)
	w.act(w.cl, "rekey ike")
	w.deliver()
	w.run(10 * time.Second)
	g, _ := w.agreed(1)
	before, kids := *g, len(w.gw.kids)
	drops := w.gw.e.Counters
	for _, s := range tp.of(w.cl, wire.ExchangeCreateChildSA) {
		p := s.p
		w.gw.e.Packet(w.now, Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: bytes.Clone(p.Data)})
		w.drain(w.gw)
	}
	w.deliver()
	w.agreed(1)
	if g.recv != before.recv || len(w.gw.kids) != kids {
		t.Error("a replayed request was taken")
	}
	if w.gw.e.Counters == drops && w.gw.e.Answered == [2]uint64{} {
		t.Error("nothing counts them")
	}
}

// RFC 5723 4.1: how the next ticket comes before the last one expires is a
// policy of the connection, at either end.
func TestRFC5723_4_1_Renewal(t *testing.T) {
	for _, c := range []struct {
		name        string
		policy      Renewal
		asks        int // by INFORMATIONAL, in twelve hours
		rekeys      int
		stillTicket bool
	}{
		{"ask", RenewalAsk, 4, 0, true},
		{"rekey", RenewalRekey, 4, 4, true},
		{"none", RenewalNone, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "renewal "+c.name, func(gw, cl *Config) {
				gw.Connections[0].Renewal, cl.Connections[0].Renewal = c.policy, c.policy
				gw.Connections[0].Grant.Life = 4 * time.Hour
			})
			w.connect()
			tp := w.watch()
			w.run(13 * time.Hour)
			asks := 0
			for _, s := range tp.of(w.cl, wire.ExchangeInformational) {
				if s.has(wire.NotifyTicketRequest) {
					asks++
				}
			}
			if n := w.cl.count(EventRekeyed); asks != c.asks || n != c.rekeys {
				t.Errorf("%d requests and %d rekeys, want %d and %d", asks, n, c.asks, c.rekeys)
			}
			w.crash(w.gw)
			w.run(time.Minute)
			w.run(20 * time.Second)
			if resumed := w.cl.last(EventEstablished).Resumed; resumed != c.stillTicket {
				t.Errorf("resumed after twelve hours: %v", resumed)
			}
		})
	}
}
