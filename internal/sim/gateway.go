package sim

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"blackswan/ike"
	"blackswan/internal/propose"
	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/ticket"
	"blackswan/wire"
)

var gatewayAddr, secondAddr = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// Gateway is one node: its shards, its disk, its keys.
type Gateway struct {
	Conn *ike.Connection

	w      *World
	addr   netip.Addr
	node   uint8
	first  time.Time // the world's beginning
	shards []*machine
	count  int // of shards after the next start
	disk   *disk
	cfg    ike.Config // of every shard, but for its number
	skew   time.Duration
	moved  bool // the state directory is on another machine
	spare  int  // outputs until SIGKILL; 0: it lives
	wake   func()
	Starts int // how many boots there were
}

func newGateway(w *World, addr netip.Addr) *Gateway {
	g := &Gateway{w: w, addr: addr, node: uint8(len(w.gateways)), first: w.now, count: w.options.Shards, disk: newDisk(), Conn: gatewayConn(w)}
	w.gateways = append(w.gateways, g)
	g.disk.epoch = 1
	g.NewKeys()
	roll := ike.RollCallOurs
	if w.options.NoRollCall {
		roll = ike.RollCallOff
	}
	g.cfg.Connections = []*ike.Connection{g.Conn}
	g.cfg.Tokens, g.cfg.RollCall, g.cfg.KeyLog = !w.options.NoTokens, roll, true
	g.cfg.IKEPort, g.cfg.NATPort = 500, 4500
	g.cfg.Limits, g.cfg.Timers = ike.DefaultLimits(), timers()
	g.cfg.Limits.Questions = cmp.Or(w.options.Workers, g.cfg.Limits.Questions)
	return g
}

const (
	sealFor    = 24 * time.Hour // seal period of a ring key
	ticketLife = 24 * time.Hour
)

// timers are those of the program.
func timers() ike.Timers {
	t := ike.DefaultTimers()
	t.Retry.Factor, t.Liveness.Factor = 200, 200
	return t
}

// NewKeys makes all secrets anew: the next start knows no ticket, token or SPI
// of before.
func (g *Gateway) NewKeys() {
	if first := g.w.gateways[0]; g != first { // a pair shares them
		g.cfg.SPIKeys, g.cfg.Ring, g.cfg.QCD = first.cfg.SPIKeys, first.cfg.Ring, first.cfg.QCD
		return
	}
	var secret spi.Secret
	_, _ = io.ReadFull(g.w.secret, secret[:])
	g.cfg.SPIKeys = []spi.Key{{Secret: secret}}
	var err error
	if g.cfg.Ring, err = ticket.Rotate(nil, g.w.now.Unix()-3600, sealFor, ticketLife, g.w.secret); err != nil {
		panic("sim: " + err.Error())
	}
	if g.cfg.QCD, err = qcd.NewGenerations(g.w.secret); err != nil {
		panic("sim: " + err.Error())
	}
	if g.w.watch.ring, err = ticket.NewRing(g.cfg.Ring); err != nil {
		panic("sim: " + err.Error())
	}
}

// start begins a new boot from what the disk has kept (rules A4, B4, F6).
func (g *Gateway) start() {
	now := g.w.now.Add(g.skew)
	epoch, err := spi.Epoch(g.disk.epoch, now)
	if err != nil {
		panic("sim: " + err.Error())
	}
	g.disk.epoch = epoch
	g.cfg.Boot = spi.Boot{Node: g.node, Epoch: epoch, Base: epoch, Earlier: !g.moved}
	g.cfg.Clock, g.cfg.Doubt = g.disk.clock, now.Before(g.disk.clock)
	g.cfg.Shards = g.count
	g.Starts++
	g.turnRing()
	for i := range g.count {
		if i == len(g.shards) {
			m := &machine{w: g.w, owner: g, name: fmt.Sprintf("gateway %d shard %d", g.node, i)}
			g.shards = append(g.shards, m)
			g.w.watch.machines = append(g.w.watch.machines, m)
		}
		m := g.shards[i]
		m.skew, g.cfg.Shard = g.skew, i
		m.begin(&g.cfg)
	}
	g.restore()
}

// turnRing makes a new ring key when the newest stops sealing (rule D10).
func (g *Gateway) turnRing() {
	now := later(g.w.now.Add(g.skew), g.disk.clock).Unix()
	if now < ticket.RotateAt(g.cfg.Ring) {
		return
	}
	keys, err := ticket.Rotate(g.cfg.Ring, now, sealFor, ticketLife, g.w.secret)
	if err != nil {
		panic("sim: " + err.Error())
	}
	for _, each := range g.w.gateways {
		each.cfg.Ring = keys
		for _, m := range each.running() {
			m.command(ike.Command{Kind: ike.CommandKeys, Ring: keys})
		}
	}
	if err := g.w.watch.ring.SetKeys(keys); err != nil {
		panic("sim: " + err.Error())
	}
}

