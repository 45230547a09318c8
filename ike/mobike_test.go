package ike

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"blackswan/wire"
)

var elsewhere = netip.MustParseAddrPort("203.0.113.9:500")

// mobileWorld has a client that may move, and no checks but those of a test.
func mobileWorld(t *testing.T, seed string, change ...func(gw, cl *Config)) *world {
	w := newWorld(t, seed, append([]func(gw, cl *Config){quiet, func(gw, cl *Config) {
		gw.Connections[0].MOBIKE, cl.Connections[0].MOBIKE = true, true
	}}, change...)...)
	w.connect()
	w.run(time.Second)
	return w
}

// moveClient gives the client another address; the old one is dead.
func (w *world) moveClient(to netip.AddrPort) {
	w.cl.addr = to
	w.cl.e.Command(w.now, Command{Kind: CommandMoved, Conn: w.cl.conn, Local: to})
	w.drain(w.cl)
}

// dead loses whatever goes to or comes from an address.
func dead(a netip.Addr) func(*node, Packet) bool {
	return func(_ *node, p Packet) bool { return p.Local.Addr() == a || p.Remote.Addr() == a }
}

func (n *node) lastMove() netip.AddrPort {
	if len(n.moves) == 0 {
		return netip.AddrPort{}
	}
	return n.moves[len(n.moves)-1].Remote
}

// same fails unless the SAs are still those of before, and carried no new login.
func (w *world) same(g, c *SA) {
	w.t.Helper()
	if x, y := w.one(); x != g || y != c {
		w.t.Errorf("the SAs are others now\n%s\n%s", w.text(), w.dump())
	}
}

// RFC 4555 3.2 and 3.3: MOBIKE is used when both announce it in IKE_AUTH; who
// supports it and NAT traversal goes to port 4500, and ESP stays bare without a
// NAT.
func TestRFC4555_3_2_Announced(t *testing.T) {
	for _, c := range []struct {
		name   string
		gw, cl bool
	}{{"both", true, true}, {"gateway alone", true, false}, {"client alone", false, true}, {"nobody", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.name, quiet, func(gw, cl *Config) { gw.Connections[0].MOBIKE, cl.Connections[0].MOBIKE = c.gw, c.cl })
			tp := w.watch()
			w.connect()
			g, x := w.one()
			if g.mobike != (c.gw && c.cl) || x.mobike != g.mobike {
				t.Errorf("gateway %v, client %v", g.mobike, x.mobike)
			}
			if n := tp.only(w.cl, wire.ExchangeIKEAuth).notes(wire.NotifyMOBIKESupported); len(n) > 0 != c.cl || c.cl && len(n[0].Data) > 0 {
				t.Error("the client announces what it does not do, or does not what it does")
			}
			if tp.only(w.gw, wire.ExchangeIKEAuth).has(wire.NotifyMOBIKESupported) != g.mobike {
				t.Error("the gateway's answer is wrong")
			}
			if x.marker != c.cl || w.cl.kids[0].Encap || w.gw.kids[0].Encap {
				t.Errorf("marker %v, ESP in UDP %v %v", x.marker, w.cl.kids[0].Encap, w.gw.kids[0].Encap)
			}
		})
	}
}

// RFC 4555 2.2 and 3.5: the client moves, nothing but the path changes, and
// traffic follows when the new address has proved itself.
func TestRFC4555_3_5_ClientMoves(t *testing.T) {
	w := mobileWorld(t, "moves", func(gw, cl *Config) { gw.RollCall, cl.RollCall = RollCallOurs, RollCallOurs })
	g, c := w.one()
	tp := w.watch()
	moved := map[string]netip.AddrPort{} // where the gateway's traffic goes when a message leaves
	tp.lose = func(s sight) bool {
		if s.has(wire.NotifyCookie2) && s.from == w.gw && s.h.Flags&wire.FlagResponse == 0 {
			moved["check"] = w.gw.lastMove()
		}
		return dead(clAddr.Addr())(nil, s.p)
	}
	w.moveClient(elsewhere)
	if len(w.cl.moves) != 1 || w.cl.moves[0].Local.Addr() != elsewhere.Addr() {
		t.Error("the client's own traffic does not leave from the new address at once")
	}
	w.run(time.Second)
	w.same(g, c)
	out := tp.of(w.cl, wire.ExchangeInformational)
	if len(out) != 2 || !out[0].has(wire.NotifyUpdateSAAddresses) || !out[0].has(wire.NotifyNATDetectionSourceIP) || !out[0].has(wire.NotifyCookie2) {
		t.Fatal("no update\n" + w.text())
	}
	if moved["check"].IsValid() || w.gw.lastMove().Addr() != elsewhere.Addr() || g.remote.addrPort().Addr() != elsewhere.Addr() {
		t.Errorf("the gateway's traffic went to %v before the check and goes to %v", moved["check"], w.gw.lastMove())
	}
	if x := w.gw.roll[int(g.slot)]; x.Remote.Addr() != elsewhere.Addr() { // rule C2
		t.Error("the roll call does not know", x.Remote)
	}
	if w.gw.count(EventMoved) != 1 || w.cl.count(EventMoved) != 1 {
		t.Error("nobody was told\n" + w.dump())
	}
	// What was learned on the new path holds after a crash.
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(time.Second)
	if x, _ := w.one(); !x.resumed || x.remote.addrPort().Addr() != elsewhere.Addr() {
		t.Error("not resumed from the new address\n" + w.text() + w.dump())
	}
}

