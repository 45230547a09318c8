package blackswan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"blackswan/dataplane"
	"blackswan/ike"
	"blackswan/internal/keylog"
	"blackswan/internal/state"
	"blackswan/internal/udp"
	"blackswan/ticket"
)

// node is what a Gateway and a Client have in common: a state, some shards with
// their sockets, a data plane.
type node struct {
	cfg   Config
	role  Role
	log   *slog.Logger
	dir   *state.Dir // nil: nothing survives
	boot  *state.Boot
	plane dataplane.Plane // nil: no traffic is carried
	keys  *keylog.Log     // nil: keys are not logged
	peers atomic.Pointer[[]*peer]
	ring  atomic.Pointer[[]ticket.Key]

	turn    sync.Mutex // of reloads, and of a client's order to connect
	reloads reloads

	reading    sync.Mutex // of the ring
	complained time.Time  // when it was said last that nobody turns a shared ring

	count  int
	shards []*shard
	tokens bool
	notes  []string
	began  time.Time
	seed   maphash.Seed  // by which the data plane tells peers apart
	cpu    time.Duration // of the process at began

	ownDevice bool         // the device of the plane is a TUN that we made
	host      *host        // nil: nothing of the host is changed
	encap     bool         // ESP always goes in UDP (rule G4)
	lost      chan error   // Run ends: the plane lost its device or its sockets, or nil
	drained   atomic.Int32 // shards that have sent everybody away

	here   func() (netip.AddrPort, bool) // our address towards the gateway now, if it is known
	failed func(*ike.Connection)         // client: an attempt has failed

	roams    bool           // we send from whichever address the system chooses
	anywhere netip.AddrPort // that address

	unreached chan netip.AddrPort // client: where a packet of ours did not arrive

	commit     func([]durable) error   // nil: nothing is durable
	keepTicket func(*ike.Record) error // client: into the jar, or out of it

	restored restored
	memory   crowdMemory
	mu       sync.Mutex
	ran      bool // run was called
	ended    bool // close was called
	stop     chan struct{}
	running  sync.WaitGroup // shards and what serves them
	errands  errands
	closing  sync.Once
	closed   error
}

// newNode makes everything but the goroutines of the shards. The epoch of this
// start is durable before a socket is open (rule F6).
func newNode(cfg Config, role Role) (*node, error) {
	peers, err := cfg.ready(role)
	if err != nil {
		return nil, err
	}
	n := &node{cfg: cfg, role: role, log: cfg.Log, began: time.Now(), cpu: cpuTime(), stop: make(chan struct{}), lost: make(chan error, 1), unreached: make(chan netip.AddrPort, 1), seed: maphash.MakeSeed()}
	n.here = func() (netip.AddrPort, bool) { return netip.AddrPort{}, false }
	n.peers.Store(&peers)
	if n.log == nil {
		n.log = slog.Default()
	}
	if err := n.openPlane(); err != nil {
		return nil, err
	}
	n.count = cfg.Shards
	if n.count == 0 {
		n.count = 1
		if role == RoleGateway {
			n.count = min(runtime.NumCPU(), udp.MaxGroup)
		}
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *node) open() error {
	if err := n.start(); err != nil {
		return err
	}
	if n.cfg.KeyLog != "" {
		keys, err := keylog.New(n.cfg.KeyLog)
		if err != nil {
			return fmt.Errorf("blackswan: key log: %w", err)
		}
		n.keys = keys
	}
	if err := n.openHost(); err != nil {
		return err
	}
	ports, err := n.cfg.open(n.role, n.count, udp.Config{ESP: n.stray(), Mark: n.mark(), Unreachable: n.heedICMP()})
	if err != nil {
		return err
	}
	n.attach(ports)
	n.roams = n.role == RoleClient && len(n.cfg.Listen) == 0
	machine := n.machine(ports[0])
	for i, port := range ports {
		machine.Shard = i
		e, eerr := ike.New(machine, rand.Reader, n.began)
		err = errors.Join(err, eerr)
		n.shards = append(n.shards, newShard(n, i, e, port))
	}
	if err != nil {
		return err
	}
	return n.restore()
}

// start takes the epoch and the secrets of this start.
func (n *node) start() (err error) {
	if n.cfg.StateDir == "" {
		n.boot, err = state.ThrowAway(n.began, rand.Reader)
		n.tokens = n.cfg.QCD != "off"
		return err
	}
	opt := state.Options{MachineID: n.cfg.MachineID, SealPeriod: sealPeriod, TicketLife: n.cfg.ticketLife()}
	if len(n.cfg.StateKey) > 0 {
		key, err := state.ParseStateKey(n.cfg.StateKey)
		if err != nil {
			return err
		}
		opt.Key = &key
	}
	if n.dir, err = state.Open(n.cfg.StateDir, opt); err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	if n.boot, err = n.dir.Boot(context.Background(), n.began, rand.Reader); err != nil {
		return fmt.Errorf("blackswan: %w", err)
	}
	if n.cfg.TicketKeys != "" {
		if n.boot.Ring, err = state.ReadRing(n.cfg.TicketKeys); err != nil {
			return fmt.Errorf("blackswan: %w", err)
		}
	}
	n.ring.Store(&n.boot.Ring)
	n.complain(n.began)
	n.advise()
	for _, note := range n.boot.Notes {
		n.note(note)
	}
	n.tokens = n.cfg.QCD != "off"
	if n.tokens && n.cfg.QCD != "on" && !n.boot.First && !n.boot.SPI.Earlier { // rule A9
		n.tokens = false
		n.note("tokens (qcd: auto) are off: nobody can tell whether another machine works with a copy of this state. 'blackswan state adopt' turns them on again")
	}
	return nil
}

// note keeps what a person should know, and says it.
func (n *node) note(text string) {
	n.mu.Lock()
	n.notes = append(n.notes, text)
	n.mu.Unlock()
	n.log.Warn(text)
}

// advise says what is allowed and yet unwise.
func (n *node) advise() {
	if n.role == RoleClient {
		return
	}
	for _, text := range advice(*n.peers.Load(), n.began) {
		n.note(text)
	}
}

// run starts the goroutines, unless n was closed before.
func (n *node) run() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return
	}
	n.ran = true
	for _, s := range n.shards {
		n.running.Go(func() { s.run(n.stop) })
	}
	if n.host != nil {
		n.running.Go(func() { n.host.keep(n.stop) })
	}
	if n.plane != nil && n.plane.Reports() != nil {
		n.running.Go(func() { n.carryReports(n.plane.Reports()) })
	}
	if n.dir != nil {
		n.running.Go(n.housekeep)
	}
	if n.role == RoleGateway {
		n.running.Go(func() { n.memory.watch(n.stop, n.rest) })
	}
	switch {
	case n.cfg.listen != nil: // a network in memory has no machine
	case n.role == RoleGateway:
		n.running.Go(n.watchClones)
	default:
		n.running.Go(n.watchLinks)
	}
	if n.role == RoleClient {
		n.running.Go(n.watchICMP)
	}
}

