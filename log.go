package blackswan

import (
	"context"
	"log/slog"
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// totals are what a shard counts by itself; the rest is the machine's.
type totals struct {
	Totals
	lost     uint64 // packets that no shard had room for, or that a failed commit held
	detected string // client: how the last loss was learned
}

// event takes an event of the machine. Some are orders to the node.
func (s *shard) event(now time.Time, o ike.Output) {
	x := o.Event
	switch x.Kind {
	case ike.EventKeys:
		s.node.logKeys(x)
		return
	case ike.EventInitialContact:
		s.node.others(s, ike.Command{Kind: ike.CommandInitialContact, Identity: append([]byte(nil), x.Identity...)})
		return
	case ike.EventCounterFull:
		s.node.nextEpoch()
		return
	case ike.EventDrained:
		s.node.shardDrained()
		return
	case ike.EventReloaded:
		s.reloading = false
		s.node.reloads.end(s.node.log)
		return
	case ike.EventUnfit:
		s.node.reloads.note(x.Connection.Name, x.Err.Error())
	}
	if x.Kind == ike.EventFailed && s.node.failed != nil {
		s.node.failed(x.Connection)
	}
	if kind := kindOf(x); kind != "" {
		s.tell(kind, x.By.String(), now, func() Event { return publicEvent(now, kind, x) })
	}
}

// tell counts an event, writes it to the log and tells the owner. In a storm
// most events are counted alone: what they look like is asked for at need.
func (s *shard) tell(kind EventKind, by string, now time.Time, looks func() Event) {
	s.count(kind, by)
	logged, told := s.log.takes(kind, now), s.node.cfg.OnEvent
	if !logged && told == nil {
		return
	}
	ev := looks()
	if logged {
		s.log.write(&ev)
	}
	if told != nil {
		told(ev)
	}
}

// kindOf is what the API calls x, "" if it does not tell it.
func kindOf(x *ike.Event) EventKind {
	if x.Kind == ike.EventEstablished && x.Resumed {
		return Resumed
	}
	if int(x.Kind) < len(kinds) {
		return kinds[x.Kind]
	}
	return ""
}

var kinds = [...]EventKind{
	ike.EventEstablished: Established, ike.EventConfirmed: Confirmed, ike.EventDown: Down, ike.EventDetected: Detected,
	ike.EventResuming: Resuming, ike.EventFallback: FellBack, ike.EventFailed: Failed, ike.EventChildFailed: ChildFailed,
	ike.EventTicket: Ticket, ike.EventRefused: Refused, ike.EventMoved: Moved, ike.EventRedirected: Redirected,
	ike.EventReauth: Reauthenticating, ike.EventOutlived: Outlived, ike.EventUnfit: Unfit,
	ike.EventRekeyed: Rekeyed, ike.EventChild: ChildMade,
}

// publicEvent is x as the API shows it.
func publicEvent(now time.Time, kind EventKind, x *ike.Event) Event {
	ev := Event{Kind: kind, At: now, Peer: identityText(x.Identity), Remote: x.Remote, Reason: x.Reason, Child: x.Child, Err: x.Err}
	if x.Connection != nil {
		ev.Connection = x.Connection.Name
	}
	if x.SPIs != (wire.SPIs{}) {
		ev.SPIi, ev.SPIr = x.SPIs.I.String(), x.SPIs.R.String()
	}
	if kind == Detected || kind == Resuming {
		ev.By = x.By.String()
	}
	return ev
}

// identityText is an identity as people write it: type octet and data.
func identityText(id []byte) string {
	if len(id) == 0 {
		return ""
	}
	return wire.ID{Type: wire.IDType(id[0]), Data: id[1:]}.String()
}

func (s *shard) count(kind EventKind, by string) {
	t := &s.totals
	switch kind {
	case Established:
		t.Established++
		t.Full++
		s.node.memory.made.Add(1)
	case Resumed:
		t.Established++
		t.Resumed++
		s.node.memory.made.Add(1)
	case Confirmed:
		t.Confirmed++
	case Detected:
		if t.Detected == nil {
			t.Detected = map[string]uint64{}
		}
		t.Detected[by]++
		if s.node.role == RoleClient {
			t.detected = by
		}
	case FellBack:
		t.FellBack++
	case Failed:
		t.Failed++
	case Refused:
		t.Refused++
	case ChildFailed:
		t.ChildFailed++
	case Ticket:
		t.Tickets++
	case Down:
		t.Down++
	}
}

// logbook writes events to the log: so many lines a second, and of the others
// how many they were. In a storm the log would cost more than the clients.
type logbook struct {
	log     *slog.Logger
	second  time.Time // the window began
	lines   int
	skipped map[EventKind]int
	tellAt  time.Time // when the skipped are told
}

const linesPerSecond = 20

// room reports whether the log takes another line now.
func (l *logbook) room(now time.Time) bool {
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	l.lines++
	return l.lines <= linesPerSecond
}

// takes reports whether an event gets a line of its own; one that the log would
// show and has no room for is counted.
func (l *logbook) takes(kind EventKind, now time.Time) bool {
	if !l.log.Enabled(context.Background(), level(kind)) {
		return false
	}
	if l.room(now) {
		return true
	}
	if l.skipped == nil {
		l.skipped = map[EventKind]int{}
	}
	l.skipped[kind]++
	l.tellAt = l.second.Add(time.Second)
	return false
}

func (l *logbook) write(ev *Event) {
	l.log.Log(context.Background(), level(ev.Kind), words[ev.Kind], ev.attributes()...)
}

func level(kind EventKind) slog.Level {
	switch kind {
	case Failed, Refused, ChildFailed, FellBack:
		return slog.LevelWarn
	case Ticket, Confirmed, Rekeyed, ChildMade:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// due tells how many events were not told one by one.
func (l *logbook) due(now time.Time) {
	if l.tellAt.IsZero() || now.Before(l.tellAt) {
		return
	}
	var args []any
	for k, n := range l.skipped {
		args = append(args, string(k), n)
	}
	l.log.Info("and more within a second", args...)
	l.skipped, l.tellAt = nil, time.Time{}
}

func (l *logbook) warn(now time.Time, what string, err error) {
	if l.room(now) {
		l.log.Warn(what, "error", err)
	}
}

var words = map[EventKind]string{
	Established: "connected", Resumed: "resumed", Confirmed: "resume confirmed", Detected: "peer lost the sa", Resuming: "resuming",
	FellBack: "full handshake in spite of a ticket", Failed: "attempt failed", Refused: "peer refused", ChildFailed: "no child sa",
	Ticket: "ticket", Down: "sa down", Moved: "moved", Redirected: "sent to another gateway", Reauthenticating: "authenticating again",
	Outlived: "its time is over", Unfit: "the connection does not have it any more", Rekeyed: "rekeyed", ChildMade: "child sa",
}

func (ev *Event) attributes() (args []any) {
	add := func(key, value string) {
		if value != "" {
			args = append(args, key, value)
		}
	}
	add("connection", ev.Connection)
	add("peer", ev.Peer)
	if ev.Remote.IsValid() {
		add("remote", ev.Remote.String())
	}
	add("spi_i", ev.SPIi)
	add("spi_r", ev.SPIr)
	add("by", ev.By)
	add("reason", ev.Reason)
	add("child", ev.Child)
	if ev.Err != nil {
		args = append(args, "error", ev.Err)
	}
	return args
}

func (n *node) logKeys(x *ike.Event) {
	if err := n.keys.SA(uint64(x.SPIs.I), uint64(x.SPIs.R), x.Suite, x.EI, x.ER, x.AI, x.AR); err != nil {
		n.log.Error("the key log was not written", "error", err)
	}
}