// RFC 4555 3.7: before, after, or no check at all.
func TestRFC4555_3_7_Routability(t *testing.T) {
	for _, c := range []struct {
		name          string
		when          Routability
		sooner, check bool
	}{{"before", RoutabilityBefore, false, true}, {"after", RoutabilityAfter, true, true}, {"off", RoutabilityOff, true, false}} {
		t.Run(c.name, func(t *testing.T) {
			w := mobileWorld(t, c.name, func(gw, _ *Config) { gw.Connections[0].Routability, gw.Connections[0].DPD = c.when, 0 })
			g, _ := w.one()
			was := g.handle()
			checked := false
			w.lose = func(from *node, p Packet) bool { // the check never arrives
				h, _ := wire.ParseHeader(p.Data)
				lost := from == w.gw && h.Flags&wire.FlagResponse == 0
				checked = checked || lost
				return lost
			}
			w.moveClient(elsewhere)
			w.run(10 * time.Second)
			if checked != c.check || (w.gw.lastMove().Addr() == elsewhere.Addr()) != c.sooner {
				t.Errorf("checked %v, traffic goes to %v", checked, w.gw.lastMove())
			}
			w.run(6 * time.Minute)
			if gone := w.gw.e.sa(was) == nil; gone != c.check {
				t.Errorf("an address that never answers: the SA is gone %v", gone)
			}
		})
	}
}

// RFC 4555 3.7: whoever has the keys and returns another COOKIE2 loses the SA;
// whoever has none changes nothing.
func TestRFC4555_3_7_WrongCookie2(t *testing.T) {
	for _, c := range []struct {
		name   string
		data   []byte
		forged bool
	}{{"other octets", make([]byte, 16), false}, {"none", nil, false}, {"forged without keys", make([]byte, 16), true}} {
		t.Run(c.name, func(t *testing.T) {
			w := mobileWorld(t, c.name)
			g, x := w.one()
			w.lose = func(from *node, p Packet) bool {
				h, _ := wire.ParseHeader(p.Data)
				return from == w.cl && h.Flags&wire.FlagResponse != 0 // the true answer to the check
			}
			w.moveClient(elsewhere)
			w.deliver()
			if !g.asks(requestRoute) {
				t.Fatal("no check is open\n" + w.text())
			}
			p := w.craft(w.cl, x, wire.ExchangeInformational, true, g.cold.open.id, func(m *wire.Writer) {
				if c.data != nil {
					m.Notify(wire.Notify{Type: wire.NotifyCookie2, Data: c.data})
				}
			})
			if c.forged {
				p.Data[len(p.Data)-1] ^= 1
			}
			before := w.gw.e.Counters
			w.give(w.gw, p)
			if c.forged {
				if g.state != stateEstablished || w.gw.e.Counters[DropICV] != before[DropICV]+1 || len(w.gw.moves) != 0 {
					t.Error("a forged answer has changed something\n" + w.dump())
				}
				return
			}
			if g.state != stateDeleting || w.gw.e.Counters[DropPath] != before[DropPath]+1 || len(w.gw.moves) != 0 {
				t.Error("a wrong COOKIE2 did not close the SA\n" + w.dump())
			}
		})
	}
}

