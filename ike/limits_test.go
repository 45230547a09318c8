package ike

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"blackswan/ticket"
	"blackswan/wire"
)

// flood is many messages from peers who have something to show: each comes with
// a ticket of a lineage of its own.
type flood struct {
	*world
	s ticket.Session
}

func newFlood(t *testing.T, seed string, change func(l *Limits)) *flood {
	m := &flood{world: newWorld(t, seed, quiet, func(gw, _ *Config) { change(&gw.Limits) })}
	m.gw.conn.DPD, m.cl.conn.DPD = 0, 0
	m.connect()
	if err := ticket.ParseSession(m.cl.ticket.Session, &m.s); err != nil {
		t.Fatal(err)
	}
	return m
}

// ticket is that of lineage n.
func (m *flood) ticket(n int) []byte {
	binary.BigEndian.PutUint64(m.s.Lineage[8:], uint64(n)<<20)
	out, err := m.gw.e.ring.Seal(nil, &m.s, m.now.Unix(), m.rand)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// resume shows the ticket of lineage n to the gateway.
func (m *flood) resume(n int) {
	msg := wire.NewWriter(nil, wire.Header{SPIi: wire.SPI(n + 1), Version: wire.Version, Exchange: wire.ExchangeSessionResume, Flags: wire.FlagInitiator})
	msg.Nonce(make([]byte, nonceLen))
	msg.Notify(wire.Notify{Type: wire.NotifyTicketOpaque, Data: m.ticket(n)})
	m.give(m.gw, Packet{Local: gwAddr, Remote: clAddr, Data: msg.Finish()})
	m.flight = nil
}

// another connects a further client of that name; with a ticket of lineage n, if
// that is not 0.
func (m *flood) another(name string, n int) {
	conn := *m.cl.conn
	conn.Local.ID = id(name)
	c := Command{Kind: CommandConnect, Conn: &conn, Local: clAddr, Remote: gwAddr}
	if n != 0 {
		c.Ticket, c.Session, c.Until = m.ticket(n), m.s.Append(nil), m.now.Add(time.Hour).Unix()
	}
	m.cl.e.Command(m.now, c)
	m.drain(m.cl)
	m.deliver()
}

// TestHalfResumesAreBounded: as many as may be, each free of a COOKIE; what comes
// then has to wait until they have left.
func TestHalfResumesAreBounded(t *testing.T) {
	m := newFlood(t, "half", func(l *Limits) { l.HalfResumes, l.ResumeCookieAt = 50, 100 })
	for n := range 200 {
		m.resume(n + 1)
	}
	if e := m.gw.e; e.counts.halfResumes != 50 || e.Counters[DropFull] != 150 || len(e.slots) > 60 {
		t.Errorf("%d half-open resumes in %d slots, %d refused", e.counts.halfResumes, len(e.slots), e.Counters[DropFull])
	}
	m.run(m.gw.cfg.Timers.HalfResume + time.Second)
	if m.resume(201); m.gw.e.counts.halfResumes != 1 {
		t.Error("nobody is let in when there is room again")
	}
}

// TestDuplicatesAreBounded: the oldest is forgotten, the newest still answered
// from memory.
func TestDuplicatesAreBounded(t *testing.T) {
	m := newFlood(t, "duplicates", func(l *Limits) { l.Duplicates = 50 })
	for n := range 200 {
		m.resume(n + 1)
		if e := m.gw.e; e.first.n > 50 || e.first.at.Len() > 50 || len(e.first.answered) > 128 {
			t.Fatalf("%d are remembered, in a table of %d", e.first.n, len(e.first.answered))
		}
	}
	d := m.gw.e.first.answered[(m.gw.e.first.oldest+m.gw.e.first.n-1)%len(m.gw.e.first.answered)]
	if found, ok := m.gw.e.first.find(d.key, d.sum); !ok || found != d {
		t.Error("the newest is forgotten")
	}
	m.run(m.gw.cfg.Timers.HalfResume + time.Second)
	if e := m.gw.e; e.first.n != 0 || e.first.at.Len() != 0 {
		t.Errorf("%d are remembered, %d found, after their time", e.first.n, e.first.at.Len())
	}
}

// TestResponsesAreBounded: all SAs together keep so many octets of responses; the
// last ones are there.
func TestResponsesAreBounded(t *testing.T) {
	m := newFlood(t, "responses", func(l *Limits) { l.Responses = 8000 })
	held := func() (octets, n int) {
		for _, s := range m.gw.e.slots {
			if s.sa != nil && s.sa.cacheAt != 0 {
				octets, n = octets+cap(s.sa.resp), n+1
			}
		}
		return octets, n
	}
	for n := range 60 {
		m.another(fmt.Sprintf("c%d.clients.test", n), 0)
		octets, _ := held()
		if octets != m.gw.e.counts.cached || octets > 8000 {
			t.Fatalf("%d octets are held, %d counted", octets, m.gw.e.counts.cached)
		}
		if last := m.gw.live()[len(m.gw.live())-1]; len(last.resp) == 0 {
			t.Fatal("the newest response is forgotten")
		}
	}
	if _, n := held(); n < 8 || n > 40 || len(m.gw.live()) != 61 {
		t.Errorf("%d of %d SAs have a response", n, len(m.gw.live()))
	}
	m.run(m.gw.cfg.Timers.CacheLife + time.Second)
	if octets, n := held(); octets != 0 || n != 0 || m.gw.e.counts.cached != 0 {
		t.Errorf("%d octets of %d responses are held after their time, %d counted", octets, n, m.gw.e.counts.cached)
	}
}

// TestSAsOfAnIdentityAreBounded: who has logged in often and kept all tickets
// cannot have an SA of each. The one heard longest ago goes.
func TestSAsOfAnIdentityAreBounded(t *testing.T) {
	m := newFlood(t, "identity", func(l *Limits) { l.SAsOfPeer = 4 })
	first := m.gw.live()[0].handle()
	m.another("two.clients.test", 0)
	for n := range 20 {
		m.now = m.now.Add(time.Second)
		m.another("one.clients.test", n+1)
	}
	of := map[string]int{}
	for _, sa := range m.gw.live() {
		of[string(sa.peer[1:])]++
	}
	if of["one.clients.test"] != 4 || of["two.clients.test"] != 1 || m.gw.e.sa(first) != nil {
		t.Errorf("SAs: %v", of)
	}
}

// TestSurvivorsAreBounded: ESP SPIs of before a crash.
func TestSurvivorsAreBounded(t *testing.T) {
	m := newFlood(t, "survivors", func(l *Limits) { l.Survivors = 10 })
	list := make([]Survivor, 40)
	for i := range list {
		list[i].ESPSPI = uint32(1000 + i)
	}
	m.gw.e.Command(m.now, Command{Kind: CommandSurvivors, Survivors: list})
	if n := len(m.gw.e.survivors); n != 10 {
		t.Errorf("%d are kept", n)
	}
}

// TestPlainESPNoticesAreShared (rule A8): the shards have one budget together.
func TestPlainESPNoticesAreShared(t *testing.T) {
	w := newWorld(t, "esp", quiet, func(gw, _ *Config) { gw.Shards = 4 })
	sent := 0
	for i := range 1000 {
		w.gw.e.Plane(w.now, Report{Kind: ReportUnknownSPI, SPI: uint32(5000 + i), Local: gwAddr, Remote: clAddr, Length: 1400})
		for o, ok := w.gw.e.Next(); ok; o, ok = w.gw.e.Next() {
			if o.Kind == OutputSend {
				sent++
			}
		}
	}
	if sent != plainESPNotices/4 {
		t.Errorf("a shard of four sends %d", sent)
	}
}

// TestCookieForWaitingMessages: a queue of strangers is as good a reason for a
// COOKIE as half-open SAs are; who has one waits in a queue of its own.
func TestCookieForWaitingMessages(t *testing.T) {
	w := newWorld(t, "waiting", quiet, func(gw, _ *Config) { gw.Limits.Questions, gw.Limits.CookieAt = 1, 20 })
	w.gw.hook = func(q *Question) { q.Kind = 0 } // the workers are busy for ever
	first := w.initRequest()
	for i := range 100 {
		binary.BigEndian.PutUint64(first, uint64(i+1)<<20)
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(i), 0, 7}), 500)
		w.give(w.gw, Packet{Local: gwAddr, Remote: from, Data: first})
		w.advanceNodes()
		w.flight = nil
	}
	e := w.gw.e
	if n := e.first.strange.len() + e.counts.half; n != 20 || e.Counters[DropCookie] != 80 {
		t.Errorf("%d wait or are half-open, %d were asked for a COOKIE", n, e.Counters[DropCookie])
	}
	w.connect()
	if n := e.first.proved.len(); n != 1 {
		t.Errorf("%d with a COOKIE wait", n)
	}
}