// keepHouse is what a gateway does once in a while.
func (g *Gateway) keepHouse() {
	if g.Up() {
		g.turnRing()
	}
	g.w.after(10*time.Minute, g.keepHouse)
}

// restore hands each shard what is its own, before its first packet.
func (g *Gateway) restore() {
	for _, lineage := range slices.SortedFunc(maps.Keys(g.disk.floors), compareLineage) {
		f := g.disk.floors[lineage]
		g.shards[int(lineage[0]&63)%g.count].command(ike.Command{Kind: ike.CommandFloor, Lineage: lineage, Floor: f.Floor, Until: f.Until})
	}
	calls, kids := make([][]ike.Entry, g.count), make([][]ike.Survivor, g.count)
	for _, at := range slices.SortedFunc(maps.Keys(g.disk.entries), comparePlace) {
		x := g.disk.entries[at]
		calls[g.shardOf(x.SPIs.R)] = append(calls[g.shardOf(x.SPIs.R)], x)
	}
	for _, at := range slices.SortedFunc(maps.Keys(g.disk.children), comparePlace) {
		s := g.disk.children[at]
		kids[int(s.ESPSPI>>26)%g.count] = append(kids[int(s.ESPSPI>>26)%g.count], s)
	}
	for i, m := range g.running() {
		m.command(ike.Command{Kind: ike.CommandSurvivors, Survivors: kids[i]})
		m.command(ike.Command{Kind: ike.CommandRollCall, Entries: calls[i]})
	}
}

func compareLineage(a, b [16]byte) int { return slices.Compare(a[:], b[:]) }

func comparePlace(a, b place) int {
	return slices.Compare([]int{int(a.epoch), a.shard, a.slot}, []int{int(b.epoch), b.shard, b.slot})
}

func (g *Gateway) shardOf(s wire.SPI) int { return int(spi.ShardOf(uint64(s))) % g.cfg.Shards }

// Up reports whether the gateway's process runs.
func (g *Gateway) Up() bool { return len(g.shards) > 0 && g.shards[0].e != nil }

// SAs is how many the gateway has, half-open ones included.
func (g *Gateway) SAs() (n int) {
	for _, m := range g.running() {
		n += len(views(m))
	}
	return n
}

func (g *Gateway) running() []*machine {
	if !g.Up() {
		return nil
	}
	return g.shards[:g.cfg.Shards]
}

// Crash kills the process and starts it again after down. A dead one does not
// notice.
func (g *Gateway) Crash(down time.Duration) {
	if !g.Up() {
		return
	}
	g.kill()
	g.w.after(down, g.start)
}

// CrashWithin kills the process in the middle of what it puts out: before its
// nth output from now.
func (g *Gateway) CrashWithin(n int, down time.Duration) {
	g.spare, g.wake = n, func() { g.w.after(down, g.start) }
}

func (g *Gateway) spared() bool {
	if g.spare == 0 {
		return true
	}
	if g.spare--; g.spare > 0 {
		return true
	}
	g.kill()
	g.wake()
	return false
}

func (g *Gateway) kill() {
	if !g.Up() {
		return
	}
	left := 0
	for _, m := range g.running() {
		left += m.e.Count().RollCallLeft
	}
	if left == 0 {
		g.disk.forget()
	}
	g.disk.lose(g.w.now)
	g.disk.clock = later(g.w.now.Add(g.skew-time.Minute), g.disk.clock)
	for _, m := range g.shards {
		m.kill()
	}
	g.spare = 0
	g.w.watch.gatewayDied(g)
}

// Stop ends the process without a word to anybody, as SIGTERM does; Start
// begins it again.
func (g *Gateway) Stop() { g.kill() }

// Start begins a stopped process.
func (g *Gateway) Start() {
	if !g.Up() {
		g.start()
	}
}

// Drain sends everybody to another gateway, nil: nobody any more.
func (g *Gateway) Drain(to *Gateway) {
	c := ike.Command{Kind: ike.CommandDrain}
	if to != nil {
		c.Name = to.addr.String()
	}
	for _, m := range g.running() {
		m.command(c)
	}
}

// Resize changes the number of shards at the next start.
func (g *Gateway) Resize(shards int) { g.count = shards }

// Skew sets the gateway's clock, from the next start on.
func (g *Gateway) Skew(d time.Duration) { g.skew = d }

