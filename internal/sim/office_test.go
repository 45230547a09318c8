package sim

import (
	"net/netip"
	"testing"
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// attacker has a prefix of true addresses, from which he sends first messages as
// fast as he likes. He answers COOKIEs, and goes no further.
type attacker struct {
	w     *World
	base  ike.Packet // an IKE_SA_INIT request that he has seen
	next  int
	sent  int
	asked int // for a COOKIE
}

var badPrefix = netip.MustParsePrefix("203.0.113.0/24")

// watches has the attacker see what passes by.
func (a *attacker) watches() {
	a.w.Network.Lose = func(toGateway bool, p ike.Packet) bool {
		h, _ := wire.ParseHeader(p.Data)
		if toGateway && a.base.Data == nil && h.Exchange == wire.ExchangeIKESAInit {
			a.base = ownPacket(p)
		}
		if !toGateway && badPrefix.Contains(p.Remote.Addr()) {
			a.takes(h, p)
			return true
		}
		return false
	}
}

// takes sends a first message again, with the COOKIE that was asked for.
func (a *attacker) takes(h wire.Header, p ike.Packet) {
	walk := wire.Walk(h.NextPayload, p.Data[wire.HeaderLen:])
	pay, _ := walk.Next()
	if n, err := wire.ParseNotify(pay.Body); err == nil && pay.Type == wire.PayloadNotify && n.Type == wire.NotifyCookie {
		a.asked++
		a.sends(p.Remote, h.SPIi, append([]byte(nil), n.Data...))
	}
}

// sends one IKE_SA_INIT request of his own.
func (a *attacker) sends(from netip.AddrPort, spii wire.SPI, cookie []byte) {
	h, _ := wire.ParseHeader(a.base.Data)
	walk := wire.Walk(h.NextPayload, a.base.Data[wire.HeaderLen:])
	h.SPIi = spii
	m := wire.NewWriter(nil, h)
	if cookie != nil {
		m.Notify(wire.Notify{Type: wire.NotifyCookie, Data: cookie})
	}
	for pay, ok := walk.Next(); ok; pay, ok = walk.Next() {
		m.Raw(pay.Type, pay.Body)
	}
	a.sent++
	p := ike.Packet{Local: a.base.Remote, Remote: from, Data: m.Finish()}
	a.w.after(a.w.Network.Delay, func() { a.w.Gateway.receive(p) })
}

// floods sends so many a second until the end of the world.
func (a *attacker) floods(perSecond int) {
	a.next++
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(a.next)}), uint16(1024+a.next%50000))
	a.sends(from, wire.SPI(a.next)<<8|1, nil)
	a.w.after(time.Second/time.Duration(perSecond), func() { a.floods(perSecond) })
}

// TestOfficeBesideAFlood: a thousand clients behind one address are no attackers,
// whatever limits a prefix has. Beside a flood from another prefix all of them log
// in within some seconds, and after a crash all resume sooner than that.
func TestOfficeBesideAFlood(t *testing.T) {
	t.Parallel()
	w := New(Options{Seed: max(*seed, 1), Shards: 2, Hosts: 2, Tunnels: 1000, NAT: true, Cheap: true, Network: Network{Delay: 5 * time.Millisecond}})
	office := w.Hosts[1].clients
	if !w.Hosts[1].public.IsValid() {
		t.Fatal("the office has no NAT")
	}
	bad := &attacker{w: w}
	bad.watches()
	w.Slow(time.Millisecond, 5*time.Millisecond) // each of two shards: a thousand messages a second, and 200 key agreements
	w.Hosts[0].clients[0].Begin()
	w.Run(time.Second)
	bad.floods(2000)
	w.Run(5 * time.Second) // until he has all that a prefix can have

	back := func(done func() bool) time.Duration {
		began := w.now
		for w.Err() == nil && !done() && w.now.Sub(began) < 5*time.Minute {
			w.Run(100 * time.Millisecond)
		}
		return w.now.Sub(began)
	}
	for _, c := range office {
		c.Begin()
	}
	login := back(func() bool { return w.Fulls() > len(office) })
	w.Run(5 * time.Second)
	w.Gateway.Crash(time.Second)
	w.Run(time.Second)
	resume := back(func() bool { return w.Resumes() > len(office) })
	if w.Err() != nil || w.Fulls() != len(office)+1 || w.Resumes() != len(office)+1 {
		t.Errorf("%d full handshakes and %d resumes of %d clients: %v", w.Fulls(), w.Resumes(), len(office)+1, w.Err())
	}
	if login > 10*time.Second || resume > 5*time.Second {
		t.Errorf("all have logged in after %v, and resumed after %v", login, resume)
	}
	if bad.sent < 20_000 || bad.asked < bad.sent/10 {
		t.Errorf("the flood is %d messages, of which %d were asked for a COOKIE", bad.sent, bad.asked)
	}
	t.Logf("login %v, resume %v; flood %d, of which %d with a COOKIE", login, resume, bad.sent, bad.asked)
}
