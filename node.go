package blackswan

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"blackswan/dataplane"
	"blackswan/dataplane/keysonly"
	"blackswan/ike"
	"blackswan/internal/keylog"
	"blackswan/internal/state"
	"blackswan/internal/udp"
	"blackswan/internal/window"
	"blackswan/qcd"
	"blackswan/spi"
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
	plane dataplane.Plane
	keys  *keylog.Log // nil: keys are not logged
	peers atomic.Pointer[[]*peer]
	ring  atomic.Pointer[[]ticket.Key]

	count  int
	shards []*shard
	tokens bool
	notes  []string
	began  time.Time
	cpu    time.Duration // of the process at began

	roams    bool           // we send from whichever address the system chooses
	anywhere netip.AddrPort // that address

	commit func([]durable) error // nil: nothing is durable

	restored restored
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
	n := &node{cfg: cfg, role: role, log: cfg.Log, plane: cfg.Plane, began: time.Now(), cpu: cpuTime(), stop: make(chan struct{})}
	n.peers.Store(&peers)
	if n.log == nil {
		n.log = slog.Default()
	}
	if n.plane == nil {
		n.plane = keysonly.Open()
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
	ports, err := n.cfg.open(n.role, n.count)
	if err != nil {
		return err
	}
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
		n.boot, err = throwAway(n.began)
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
	n.ring.Store(&n.boot.Ring)
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
	n.notes = append(n.notes, text)
	n.log.Warn(text)
}

// throwAway is the state of a client that has none.
func throwAway(now time.Time) (*state.Boot, error) {
	b := &state.Boot{First: true, SPIKeys: make([]spi.Key, 1)}
	var err error
	if b.QCD, err = qcd.NewGenerations(rand.Reader); err != nil {
		return nil, err
	}
	if _, err = io.ReadFull(rand.Reader, b.SPIKeys[0].Secret[:]); err != nil {
		return nil, err
	}
	b.SPI.Epoch, err = spi.Epoch(0, now)
	b.SPI.Base = b.SPI.Epoch
	return b, err
}

// machine is the configuration of the Endpoints.
func (n *node) machine(port udp.Port) *ike.Config {
	local, nat := port.Ports()
	cfg := &ike.Config{
		Shards: n.count, Connections: connections(*n.peers.Load()),
		Boot: n.boot.SPI, SPIKeys: n.boot.SPIKeys, SPICurrent: n.boot.SPICurrent, Ring: n.boot.Ring, QCD: n.boot.QCD, Tokens: n.tokens,
		RollCall: map[string]ike.RollCall{"all": ike.RollCallAll, "off": ike.RollCallOff}[n.cfg.RollCall],
		IKEPort:  local.Port(), NATPort: nat.Port(), CertReq: n.certReq(),
		Limits: n.limits(), Timers: n.cfg.timers(), Clock: n.boot.Clock, KeyLog: n.keys != nil,
	}
	if n.cfg.RollCall == "" || n.cfg.RollCall == "ours" {
		cfg.RollCall = ike.RollCallOurs
	}
	if n.role == RoleClient {
		cfg.Ring = nil // who grants no tickets opens none
	}
	ahead := n.began.Sub(n.boot.Clock)
	cfg.Doubt = !n.boot.Clock.IsZero() && (ahead < 0 || ahead > leap) // rule D11
	return cfg
}

// leap is how far ahead of the last run a clock may be and be believed at once.
const leap = 7 * 24 * time.Hour

// limits are this shard's share of what strangers can make us hold.
func (n *node) limits() ike.Limits {
	l := ike.DefaultLimits()
	switch n.cfg.Cookie {
	case "always":
		l.CookieAt, l.HalfResumes = 0, 0
	case "never":
		l.CookieAt = -n.count
	}
	for _, x := range []*int{&l.HalfOpen, &l.CookieAt, &l.HalfResumes, &l.SAs, &l.Questions, &l.Tombstones, &l.Floors, &l.Reassemblies, &l.Queue} {
		*x /= n.count
	}
	return l
}

func (c *Config) timers() ike.Timers {
	t := ike.DefaultTimers()
	c.Timers.Retry.set(&t.Retry)
	c.Timers.Liveness.set(&t.Liveness)
	t.RollCallAge = cmp.Or(c.RollCallAge, t.RollCallAge)
	return t
}

