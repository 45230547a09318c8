package ike

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/wire"
)

// Clients are called as fast as they come back: 1,024 at a time, and who is not
// back after a second gives way to the next.
func TestRollCallIsPaced(t *testing.T) {
	w := newWorld(t, "paced")
	const clients = 3 * callWindow
	var entries []Entry
	for i := range clients {
		own, ok := w.gw.e.newSPI()
		if !ok {
			t.Fatal("no SPI")
		}
		entries = append(entries, Entry{
			SPIs: wire.SPIs{I: wire.SPI(i + 1), R: own}, Ours: true, Local: gwAddr, Heard: w.now.Unix(),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 500),
		})
	}
	w.crash(w.gw)
	e := w.gw.e
	show := func() (first int) { // messages until the Endpoint waits for a time to come
		for at, ok := e.Deadline(); ok && !at.After(w.now); at, ok = e.Deadline() {
			e.Advance(w.now)
			for o, ok := e.Next(); ok; o, ok = e.Next() {
				if o.Kind == OutputSend {
					first++
				}
			}
		}
		return first
	}
	e.Command(w.now, Command{Kind: CommandRollCall, Entries: entries})
	if n := show(); n != callWindow {
		t.Fatalf("%d were called at once", n)
	}
	for i := range 100 { // the first are back
		e.stopRollCall(entries[i].SPIs)
	}
	if n := show(); n != 100 {
		t.Fatalf("100 came back and %d were called", n)
	}
	if at, ok := e.Deadline(); !ok || at.Sub(w.now) > callPatience {
		t.Fatalf("the next is called after %v", at.Sub(w.now))
	}
	w.now = w.now.Add(callPatience)
	if n := show(); n != callWindow { // nobody is waited for any more
		t.Fatalf("%d were called after the first were given up", n)
	}
	e.stopRollCall(entries[200].SPIs) // comes late: his place was given away
	if n := show(); n != 0 {
		t.Fatalf("a late one let %d be called", n)
	}
	w.now = w.now.Add(callPatience)
	if n := show(); n != clients-2*callWindow-100 {
		t.Fatalf("%d were called at last", n)
	}
	w.now = w.now.Add(20 * time.Second) // the second and the third showing
	if n := show(); n != 2*(clients-101) {
		t.Fatalf("%d were shown again", n)
	}
}
