package blackswan

import (
	"fmt"
	"os"
	"slices"
	"time"

	"blackswan/dataplane"
	"blackswan/ike"
	"blackswan/internal/udp"
)

// Status is a snapshot, taken by the shards one after the other. At most so
// many SAs are listed; a negative number lists all. It waits for Run.
func (n *node) Status(most int) Status {
	st := Status{
		Role: n.role.String(), Version: Version, PID: os.Getpid(), Since: n.began,
		Epoch: n.boot.SPI.Epoch, Node: n.boot.SPI.Node, Shards: n.count, Steered: steered(n.shards[0].port), Addresses: n.Addrs(),
		QCD: n.tokens, RollCall: n.cfg.RollCall,
		Counters: map[string]uint64{}, SAs: []SAStatus{}, CPU: cpuTime() - n.cpu, GC: gcTime(),
	}
	n.mu.Lock()
	st.Notes = slices.Clone(n.notes)
	n.mu.Unlock()
	if text := n.overdue(time.Now()); text != "" {
		st.Notes = append(st.Notes, text)
	}
	if st.RollCall == "" {
		st.RollCall = "ours"
	}
	if n.plane != nil {
		totals, drops := n.plane.Totals()
		st.Traffic = traffic(totals)
		st.Traffic.Device, st.Traffic.Drops = n.deviceName(), drops
	}
	st.Totals.Detected = map[string]uint64{}
	st.Totals.RollCall = n.restored.entries
	var packets udp.Stats
	for _, s := range n.shards {
		s.call(func(now time.Time) { s.snapshot(now, &st, most) })
		add(&packets, s.port.Stats())
	}
	st.Sockets = Sockets{
		InDatagrams: packets.In.Datagrams, InOctets: packets.In.Octets, OutDatagrams: packets.Out.Datagrams, OutOctets: packets.Out.Octets,
		InDropped:  packets.Overflow + packets.Oversized + packets.Malformed + packets.Broken,
		OutDropped: packets.Full + packets.Refused + packets.Unreachable + packets.TooLong + packets.Failed,
	}
	return st
}

// snapshot adds this shard to st.
func (s *shard) snapshot(now time.Time, st *Status, most int) {
	t, own, held := &st.Totals, &s.totals.Totals, s.e.Count()
	t.SAs += held.Established
	t.HalfOpen += held.HalfOpen
	t.Questions += held.Questions
	t.MostQuestions += held.MostQuestions
	t.RollCallLeft += held.RollCallLeft
	t.RollCallShown += held.RollCallShown
	t.PlainShown += s.e.Answered[0]
	t.TokensShown += s.e.Answered[1]
	for _, f := range []struct{ to, from *uint64 }{
		{&t.Established, &own.Established}, {&t.Full, &own.Full}, {&t.Resumed, &own.Resumed}, {&t.Confirmed, &own.Confirmed},
		{&t.FellBack, &own.FellBack}, {&t.Failed, &own.Failed}, {&t.Refused, &own.Refused}, {&t.ChildFailed, &own.ChildFailed},
		{&t.Down, &own.Down}, {&t.Tickets, &own.Tickets},
	} {
		*f.to += *f.from
	}
	for by, k := range own.Detected {
		t.Detected[by] += k
	}
	s.e.Counters.Each(func(reason string, k uint64) { st.Counters[reason] += k })
	if s.lost > 0 {
		st.Counters["lost"] += s.lost
	}
	s.e.Views(now, func(v ike.View) bool {
		if most >= 0 && len(st.SAs) >= most {
			st.Unseen++
		} else {
			st.SAs = append(st.SAs, s.saStatus(now, v))
		}
		return true
	})
}

func (s *shard) saStatus(now time.Time, v ike.View) SAStatus {
	sa := SAStatus{
		SPIi: v.SPIs.I.String(), SPIr: v.SPIs.R.String(), Ours: "r", Peer: identityText(v.Identity), Remote: v.Remote, NAT: v.Marker,
		State: v.State, Resumed: v.Resumed, Suite: v.Suite.String(), Heard: v.Silent, DetectedBy: s.detected,
	}
	if v.Original {
		sa.Ours = "i"
	}
	if v.Connection != nil {
		sa.Connection = v.Connection.Name
	}
	if v.Born != 0 {
		sa.Age = max(now.Sub(time.Unix(v.Born, 0)), 0)
	}
	if v.Child.In != 0 {
		first := s.childStatus(v.Child)
		sa.Child, sa.ChildIn, sa.ChildOut, sa.Mode, sa.Traffic = first.Name, first.In, first.Out, first.Mode, first.Traffic
	}
	for _, more := range v.More {
		c := s.childStatus(more)
		sa.Children = append(sa.Children, c)
		sa.Traffic.add(c.Traffic)
	}
	for _, w := range v.Wanted {
		wanted := WantedStatus{Name: w.Name, In: w.In}
		if w.Refusal != nil {
			wanted.Refused = w.Refusal.Error()
		}
		sa.Wanted = append(sa.Wanted, wanted)
	}
	if v.Ticket != 0 {
		sa.Ticket = time.Unix(v.Ticket, 0)
	}
	return sa
}

func (s *shard) childStatus(c ike.ChildView) ChildStatus {
	var carried dataplane.Traffic
	if s.node.plane != nil {
		carried, _ = s.node.plane.Traffic(c.In) // nothing if the plane refused it
	}
	status := ChildStatus{Name: c.Name, In: fmt.Sprintf("%08x", c.In), Out: fmt.Sprintf("%08x", c.Out), Traffic: traffic(carried)}
	if c.Transport {
		status.Mode = "transport"
	}
	return status
}

func (t *Traffic) add(more Traffic) {
	t.InPackets += more.InPackets
	t.InOctets += more.InOctets
	t.OutPackets += more.OutPackets
	t.OutOctets += more.OutOctets
	t.Dropped += more.Dropped
}

func traffic(t dataplane.Traffic) Traffic {
	return Traffic{InPackets: t.InPackets, InOctets: t.InOctets, OutPackets: t.OutPackets, OutOctets: t.OutOctets, Dropped: t.Dropped}
}
