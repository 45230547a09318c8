package blackswan

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/ike"
	"blackswan/internal/state"
	"blackswan/internal/udp"
	"blackswan/store"
	"blackswan/store/memory"
	"blackswan/ticket"
)

// TestF6_DurableHoldsTheAnswer: the answer to DELETE waits for the commit of
// its floor, and nothing else does.
func TestF6_DurableHoldsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		var commits atomic.Int32
		release := make(chan struct{})
		l.made = func(g *Gateway) {
			disk := g.commit
			g.commit = func(records []durable) error {
				commits.Add(int32(len(records)))
				<-release
				return disk(records)
			}
		}
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		before := l.sent()
		cr.cancel(nil) // sends DELETE
		time.Sleep(500 * time.Millisecond)
		if n := commits.Load(); n != 1 {
			t.Fatalf("%d durable records, want 1", n)
		}
		if n := l.sent() - before; n != 0 {
			t.Errorf("%d answers before the commit", n)
		}
		cfg := l.client("bob")
		cfg.Listen = bobAddr
		_, br := l.connect("bob", cfg)
		time.Sleep(500 * time.Millisecond)
		l.want("bob", Established, 1) // the shard goes on
		before = l.sent()
		close(release)
		synctest.Wait()
		if n := l.sent() - before; n != 1 {
			t.Errorf("%d answers after the commit, want 1", n)
		}
		if err := <-cr.ended; err != nil {
			t.Error(err)
		}
		br.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestF6_FailedCommit: what is not on disk is not answered, and counted.
func TestF6_FailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.made = func(g *Gateway) {
			g.commit = func([]durable) error { return errors.New("no room on the disk") }
		}
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		before := l.sent()
		cr.cancel(nil)
		time.Sleep(500 * time.Millisecond) // before the DELETE is sent again
		if n := l.sent() - before; n != 0 {
			t.Errorf("%d answers although nothing was written", n)
		}
		cr.stop(t, nil)
		if st := g.Status(0); st.Counters["lost"] == 0 {
			t.Errorf("counters: %v", st.Counters)
		}
		gr.stop(t, nil)
	})
}

// TestHeldPacketsAreBounded: however long the disk takes, so many packets of an SA
// wait and no more, and those leave in the end.
func TestHeldPacketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		s, release := g.node.shards[0], make(chan struct{})
		g.node.commit = func([]durable) error { <-release; return nil }
		own, _ := s.port.Ports()
		s.call(func(now time.Time) {
			s.keep.commit(durable{sa: 7})
			for i := range 10 * heldPackets {
				o := ike.Output{SA: 7, Packet: ike.Packet{Local: own, Remote: netip.AddrPortFrom(clientAddr, 500), Data: make([]byte, 28)}}
				if !s.keep.hold(o) {
					t.Errorf("packet %d leaves before the commit", i)
				}
			}
		})
		if st := g.Status(0); st.Counters["lost"] != 9*heldPackets || l.sent() != 0 {
			t.Errorf("%v, %d sent", st.Counters, l.sent())
		}
		close(release)
		synctest.Wait()
		if n := l.sent(); n != heldPackets {
			t.Errorf("%d packets left after the commit", n)
		}
		gr.stop(t, nil)
	})
}

// TestForwardsAreBounded: what a shard cannot hand on to one that is busy is lost
// and counted.
func TestForwardsAreBounded(t *testing.T) {
	l := newLab(t)
	ports, err := l.listen(1, udp.Config{Addr: gatewayAddr})
	if err != nil {
		t.Fatal(err)
	}
	defer ports[0].Close()
	n := &node{count: 2}
	for i := range n.count {
		n.shards = append(n.shards, newShard(n, i, nil, ports[0]))
	}
	s := n.shards[0]
	for range 3 * forwardsRoom {
		s.forward(time.Now(), ike.Output{Shard: 1, Packet: ike.Packet{Data: make([]byte, 28)}})
		s.flush()
	}
	if waiting := len(n.shards[1].forwards); waiting != forwardsRoom || s.lost != 2*forwardsRoom {
		t.Errorf("%d parcels wait, %d packets are lost", waiting, s.lost)
	}
}

// TestC2_RollCallOnDisk: an entry is on disk within a second, goes with its SA,
// and the former epoch's go when they were shown or are too old.
func TestC2_RollCallOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		if n := l.entries(g); n != 1 {
			t.Errorf("%d entries after a second, want 1", n)
		}
		cfg := l.client("bob")
		cfg.Listen = bobAddr
		_, br := l.connect("bob", cfg)
		time.Sleep(time.Second)
		br.stop(t, nil)
		time.Sleep(time.Second)
		if n := l.entries(g); n != 1 {
			t.Errorf("%d entries after bob's DELETE, want 1", n)
		}
		cr.stop(t, ErrKeepTicket) // nobody will answer
		l.crash(gr)
		g, gr = l.gateway()
		time.Sleep(10 * time.Second)
		if n := l.entries(g); n != 1 {
			t.Errorf("%d entries of the former epoch before all showings, want 1", n)
		}
		time.Sleep(time.Minute)
		if n := l.entries(g); n != 0 {
			t.Errorf("%d entries after all showings, want 0", n)
		}
		if st := g.Status(0); st.Totals.RollCallShown != 3 {
			t.Errorf("shown %d times, want 3", st.Totals.RollCallShown)
		}
		gr.stop(t, nil)
	})
}

