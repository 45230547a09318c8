package ike

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"blackswan/internal/propose"
	"blackswan/wire"
)

// rekeyWorld has SAs that live for an hour (Child SAs) and four (IKE SAs), and
// the ESP proposals of a text for each side.
func rekeyWorld(t testing.TB, seed, gwESP, clESP string) *world {
	return newWorld(t, seed, func(gw, cl *Config) {
		for i, c := range []*Config{gw, cl} {
			p, err := propose.ParseESP([]string{gwESP, clESP}[i])
			if err != nil {
				t.Fatal(err)
			}
			c.Connections[0].ESP = []propose.ESP{p}
			c.Connections[0].Lifetime, c.Connections[0].ChildLifetime = 4*time.Hour, time.Hour
		}
	})
}

// wear reports that the newest Child SA of a node has reached its soft volume.
func (w *world) wear(n *node, kind ReportKind) {
	w.t.Helper()
	sas := n.live()
	if len(sas) != 1 {
		w.t.Fatalf("%s has %d SAs", n.name, len(sas))
	}
	w.report(n, kind, sas[0].child.in)
}

func (w *world) report(n *node, kind ReportKind, spi uint32) {
	n.e.Plane(w.now, Report{Kind: kind, SPI: spi})
	w.drain(n)
}

// plane is what the data plane of a node has, by inbound SPI.
func (n *node) plane() map[uint32]Child {
	m := map[uint32]Child{}
	for _, c := range n.kids {
		m[c.SPIIn] = c
	}
	for _, c := range n.removed {
		delete(m, c.SPIIn)
	}
	return m
}

// agreed fails unless both sides have one IKE SA with equal keys and so many
// Child SAs, any number if it is negative, the same ones with the same keys, and
// nothing is under way.
func (w *world) agreed(children int) (gw, cl *SA) {
	w.t.Helper()
	g, c := w.one()
	if children < 0 {
		children = len(w.gw.plane())
	}
	if g.spi != c.spi || !sameKeys(g.keys, c.keys) || g.Original == c.Original || g.Client || !c.Client {
		w.t.Fatalf("%s and %s are no pair\n%s%s", g.spi, c.spi, w.text(), w.dump())
	}
	theirs := w.cl.plane()
	if len(w.gw.plane()) != children || len(theirs) != children {
		w.t.Fatalf("%d and %d Child SAs, want %d\n%s\n%s", len(w.gw.plane()), len(theirs), children, w.text(), w.dump())
	}
	for _, x := range w.gw.plane() {
		y, ok := theirs[x.SPIOut]
		if !ok || y.SPIOut != x.SPIIn || string(x.EncrIn) != string(y.EncrOut) || string(x.EncrOut) != string(y.EncrIn) || x.Suite != y.Suite {
			w.t.Fatalf("Child SA %08x of the gateway is not the client's\n%s", x.SPIIn, w.text())
		}
		if !slices.Equal(x.LocalTS, y.RemoteTS) || !slices.Equal(x.RemoteTS, y.LocalTS) {
			w.t.Fatalf("Child SA %08x carries %v and %v, and %v and %v", x.SPIIn, x.LocalTS, x.RemoteTS, y.RemoteTS, y.LocalTS)
		}
		if g.childIn(x.SPIIn) == nil || c.childIn(x.SPIOut) == nil {
			w.t.Fatalf("Child SA %08x is not of the SA that lives", x.SPIIn)
		}
	}
	if c.conn.Tickets {
		if w.cl.ticket == nil {
			w.t.Fatalf("no ticket\n%s", w.text())
		}
		s := w.opened(w.cl.ticket.Ticket)
		if s.SPIi != uint64(g.spi.I) || string(s.SKd) != string(g.keys.D(g.suite)) || w.gw.e.floors.Below(s.Lineage, s.Serial) {
			w.t.Fatalf("the ticket is of %016x, serial %d, the SA is %s\n%s", s.SPIi, s.Serial, g.spi, w.text())
		}
	}
	for _, n := range w.nodes() {
		sa := n.live()[0]
		if cold := sa.cold; cold != nil && (cold.ours != nil || cold.theirs != nil || len(cold.waiting) > 0 || cold.heir != 0 || cold.elder != 0) {
			w.t.Fatalf("%s: something of a rekey is left behind: %+v\n%s", n.name, cold, w.text())
		}
		if n.e.children.Len() != children || n.e.outbound.Len() != children || len(n.e.asked) != 0 || n.e.ours.Len() != 1 {
			w.t.Fatalf("%s: %d inbound and %d outbound SPIs, %d questions, %d SAs", n.name, n.e.children.Len(), n.e.outbound.Len(), len(n.e.asked), n.e.ours.Len())
		}
		if children > 0 && n.e.children.Get(sa.child.in) != sa.slot+1 {
			w.t.Fatalf("%s: the Child SA is not found by its SPI", n.name)
		}
	}
	return g, c
}

