package ike

import (
	"testing"
	"time"
)

// Who deletes an IKE SA while its own rekey of it is under way deletes the heir
// as well: nothing of the connection stays at either end, and no ticket of it.
func TestRFC7296_2_25_2_DeletedDuringItsRekey(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		w := rekeyWorld(t, "deleted during "+who, "aes128gcm16", "aes128gcm16")
		w.connect()
		w.run(time.Second)
		old := *w.cl.ticket
		n := w.gw
		if who == "cl" {
			n = w.cl
		}
		sa := n.live()[0]
		w.act(n, "rekey ike")
		c := Command{Kind: CommandClose, Conn: w.cl.conn}
		if who == "gw" {
			c = Command{Kind: CommandDelete, SA: sa.handle()}
		}
		n.e.Command(w.now, c)
		w.drain(n)
		if who == "gw" { // the client shall not begin anew here
			w.cl.e.tunnels = nil
		}
		w.deliver()
		w.run(time.Second)
		if a, b := w.gw.e.ours.Len(), w.cl.e.ours.Len(); a+b != 0 || len(w.gw.plane())+len(w.cl.plane()) != 0 {
			t.Errorf("%s: %d SAs at the gateway and %d at the client are left\n%s", who, a, b, w.text())
		}
		if s := w.opened(old.Ticket); !w.gw.e.floors.Below(s.Lineage, s.Serial+1) {
			t.Errorf("%s: the heir's ticket is good", who)
		}
	}
}

// The gateway is told to end an SA that its client has just rekeyed. Its DELETE
// overtakes the answer to the rekey, which then finds no SA: nothing of it stays
// at either end, and no ticket.
func TestRFC7296_2_25_2_DeletedWhenItWasRekeyed(t *testing.T) {
	w := rekeyWorld(t, "deleted when rekeyed", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	ticket := *w.cl.ticket
	sa := w.gw.live()[0]
	w.lose = func(from *node, p Packet) bool { return from == w.gw && sa.replaced() && sa.state == stateEstablished }
	w.act(w.cl, "rekey ike")
	w.deliver()
	if !sa.replaced() {
		t.Fatal("it was not rekeyed")
	}
	w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: sa.handle()})
	w.drain(w.gw)
	w.run(time.Minute)
	s := w.opened(ticket.Ticket)
	for _, n := range w.nodes() {
		for _, sa := range n.live() {
			if sa.lineage == s.Lineage {
				t.Errorf("%s has %s still\n%s", n.name, sa.spi, w.text())
			}
		}
	}
	if !w.gw.e.floors.Below(s.Lineage, s.Serial+1) {
		t.Error("the heir's ticket is good")
	}
}

// Either end may crash at any step of a rekey of the IKE SA. Nobody is stuck,
// and a rekey that the client began costs no login: one of its tickets is good
// at each step (rule D5). One that the gateway began voids the ticket at once
// (rule D12), so that until the next is there a crash costs one.
func TestCrashDuringARekey(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		for _, victim := range []string{"gw", "cl"} {
			for step := range 12 {
				w := rekeyWorld(t, "crash during "+who+victim, "aes128gcm16", "aes128gcm16")
				w.connect()
				w.run(time.Second)
				n := w.gw
				if who == "cl" {
					n = w.cl
				}
				w.act(n, "rekey ike")
				w.carry(step)
				ticket := w.cl.ticket != nil
				if victim == "gw" {
					w.crash(w.gw)
					w.gw.removed = nil
					w.callRoll(w.gw)
				} else {
					w.crash(w.cl)
					w.cl.removed = nil
					w.connect()
				}
				w.run(40 * time.Second)
				w.one()
				if ticket && !w.gw.last(EventEstablished).Resumed || who == "cl" && !ticket {
					t.Errorf("%s rekeys, %s crashes at step %d: ticket %v\n%s", who, victim, step, ticket, w.text())
				}
				w.run(5 * time.Minute)
				w.agreed(1)
			}
		}
	}
}

// A token that proves a crash on an SA whose heir the peer may never have had
// proves nothing of the heir; but it is looked after at once, and soon given up.
func TestCrashedBeforeTheHeirIsKnown(t *testing.T) {
	w := rekeyWorld(t, "heir unknown", "aes128gcm16", "aes128gcm16")
	w.connect()
	w.run(time.Second)
	w.act(w.gw, "rekey ike")
	w.carry(1) // the client has the heir, the gateway never gets the answer
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(6 * time.Second)
	if _, c := w.one(); c.resumed || w.cl.count(EventEstablished) != 2 {
		t.Errorf("not logged in again\n%s", w.text())
	}
}
