package ike

import (
	"bytes"
	"testing"
	"time"

	"blackswan/internal/suite"
	"blackswan/spi"
	"blackswan/ticket"
	"blackswan/wire"
)

// What a thief of a jar, of a ring or of SK_d can do, and a cloned machine.

// thieve makes w.cl a thief that has what the client has, and returns the owner.
func (w *world) thieve() (owner *node) {
	owner = w.cl
	w.cl = w.newNode("thief", owner.addr, owner.conn)
	w.start(w.cl)
	stolen := *owner.ticket
	w.cl.ticket = &stolen
	return owner
}

// TestThreatJar: the thief wins, once; the owner's ticket is then refused, which
// is seen, and the owner logs in anew.
func TestThreatJar(t *testing.T) {
	w := newWorld(t, "jar", quiet)
	w.connect()
	owner := w.thieve()
	thief := w.cl
	w.connect()
	w.run(40 * time.Second)
	if len(thief.live()) != 1 || !thief.live()[0].resumed || w.gw.count(EventConfirmed) != 1 {
		t.Fatal("the thief does not win: say so in docs/threats.md")
	}
	thief.e.Command(w.now, Command{Kind: CommandForget})
	w.flight = nil
	w.cl = owner
	w.start(owner)
	owner.events, w.gw.events = nil, nil
	w.connect()
	w.run(20 * time.Second)
	if w.gw.count(EventRefused) == 0 || owner.count(EventFallback) != 1 || len(owner.live()) != 1 || owner.live()[0].resumed {
		t.Error("the theft is not seen\n" + w.dump())
	}
}

// TestThreatTicketGivenAway: two who hold one ticket have at most one SA of it.
func TestThreatTicketGivenAway(t *testing.T) {
	w := newWorld(t, "given away", quiet)
	w.connect()
	owner := w.thieve()
	w.connect() // unconfirmed: the newer one takes its place
	friend := w.cl
	if len(w.gw.live()) != 1 {
		t.Fatal("two SAs of one lineage")
	}
	w.cl = owner
	w.start(owner)
	w.connect()
	if g := w.gw.live(); len(g) != 1 || len(owner.live()) != 1 || g[0].spi != owner.live()[0].spi || len(friend.live()) != 1 {
		t.Fatal("two SAs of one lineage, or the older stays\n" + w.dump())
	}
}

// TestThreatJarThiefAsGateway: the client judges the gateway again before it
// shows a ticket: its certificate, its name, its algorithms.
func TestThreatJarThiefAsGateway(t *testing.T) {
	for name, change := range map[string]func(c *Connection){
		"nothing":     func(*Connection) {},
		"certificate": func(c *Connection) { c.Recheck = func(*ticket.PeerCert, int64) error { return errForged } },
		"name":        func(c *Connection) { c.Remote.ID = id("other.test") },
		"algorithms":  func(c *Connection) { c.IKE = ikeOf(t, "aes256gcm16-sha512-x25519") },
		"our name":    func(c *Connection) { c.Local.ID = id("two.clients.test") },
		"tickets off": func(c *Connection) { c.Tickets = false },
	} {
		w := newWorld(t, name, quiet)
		certs(w, 300)
		w.start(w.gw)
		w.start(w.cl)
		w.connect()
		change(w.cl.conn)
		w.start(w.cl)
		tp := w.watch()
		w.connect()
		if shown := len(tp.of(w.cl, wire.ExchangeSessionResume)) > 0; shown != (name == "nothing") {
			t.Errorf("%s changed: the ticket is shown: %v", name, shown)
		}
	}
}

