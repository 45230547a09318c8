package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"blackswan"
	"blackswan/internal/child"
	"blackswan/internal/ladder"
)

// supervisor starts, kills and reads the two processes.
type supervisor struct {
	Options
	spec     spec
	news     chan news // closed when the process with the clients ends
	clients  *child.Process
	lives    []life // of each client
	up, back int    // clients
	rungs    []ladder.Rung
}

// life is what a client told of itself.
type life struct {
	connected, detected, returned time.Time
	full, resume                  traffic // of the handshake; of detection and resume
	by                            string
	resumed, fellBack             bool
	trouble                       string // what went wrong last
}

// errLate is of await.
var errLate = errors.New("some clients are late")

func (s *supervisor) run(ctx context.Context) (*Report, error) {
	gateway, first, err := s.startGateway(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { gateway.Kill() }()
	if len(first.Addresses) != 2 {
		return nil, fmt.Errorf("demo: the gateway listens at %v: an IKE port and a NAT traversal port were expected", first.Addresses)
	}
	s.spec.Gateway, s.spec.NATPort = first.Addresses[0], first.Addresses[1].Port()
	idle, err := usageOf(gateway)
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	defer s.clients.Kill()
	connected, err := usageOf(gateway)
	if err != nil {
		return nil, err
	}

	s.say("all connected; SIGKILL to the gateway, process %d", gateway.PID())
	gateway.Kill()
	gateway, again, err := s.restartGateway(ctx, gateway)
	if err != nil {
		return nil, err
	}
	s.say("the gateway listens again, process %d", gateway.PID())
	restarted, err := usageOf(gateway)
	if err != nil {
		return nil, err
	}
	// Who is late is told in the report: no error of the demo.
	if err := s.await(ctx, &s.back); err != nil && !errors.Is(err, errLate) {
		return nil, err
	}
	done, err := usageOf(gateway)
	if err != nil {
		return nil, err
	}
	report := s.report(time.Unix(0, again.At))
	report.GatewayCPUFull = perClient(connected.CPU-idle.CPU, len(s.lives))
	report.GatewayCPUResume = perClient(done.CPU-restarted.CPU, len(s.lives))
	report.Wire = done.Wire
	return report, nil
}

func (s *supervisor) startGateway(ctx context.Context) (*child.Process, listening, error) {
	var first listening
	file, err := s.spec.write(roleGateway)
	if err != nil {
		return nil, first, err
	}
	p, err := child.Start(roleGateway, s.Command(ctx, roleGateway, file))
	if err != nil {
		return nil, first, fmt.Errorf("demo: %w", err)
	}
	return p, first, p.Read(&first)
}

// restartGateway returns the dead process too, so that there is always one to
// kill.
func (s *supervisor) restartGateway(ctx context.Context, dead *child.Process) (*child.Process, listening, error) {
	p, again, err := s.startGateway(ctx)
	if err != nil {
		return dead, again, err
	}
	return p, again, nil
}

// connect starts the clients and returns when all have what survives a crash.
func (s *supervisor) connect(ctx context.Context) (err error) {
	file, err := s.spec.write(Clients)
	if err != nil {
		return err
	}
	s.say("the gateway listens at %v; %d clients connect", s.spec.Gateway, len(s.lives))
	if s.clients, err = child.Start(Clients, s.Command(ctx, Clients, file)); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	go s.listen()
	if err := s.await(ctx, &s.up); err != nil {
		if errors.Is(err, errLate) {
			err = fmt.Errorf("demo: %d of %d clients connected: %s", s.up, len(s.lives), s.trouble())
		}
		s.clients.Kill()
		return err
	}
	select {
	case <-time.After(settle):
		return nil
	case <-ctx.Done():
		s.clients.Kill()
		return context.Cause(ctx)
	}
}

// listen hands on what the clients tell.
func (s *supervisor) listen() {
	defer close(s.news)
	child.Lines(s.clients, func(n news) { s.news <- n })
}

// await takes news until count is all clients.
func (s *supervisor) await(ctx context.Context, count *int) error {
	late := time.NewTimer(30*time.Second + time.Duration(len(s.lives))*30*time.Millisecond)
	defer late.Stop()
	for *count < len(s.lives) {
		select {
		case n, ok := <-s.news:
			if !ok {
				return fmt.Errorf("demo: the process with the clients ended%s", s.clients.Said())
			}
			s.take(n)
		case <-late.C:
			return errLate
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// take notes what a client tells.
func (s *supervisor) take(n news) {
	if n.Client < 0 || n.Client >= len(s.lives) {
		return
	}
	l, at := &s.lives[n.Client], time.Unix(0, n.At)
	s.rungs = append(s.rungs, n.Rungs...)
	switch n.Kind {
	case blackswan.Detected:
		if l.detected.IsZero() {
			l.detected, l.by = at, n.By
		}
	case blackswan.FellBack:
		l.fellBack = true
	case blackswan.Established, blackswan.Resumed:
		switch {
		case l.connected.IsZero():
			l.connected, l.full = at, n.Seen
			s.up++
		case l.returned.IsZero():
			l.returned, l.resumed = at, n.Kind == blackswan.Resumed
			l.resume = traffic{Octets: n.Seen.Octets - l.full.Octets, Trips: n.Seen.Trips - l.full.Trips}
			s.back++
		}
	case blackswan.Failed, blackswan.ChildFailed, blackswan.Refused:
		l.trouble = n.Why
	}
}

// trouble is what a client that is late told last.
func (s *supervisor) trouble() string {
	for i := range s.lives {
		if l := &s.lives[i]; l.connected.IsZero() && l.trouble != "" {
			return l.trouble
		}
	}
	return "they told nothing: is this machine overloaded?"
}

func (s *supervisor) say(format string, args ...any) {
	if s.Progress != nil {
		fmt.Fprintf(s.Progress, format+"\n", args...)
	}
}

func usageOf(gateway *child.Process) (u usage, err error) {
	err = gateway.Ask("usage", &u)
	return u, err
}

func perClient(cpu time.Duration, clients int) float64 {
	return float64(cpu.Microseconds()) / float64(clients)
}