// Move puts the state directory on another machine, where nobody adopts it
// (rule B4).
func (g *Gateway) Move() { g.moved = true }

// Backup copies the state directory; Restore puts a copy in its place, which
// the next start reads.
func (g *Gateway) Backup() func() {
	old := g.disk.copy()
	return func() { g.disk = old.copy() }
}

// Delete ends the SA of a client by an order of the gateway's operator.
func (g *Gateway) Delete(c *Client) {
	for _, m := range g.running() {
		for _, v := range views(m) {
			if string(v.Identity[min(1, len(v.Identity)):]) == c.name && v.State == "established" {
				m.command(ike.Command{Kind: ike.CommandDelete, SA: v.SA})
			}
		}
	}
}

// receive steers a datagram to its shard as the kernel does, and now and then
// to a wrong one, which must hand it on.
func (g *Gateway) receive(p ike.Packet) {
	if !g.Up() || p.Local.Addr() != g.addr {
		return
	}
	g.w.watch.arrived(p)
	h, err := wire.ParseHeader(p.Data)
	if err != nil {
		g.shards[0].packet(p)
		return
	}
	ours := h.SPIr
	if h.Flags&wire.FlagInitiator == 0 {
		ours = h.SPIi
	}
	i := g.shardOf(ours)
	if h.SPIr == 0 {
		i = int(uint64(h.SPIi) >> 8 % uint64(g.cfg.Shards)) // sealed, so any octet is as good as a hash
	} else if g.w.chance(0.05) {
		i = g.w.dice.IntN(g.cfg.Shards)
	}
	g.shards[i].arrive(p)
}

func (g *Gateway) forward(shard int, p ike.Packet, cause int) {
	m := g.shards[shard]
	m.after(0, func() { m.arrive(p) })
}

func (g *Gateway) send(m *machine, p ike.Packet) {
	g.w.watch.gatewaySent(m, p)
	g.w.toHost(p)
}

func (g *Gateway) record(m *machine, r ike.Record) bool {
	if r.Durable {
		return true
	}
	g.disk.later(g.w.now, slices.Index(g.shards, m), r)
	return false
}

func (g *Gateway) commit(m *machine, r ike.Record) {
	g.disk.put(slices.Index(g.shards, m), r)
}

func (g *Gateway) event(m *machine, ev ike.Event) {
	if ev.Kind == ike.EventInitialContact {
		who := append([]byte(nil), ev.Identity...)
		for _, other := range g.running() {
			if other != m {
				other.after(0, func() { other.command(ike.Command{Kind: ike.CommandInitialContact, Identity: who}) })
			}
		}
	}
	g.w.watch.gatewayEvent(m, &ev)
}

func gatewayConn(w *World) *ike.Connection {
	c := baseConn(w)
	c.Local = ike.Side{ID: name("gw.test"), Auth: ike.AuthPSK}
	c.Remote = ike.Side{Tail: ".clients.test", Auth: ike.AuthPSK}
	c.Reauth = w.options.Login
	c.LocalTS, c.RemoteTS = selectors("10.1.0.0/16"), selectors("10.2.0.0/16")
	return c
}

func baseConn(w *World) *ike.Connection {
	p, err := propose.ParseIKE("aes128gcm16-sha256-x25519")
	if err != nil {
		panic("sim: " + err.Error())
	}
	esp, err := propose.ParseESP("aes128gcm16")
	if err != nil {
		panic("sim: " + err.Error())
	}
	liveness := ike.LivenessPeriodic
	if w.options.OnDemand {
		liveness = ike.LivenessOnDemand
	}
	return &ike.Connection{
		Name: "office", PSK: ike.Secret("a key of the simulation"), IKE: []propose.IKE{p}, Policy: ike.Policy{ESP: []propose.ESP{esp}},
		DPD: 30 * time.Second, Liveness: liveness, Tickets: true, MOBIKE: w.options.MOBIKE, Lifetime: w.options.Keys, ChildLifetime: w.options.Keys / 4, Fragment: cmp.Or(w.options.Fragment, 1252),
		Gateway: netip.AddrPortFrom(gatewayAddr, 500), GatewayNAT: 4500,
	}
}

func name(text string) wire.ID { return wire.ID{Type: wire.IDFQDN, Data: []byte(text)} }

func selectors(p string) []wire.Selector {
	return []wire.Selector{wire.Prefix(netip.MustParsePrefix(p))}
}

func views(m *machine) (all []ike.View) {
	if m.e != nil {
		m.e.Views(m.clock(), func(v ike.View) bool { all = append(all, v); return true })
	}
	return all
}
