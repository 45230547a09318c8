package ike

import (
	"reflect"
	"testing"

	"blackswan/wire"
)

// TestExpectIsNoInput tells a gateway of a resume that comes next, and of what is
// none. It changes neither of the SAs that it finds, counts nothing and says
// nothing; every packet of the worlds of these tests is told beforehand, too.
func TestExpectIsNoInput(t *testing.T) {
	w := newWorld(t, "expect")
	w.connect()
	old, _ := w.one()
	_, half, cl := w.resumeHeld()
	at := w.gw.e
	resume := append([]byte(nil), cl.half.candidates[0].req...)
	foreign := append([]byte(nil), resume...)
	foreign[wire.HeaderLen/2]++ // an SPI that is not ours
	next := []Packet{{Data: resume}, {Data: foreign}, {Data: resume[:wire.HeaderLen-1]}, {}, {Data: w.initRequest()}}

	wasOld, wasHalf, counted := *old, *half, at.Counters
	if n := testing.AllocsPerRun(10, func() { at.Expect(next) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if at.expected[0].sa != old {
		t.Error("the SA that the resume replaces was not found")
	}
	if at.expected[1].sa != nil || len(at.expected) != 2 {
		t.Errorf("%d resumes are expected, one of an unknown SA", len(at.expected))
	}
	if _, said := at.Next(); said || at.Counters != counted || !reflect.DeepEqual(*old, wasOld) || !reflect.DeepEqual(*half, wasHalf) {
		t.Error("Expect changed something")
	}
	w.give(w.gw, Packet{Local: gwAddr, Remote: clAddr, Data: resume})
	if gw := w.gw.live(); len(gw) != 1 || gw[0] != half {
		t.Error("the resume does not go on\n" + w.dump())
	}
}
