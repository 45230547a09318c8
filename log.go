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
	}
	if ev, ok := publicEvent(now, x); ok {
		s.tellEvent(ev)
	}
}

// tellEvent counts ev, writes it to the log and tells the owner.
func (s *shard) tellEvent(ev Event) {
	s.count(&ev)
	s.log.event(&ev)
	if s.node.cfg.OnEvent != nil {
		s.node.cfg.OnEvent(ev)
	}
}

// publicEvent is x as the API shows it.
func publicEvent(now time.Time, x *ike.Event) (Event, bool) {
	ev := Event{At: now, Peer: identityText(x.Identity), Remote: x.Remote, Reason: x.Reason, Err: x.Err}
	if x.Connection != nil {
		ev.Connection = x.Connection.Name
	}
	if x.SPIs != (wire.SPIs{}) {
		ev.SPIi, ev.SPIr = x.SPIs.I.String(), x.SPIs.R.String()
	}
	switch x.Kind {
	case ike.EventEstablished:
		ev.Kind = Established
		if x.Resumed {
			ev.Kind = Resumed
		}
	case ike.EventDetected:
		ev.Kind, ev.By = Detected, x.By.String()
	case ike.EventResuming:
		ev.Kind, ev.By = Resuming, x.By.String()
	default:
		ev.Kind = kinds[x.Kind]
	}
	return ev, ev.Kind != ""
}

var kinds = map[ike.EventKind]EventKind{
	ike.EventConfirmed: Confirmed, ike.EventDown: Down, ike.EventFallback: FellBack, ike.EventFailed: Failed,
	ike.EventChildFailed: ChildFailed, ike.EventTicket: Ticket, ike.EventRefused: Refused,
}

// identityText is an identity as people write it: type octet and data.
func identityText(id []byte) string {
	if len(id) == 0 {
		return ""
	}
	return wire.ID{Type: wire.IDType(id[0]), Data: id[1:]}.String()
}

func (s *shard) count(ev *Event) {
	t := &s.totals
	switch ev.Kind {
	case Established:
		t.Established++
		t.Full++
	case Resumed:
		t.Established++
		t.Resumed++
	case Confirmed:
		t.Confirmed++
	case Detected:
		if t.Detected == nil {
			t.Detected = map[string]uint64{}
		}
		t.Detected[ev.By]++
		if s.node.role == RoleClient {
			t.detected = ev.By
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

func (l *logbook) event(ev *Event) {
	if !l.room(ev.At) {
		if l.skipped == nil {
			l.skipped = map[EventKind]int{}
		}
		l.skipped[ev.Kind]++
		l.tellAt = l.second.Add(time.Second)
		return
	}
	level := slog.LevelInfo
	switch ev.Kind {
	case Failed, Refused, ChildFailed, FellBack:
		level = slog.LevelWarn
	case Ticket, Confirmed:
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, words[ev.Kind], ev.attributes()...)
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
	Ticket: "ticket", Down: "sa down",
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
