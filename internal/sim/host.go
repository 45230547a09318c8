package sim

import (
	"fmt"
	"net/netip"
	"time"

	"blackswan/dataplane"
	"blackswan/ike"
	"blackswan/qcd"
	"blackswan/spi"
)

// Host is one client process, of one or many clients.
type Host struct {
	w       *World
	m       *machine
	cfg     ike.Config
	clients []*Client
	jar     map[*ike.Connection]entry
	public  netip.Addr // of its NAT; invalid: none
	mapping map[netip.AddrPort]uint16
	visits  int // networks that it has been in
}

// entry is a ticket on disk.
type entry struct {
	ticket, session []byte
	expires         int64
}

// Client is one connection of a host.
type Client struct {
	Conn    *ike.Connection
	Fulls   int // full handshakes that were finished
	Rekeys  int // of its IKE SA
	Resumes int // resumes that were finished

	name   string
	addr   netip.AddrPort
	host   *Host
	wanted bool
	begun  int // life of the host's process in which it was told to connect
}

func newHost(w *World, n int) *Host {
	h := &Host{w: w, jar: map[*ike.Connection]entry{}, mapping: map[netip.AddrPort]uint16{}}
	h.m = &machine{w: w, owner: h, name: fmt.Sprintf("host %d", n)}
	if w.options.NAT && n%2 == 1 {
		h.public = netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})
	}
	for i := range w.options.Tunnels {
		c := &Client{host: h, name: fmt.Sprintf("c%d-%d.clients.test", n, i)}
		c.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(64 + n), byte(i >> 8), byte(i)}), 500)
		c.Conn = baseConn(w)
		c.Conn.Local = ike.Side{ID: name(c.name), Auth: ike.AuthPSK}
		c.Conn.Remote = ike.Side{ID: name("gw.test"), Auth: ike.AuthPSK}
		if w.Second != nil {
			c.Conn.Redirects, c.Conn.Gateways = true, []ike.Gateway{{Addr: netip.AddrPortFrom(secondAddr, 500)}}
		}
		c.Conn.LocalTS, c.Conn.RemoteTS = selectors("10.2.3.0/24"), selectors("10.0.0.0/8")
		h.clients = append(h.clients, c)
		h.cfg.Connections = append(h.cfg.Connections, c.Conn)
		w.watch.clients[c.Conn] = c
		if w.options.Traffic > 0 {
			w.after(w.within(w.options.Traffic), c.traffic)
		}
	}
	w.Clients = append(w.Clients, h.clients...)
	w.watch.machines = append(w.watch.machines, h.m)
	var secret spi.Secret
	_, _ = w.secret.Read(secret[:])
	gen, err := qcd.NewGenerations(w.secret)
	if err != nil {
		panic("sim: " + err.Error())
	}
	h.cfg.Shards, h.cfg.Boot, h.cfg.SPIKeys, h.cfg.QCD = 1, spi.Boot{Epoch: 100, Base: 100, Earlier: true}, []spi.Key{{Secret: secret}}, gen
	h.cfg.Tokens, h.cfg.RollCall, h.cfg.KeyLog = !w.options.NoTokens, w.Gateway.cfg.RollCall, true
	h.cfg.IKEPort, h.cfg.NATPort = 500, 4500
	h.cfg.Limits, h.cfg.Timers = ike.DefaultLimits(), timers()
	return h
}

func (h *Host) start() { h.m.begin(&h.cfg) }

func (h *Host) spared() bool { return true }

func (h *Host) forward(int, ike.Packet, int) { panic("sim: a host has one shard") }

// connect begins, with the ticket of the jar if there is one.
func (h *Host) connect(c *Client) {
	if h.m.e == nil || c.begun == h.m.life {
		return
	}
	c.begun = h.m.life
	j := h.jar[c.Conn]
	h.m.command(ike.Command{
		Kind: ike.CommandConnect, Conn: c.Conn, Local: c.addr, Remote: c.Conn.Gateway,
		Ticket: j.ticket, Session: j.session, Until: j.expires,
	})
}

// Crash kills the process and starts it again after down.
func (h *Host) Crash(down time.Duration) {
	if h.m.e == nil {
		return
	}
	h.m.kill()
	h.w.watch.hostDied(h)
	h.w.after(down, func() {
		h.cfg.Boot.Epoch++
		h.cfg.Boot.Base = h.cfg.Boot.Epoch
		h.start()
		for _, c := range h.clients {
			if c.wanted {
				h.connect(c)
			}
		}
	})
}

// LoseJar wipes the tickets on disk.
func (h *Host) LoseJar() { clear(h.jar) }

// Jar copies the tickets on disk; the copy is put back by calling it, as
// somebody does who restores a backup or has stolen one.
func (h *Host) Jar() func() {
	old := map[*ike.Connection]entry{}
	for c, e := range h.jar {
		old[c] = e
	}
	return func() {
		for c, e := range old {
			h.jar[c] = e
		}
	}
}

// Sleep closes the lid for d: nothing runs, nothing is received.
func (h *Host) Sleep(d time.Duration) {
	h.m.asleep = h.w.now.Add(d)
	h.m.after(d, func() { h.m.command(ike.Command{Kind: ike.CommandSuspended, For: d}) })
}

// LinkUp tells the host that a link of its machine has changed.
func (h *Host) LinkUp() {
	h.m.after(0, func() { h.m.command(ike.Command{Kind: ike.CommandHint}) })
}

// Rebind makes the host's NAT forget every mapping.
func (h *Host) Rebind() {
	for inside, port := range h.mapping {
		delete(h.w.natted, netip.AddrPortFrom(h.public, port))
		delete(h.mapping, inside)
	}
}

