// Package storm is many clients in one process: it connects them to a gateway,
// ours or another's, lets the gateway crash, and judges how they come back. The
// clients are the machine of package ike, as a real client runs it; what they
// lack is goroutines, sockets and disks of their own.
package storm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"blackswan"
)

// Options of Run.
type Options struct {
	Clients int

	// Self starts a gateway of our own as a child on the loopback interface,
	// and kills it; Gateway, NATPort, PSK and Crash are then made up. So many
	// CPUs are the gateway's alone, if there are more; 0: it shares all.
	Self  bool
	Cores int

	Gateway   netip.AddrPort // its IKE port
	NATPort   uint16         // its port for NAT traversal
	GatewayID string         // "": whoever proves itself
	Libreswan bool           // resume as that peer understands it

	From  netip.Prefix // addresses of the clients; none: chosen by the gateway's
	Ports bool         // they have one address, and each a port of its own
	ID    string       // of the clients, with %d for the number
	Auth  string       // "psk" or "cert"
	PSK   string
	CA    string // directory of the authority that issues the clients' certificates, and that issued the gateway's
	IKE   string // proposals
	ESP   string

	Rate         float64 // handshakes begun a second; 0: as fast as AtOnce allows
	AtOnce       int     // handshakes under way; 0: DefaultAtOnce
	Timers       Timers
	Weather      Weather
	Echo         bool // measure what echoes of UDP cost
	Resume       bool // every client resumes once without a crash
	Simultaneous bool // after the crash all clients resume at once, instead of each when it learns of it
	Patience     time.Duration

	Crash     Crash   // nil: none; it knows the gateway's process
	BreakRing bool    // with Self: no ticket is good any more after the crash
	Crashes   int     // how often, each amid the recovery from the one before; 0: once
	Process   Process // of the gateway, if it is on this machine

	// Command makes a command of our own program, for Self and Echo. Status
	// asks the gateway of a state directory, and Revoke has it drop the keys of
	// its tickets: for Self.
	Command func(ctx context.Context, args ...string) *exec.Cmd
	Status  func(dir string) (blackswan.Status, error)
	Revoke  func(dir string) error

	Progress io.Writer // a bar and words; nil: none

	cores cores // what Cores made of this machine's
}

// MaxClients is what the storm has room for.
const MaxClients = 1 << 20

// ErrOptions is what Run cannot do.
var ErrOptions = errors.New("storm")

// garbage is the part of what the clients hold, in per cent, that may lie
// beside it: a hundred thousand clients fit into 300 MB.
const garbage = 20

// settle is a moment in which everything is written that is written behind: the
// roll call is on disk a second late at most (rule C2). After many clients a
// gateway of ours has also given back the memory that it does not need.
func (s *storm) settle(ctx context.Context) error {
	if s.Clients < 1000 {
		return pause(ctx, 1200*time.Millisecond)
	}
	return pause(ctx, 3*time.Second)
}

// storm is one run.
type storm struct {
	*plan
	own     *own // with Self
	crowds  []*crowd
	running sync.WaitGroup
	began   time.Time
	again   time.Time // the gateway listens again
	bar     bar
}

// Run connects the clients, lets the gateway crash if it may, and returns what
// it saw. That not every client came back is in the report, not an error.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if o.Clients < 1 || o.Clients > MaxClients {
		return nil, fmt.Errorf("%w: %d clients: choose 1 to %d", ErrOptions, o.Clients, MaxClients)
	}
	var gateway *own
	if o.Self {
		if o.cores, err = part(o.Cores); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, o.cores.join()) }()
		if gateway, err = raise(ctx, &o); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, gateway.fall()) }()
	}
	p, err := o.ready()
	if err != nil {
		return nil, err
	}
	if o.Process == "" && o.Crash != nil {
		if o.Process, err = o.Crash.process(ctx); err != nil {
			return nil, err
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbage))
	ctx, stop := context.WithCancel(ctx)
	s := &storm{plan: p, own: gateway, began: time.Now(), bar: bar{to: o.Progress}}
	defer s.running.Wait()
	defer stop()
	if err := s.gather(ctx); err != nil {
		return nil, err
	}
	return s.run(ctx)
}

// gather makes the crowds: one for each CPU.
func (s *storm) gather(ctx context.Context) error {
	n := min(runtime.GOMAXPROCS(0), s.Clients)
	for i := range n {
		first, end := s.Clients*i/n, s.Clients*(i+1)/n
		c, err := newCrowd(s.plan, first, end-first, s.began)
		if err != nil {
			return err
		}
		s.crowds = append(s.crowds, c)
		s.running.Go(func() { c.run(ctx) })
	}
	return nil
}