// entries is how many lines of the roll call are in the store, of all epochs.
func (l *lab) entries(g *Gateway) (n int) {
	l.t.Helper()
	err := g.dir.Pages(callPages, state.RollCallSize).Load(context.Background(), func(int, []byte) { n++ })
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// TestC3_TooOld: an entry that was last heard long ago is not shown.
func TestC3_TooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		cr.stop(t, ErrKeepTicket)
		l.crash(gr)
		time.Sleep(11 * time.Minute)
		g, gr := l.gateway()
		time.Sleep(time.Minute + time.Second)
		if st := g.Status(0); st.Totals.RollCall != 1 || st.Totals.RollCallShown != 0 {
			t.Errorf("status: %+v", st.Totals)
		}
		gr.stop(t, nil)
	})
}

// TestC3_AnotherAddress: only a gateway that has the address calls from it.
func TestC3_AnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		cr.stop(t, ErrKeepTicket)
		l.crash(gr)
		l.gw.Listen = bobAddr
		g, gr := l.gateway()
		time.Sleep(time.Second)
		if st := g.Status(0); st.Totals.RollCall != 0 || st.Totals.RollCallShown != 0 {
			t.Errorf("status: %+v", st.Totals)
		}
		gr.stop(t, nil)
	})
}

// TestD10_RingTurns: a key that has sealed for a day is followed by another.
func TestD10_RingTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		first := *g.ring.Load()
		time.Sleep(25 * time.Hour)
		if now := *g.ring.Load(); len(now) != 2 || now[0] != first[0] {
			t.Errorf("%d keys after a day, want the first and a new one", len(now))
		}
		b, err := g.dir.Store().Get(t.Context(), []byte("clock"))
		if err != nil {
			t.Fatal(err)
		}
		kept := time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0)
		if ago := time.Since(kept); ago > 2*time.Minute { // rule D11
			t.Errorf("the clock was kept %v ago", ago)
		}
		gr.stop(t, nil)
	})
}

// TestD11_ClockWentBack: the kept clock judges then.
func TestD11_ClockWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		if err := g.dir.KeepClock(t.Context(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		gr.stop(t, nil)
		g, gr = l.gateway()
		if ahead := time.Until(g.wall(time.Now())); ahead < 59*time.Minute {
			t.Errorf("judged by a time %v ahead, want an hour", ahead)
		}
		if !g.machine(g.shards[0].port).Doubt {
			t.Error("a clock that went back is believed")
		}
		gr.stop(t, nil)
	})
}

func TestB1_NextEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		was := g.boot.SPI.Epoch
		g.nextEpoch()
		time.Sleep(time.Second)
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		l.want("ann", Established, 1)
		l.crash(gr)
		g, gr = l.gateway()
		if now := g.boot.SPI.Epoch; now < was+2 {
			t.Errorf("epoch %d after %d and one more", now, was)
		}
		time.Sleep(time.Second)
		l.want("ann", Resumed, 1)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

func TestFloorTable(t *testing.T) {
	disk := memory.Open()
	defer disk.Close()
	pages := state.NewPages(disk, "floors/", state.FloorSize)
	table := newFloorTable(pages, 3)
	now := time.Unix(1_800_000_000, 0)
	floor := func(name byte, serial uint32, life int64) ticket.Floor {
		return ticket.Floor{Lineage: [16]byte{name}, Floor: serial, Until: now.Unix() + life}
	}
	stored := func() (all []ticket.Floor) {
		if err := pages.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := pages.Load(t.Context(), func(_ int, rec []byte) {
			f, err := state.ParseFloor(rec)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	table.set(floor('a', 2, 10), now)
	table.set(floor('b', 2, 100), now)
	table.set(floor('a', 3, 20), now)
	if got, want := stored(), []ticket.Floor{floor('a', 3, 20), floor('b', 2, 100)}; !slices.Equal(got, want) {
		t.Errorf("stored %v, want %v", got, want)
	}
	table.set(floor('c', 2, 100), now)
	table.set(floor('d', 2, 100), now) // no room
	if got := stored(); len(got) != 3 {
		t.Errorf("%d floors in a table of 3", len(got))
	}
	now = now.Add(21 * time.Second) // the first is over
	table.set(floor('e', 2, 100), now)
	got := stored()
	if !slices.Contains(got, floor('e', 2, 100)) || len(got) != 3 || slices.ContainsFunc(got, func(f ticket.Floor) bool { return f.Lineage[0] == 'a' }) {
		t.Errorf("stored %v", got)
	}
}

// failing is a store whose writes fail.
type failing struct{ store.Store }

func (failing) Apply(context.Context, []store.Op, store.Durability) error {
	return errors.New("no room on the disk")
}

// TestPagesAreTriedAgain: a roll call that could not be written is not lost.
func TestPagesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		s := g.shards[0]
		good := s.keep.calls
		s.call(func(time.Time) {
			s.keep.calls = state.NewPages(failing{g.dir.Store()}, "rollcall/ffffffff/00/", state.RollCallSize)
		})
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(5 * time.Second)
		l.want("ann", Established, 1)
		var at time.Time
		s.call(func(time.Time) { at, s.keep.calls = s.keep.flushAt, good })
		if at.IsZero() {
			t.Error("a failed write is not tried again")
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}