// TestReassembliesAreBounded: of all SAs together so many messages lie about in
// pieces, for half a minute.
func TestReassembliesAreBounded(t *testing.T) {
	m := newFlood(t, "pieces", func(l *Limits) { l.Reassemblies = 4 })
	for n := range 9 {
		m.another(fmt.Sprintf("c%d.clients.test", n), 0)
	}
	for _, c := range m.cl.live() {
		m.cl.e.at(m.now)
		w := m.cl.e.compose(c, wire.ExchangeInformational, false, 2)
		w.Raw(200, make([]byte, 3000))
		all := m.cl.e.protect(c, 0)
		h, err := wire.ParseHeader(all)
		if err != nil || int(h.Length) >= len(all) {
			t.Fatalf("the message is in one piece: %v", err)
		}
		m.give(m.gw, Packet{Local: gwAddr, Remote: clAddr, Data: all[:h.Length]})
	}
	if e := m.gw.e; e.counts.pieces != 4 || e.Counters[DropFull] != 6 {
		t.Errorf("%d messages in pieces, %d refused", e.counts.pieces, e.Counters[DropFull])
	}
	if m.run(31 * time.Second); m.gw.e.counts.pieces != 0 {
		t.Errorf("%d messages in pieces after half a minute", m.gw.e.counts.pieces)
	}
}

// TestTombstonesAreBounded: the oldest goes first (rule A4).
func TestTombstonesAreBounded(t *testing.T) {
	tombs := &newFlood(t, "tombs", func(l *Limits) { l.Tombstones = 10 }).gw.e.tombs
	for i := range 1000 {
		tombs.add(wire.SPI(i + 1))
	}
	if tombs.at.Len() != 10 || len(tombs.ring) != 10 || !tombs.has(1000) || !tombs.has(991) || tombs.has(990) {
		t.Errorf("%d are kept: %v", tombs.at.Len(), tombs.ring)
	}
}