// rest gives up what only a storm needs.
func (n *node) rest() {
	for _, s := range n.shards {
		s.port.Rest()
	}
}

// close ends the goroutines, writes what is behind and closes everything. It
// says nothing to any peer.
func (n *node) close() error {
	n.closing.Do(func() {
		n.mu.Lock()
		n.ended = true
		ran := n.ran
		n.mu.Unlock()
		close(n.stop)
		for _, s := range n.shards {
			if !ran {
				s.end()
			}
			<-s.done
		}
		var errs []error
		if n.plane != nil {
			errs = append(errs, n.plane.Close())
		}
		n.running.Wait()
		n.errands.wait()
		for _, s := range n.shards {
			errs = append(errs, s.port.Close())
		}
		if n.host != nil {
			errs = append(errs, n.host.net.Close())
		}
		if n.keys != nil {
			errs = append(errs, n.keys.Close())
		}
		if n.dir != nil {
			errs = append(errs, n.dir.Close())
		}
		n.closed = errors.Join(errs...)
	})
	return n.closed
}

// all gives a command to every shard.
func (n *node) all(c ike.Command) { n.others(nil, c) }

// others gives a command to every shard but one. A shard whose channel is full
// gets it late, from a goroutine of its own: no shard waits for another.
func (n *node) others(but *shard, c ike.Command) {
	for _, s := range n.shards {
		if s == but {
			continue
		}
		order := func(now time.Time) { s.command(now, c) }
		select {
		case s.calls <- order:
		default:
			n.errands.run("", func() { s.order(order) })
		}
	}
}

// errands are short tasks beside the shards.
type errands struct {
	mu    sync.Mutex
	open  map[string]bool
	ended bool
	group sync.WaitGroup
}

// run does f in a goroutine of its own, unless an errand of that name is under
// way already. An errand without a name always runs.
func (e *errands) run(name string, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended || name != "" && e.open[name] {
		return
	}
	if e.open == nil {
		e.open = map[string]bool{}
	}
	e.open[name] = true
	e.group.Go(func() {
		f()
		e.mu.Lock()
		delete(e.open, name)
		e.mu.Unlock()
	})
}

// wait lets no errand begin any more and waits for the last one.
func (e *errands) wait() {
	e.mu.Lock()
	e.ended = true
	e.mu.Unlock()
	e.group.Wait()
}