// An update moves once and from its own source: a copy from elsewhere moves
// nothing and is counted, and so is one under keys that are not the client's.
func TestRFC4555_3_5_UpdateFromOffPath(t *testing.T) {
	w := mobileWorld(t, "off path")
	g, c := w.one()
	var update Packet
	w.lose = func(from *node, p Packet) bool {
		if from == w.cl && update.Data == nil {
			update = p
			update.Data = slices.Clone(p.Data)
		}
		return false
	}
	w.moveClient(elsewhere)
	w.run(time.Second)
	w.same(g, c)
	at := g.remote
	thief := Packet{Local: update.Remote, Remote: netip.MustParseAddrPort("192.0.2.66:4500"), Marker: true, Data: slices.Clone(update.Data)}
	w.gw.e.Packet(w.now, thief)
	w.drain(w.gw)
	thief.Data = slices.Clone(update.Data)
	thief.Data[len(thief.Data)-1] ^= 1
	thief.Data[23]++ // a fresh Message ID, no keys
	w.gw.e.Packet(w.now, thief)
	w.drain(w.gw)
	w.run(time.Second)
	if g.remote != at || w.gw.lastMove().Addr() != elsewhere.Addr() {
		t.Error("somebody else has moved the SA to", g.remote.addrPort())
	}
	w.same(g, c)
}

// RFC 4555 3.8, rule G3: an INFORMATIONAL without an update is answered where
// it came from and moves nothing.
func TestRFC4555_3_8_NothingElseMoves(t *testing.T) {
	w := mobileWorld(t, "nothing else")
	g, c := w.one()
	g.behind = true // as a NAT would be followed without MOBIKE
	at, to := g.remote, netip.AddrPort{}
	w.lose = func(from *node, p Packet) bool {
		if from == w.gw {
			to = p.Remote
		}
		return false
	}
	c.local.ip = pack(elsewhere).ip
	w.hold(w.cl, c, requestEmpty)
	w.deliver()
	if g.remote != at || to.Addr() != elsewhere.Addr() {
		t.Errorf("the SA is at %v, the answer went to %v (RFC 7296 2.11)", g.remote.addrPort(), to)
	}
	w.same(g, c)
}

// RFC 4555 3.5: the responder of an SA asks for no update.
func TestRFC4555_3_5_OnlyTheClientUpdates(t *testing.T) {
	w := mobileWorld(t, "only the client")
	g, c := w.one()
	at := c.remote
	g.local.ip = pack(elsewhere).ip
	id, _ := g.sent.Open()
	w.say(w.gw, g, wire.ExchangeInformational, false, id, func(m *wire.Writer) { m.Notify(wire.Notify{Type: wire.NotifyUpdateSAAddresses}) })
	if c.remote != at || len(w.cl.moves) != 0 {
		t.Error("the gateway has moved the client's SA")
	}
}

// Each message of a move is lost once: the SA moves all the same.
func TestMoveWithLosses(t *testing.T) {
	for n := range 4 {
		w := mobileWorld(t, "losses")
		g, c := w.one()
		sent := 0
		w.lose = func(*node, Packet) bool { sent++; return sent-1 == n }
		w.moveClient(elsewhere)
		w.run(5 * time.Second)
		w.same(g, c)
		if g.remote.addrPort().Addr() != elsewhere.Addr() || w.gw.lastMove().Addr() != elsewhere.Addr() {
			t.Errorf("message %d lost: the SA is at %v", n, g.remote.addrPort())
		}
	}
}

// RFC 4555 3.5: another move while an update, or its check, is on its way.
func TestRFC4555_3_5_MovesAgain(t *testing.T) {
	third := netip.MustParseAddrPort("203.0.113.77:500")
	for seen := range 4 {
		w := mobileWorld(t, "again")
		g, c := w.one()
		sent := 0
		w.lose = func(*node, Packet) bool { sent++; return sent > seen }
		w.moveClient(elsewhere)
		w.deliver()
		w.lose = func(_ *node, p Packet) bool {
			return dead(elsewhere.Addr())(nil, p) || dead(clAddr.Addr())(nil, p)
		}
		w.moveClient(third)
		w.run(10 * time.Second)
		w.same(g, c)
		if g.remote.addrPort().Addr() != third.Addr() || w.gw.lastMove().Addr() != third.Addr() || w.cl.moves[len(w.cl.moves)-1].Local.Addr() != third.Addr() {
			t.Errorf("after %d messages: the SA is at %v, its traffic at %v", seen, g.remote.addrPort(), w.gw.lastMove())
		}
	}
}