// TestThreatRing: who has the ring makes tickets for anybody; a new ring ends it.
func TestThreatRing(t *testing.T) {
	w := newWorld(t, "ring", quiet)
	w.connect()
	session := w.opened(w.cl.ticket.Ticket)
	session.SKd, session.Lineage = bytes.Repeat([]byte{9}, len(session.SKd)), [16]byte{0: 0, 5: 77}
	stolen, err := ticket.NewRing(w.gw.cfg.Ring)
	if err != nil {
		t.Fatal(err)
	}
	made, err := stolen.Seal(nil, &session, w.now.Unix(), w.rand)
	if err != nil {
		t.Fatal(err)
	}
	for _, revoked := range []bool{false, true} {
		if revoked {
			if w.gw.cfg.Ring, err = ticket.Rotate(nil, w.now.Unix()-100, time.Hour, time.Hour, w.rand); err != nil {
				t.Fatal(err)
			}
			w.gw.e.Command(w.now, Command{Kind: CommandKeys, Ring: w.gw.cfg.Ring})
			w.drain(w.gw)
		}
		w.start(w.cl)
		w.cl.ticket = &Record{Ticket: made, Session: session.Append(nil), Expires: session.Expires}
		w.connect()
		if won := len(w.cl.live()) == 1 && w.cl.live()[0].resumed; won == revoked {
			t.Errorf("ring revoked %v, and the thief resumes %v", revoked, won)
		}
	}
}

// TestThreatSnapshot: a machine that was cloned while it ran takes a new epoch,
// drops the randomness in store, and shows no token for SAs of its twin.
func TestThreatSnapshot(t *testing.T) {
	w := newWorld(t, "snapshot", quiet)
	w.connect()
	g, _ := w.one()
	twin := w.newNode("twin", gwAddr, w.gw.conn)
	twin.cfg = w.gw.cfg
	w.start(twin)
	for _, n := range []*node{w.gw, twin} {
		n.e.Command(w.now, Command{Kind: CommandEpoch, Boot: spi.Boot{Epoch: 101}})
		if n.e.rand.left != 0 {
			t.Errorf("%s keeps %d octets that its twin has, too", n.name, n.e.rand.left)
		}
		own, _ := n.e.newSPI()
		if made, ok := n.e.sealer.Open(uint64(own)); !ok || made.Epoch != 101 {
			t.Errorf("%s makes SPIs of epoch %d", n.name, made.Epoch)
		}
	}
	if made, ok := twin.e.sealer.Open(uint64(g.spi.R)); !ok || twin.e.over(g.spi.R, made) {
		t.Error("the twin would show a token for a living SA")
	}
}

// TestThreatColdClone: not seen. A clone that took the machine-id along shows
// tokens for SAs that live on the original; with tokens off it cannot.
func TestThreatColdClone(t *testing.T) {
	for _, tokens := range []bool{true, false} {
		w := newWorld(t, "cold", quiet)
		w.connect()
		p := w.protectedRequest(w.cl)
		clone := w.newNode("clone", gwAddr, w.gw.conn)
		clone.cfg = w.gw.cfg
		clone.cfg.Boot.Epoch, clone.cfg.Boot.Base, clone.cfg.Tokens = 101, 101, tokens
		w.start(clone)
		tp := w.watch()
		w.give(clone, p)
		if s := tp.only(clone, wire.ExchangeInformational); s.has(wire.NotifyQCDToken) != tokens || len(w.gw.live()) != 1 {
			t.Errorf("tokens %v: the clone answers with %v: say so in docs/threats.md", tokens, s.kinds)
		}
	}
}

// TestThreatStolenSKd: who gets SK_d of one SA reads what is resumed from it.
func TestThreatStolenSKd(t *testing.T) {
	w := newWorld(t, "stolen", quiet)
	w.connect()
	g, _ := w.one()
	skd := bytes.Clone(g.keys.D(g.suite))
	tp := w.watch()
	w.again(31 * time.Second)
	g, _ = w.one()
	ask, answer := tp.only(w.cl, wire.ExchangeSessionResume), tp.only(w.gw, wire.ExchangeSessionResume)
	prf, err := suite.NewPRF(g.suite.PRF)
	if err != nil {
		t.Fatal(err)
	}
	var keys suite.Keys
	suite.DeriveResume(prf, g.suite, &keys, skd, ask.bodies[0], answer.bodies[0], uint64(ask.h.SPIi), uint64(answer.h.SPIr))
	if !sameKeys(g.keys, keys.Held(g.suite)) {
		t.Error("SK_d is not enough: say so in docs/threats.md")
	}
}