func (s *storm) run(ctx context.Context) (_ *Report, err error) {
	r := &Report{Clients: s.Clients, GatewayCores: s.cores.n, BrokenRing: s.BreakRing}
	before := s.Process.usage()
	began := time.Now()
	if err := s.walk(ctx, "connect", (*crowd).connect, s.pace(), s.Clients); err != nil {
		return nil, err
	}
	took := time.Since(began)
	if n := s.live(); n < s.Clients {
		return nil, fmt.Errorf("storm: %d of %d clients connected%s", n, s.Clients, s.trouble(ctx))
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	s.full(ctx, r, before, s.Process.usage(), took)
	if s.Echo {
		if r.EchoCPU, err = s.echoCPU(ctx); err != nil {
			return nil, err
		}
	}
	if s.Resume {
		before := s.Process.usage()
		if err := s.walk(ctx, "resume", (*crowd).lose, s.pace(), s.Clients); err != nil {
			return nil, err
		}
		r.GatewayCPUQuiet = s.perClient(before, s.Process.usage())
		if err := s.settle(ctx); err != nil {
			return nil, err
		}
	}
	if s.Crash != nil {
		if err := s.recover(ctx, r); err != nil {
			return nil, err
		}
	}
	s.finish(r)
	return r, nil
}

// pace is that of the options, for each crowd.
func (s *storm) pace() pace {
	n := len(s.crowds)
	if s.Rate > 0 {
		return pace{every: time.Duration(float64(n) / s.Rate * float64(time.Second))}
	}
	return pace{atOnce: max(cmp.Or(s.AtOnce, DefaultAtOnce)/n, 1)}
}

// walk has every client act, and returns when all have an SA or too much time
// has passed.
func (s *storm) walk(ctx context.Context, what string, act func(*crowd, time.Time, int), p pace, wanted int) error {
	for _, c := range s.crowds {
		err := c.do(ctx, func(now time.Time) {
			p.due = now
			c.turn = turn{act: func(now time.Time, i int) { act(c, now, i) }, end: len(c.clients), pace: p}
		})
		if err != nil {
			return err
		}
	}
	return s.await(ctx, what, wanted)
}

// await waits until so many clients have an SA and their turns are over.
func (s *storm) await(ctx context.Context, what string, wanted int) error {
	late := time.NewTimer(s.patience())
	defer late.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	defer s.bar.end()
	for {
		select {
		case now := <-look.C:
			n := s.live()
			s.bar.show(now, what, n, s.Clients)
			if n >= wanted && (wanted < s.Clients || s.turnsOver(ctx)) {
				return nil
			}
		case <-late.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *storm) patience() time.Duration {
	return cmp.Or(s.Patience, time.Minute+time.Duration(s.Clients)*2*time.Millisecond)
}

// turnsOver asks the crowds: every client has acted and has an SA.
func (s *storm) turnsOver(ctx context.Context) bool {
	over := true
	for _, c := range s.crowds {
		_ = c.do(ctx, func(time.Time) { over = over && c.turn.next == c.turn.end && c.underWay() == 0 })
	}
	return over
}

func (s *storm) live() (n int) {
	for _, c := range s.crowds {
		n += int(c.seen.live.Load())
	}
	return n
}

// trouble is what a client told last, to end a sentence.
func (s *storm) trouble(ctx context.Context) (why string) {
	for _, c := range s.crowds {
		_ = c.do(ctx, func(time.Time) {
			if c.trouble != "" {
				why = ": " + c.trouble
			}
		})
	}
	return why
}

// recover lets the gateway crash and waits until every client is back. It
// crashes again when half of them are, if it is to crash more often.
func (s *storm) recover(ctx context.Context, r *Report) error {
	for n := max(s.Crashes, 1); n > 0; n-- {
		dead := s.Process.usage()
		if err := s.crash(ctx); err != nil {
			return err
		}
		wanted := s.Clients
		if n > 1 {
			wanted /= 2
		}
		before := s.look()
		if s.own == nil && before.gateway.pid != dead.pid { // clients may be back before whoever started it returns
			before.gateway.cpu = 0
		}
		var err error
		if s.Simultaneous {
			err = s.walk(ctx, "resume at once", (*crowd).lose, pace{}, wanted)
		} else {
			err = s.await(ctx, "come back", wanted)
		}
		if err != nil {
			return err
		}
		s.recovered(ctx, r, before)
	}
	return nil
}

// crash returns when the gateway was killed and listens again.
func (s *storm) crash(ctx context.Context) (err error) {
	if s.BreakRing && s.own != nil {
		s.bar.say("the keys of all tickets are dropped")
		if err := s.Revoke(s.own.state()); err != nil {
			return err
		}
	}
	s.bar.say("SIGKILL to the gateway")
	if err := s.Crash.kill(ctx); err != nil {
		return err
	}
	s.each(ctx, func(c *crowd, _ time.Time) { c.crash() })
	if s.again, err = s.Crash.start(ctx); err != nil {
		return err
	}
	s.bar.say("the gateway listens again")
	s.Process, err = s.Crash.process(ctx)
	return err
}

// each has f done by every crowd.
func (s *storm) each(ctx context.Context, f func(*crowd, time.Time)) {
	for _, c := range s.crowds {
		_ = c.do(ctx, func(now time.Time) { f(c, now) })
	}
}

func (s *storm) repeated() (n int64) {
	for _, c := range s.crowds {
		n += c.seen.repeated.Load()
	}
	return n
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
