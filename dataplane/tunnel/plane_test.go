package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/internal/propose"
	"blackswan/internal/udp"
	"blackswan/wire"
)

func TestPlane(t *testing.T) {
	planetest.Run(t, func(t *testing.T) dataplane.Plane {
		p, err := New(Config{Device: newDevice()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
}

// suites are what ESP may be protected with, and the sizes of their keys.
var suites = []struct {
	suite       propose.ESPSuite
	encr, integ int
}{
	{propose.ESPSuite{Encr: wire.ENCRAESGCM16, KeyBits: 128}, 20, 0},
	{propose.ESPSuite{Encr: wire.ENCRAESGCM16, KeyBits: 256}, 36, 0},
	{propose.ESPSuite{Encr: wire.ENCRChaCha20Poly1305}, 36, 0},
	{propose.ESPSuite{Encr: wire.ENCRAESCBC, KeyBits: 128, Integ: wire.INTEGHMACSHA256}, 16, 32},
	{propose.ESPSuite{Encr: wire.ENCRAESCBC, KeyBits: 256, Integ: wire.INTEGHMACSHA384}, 32, 48},
	{propose.ESPSuite{Encr: wire.ENCRAESCBC, KeyBits: 256, Integ: wire.INTEGHMACSHA512}, 32, 64},
}

// keyed is the kit's Child SA with a suite.
func keyed(i int, esn bool) dataplane.Child {
	c := planetest.Child(spi)
	c.Suite = suites[i].suite
	c.Suite.ESN = esn
	for at, k := range []*dataplane.Key{&c.EncrIn, &c.IntegIn, &c.EncrOut, &c.IntegOut} {
		n := suites[i].encr
		if at%2 == 1 {
			n = suites[i].integ
		}
		*k = bytes.Repeat([]byte{byte(17*at + 1)}, n)
	}
	return c
}

// Every suite, with and without ESN, in UDP and bare, over both families,
// carries packets of both families and of any size, and counts them.
func TestThrough(t *testing.T) {
	for i := range suites {
		for _, esn := range []bool{false, true} {
			for _, encap := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v esn %v udp %v", suites[i].suite, esn, encap), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { through(t, keyed(i, esn), encap) })
				})
			}
		}
	}
}

func through(t *testing.T, c dataplane.Child, encap bool) {
	c.Encap = encap // a bare one has ports all the same: IKE's
	all := []wire.Selector{sel("0.0.0.0/0"), sel("::/0")}
	c.LocalTS, c.RemoteTS = all, all
	client, gateway := pairOf(t, Config{}, c)
	if encap != (client.port(client.child0().path.Load()).Local().Port() != 0) {
		t.Fatal("the wrong port")
	}
	octets := uint64(0)
	var packets [][]byte
	for n := 0; n < 1400; n += 1 + n/3 {
		packets = append(packets, udp4(a4, b4, 1000, 2000, n), udp6(a6, b6, 1000, 2000, n))
		octets += uint64(28 + n + 48 + n)
	}
	client.inside(packets...)
	var got [][]byte
	for _, s := range client.sent() {
		if s.remote.Addr() != c.Remote.Addr() || encap && s.remote != c.Remote || s.local != c.Local.Addr() {
			t.Errorf("sent from %v to %v", s.local, s.remote)
		}
		for _, packet := range s.packets {
			run := udp.Run{Local: gateway.udp.local, Remote: client.udp.local, Data: packet, Size: len(packet)}
			in := gateway.udp.in
			if !encap {
				run.Local, run.Remote, in = gateway.bare.local, client.bare.local, gateway.bare.in
			}
			in <- []udp.Run{run}
			got = append(got, gateway.took()...)
		}
	}
	if !slices.EqualFunc(got, packets, bytes.Equal) {
		t.Fatalf("%d packets came out, not the %d that went in: %v %v", len(got), len(packets), client.dropped(), gateway.dropped())
	}
	n := uint64(len(packets))
	for e, want := range map[*end]dataplane.Traffic{
		client:  {OutPackets: n, OutOctets: octets},
		gateway: {InPackets: n, InOctets: octets},
	} {
		if got, _ := e.Totals(); got != want {
			t.Errorf("Totals %+v, want %+v", got, want)
		}
		if got, err := e.Traffic(e.child0().spiIn); got != want || err != nil {
			t.Errorf("Traffic %+v, %v, want %+v", got, err, want)
		}
		if err := e.Remove(e.child0().spiIn); err != nil {
			t.Error(err)
		}
		if got, _ := e.Totals(); got != want {
			t.Errorf("Totals when it is gone: %+v, want %+v", got, want)
		}
	}
}

// child0 is the only Child SA.
func (e *end) child0() *child {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, c := range e.children {
		return c
	}
	return nil
}

func TestOrderAndBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := newEnd(t, Config{}, clientAt), newEnd(t, Config{}, gatewayAt)
		for i, to := range []string{"10.2.0.0/16", "10.3.0.0/16"} {
			c := planetest.Child(spi + uint32(i))
			c.RemoteTS = []wire.Selector{sel(to)}
			client.install(c)
			gateway.install(mirror(c))
		}
		var want [][]byte
		for i := range 128 { // three of one, one of the other, two of another class
			b := udp4(a4, "10.2.0.1", 1, uint16(i), 500)
			switch i % 6 {
			case 3:
				b = udp4(a4, "10.3.0.1", 1, uint16(i), 500)
			case 4, 5:
				setTOS(b, 0xb8)
			}
			want = append(want, b)
		}
		client.inside(want...)
		calls := client.sent()
		if len(calls) != 64 {
			t.Errorf("%d calls of Send, want 64", len(calls))
		}
		for _, s := range calls {
			gateway.from(clientUDP, s.packets...)
		}
		if got := gateway.took(); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Error("packets came out in another order, or not all of them")
		}
	})
}

