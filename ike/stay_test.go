package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

// deafTo loses the requests of a node: its peer is silent to them, and goes on
// asking.
func deafTo(n *node) func(*node, Packet) bool {
	return func(from *node, p Packet) bool {
		h, err := wire.ParseHeader(p.Data)
		return err == nil && from == n && !h.Response()
	}
}

// A client that does not answer DELETE is gone when nobody waits for it any more,
// however often it moves meanwhile, and carries nothing while it is waited for.
func TestWhoMustGoCannotStayByMoving(t *testing.T) {
	for name, end := range map[string]func(w *world, g *SA){
		"deleted": func(w *world, g *SA) { w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: g.handle()}) },
		"its login is over": func(w *world, g *SA) {
			w.gw.e.at(w.now)
			w.gw.e.outlived(g)
		},
		"its connection is gone": func(w *world, _ *SA) { w.reload(w.gw); w.gw.e.Advance(w.now) },
	} {
		t.Run(name, func(t *testing.T) {
			w := mobileWorld(t, name)
			g, _ := w.one()
			handle := g.handle()
			w.lose = deafTo(w.gw)
			end(w, g)
			w.drain(w.gw)
			if len(w.gw.plane()) != 0 {
				t.Errorf("it still carries\n%s", w.text())
			}
			for i := range 80 {
				w.moveClient([2]netip.AddrPort{elsewhere, clAddr}[i%2])
				w.run(500 * time.Millisecond)
			}
			if w.gw.e.sa(handle) != nil {
				t.Errorf("it is still there\n%s", w.text())
			}
		})
	}
}

// An update that is repeated all the time keeps no address that never answers the
// routability check (RFC 4555 3.7).
func TestRFC4555_3_7_NobodyIsThere(t *testing.T) {
	w := mobileWorld(t, "nobody is there")
	g, _ := w.one()
	handle := g.handle()
	w.lose = deafTo(w.gw)
	for i := range 1000 {
		w.moveClient([2]netip.AddrPort{elsewhere, clAddr}[i%2])
		w.run(500 * time.Millisecond)
	}
	if w.gw.e.sa(handle) != nil {
		t.Errorf("its SA is still there\n%s", w.text())
	}
}

// A reload finds those whose DELETE is on its way, and takes what they carry.
func TestReloadMeetsADelete(t *testing.T) {
	w := newWorld(t, "reload meets a delete", quiet)
	w.connect()
	w.run(time.Second)
	w.lose = deafTo(w.gw)
	w.act(w.gw, "delete")
	if len(w.gw.plane()) != 1 {
		t.Fatalf("%d Child SAs", len(w.gw.plane()))
	}
	w.reload(w.gw, w.gw.conn.but(func(*Connection) {}))
	w.run(100 * time.Millisecond)
	if len(w.gw.plane()) != 1 {
		t.Error("a connection that is as it was takes its Child SA")
	}
	w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.PSK = Secret("another key of the test") }))
	w.run(100 * time.Millisecond)
	if len(w.gw.plane()) != 0 {
		t.Errorf("it still carries\n%s", w.text())
	}
}

// What a Child SA carried is not carried any more when its policy is gone, also if
// the client does not answer our DELETE for it.
func TestReloadOfPoliciesWithASilentClient(t *testing.T) {
	w := severalWorld(t, "policies of a silent client", quiet)
	w.connect()
	w.run(40 * time.Second)
	w.three()
	w.lose = deafTo(w.gw)
	w.reload(w.gw, w.gw.conn.but(func(c *Connection) { c.Further = c.Further[:1] }))
	w.run(100 * time.Millisecond)
	if n := len(w.gw.plane()); n != 2 {
		t.Errorf("%d Child SAs carry\n%s", n, w.text())
	}
	w.lose = nil
	w.run(time.Hour)
	w.one()
}

// No ticket is granted by an SA that is being deleted.
func TestNoTicketWhileDeleting(t *testing.T) {
	w := newWorld(t, "no ticket while deleting", quiet)
	w.connect()
	w.run(time.Minute)
	g, c := w.one()
	w.lose = deafTo(w.gw)
	w.act(w.gw, "delete")
	granted := g.askedAt
	w.cl.e.request(c, requestTicket)
	w.drain(w.cl)
	w.run(time.Second)
	if g.askedAt != granted {
		t.Errorf("a ticket of what is deleted\n%s", w.text())
	}
	if c.asks(requestTicket) {
		t.Error("and the client heard nothing")
	}
}
