package ike

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"blackswan/ticket"
	"blackswan/wire"
)

// ask sends a request of that kind from the client and lets it be answered.
func (w *world) ask(kind requestKind) {
	c := w.cl.live()[0]
	w.cl.e.at(w.now)
	w.cl.e.request(c, kind)
	w.drain(w.cl)
	w.deliver()
}

// At most one ticket per SA in 10 s, else NACK; none at all for a gateway's own
// request (rule D9, RFC 5723 4.1).
func TestRFC5723_4_1_RequestByInformational(t *testing.T) {
	w := newWorld(t, "informational")
	w.connect()
	_, c := w.one()
	grants := func() (n int) {
		for _, r := range w.cl.records {
			if r.Kind == RecordTicket {
				n++
			}
		}
		return n
	}
	w.ask(requestTicket)
	if grants() != 1 {
		t.Fatal("a second ticket at once")
	}
	w.run(11 * time.Second)
	w.ask(requestTicket)
	if grants() != 2 || c.state != stateEstablished {
		t.Fatal("no ticket by INFORMATIONAL\n" + w.text() + w.dump())
	}
	w.crash(w.gw)
	w.callRoll(w.gw)
	w.run(time.Second)
	if g, _ := w.one(); !g.resumed {
		t.Fatal("the second ticket does not resume")
	}
}

func TestRFC5723_4_1_GatewayAsksInVain(t *testing.T) {
	w := newWorld(t, "gateway asks")
	w.connect()
	g, c := w.one()
	w.cl.conn.Tickets = true
	w.now = w.now.Add(time.Minute)
	w.gw.e.at(w.now)
	w.gw.e.request(g, requestTicket)
	w.drain(w.gw)
	w.deliver()
	if w.cl.count(EventTicket) != 1 || c.state != stateEstablished || g.state != stateEstablished {
		t.Fatal("the client granted a ticket")
	}
}

// A ticket that makes the response too large for one datagram, with a peer that
// takes no fragments: ACK now, the ticket by INFORMATIONAL (RFC 5723 4.1).
func TestRFC5723_4_1_TicketACK(t *testing.T) {
	w := newWorld(t, "ack")
	w.gw.conn.Fragment = 400
	w.connect()
	g, c := w.one()
	if w.cl.ticket == nil {
		t.Fatal("with fragments the ticket comes at once")
	}
	g.frag, c.frag = false, false
	w.now = w.now.Add(time.Minute)
	w.gw.e.at(w.now)
	m := w.gw.e.compose(g, wire.ExchangeInformational, true, 9)
	m.Raw(wire.PayloadVendorID, make([]byte, 300))
	w.gw.e.addTicket(m, g)
	h := m.Buf[m.SKOffset()+4+8:]
	if err := w.gw.e.msg.sort(informational, wire.PayloadVendorID, h); err != nil || !w.gw.e.msg.has(wire.NotifyTicketACK) {
		t.Fatal("not ACK", err)
	}
	// What the client does with an ACK.
	w.cl.e.at(w.now)
	w.cl.e.msg = w.gw.e.msg
	w.cl.e.takeTicket(c)
	w.drain(w.cl)
	n := len(w.cl.records)
	w.deliver()
	if len(w.cl.records) != n+1 || w.cl.records[n].Kind != RecordTicket {
		t.Fatal("the client did not ask again after an ACK\n" + w.text())
	}
}

// The remaining life of the authentication is said in every resumed IKE_AUTH,
// and no resume moves its end (rule E1, RFC 4478).
func TestRFC5723_5_ReauthenticationDeadlineStays(t *testing.T) {
	w := newWorld(t, "deadline", quiet)
	w.gw.conn.Reauth = 90 * time.Second
	w.start(w.gw)
	w.connect()
	_, c := w.one()
	deadline := c.reauth
	if deadline != w.now.Unix()+90 {
		t.Fatalf("deadline in %d s", deadline-w.now.Unix())
	}
	if w.cl.ticket.Expires > deadline {
		t.Fatal("the ticket outlives the authentication")
	}
	w.crash(w.gw)
	w.run(31 * time.Second)
	g, c := w.one()
	if !g.resumed || c.reauth != deadline || g.reauth != deadline {
		t.Fatalf("moved from %d to %d and %d", deadline, c.reauth, g.reauth)
	}
	w.lose = func(*node, Packet) bool { return true }
	w.run(70 * time.Second)
	w.lose = nil
	w.crash(w.gw)
	w.run(80 * time.Second)
	if g, _ := w.one(); g.resumed {
		t.Fatal("resumed after the deadline")
	}
}

// The shared key is judged again, too: a ticket of another one is refused, after
// a reload and after a restart (RFC 5723 6.2: its credentials are void).
func TestRFC5723_6_2_KeyWasChanged(t *testing.T) {
	for _, changed := range []bool{false, true} {
		w := newWorld(t, "key changed", quiet)
		w.gw.conn.KeyPrint = [32]byte{1}
		w.connect()
		w.run(time.Second)
		w.act(w.cl, "rekey ike") // the heir's tickets know it, too
		w.deliver()
		conn := *w.gw.conn
		if changed {
			conn.KeyPrint, conn.PSK = [32]byte{2}, Secret("another key")
		}
		w.gw.cfg.Connections = []*Connection{&conn}
		w.crash(w.gw)
		w.callRoll(w.gw)
		w.run(time.Minute)
		if n := len(w.gw.live()); (n == 1) == changed || w.gw.count(EventRefused) > 0 != changed {
			t.Errorf("changed %v: %d SAs\n%s", changed, n, w.dump())
		}
	}
}