// set replaces what b names.
func (b Backoff) set(w *window.Backoff) {
	w.Factor = 200
	w.Initial = cmp.Or(b.Initial, w.Initial)
	w.Max = max(cmp.Or(b.Max, w.Max), w.Initial)
	w.Tries = cmp.Or(b.Tries, w.Tries)
}

// certReq are the authorities of all connections, each once.
func (n *node) certReq() (all []byte) {
	seen := map[string]bool{}
	for _, p := range *n.peers.Load() {
		for key := range slices.Chunk(p.CertReq, 20) {
			if !seen[string(key)] {
				seen[string(key)] = true
				all = append(all, key...)
			}
		}
	}
	return all
}

func connections(peers []*peer) (all []*ike.Connection) {
	for _, p := range peers {
		all = append(all, p.Connection)
	}
	return all
}

// peerOf is the peer whose connection the machine knows as c, or nil.
func (n *node) peerOf(c *ike.Connection) *peer {
	for _, p := range *n.peers.Load() {
		if p.Connection == c {
			return p
		}
	}
	return nil
}

// run starts the goroutines.
func (n *node) run() {
	for _, s := range n.shards {
		n.running.Go(func() { s.run(n.stop) })
	}
	if reports := n.plane.Reports(); reports != nil {
		n.running.Go(func() { n.carryReports(reports) })
	}
	if n.dir != nil {
		n.running.Go(n.housekeep)
	}
}

// close ends the goroutines, writes what is behind and closes everything. It
// says nothing to any peer.
func (n *node) close() error {
	n.closing.Do(func() {
		close(n.stop)
		errs := []error{n.plane.Close()}
		n.running.Wait()
		for _, s := range n.shards {
			s.end() // if it never ran
		}
		n.errands.wait()
		for _, s := range n.shards {
			errs = append(errs, s.port.Close())
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
			n.errands.run("", func() { s.tell(order) })
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

// readRing reads the ring again because a ticket named a key that the shards do
// not know (rule D10).
func (n *node) readRing() {
	if n.dir == nil {
		return
	}
	n.errands.run("ring", func() {
		ring, err := n.dir.PruneTickets(context.Background(), time.Now())
		if err != nil {
			n.log.Error("the ring of ticket keys was not read", "error", err)
			return
		}
		n.publish(ring)
	})
}

// nextEpoch makes a new epoch durable, because the counter of a shard is full
// (rule B1).
func (n *node) nextEpoch() {
	n.errands.run("epoch", func() {
		boot := n.boot.SPI
		var err error
		if n.dir != nil {
			boot.Epoch, err = n.dir.NextEpoch(context.Background())
		} else {
			boot.Epoch, err = spi.Epoch(boot.Epoch, time.Time{})
		}
		if err != nil {
			n.log.Error("no new epoch: no SA can be made", "error", err)
			return
		}
		n.all(ike.Command{Kind: ike.CommandEpoch, Boot: boot})
	})
}

// housekeep does once a minute what no packet asks for: it keeps the clock,
// turns the ring, and forgets the roll call of before when it was shown.
func (n *node) housekeep() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-tick.C:
		}
		ctx, now := context.Background(), time.Now()
		if err := n.dir.KeepClock(ctx, now); err != nil {
			n.log.Warn("the clock was not kept", "error", err)
		}
		if n.role == RoleGateway && now.Unix() >= ticket.RotateAt(*n.ring.Load()) {
			if err := n.rotateTickets(ctx, now); err != nil {
				n.log.Error("the ring of ticket keys was not turned", "error", err)
			}
		}
		n.forgetRollCall(ctx, now)
	}
}

// rotateTickets makes a new key of the ring; it is on disk before it is used
// (rule D10).
func (n *node) rotateTickets(ctx context.Context, now time.Time) error {
	ring, err := n.dir.RotateTickets(ctx, now, rand.Reader)
	if err == nil {
		n.publish(ring)
	}
	return err
}

// publish gives the ring to all shards.
func (n *node) publish(ring []ticket.Key) {
	n.ring.Store(&ring)
	n.all(ike.Command{Kind: ike.CommandKeys, Ring: ring})
}

func (n *node) logKeys(x *ike.Event) {
	if err := n.keys.SA(uint64(x.SPIs.I), uint64(x.SPIs.R), x.Suite, x.EI, x.ER, x.AI, x.AR); err != nil {
		n.log.Error("the key log was not written", "error", err)
	}
}
