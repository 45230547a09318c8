package sim

import (
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// line is what waits for a shard of a gateway that takes its time: the receive
// buffer of its socket, and the key agreements that its pool has not done yet.
type line struct {
	waiting []arrival
	taken   int       // since the shard last looked at the clock
	busy    bool      // serve is planned
	free    time.Time // the shard has done what it is at
	pool    time.Time // the pool has done all that it was given
	puts    int       // packets put out by the input at hand
}

type arrival struct {
	p  ike.Packet
	at time.Time
}

// batch is how many messages a shard takes between two looks at the clock.
const batch = 64

// arrive takes a packet at once, or when those before it are done with.
func (m *machine) arrive(p ike.Packet) {
	if m.w.message == 0 {
		m.packet(p)
		return
	}
	l := &m.line
	l.waiting = append(l.waiting, arrival{ownPacket(p), m.w.now})
	if !l.busy {
		l.busy = true
		m.serve()
	}
}

// serve does one thing and plans the next for when it is done.
func (m *machine) serve() {
	l := &m.line
	due := m.isDue && !m.due.After(m.w.now)
	switch {
	case l.free.After(m.w.now):
	case due && (l.taken >= batch || len(l.waiting) == 0):
		l.taken = 0
		m.advance()
	case len(l.waiting) == 0:
		l.busy = false
		return
	default:
		a := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.taken++
		l.puts = 0
		a.p.Waited = m.w.now.Sub(a.at)
		cookies := m.e.Counters[ike.DropCookie]
		m.packet(a.p)
		m.spend(m.costs(a.p, cookies))
	}
	m.after(max(l.free.Sub(m.w.now), 0), m.serve)
}

// costs is about what the program needs for the packet that was just taken, in
// parts of a message that makes an SA. Before it so many COOKIEs had been asked for.
func (m *machine) costs(p ike.Packet, cookies uint64) time.Duration {
	switch h, _ := wire.ParseHeader(p.Data); {
	case m.e == nil, m.line.puts == 0: // read, judged and dropped
		return m.w.message / 8
	case m.e.Counters[ike.DropCookie] > cookies:
		return m.w.message / 4
	case h.Exchange == wire.ExchangeInformational:
		return m.w.message / 2
	}
	return m.w.message
}

// spend keeps the shard busy.
func (m *machine) spend(d time.Duration) { m.line.free = later(m.line.free, m.w.now).Add(d) }

// work is how long the answer to a question takes, behind those before it.
func (m *machine) work() time.Duration {
	if _, gateway := m.owner.(*Gateway); !gateway || m.w.agreement == 0 {
		return 0
	}
	m.line.pool = later(m.line.pool, m.w.now).Add(m.w.agreement)
	return m.line.pool.Sub(m.w.now)
}