// An unknown ring key: read the ring again before judging, and say nothing
// meanwhile (rule D10).
func TestRuleD10_UnknownKeyIsReadAgain(t *testing.T) {
	for _, found := range []bool{true, false} {
		w := newWorld(t, "ring", quiet)
		w.connect()
		w.run(time.Minute)
		keys := w.gw.cfg.Ring
		w.gw.cfg.Ring, _ = ticket.Rotate(nil, w.now.Unix()-100, time.Hour, time.Hour, newStream("other"))
		w.crash(w.gw)
		asked := 0
		w.gw.answer = nil
		w.gw.hook = func(q *Question) {
			if q.Kind == AskRing {
				asked++
				if found {
					w.gw.cfg.Ring = keys
				}
			}
		}
		w.run(45 * time.Second)
		if g, _ := w.one(); g.resumed != found || asked != 1 {
			t.Fatalf("found=%v: resumed=%v, asked %d times\n%s", found, g.resumed, asked, w.text())
		}
	}
}

// A clock that is in doubt sends no expiry NACK in the first minute (rule D11).
func TestRuleD11_DoubtfulClockIsSilent(t *testing.T) {
	w := newWorld(t, "doubt", quiet)
	w.connect()
	w.gw.cfg.Clock = w.now.Add(48 * time.Hour) // an earlier run saw a later time
	w.gw.cfg.Doubt = true
	w.crash(w.gw)
	w.run(31 * time.Second)
	for _, l := range w.ladder {
		if l == "<- IKE_SESSION_RESUME {N(TICKET_NACK)}" {
			t.Fatal("NACK with a doubtful clock")
		}
	}
}

// Strangers' tickets that do not open fill their own queue, not the way of
// those that do (rule E5).
func TestRuleE5_ForgedTicketsDoNotDelayResumes(t *testing.T) {
	w := newWorld(t, "classes", quiet)
	w.connect()
	forged := w.resumeRequest()
	w.crash(w.gw)
	for i := range 20000 {
		b := append([]byte(nil), forged...)
		b[0], b[1], b[2] = byte(i), byte(i>>8), 1
		b[len(b)/2] ^= byte(i) | 1
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 9}), 500)
		w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: from, Data: b})
		for {
			if _, ok := w.gw.e.Next(); !ok {
				break
			}
		}
	}
	if n := w.gw.e.first.strange.len(); n > w.gw.cfg.Limits.Queue || w.gw.e.Counters[DropFull] < 15000 {
		t.Fatalf("%d wait", n)
	}
	good := append([]byte(nil), forged...)
	w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: clAddr, Data: good})
	o, ok := w.gw.e.Next()
	for ok && o.Kind != OutputSend {
		o, ok = w.gw.e.Next()
	}
	if !ok || o.Packet.Data[16] != byte(wire.PayloadNonce) {
		t.Fatal("a good ticket waits behind forged ones")
	}
}

