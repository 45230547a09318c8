package tunnel

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
)

// RFC 3948 4: behind a NAT the octet 0xff leaves when nothing else did for 20
// seconds, once for each peer.
func TestKeepalives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newEnd(t, Config{}, clientAt)
		var first dataplane.Child
		for i := range 3 { // two with one peer, one with another, one that needs none
			c := planetest.Child(spi + uint32(i))
			c.Behind = i < 2
			if i == 0 {
				first = c
			}
			client.install(c)
		}
		other := planetest.Child(spi + 9)
		other.Behind = true
		other.Remote = netip.MustParseAddrPort("203.0.113.1:4500")
		other.RemoteTS = first.RemoteTS[:1]
		client.install(other)
		bare := planetest.Child(spi + 10)
		bare.Behind, bare.Encap = true, false
		bare.Remote = netip.MustParseAddrPort("203.0.113.2:0")
		client.install(bare)

		// beats is to whom keepalives were sent since it was asked last.
		beats := func() map[string]int {
			all := map[string]int{}
			for _, s := range client.sent() {
				if len(s.packets) == 0 {
					all[s.remote.String()]++
				}
			}
			return all
		}
		expect := func(what string, want map[string]int) {
			t.Helper()
			if got := beats(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: keepalives to %v, want %v", what, got, want)
			}
		}
		time.Sleep(19 * time.Second)
		expect("19 seconds", map[string]int{})
		time.Sleep(2 * time.Second)
		expect("21 seconds", map[string]int{gatewayUDP: 1, "203.0.113.1:4500": 1})
		time.Sleep(60 * time.Second)
		expect("a minute more", map[string]int{gatewayUDP: 3, "203.0.113.1:4500": 3})

		if err := client.Remove(spi + 10); err != nil {
			t.Fatal(err)
		}
		for range 6 { // the last one installed carries the packets
			client.inside(udp4(a4, b4, 1, 2, 3))
			time.Sleep(10 * time.Second)
		}
		expect("a minute with packets to one", map[string]int{gatewayUDP: 3})

		moved := netip.MustParseAddrPort("203.0.113.77:4500")
		if err := client.Move(spi, dataplane.Path{Local: client.udp.local, Remote: moved, Encap: true, Behind: true}); err != nil {
			t.Fatal(err)
		}
		if err := client.Remove(spi + 9); err != nil {
			t.Fatal(err)
		}
		beats()
		time.Sleep(41 * time.Second)
		expect("after Move and Remove", map[string]int{gatewayUDP: 2, moved.String(): 2})
		for _, i := range []uint32{0, 1, 2} {
			if err := client.Remove(spi + i); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		expect("with none left", map[string]int{})
		if len(client.pulses.all) != 0 {
			t.Error("a pulse is left")
		}
	})
}

// Keepalives begin and end with the NAT, and there are none to bare ESP.
func TestKeepalivesComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := planetest.Child(spi)
		c.Behind = true
		client := newEnd(t, Config{}, clientAt)
		client.install(c)
		for _, to := range []dataplane.Path{
			{Local: c.Local, Remote: c.Remote, Behind: true}, {Local: c.Local, Remote: c.Remote, Encap: true},
			{Local: c.Local, Remote: c.Remote, Encap: true, Behind: true},
		} {
			if err := client.Move(spi, to); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			if got := len(client.sent()); (got == 1) != (to.Encap && to.Behind) {
				t.Errorf("%+v: %d keepalives", to, got)
			}
		}
	})
}

// Ciphers of Child SAs that carried packets are given back, and made again.
func TestIdleMemory(t *testing.T) {
	const children = 2000
	p := gatewayOf(t, children)
	asleep := heapOf()
	send := func() {
		for n := range children {
			b := p.sender.bufs[0]
			p.sender.mu.Lock()
			p.send(p.sender.bufs[:1], []int{copy(b[headroom:], udp4("192.0.2.80", clientAddr(n).String(), 1, 2, 100))})
			p.sender.mu.Unlock()
		}
	}
	send()
	awake := heapOf()
	if awake < asleep+500*children {
		t.Errorf("ciphers of %d Child SAs take %d octets: this test sees nothing", children, awake-asleep)
	}
	if n := len(p.awake.idle(p.now() + sleepAfter - time.Second)); n != 0 {
		t.Errorf("%d are idle too soon", n)
	}
	for _, c := range p.awake.idle(p.now() + sleepAfter) {
		c.sleep()
	}
	if again := heapOf(); again > asleep+100*children {
		t.Errorf("%d octets, %d with ciphers, %d without", again, awake, asleep)
	}
	send()
	if n, _ := p.Totals(); n.OutPackets != 2*children {
		t.Errorf("%d packets were sent, want %d", n.OutPackets, 2*children)
	}
	runtime.KeepAlive(p)
}

// Forged packets make ciphers too: those are given back as well.
func TestForgedPacketsKeepNoCiphers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gateway := pair(t, Config{})
		packet := newPeer(t).seal(udp4(a4, b4, 1, 2, 3), 4)
		packet[20] ^= 1
		gateway.from(clientUDP, packet)
		if n := gateway.awakeNow(); n != 1 {
			t.Errorf("%d Child SAs are awake, want 1", n)
		}
		time.Sleep(sleepAfter + 2*watchEvery)
		if n := gateway.awakeNow(); n != 0 {
			t.Errorf("%d Child SAs are awake, want none", n)
		}
	})
}

// awakeNow is how many Child SAs have ciphers.
func (e *end) awakeNow() int {
	synctest.Wait()
	e.awake.mu.Lock()
	defer e.awake.mu.Unlock()
	return len(e.awake.all)
}