// Move takes the host to another network: other addresses, and another NAT if
// it is behind one. A host that sleeps notices when it wakes up.
func (h *Host) Move() {
	h.Rebind()
	for at, who := range h.w.natted {
		if who == h {
			delete(h.w.natted, at)
		}
	}
	h.visits++
	if h.public.IsValid() {
		b := h.public.As4()
		h.public = netip.AddrFrom4([4]byte{198, 51, 100 + byte(h.visits), b[3]})
	}
	for _, c := range h.clients {
		b := c.addr.Addr().As4()
		c.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{100 + byte(h.visits), b[1], b[2], b[3]}), c.addr.Port())
		h.m.after(0, func() {
			h.m.command(ike.Command{Kind: ike.CommandMoved, Conn: c.Conn, Local: c.addr})
		})
	}
}

// Begin connects the client, unless it is connected.
func (c *Client) Begin() {
	c.wanted = true
	c.host.connect(c)
}

// Close ends the client's connection for good: DELETE.
func (c *Client) Close() {
	c.wanted, c.begun = false, 0
	c.host.m.command(ike.Command{Kind: ike.CommandClose, Conn: c.Conn})
}

// outside is what the gateway sees of a local address and port.
func (h *Host) outside(local netip.AddrPort) netip.AddrPort {
	if !h.public.IsValid() {
		h.w.natted[local] = h
		return local
	}
	port, ok := h.mapping[local]
	for !ok {
		port = uint16(20000 + h.w.dice.IntN(40000))
		if _, taken := h.w.natted[netip.AddrPortFrom(h.public, port)]; !taken {
			h.mapping[local], ok = port, true
		}
	}
	out := netip.AddrPortFrom(h.public, port)
	h.w.natted[out] = h
	return out
}

func (h *Host) send(m *machine, p ike.Packet) {
	h.w.watch.hostSent(h, p)
	p.Local = h.outside(p.Local)
	h.w.toGateway(p)
}

// receive takes a packet for one of the host's outside addresses.
func (h *Host) receive(p ike.Packet) {
	if h.public.IsValid() {
		for inside, port := range h.mapping {
			if port == p.Local.Port() {
				p.Local = inside
				break
			}
		}
	}
	h.m.packet(p)
}

func (h *Host) record(m *machine, r ike.Record) bool {
	if r.Kind == ike.RecordTicket {
		h.w.watch.got(&r)
	}
	return r.Kind == ike.RecordTicket || r.Kind == ike.RecordTicketGone
}

func (h *Host) commit(m *machine, r ike.Record) {
	if r.Kind == ike.RecordTicketGone {
		delete(h.jar, r.Connection)
		return
	}
	h.jar[r.Connection] = entry{r.Ticket, r.Session, r.Expires}
}

func (h *Host) event(m *machine, ev ike.Event) { h.w.watch.hostEvent(h, &ev) }

// espLength is the size of the ESP packets that clients send.
const espLength = 120

// traffic sends one ESP packet of the client, which the gateway's side answers,
// and plans the next. What the data plane sees it tells the machine.
func (c *Client) traffic() {
	w, m := c.host.w, c.host.m
	w.after(w.options.Traffic/2+w.within(w.options.Traffic), c.traffic)
	if w.now.Before(m.asleep) {
		return
	}
	for _, v := range c.views() {
		if w.now.Sub(m.plane[v.Child.In].heard) >= dataplane.UsedAgain {
			m.report(ike.Report{Kind: ike.ReportSent, SPI: v.Child.In})
		}
		if w.Network.Cut || w.chance(w.Network.Loss) {
			continue
		}
		from, to := netip.AddrPortFrom(c.addr.Addr(), 4500), netip.AddrPortFrom(v.Remote.Addr(), 4500)
		if !v.Marker {
			from, to = c.addr, netip.AddrPortFrom(v.Remote.Addr(), 500) // bare ESP: answers go to port 500 (rule A8)
		}
		out := c.host.outside(from)
		w.after(w.Network.Delay, func() { w.gatewayAt(to.Addr()).esp(v.Child.Out, out, to, v.Marker) })
	}
}

// views are the SAs of the client that carry traffic.
func (c *Client) views() (all []ike.View) {
	if m := c.host.m; m.e != nil {
		m.e.Views(m.clock(), func(v ike.View) bool {
			if v.Connection == c.Conn && v.Child.Out != 0 {
				all = append(all, v)
			}
			return true
		})
	}
	return all
}

// esp takes one ESP packet: the data plane of the gateway.
func (g *Gateway) esp(spi uint32, from, to netip.AddrPort, marker bool) {
	if !g.Up() {
		return
	}
	m := g.shards[int(spi>>26)%g.cfg.Shards]
	c, known := m.plane[spi]
	if !known {
		m.report(ike.Report{Kind: ike.ReportUnknownSPI, SPI: spi, Local: to, Remote: from, Marker: marker, Length: espLength})
		return
	}
	moved := c.from.IsValid() && c.from != from
	c.from = from
	m.plane[spi] = c
	m.hear(spi)
	if moved {
		m.report(ike.Report{Kind: ike.ReportMoved, SPI: spi, Local: to, Remote: from, Marker: marker})
	}
	w := g.w
	if h := w.natted[c.remote]; h != nil && !w.Network.Cut && !w.chance(w.Network.Loss) {
		w.after(w.Network.Delay, func() { h.m.hear(c.out) })
	}
}

// hear takes one authenticated ESP packet.
func (m *machine) hear(spi uint32) {
	c, known := m.plane[spi]
	if !known || m.w.now.Before(m.asleep) {
		return
	}
	if m.w.now.Sub(c.heard) >= dataplane.UsedAgain {
		c.heard = m.w.now
		m.plane[spi] = c
		m.report(ike.Report{Kind: ike.ReportUsed, SPI: spi})
	}
}
