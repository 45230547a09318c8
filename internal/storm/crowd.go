package storm

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"blackswan/ike"
	"blackswan/internal/state"
	"blackswan/internal/udp"
)

// crowd is many clients in one goroutine: one machine, one pair of sockets. The
// machine is the one that a real client runs.
type crowd struct {
	*plan
	first   int // number of its first client
	port    sockets
	in, out weather
	e       *ike.Endpoint
	clients []client
	began   time.Time // of the storm
	turn    turn
	orders  chan func(now time.Time)

	started  int          // clients that were told to connect
	failures int          // attempts that ended without an SA
	trouble  string       // why the last of them did
	asks     []ike.Answer // that came to be while outputs were drained
	timer    *time.Timer
	seen     counts
}

// counts are read by others while a crowd runs.
type counts struct {
	up, live, repeated, sent, received atomic.Int64
}

// tick is how late a timer of a client may be: many are served together.
const tick = 2 * time.Millisecond

// batch is how many datagrams a crowd takes at a time: what more would save in
// system calls is not worth the room of their longest.
const batch = 64

// newCrowd opens the sockets of n clients, of which the first has that number.
func newCrowd(p *plan, first, n int, began time.Time) (*crowd, error) {
	port, err := p.sockets(first, n)
	if err != nil {
		return nil, fmt.Errorf("storm: sockets of the clients: %w", err)
	}
	c := &crowd{
		plan: p, first: first, port: port, in: newWeather(p.Weather, first, 0), out: newWeather(p.Weather, first, 1), clients: make([]client, n), began: began, orders: make(chan func(time.Time)), timer: time.NewTimer(time.Hour),
	}
	boot, err := state.ThrowAway(began, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	local, nat := port.of(first)
	cfg := &ike.Config{
		Shards: 1, Boot: boot.SPI, SPIKeys: boot.SPIKeys, SPICurrent: boot.SPICurrent, QCD: boot.QCD, Tokens: true, RollCall: ike.RollCallOurs,
		IKEPort: local.Port(), NATPort: nat, Limits: ike.DefaultLimits(), Timers: p.timers(),
	}
	if c.e, err = ike.New(cfg, rand.Reader, began); err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	return c, nil
}

// run serves the clients until ctx ends.
func (c *crowd) run(ctx context.Context) {
	defer c.port.Close()
	defer c.timer.Stop()
	read := c.port.Read()
	for {
		c.wind()
		select {
		case b, open := <-read:
			if !open {
				return
			}
			c.batch(time.Now(), b)
		case order := <-c.orders:
			order(time.Now())
		case <-c.timer.C:
		case <-ctx.Done():
			return
		}
		c.after(time.Now())
	}
}

// do has f done by the crowd's goroutine and waits for it.
func (c *crowd) do(ctx context.Context, f func(now time.Time)) error {
	done := make(chan struct{})
	select {
	case c.orders <- func(now time.Time) { f(now); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wind sets the timer to the next deadline or the next client that begins.
func (c *crowd) wind() {
	now := time.Now()
	wait := time.Hour
	if at, ok := c.e.Deadline(); ok {
		wait = max(at.Sub(now), tick)
	}
	wait = min(wait, c.turn.wait(now, c.underWay()))
	if c.in.holds() || c.out.holds() {
		wait = min(wait, tick)
	}
	c.timer.Reset(wait)
}

func (c *crowd) batch(now time.Time, b *udp.Batch) {
	c.seen.received.Add(int64(len(b.Messages)))
	for i := range b.Messages {
		if m := &b.Messages[i]; m.Kind == udp.IKE {
			c.in.pass(*m, func(m udp.Message) { c.packet(now, m) })
		}
	}
	c.port.Recycle(b)
}

func (c *crowd) packet(now time.Time, m udp.Message) {
	c.e.Packet(now, ike.Packet{Local: m.Local, Remote: m.Remote, Marker: m.Marker, Data: m.Data})
	c.drain(now)
}

// after does what follows every input: time, clients that begin, and one system
// call for all that was put out. A client on a machine of its own takes an
// answer when it comes: here no timer runs out while answers wait for their turn.
func (c *crowd) after(now time.Time) {
	waiting := len(c.port.Read()) > 0
	for at, ok := c.e.Deadline(); ok && !waiting && !at.After(now); at, ok = c.e.Deadline() {
		c.e.Advance(now)
		c.drain(now)
	}
	c.begin(now)
	c.in.release(func(m udp.Message) { c.packet(now, m) })
	c.out.release(c.port.Queue)
	_ = c.port.Flush() // what finds no room is lost: the client sends again
	c.seen.repeated.Store(int64(c.e.Repeated))
}

// begin lets the clients act whose turn it is.
func (c *crowd) begin(now time.Time) {
	for range most {
		i, ok := c.turn.take(now, c.underWay())
		if !ok {
			return
		}
		c.turn.act(now, i)
		c.drain(now)
	}
}

// most clients act between two batches of packets.
const most = 128

// underWay are the clients that have no SA although they want one.
func (c *crowd) underWay() int { return c.started - int(c.seen.live.Load()) }

// connect has client i connect for the first time.
func (c *crowd) connect(now time.Time, i int) {
	c.started++
	c.clients[i].began = c.since(now)
	local, nat := c.port.of(c.first + i)
	c.e.Command(now, ike.Command{
		Kind: ike.CommandConnect, Conn: &c.common, Own: c.identity(c.first + i), Owner: uint32(i), Local: local, NATPort: nat, Remote: c.Gateway,
	})
}

// lose tells client i that the gateway has lost its SA: it resumes.
func (c *crowd) lose(now time.Time, i int) {
	c.e.Command(now, ike.Command{Kind: ike.CommandLost, SA: c.clients[i].sa})
}

func (c *crowd) since(now time.Time) int64 { return int64(now.Sub(c.began)) + 1 }

// drain carries out what the last input put out, and answers what it asked.
func (c *crowd) drain(now time.Time) {
	for {
		for o, ok := c.e.Next(); ok; o, ok = c.e.Next() {
			switch o.Kind {
			case ike.OutputSend:
				c.seen.sent.Add(1)
				p := o.Packet
				c.out.pass(udp.Message{Local: p.Local, Remote: p.Remote, Data: p.Data, Marker: p.Marker}, c.port.Queue)
			case ike.OutputAsk:
				c.asks = append(c.asks, c.answer(o.Question, now))
			case ike.OutputEvent:
				c.event(c.since(now), o)
			}
		}
		if len(c.asks) == 0 {
			return
		}
		a := c.asks[0]
		c.asks = c.asks[1:]
		c.e.Answer(now, a)
	}
}

// event notes what happened to a client.
func (c *crowd) event(now int64, o ike.Output) {
	x := o.Event
	if x.Connection == nil {
		return
	}
	k := &c.clients[x.Owner]
	switch x.Kind {
	case ike.EventEstablished:
		c.established(k, now, o.SA, x.Resumed)
	case ike.EventDetected:
		k.began = now
		if k.detected == 0 {
			k.detected, k.by = now, x.By
		}
		c.gone(k)
	case ike.EventDown:
		c.gone(k)
	case ike.EventResuming:
		k.began = now
	case ike.EventFallback:
		k.began, k.fellBack = now, true
	case ike.EventFailed, ike.EventChildFailed:
		c.failures++
		c.trouble = x.Err.Error()
	}
}

func (c *crowd) established(k *client, now int64, sa ike.Handle, resumed bool) {
	k.sa = sa
	if k.up == 0 {
		k.up, k.full = now, now-k.began
		c.seen.up.Add(1)
	} else if k.back == 0 {
		k.back, k.resume, k.resumed = now, now-k.began, resumed
	}
	if !k.live {
		k.live = true
		c.seen.live.Add(1)
	}
}

func (c *crowd) gone(k *client) {
	if k.sa = 0; k.live {
		k.live = false
		k.back = 0
		c.seen.live.Add(-1)
	}
}

// crash begins a recovery: nobody has an SA of a gateway that runs.
func (c *crowd) crash() {
	c.seen.live.Store(0)
	for i := range c.clients {
		k := &c.clients[i]
		k.live, k.detected, k.back, k.fellBack = false, 0, 0, false
	}
}