// act lets a node begin something with its SA.
func (w *world) act(n *node, what string) {
	w.t.Helper()
	sas := slices.DeleteFunc(n.live(), func(sa *SA) bool { return sa.replaced() })
	if len(sas) == 0 {
		return
	}
	sa := sas[len(sas)-1]
	n.e.at(w.now)
	switch what {
	case "rekey child":
		sa.child.worn = true
	case "rekey ike":
		sa.worn = true
	case "close child":
		n.e.close(sa, sa.child.in)
	case "new child":
		n.e.want(sa, want{})
	case "delete":
		n.e.deleteSA(sa)
	default:
		w.t.Fatal(what)
	}
	n.e.pursue(sa)
	w.drain(n)
}

// chaos does so many steps in any order: a packet arrives or is lost, an answer
// comes, time passes.
func (w *world) chaos(dice *rand.Rand, loss float64, steps int, answers *[]func()) {
	for range steps {
		switch n := len(w.flight); {
		case len(*answers) > 0 && dice.IntN(3) == 0:
			f := (*answers)[0]
			*answers = (*answers)[1:]
			f()
		case n > 0 && dice.IntN(4) > 0:
			i := dice.IntN(n)
			p := w.flight[i]
			w.flight = slices.Delete(w.flight, i, i+1)
			if dice.Float64() < loss {
				continue
			}
			to := w.at(p.Remote.Addr())
			to.e.Packet(w.now, Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: p.Data})
			w.drain(to)
		default:
			w.now = w.now.Add(time.Duration(dice.IntN(400)) * time.Millisecond)
			w.advanceNodes()
		}
	}
}

// nonces are Ni of the request and Nr of the response in a node's exchange.
func (tp *tape) nonces(from *node) (all [][]byte) {
	for _, s := range tp.seen {
		if s.h.Exchange == wire.ExchangeCreateChildSA && (s.from == from) != s.h.Response() && s.at(wire.PayloadNonce) >= 0 {
			all = append(all, s.bodies[s.at(wire.PayloadNonce)])
		}
	}
	return all
}

// asked reports whether a request of a node was for a Child SA with that SPI.
func (tp *tape) asked(from *node, in uint32) bool {
	spi := spiBytes(in)
	return slices.ContainsFunc(tp.of(from, wire.ExchangeCreateChildSA), func(s sight) bool {
		return !s.h.Response() && bytes.Contains(s.bodies[s.at(wire.PayloadSA)], spi[:])
	})
}

// deletes counts the requests of a node that delete what is of that protocol.
func (tp *tape) deletes(from *node, protocol wire.ProtocolID) (n int) {
	for _, s := range tp.of(from, wire.ExchangeInformational) {
		if i := s.at(wire.PayloadDelete); i >= 0 && !s.h.Response() && s.bodies[i][0] == byte(protocol) {
			n++
		}
	}
	return n
}

// asked is what a request of the client's about to gets for an answer.
func (w *world) asked(tp *tape, x wire.ExchangeType, build func(m *wire.Writer, g, c *SA)) sight {
	w.t.Helper()
	g, c := w.gw.e.slots[0].sa, w.cl.e.slots[0].sa // the first ones
	id := g.recv.Next()
	w.say(w.cl, c, x, false, id, func(m *wire.Writer) { build(m, g, c) })
	for _, s := range slices.Backward(tp.seen) {
		if s.from == w.gw && s.h.Response() && s.h.MessageID == id && s.h.Exchange == x {
			return s
		}
	}
	w.t.Fatalf("no answer to request %d\n%s", id, w.text())
	return sight{}
}