// One prefix cannot fill the queue of all.
func TestRuleE5_FairByPrefix(t *testing.T) {
	w := newWorld(t, "fair")
	w.gw.cfg.Limits.Queue = 64
	w.start(w.gw)
	init := w.initRequest()
	put := func(i int, from netip.Addr) {
		b := append([]byte(nil), init...)
		b[0], b[1], b[2] = byte(i), byte(i>>8), 7
		w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: netip.AddrPortFrom(from, uint16(1000+i)), Data: b})
		w.drain(w.gw)
	}
	for i := range 1000 {
		put(i, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	before := w.gw.e.first.strange.len()
	put(2000, netip.MustParseAddr("192.0.2.200"))
	if before > 16 || w.gw.e.first.strange.len() != before+1 {
		t.Fatalf("one /24 holds %d of 64", before)
	}
}

// When every ticket fails at once the clients do not come back in the same
// moment (rule E7).
func TestRuleE7_CrowdSpreads(t *testing.T) {
	w := newWorld(t, "crowd")
	tun := &tunnel{conn: w.cl.conn}
	w.cl.e.at(w.now)
	var least, most int64 = 1 << 62, 0
	for range 200 {
		tun.tries = 3
		w.cl.e.crowd(tun)
		wait := tun.at - w.cl.e.now
		least, most = min(least, wait), max(most, wait)
	}
	if least > 2e9 || most < 12e9 || most > 17e9 {
		t.Fatalf("waits from %v to %v", time.Duration(least), time.Duration(most))
	}
	tun.tries = mostTries
	w.cl.e.crowd(tun)
	if tun.at-w.cl.e.now > 61e9 {
		t.Fatal("no cap")
	}
}

// The pool is slow: fewer full handshakes are let in, and more again when it
// recovers; the excess is met by silence (rule E7).
func TestRuleE7_AdmissionByLatency(t *testing.T) {
	a := admission{limit: 256}
	for range 20 {
		a.answered(3e9)
	}
	if a.open(2) || !a.open(1) {
		t.Fatal(a.limit)
	}
	for range 300 {
		a.answered(1e6)
	}
	if !a.open(255) || a.open(256) {
		t.Fatal(a.limit)
	}
}

// Connections of one Endpoint may have ports of their own for UDP encapsulation,
// and resume from there.
func TestPortOfUDPEncapsulation(t *testing.T) {
	w := newWorld(t, "port", quiet)
	w.cl.cfg.ForceEncap = true
	w.start(w.cl)
	w.cl.e.Command(w.now, Command{Kind: CommandConnect, Conn: w.cl.conn, Local: w.cl.addr, NATPort: 61234, Remote: w.gw.addr})
	w.drain(w.cl)
	w.advanceNodes()
	w.deliver()
	w.crash(w.gw)
	w.run(60 * time.Second)
	if g, c := w.one(); !g.resumed || !c.marker || c.local.port != 61234 || g.remote.port != 61234 {
		t.Errorf("the client sends from %v, the gateway sees %v", c.local.addrPort(), g.remote.addrPort())
	}
}

// RESUME leaves on the path of the dead SA; after two losses on the configured
// ports (rule C4).
func TestRuleC4_PathOfTheDeadSA(t *testing.T) {
	w := newWorld(t, "path", quiet)
	w.cl.cfg.ForceEncap = true
	w.start(w.cl)
	w.connect()
	if _, c := w.one(); !c.marker {
		t.Fatal("not on port 4500")
	}
	w.crash(w.gw)
	var ports []uint16
	w.lose = func(from *node, p Packet) bool {
		if from == w.cl && p.Data[18] == byte(wire.ExchangeSessionResume) {
			ports = append(ports, p.Remote.Port())
			return p.Remote.Port() == 4500
		}
		return false
	}
	w.run(60 * time.Second)
	g, _ := w.one()
	if !g.resumed || len(ports) != 4 || ports[0] != 4500 || ports[2] != 4500 || ports[3] != 500 {
		t.Fatal(ports, g.resumed)
	}
}

// Over the limit of SAs a newcomer gets silence; who is in stays.
func TestLimitOfSAs(t *testing.T) {
	w := newWorld(t, "limit", func(gw, _ *Config) { gw.Limits.SAs = 1 })
	w.connect()
	w.one()
	before := w.packets
	w.gw.e.Packet(w.now, Packet{Local: gwAddr, Remote: netip.MustParseAddrPort("203.0.113.1:500"), Data: w.initRequest()})
	w.drain(w.gw)
	w.advanceNodes()
	if w.packets-before != 1 || w.gw.e.Counters[DropFull] == 0 { // the one is initRequest's own
		t.Fatal("a second SA begins")
	}
}

// Renewal: at three quarters of its life a ticket is asked for anew.
func TestRFC5723_4_1_RenewalBeforeExpiry(t *testing.T) {
	w := newWorld(t, "renew")
	w.gw.conn.Grant.Life = time.Hour
	w.start(w.gw)
	w.connect()
	first := w.cl.ticket.Expires
	w.run(46 * time.Minute)
	if w.cl.ticket.Expires <= first {
		t.Fatal("not renewed\n" + w.dump())
	}
}

// While the ring cannot be read there is silence, not NACK (rule D10).
func TestRuleD10_SilenceWhileTheRingCannotBeRead(t *testing.T) {
	w := newWorld(t, "unreadable", quiet)
	w.connect()
	w.gw.cfg.Ring, _ = ticket.Rotate(nil, w.now.Unix()-100, time.Hour, time.Hour, newStream("other"))
	w.crash(w.gw)
	asked := 0
	w.gw.answer = func(q *Question) *Answer {
		if q.Kind == AskRing {
			asked++
			return &Answer{Err: ErrBusy} // an answer to nothing: only CommandKeys counts
		}
		return nil
	}
	w.run(50 * time.Second)
	if asked < 2 || w.gw.e.Counters[DropTicket] != 0 || w.cl.count(EventFallback) != 0 {
		t.Fatalf("asked %d times\n%s\n%s", asked, w.text(), w.dump())
	}
}

// Two connections fit an identity: the one that wants what the peer sends.
func TestConnectionByKindOfAuthentication(t *testing.T) {
	w := newWorld(t, "kinds")
	other := *w.gw.conn
	other.Name, other.Remote.Auth = "certificates", AuthCert
	w.gw.cfg.Connections = []*Connection{&other, w.gw.conn}
	w.start(w.gw)
	w.connect()
	if g, _ := w.one(); g.conn != w.gw.conn {
		t.Fatal(g.conn.Name)
	}
}

// A storm has many thousands of tunnels: more than 256 octets would take 288.
func TestTunnelIsLean(t *testing.T) {
	if n := unsafe.Sizeof(tunnel{}); n > 256 {
		t.Errorf("a tunnel has %d octets", n)
	}
}