// RFC 4555 3.7: what a client answers to the check of one address says nothing of
// the next one, to which it has moved meanwhile: traffic waits for that check.
func TestRFC4555_3_7_CheckOfAnotherAddress(t *testing.T) {
	third := netip.MustParseAddrPort("203.0.113.77:500")
	w := mobileWorld(t, "another check")
	var answer Packet // to the first check, on its way
	w.lose = func(from *node, p Packet) bool {
		h, _ := wire.ParseHeader(p.Data)
		if from != w.cl || !h.Response() {
			return false
		}
		answer = Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: slices.Clone(p.Data)}
		return true
	}
	w.moveClient(elsewhere)
	w.deliver()
	w.lose = func(from *node, p Packet) bool { return from == w.gw && p.Remote.Addr() == third.Addr() }
	w.moveClient(third)
	w.deliver()
	w.give(w.gw, answer)
	w.deliver()
	if len(w.gw.moves) != 0 {
		t.Errorf("traffic goes to %v, which has not answered", w.gw.lastMove())
	}
	w.lose = nil
	w.run(10 * time.Second)
	if w.gw.lastMove().Addr() != third.Addr() {
		t.Errorf("traffic goes to %v in the end\n%s", w.gw.lastMove(), w.text())
	}
}

// A request that was open when the client moved goes on from the new address.
func TestRFC4555_3_5_OutstandingRequest(t *testing.T) {
	w := mobileWorld(t, "outstanding")
	g, c := w.one()
	w.lose = dead(clAddr.Addr())
	w.hold(w.cl, c, requestEmpty)
	w.run(500 * time.Millisecond)
	id := c.cold.open.id
	w.moveClient(elsewhere)
	if !slices.ContainsFunc(w.flight, func(p Packet) bool {
		h, _ := wire.ParseHeader(p.Data)
		return p.Local.Addr() == elsewhere.Addr() && h.MessageID == id
	}) {
		t.Error("it did not leave again at once")
	}
	w.run(time.Second)
	w.same(g, c)
	if g.remote.addrPort().Addr() != elsewhere.Addr() {
		t.Error("not moved\n" + w.text())
	}
}

// RFC 4555 3.4 and 3.10: when one address of the gateway falls silent the
// client goes to another, and resumes only when all are.
func TestRFC4555_3_10_OtherAddressOfTheGateway(t *testing.T) {
	other := netip.MustParseAddr("192.0.2.2")
	setup := func(gw, _ *Config) {
		gw.Addresses = []netip.Addr{gwAddr.Addr(), netip.MustParseAddr("2001:db8::1"), other}
	}
	w := mobileWorld(t, "other address", setup)
	w.gw.also = []netip.Addr{other}
	g, c := w.one()
	w.lose = dead(gwAddr.Addr())
	w.cl.e.Command(w.now, Command{Kind: CommandHint})
	w.drain(w.cl)
	w.run(30 * time.Second)
	w.same(g, c)
	if c.remote.addrPort().Addr() != other || g.local.addrPort().Addr() != other || w.cl.lastMove().Addr() != other {
		t.Fatalf("the client sends to %v\n%s", c.remote.addrPort(), w.text())
	}
	w.lose = dead(other) // and back
	w.cl.e.Command(w.now, Command{Kind: CommandHint})
	w.drain(w.cl)
	w.run(30 * time.Second)
	w.same(g, c)
	if c.remote.addrPort().Addr() != gwAddr.Addr() {
		t.Fatal("not back\n" + w.text())
	}
}

// RFC 4555 3.6: the gateway's new list replaces the old; an address in use that
// is not on it is left.
func TestRFC4555_3_6_GatewayChangesAddresses(t *testing.T) {
	other := netip.MustParseAddr("192.0.2.2")
	w := mobileWorld(t, "changes addresses")
	w.gw.also = []netip.Addr{other}
	g, c := w.one()
	g.local.ip = pack(netip.AddrPortFrom(other, 0)).ip // it sends from there
	id, _ := g.sent.Open()
	w.say(w.gw, g, wire.ExchangeInformational, false, id, func(m *wire.Writer) { m.Notify(wire.Notify{Type: wire.NotifyNoAdditionalAddresses}) })
	g.sent.Close()
	w.run(time.Second)
	w.same(g, c)
	if c.remote.addrPort().Addr() != other || !slices.Equal(c.tun.ways.paths, []netip.Addr{other}) {
		t.Errorf("the client sends to %v and knows %v", c.remote.addrPort(), c.tun.ways.paths)
	}
}