// A packet that fits several Child SAs leaves by the last one installed; each
// takes what comes in (RFC 7296 2.8).
func TestRekey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pair(t, Config{})
		packet := udp4(a4, b4, 1, 2, 3)
		client.inside(packet)
		old := client.packet()
		second := planetest.Child(spi + 1)
		gateway.install(mirror(second))
		client.install(second)
		client.inside(packet)
		young := client.packet()
		if bytes.Equal(old[:4], young[:4]) {
			t.Error("both packets left by the first Child SA")
		}
		gateway.from(clientUDP, young)
		gateway.from(clientUDP, old)
		if got := gateway.took(); len(got) != 2 {
			t.Errorf("%d packets came out, want both: %v", len(got), gateway.dropped())
		}
		if err := client.Remove(spi + 1); err != nil {
			t.Fatal(err)
		}
		client.inside(packet)
		if again := client.packet(); !bytes.Equal(again[:4], old[:4]) {
			t.Error("with the second gone, the first one does not send")
		}
	})
}

func TestMoveAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pair(t, Config{})
		packet := udp4(a4, b4, 1, 2, 3)
		to := netip.MustParseAddrPort("203.0.113.5:777")
		if err := client.Move(spi, dataplane.Path{Local: client.udp.local, Remote: to, Encap: true}); err != nil {
			t.Fatal(err)
		}
		client.inside(packet)
		if s := client.sent(); len(s) != 1 || s[0].remote != to {
			t.Errorf("after Move: %+v", s)
		}
		if err := client.Move(spi, dataplane.Path{Local: client.bare.local, Remote: to, Encap: false}); err != nil {
			t.Fatal(err)
		}
		client.inside(packet)
		if len(client.bare.out) != 1 {
			t.Error("after Move without UDP: not sent by the bare port")
		}
		sealed := client.packet()
		if err := client.Move(spi, dataplane.Path{Local: client.udp.local, Remote: netip.MustParseAddrPort("[2001:db8::1]:4500"), Encap: true}); err != nil {
			t.Fatal(err)
		}
		client.inside(packet)
		if n := client.dropped()["unsent"]; n != 1 {
			t.Errorf("no port of that family: %d unsent, want 1", n)
		}
		if err := client.Remove(spi); err != nil {
			t.Fatal(err)
		}
		if err := gateway.Remove(spi ^ 0xffff); err != nil {
			t.Fatal(err)
		}
		client.inside(packet)
		gateway.from(clientUDP, sealed)
		if s, out := client.sent(), gateway.took(); len(s) != 0 || len(out) != 0 {
			t.Errorf("after Remove: %d sent, %d received", len(s), len(out))
		}
	})
}

func TestSendFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := pair(t, Config{})
		client.udp.refuse = errors.New("full")
		client.inside(udp4(a4, b4, 1, 2, 3), udp4(a4, b4, 1, 2, 3))
		if n := client.dropped()["unsent"]; n != 2 {
			t.Errorf("%d unsent, want 2", n)
		}
		if n, _ := client.Traffic(spi); n.Dropped != 2 {
			t.Errorf("%+v, want 2 dropped", n)
		}
	})
}

// Two addresses of the host, each with its own port.
func TestPortOfTheLocalAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := pair(t, Config{})
		second := newPort("192.0.2.2:4500")
		client.Attach(second)
		if err := client.Move(spi, dataplane.Path{Local: second.local, Remote: netip.MustParseAddrPort(gatewayUDP), Encap: true}); err != nil {
			t.Fatal(err)
		}
		client.inside(udp4(a4, b4, 1, 2, 3))
		if len(second.out) != 1 {
			t.Error("not sent by the port of the local address")
		}
	})
}

func TestNew(t *testing.T) {
	for name, cfg := range map[string]Config{
		"window too small": {Window: 63},
		"window too large": {Window: 4097},
		"path too small":   {PathMTU: 575},
		"path too large":   {PathMTU: 65536},
	} {
		cfg.Device = newDevice()
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What cannot be carried is refused, and leaves everything as it was.
func TestInstallRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnd(t, Config{}, clientAt)
		for name, change := range map[string]func(*dataplane.Child){
			"unknown suite":       func(c *dataplane.Child) { c.Suite.Encr = 3 },
			"CBC without a MAC":   func(c *dataplane.Child) { c.Suite.Encr = wire.ENCRAESCBC },
			"key too short":       func(c *dataplane.Child) { c.EncrOut = c.EncrOut[1:] },
			"inbound key missing": func(c *dataplane.Child) { c.EncrIn = nil },
			"no selectors":        func(c *dataplane.Child) { c.RemoteTS = nil },
		} {
			c := planetest.Child(spi)
			change(&c)
			if err := e.Install(c); err == nil {
				t.Errorf("%s: installed", name)
			}
		}
		if len(e.children) != 0 || e.policy.to.Size() != 0 {
			t.Error("something is left")
		}
	})
}

// After Close nothing leaves, and ports that come late are closed.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pair(t, Config{Wait: 1 << 10})
		client.inside(udp4(a4, b4, 1, 2, 3), udp4(a4, "11.0.0.1", 1, 2, 3))
		sealed := client.packet()
		for _, e := range []*end{client, gateway} {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		gateway.Stray(udp.Message{Local: gateway.udp.local, Remote: client.udp.local, Data: sealed, Kind: udp.ESP})
		late := newPort(clientUDP)
		client.Attach(late)
		if err := late.Receive(udp.NewBurst()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a late port: %v, want it closed", err)
		}
		if len(client.sent()) != 0 || len(gateway.took()) != 0 {
			t.Error("something was carried after Close")
		}
	})
}
