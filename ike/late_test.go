package ike

import (
	"testing"
	"time"
)

// A gateway that is behind does not begin what its client has given up when it
// would go on (rules E6, E7). What is under way is served, however late.
func TestLateFirstMessages(t *testing.T) {
	w := newWorld(t, "late", quiet)
	w.connect()
	resume, init := w.resumeRequest(), w.initRequest()
	w.crash(w.gw)
	timers := w.gw.cfg.Timers
	for _, row := range []struct {
		name   string
		data   []byte
		waited time.Duration
		served bool
	}{
		{"RESUME that waited long", resume, timers.AuthSilence/2 + 1, false},
		{"INIT that waited long", init, timers.Retry.Total()/2 + 1, false},
		{"INIT that a RESUME would have waited too long for", init, timers.AuthSilence/2 + 1, true},
		{"RESUME in time", resume, timers.AuthSilence / 2, true},
	} {
		before := w.gw.e.Counters[DropLate]
		held := w.gw.e.counts.half + w.gw.e.counts.halfResumes
		w.give(w.gw, Packet{Local: gwAddr, Remote: clAddr, Data: row.data, Waited: row.waited})
		w.advanceNodes()
		late, served := w.gw.e.Counters[DropLate] > before, w.gw.e.counts.half+w.gw.e.counts.halfResumes > held
		if late == row.served || served != row.served {
			t.Errorf("%s: late %v, served %v", row.name, late, served)
		}
		w.flight = nil
	}
}

// What waits in a queue of first messages grows old there.
func TestLateInTheQueue(t *testing.T) {
	w := newWorld(t, "old", quiet)
	w.gw.cfg.Limits.Questions = 1
	w.start(w.gw)
	busy := &Question{}
	w.gw.hook = func(q *Question) { *busy = *q; q.Kind = 0 } // nobody answers
	first, second, third := w.initRequest(), w.initRequest(), w.initRequest()
	from := func(b []byte, waited time.Duration) {
		w.give(w.gw, Packet{Local: gwAddr, Remote: clAddr, Data: b, Waited: waited})
		w.advanceNodes()
	}
	from(first, 0)
	from(second, time.Second)
	half := w.gw.cfg.Timers.Retry.Total() / 2
	w.now = w.now.Add(half - time.Second/2)
	from(third, 0)
	if n := w.gw.e.first.strange.len(); n != 2 {
		t.Fatalf("%d wait", n)
	}
	w.gw.hook = nil
	w.reply(w.gw, busy)
	w.advanceNodes()
	if e := w.gw.e; e.Counters[DropLate] != 1 || e.counts.half != 2 || e.first.waiting() {
		t.Errorf("%d late, %d half-open, waiting %v", e.Counters[DropLate], e.counts.half, e.first.waiting())
	}
}

// Nobody is called while what comes has to wait for us (rule C3: back-pressure),
// by the first showing or by a later one.
func TestRollCallWaits(t *testing.T) {
	w := newWorld(t, "behind")
	w.connect()
	w.crash(w.gw)
	w.lose = func(from *node, _ Packet) bool { return from == w.cl }
	noise := func(waited time.Duration) {
		w.give(w.gw, Packet{Local: gwAddr, Remote: clAddr, Data: []byte("noise"), Waited: waited})
	}
	noise(callBehind + 1)
	w.callRoll(w.gw)
	for range 100 {
		noise(callBehind + 1)
		w.run(callBehind / 2)
	}
	if n := w.gw.e.Count().RollCallShown; n != 0 {
		t.Fatalf("%d messages while others wait", n)
	}
	noise(callBehind) // in time: what held it passes
	w.run(callBehind)
	if n := w.gw.e.Count().RollCallShown; n != 1 {
		t.Fatalf("%d messages when nobody waits", n)
	}
	for range 100 {
		noise(callBehind + 1)
		w.run(callBehind / 2)
	}
	if n := w.gw.e.Count().RollCallShown; n != 1 {
		t.Fatalf("%d messages when others wait again", n)
	}
	w.run(20 * time.Second)
	if n := w.gw.e.Count().RollCallShown; n != 3 {
		t.Errorf("%d messages in the end", n)
	}
}
