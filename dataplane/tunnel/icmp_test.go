package tunnel

import (
	"bytes"
	"encoding/binary"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/wire"
)

// both carries any packet of both families.
func both() dataplane.Child {
	c := planetest.Child(spi)
	c.LocalTS = []wire.Selector{sel("0.0.0.0/0"), sel("::/0")}
	c.RemoteTS = c.LocalTS
	return c
}

// RFC 4301 8.2.1: what is too long for the path is told to its sender, or cut
// on its way, by the rules of its family.
func TestTooBig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newEnd(t, Config{}, clientAt)
		client.install(both())
		const mtu = 1438 // of AES-GCM in UDP over IPv4
		df := func(b []byte) []byte { return flags(b, 0x4000) }
		for _, row := range []struct {
			name         string
			packet       []byte
			sent, notice bool
		}{
			{"IPv4 that fits", df(udp4(a4, b4, 1, 2, mtu-28)), true, false},
			{"case 1: IPv4 with DF", df(udp4(a4, b4, 1, 2, mtu-27)), false, true},
			{"case 2: IPv4 without DF", udp4(a4, b4, 1, 2, mtu-27), true, false},
			{"IPv6 that fits", udp6(a6, b6, 1, 2, mtu-48), true, false},
			{"case 3: IPv6", udp6(a6, b6, 1, 2, mtu-47), false, true},
			{"RFC 1122 3.2.2: an ICMP error", df(ip4(a4, b4, protoICMP, append(unhex("0301"), make([]byte, mtu)...))), false, false},
			{"a ping", df(ip4(a4, b4, protoICMP, append(unhex("0800"), make([]byte, mtu)...))), false, true},
			{"RFC 1122 3.2.2: to a group", df(udp4(a4, "224.0.0.9", 1, 2, mtu)), false, false},
			{"RFC 1122 3.2.2: to all", df(udp4(a4, "255.255.255.255", 1, 2, mtu)), false, false},
			{"RFC 1122 3.2.2: from nobody", df(udp4("0.0.0.0", b4, 1, 2, mtu)), false, false},
			{"RFC 1122 3.2.2: a later fragment", flags(udp4(a4, b4, 1, 2, mtu), 0x4001), false, false},
			{"RFC 4443 2.4: an ICMPv6 error", ip6(a6, b6, protoICMPv6, append(unhex("0100"), make([]byte, mtu)...)), false, false},
			{"RFC 4443 2.4: to a group", udp6(a6, "ff02::1", 1, 2, mtu), false, true},
			{"RFC 4443 2.4: from a group", udp6("ff02::1", a6, 1, 2, mtu), false, false},
		} {
			client.inside(row.packet)
			if sent := len(client.sent()) > 0; sent != row.sent {
				t.Errorf("%s: sent %v, want %v", row.name, sent, row.sent)
			}
			notices := client.took()
			if len(notices) > 0 != row.notice {
				t.Errorf("%s: %d notices", row.name, len(notices))
			}
			if len(notices) == 1 {
				checkNotice(t, row.name, notices[0], row.packet, mtu)
			}
		}
		client.took()
		if n := client.dropped()["too_big"]; n != 11 {
			t.Errorf("%d dropped as too big, want 11", n)
		}
	})
}

// checkNotice reads an ICMP message by hand.
func checkNotice(t *testing.T, name string, got, about []byte, mtu int) {
	t.Helper()
	var p, of inner
	of.parse(about)
	if !p.parse(got) || p.size != len(got) || p.dst != of.src || p.src != of.dst {
		t.Fatalf("%s: the notice goes from %v to %v", name, p.src, p.dst)
	}
	message := got[p.upper:]
	quote := message[icmpHeader:]
	if !bytes.HasPrefix(about, quote) || len(quote) < 128 {
		t.Errorf("%s: %d octets are quoted, or other ones", name, len(quote))
	}
	if p.src.Is4() {
		if message[0] != 3 || message[1] != 4 || binary.BigEndian.Uint32(message[4:]) != uint32(mtu) || len(got) > 576 {
			t.Errorf("%s: %x", name, message[:8])
		}
		if checksum(0, got[:header4]) != 0 || checksum(0, message) != 0 {
			t.Errorf("%s: bad checksum", name)
		}
		return
	}
	if message[0] != 2 || message[1] != 0 || binary.BigEndian.Uint32(message[4:]) != uint32(mtu) || len(got) > 1280 {
		t.Errorf("%s: %x", name, message[:8])
	}
	pseudo := append(bytes.Clone(got[8:40]), 0, 0, byte(len(message)>>8), byte(len(message)), 0, 0, 0, protoICMPv6)
	if checksum(0, append(pseudo, message...)) != 0 {
		t.Errorf("%s: bad checksum", name)
	}
}

// A path that is narrower than IPv6 allows: the least MTU is told, and packets
// of that size go in fragments (RFC 8200 5).
func TestTooBigOnANarrowPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newEnd(t, Config{PathMTU: 1280}, clientAt)
		client.install(both())
		client.inside(udp6(a6, b6, 1, 2, minMTU6-48))
		if len(client.sent()) != 1 {
			t.Error("an IPv6 packet of 1280 octets was not sent")
		}
		client.inside(udp6(a6, b6, 1, 2, minMTU6-47))
		if n := client.took(); len(n) != 1 || binary.BigEndian.Uint32(n[0][44:]) != minMTU6 {
			t.Errorf("notices %x, want one of 1280 octets", n)
		}
	})
}

// ICMP messages are limited (RFC 4443 2.4 f, RFC 1812 4.3.2.8).
func TestNoticesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newEnd(t, Config{}, clientAt)
		client.install(both())
		batch := make([][]byte, 128)
		for i := range batch {
			batch[i] = udp6(a6, b6, 1, 2, 1400)
		}
		time.Sleep(time.Second)
		for range 6 {
			client.inside(batch...)
		}
		if n := len(client.took()); n != mostTooBig {
			t.Errorf("%d notices in a second, want %d", n, mostTooBig)
		}
	})
}

// The MSS of a SYN is lowered in both directions.
func TestClampThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := newEnd(t, Config{}, clientAt), newEnd(t, Config{PathMTU: 1400}, gatewayAt)
		client.install(both())
		gateway.install(mirror(both()))
		client.inside(syn4(unhex("020405b4")))
		sealed := client.packet()
		gateway.from(clientUDP, sealed)
		out := gateway.took()
		if len(out) != 1 {
			t.Fatal(gateway.dropped())
		}
		// 1400 - 20 - 8 - 16 - 16 = 1340, a multiple of 4; without the trailer 1338
		if mss := binary.BigEndian.Uint16(out[0][42:]); mss != 1338-40 || tcpSum(out[0]) != 0 {
			t.Errorf("MSS %d came out, want %d", mss, 1338-40)
		}
	})
}

// RFC 6040 4.1 and RFC 4301 5.1.2: ECN and DSCP go to the outer header, back
// comes ECN alone.
func TestTrafficClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hide := range []bool{false, true} {
			client, gateway := newEnd(t, Config{HideDSCP: hide}, clientAt), newEnd(t, Config{}, gatewayAt)
			client.install(both())
			gateway.install(mirror(both()))
			for _, packet := range [][]byte{udp4(a4, b4, 1, 2, 3), udp6(a6, b6, 1, 2, 3)} {
				setTOS(packet, 0xb8|ect0)
				client.inside(packet)
				s := client.sent()[0]
				want := uint8(0xb8 | ect0)
				if hide {
					want = ect0
				}
				if s.class != want {
					t.Errorf("hidden %v: outer class %02x, want %02x", hide, s.class, want)
				}
				run := s.run(gateway)
				run.Class = 0x40 | ce // congestion, and a DSCP of somebody on the way
				gateway.receive(run)
				setTOS(packet, 0xb8|ce)
				if out := gateway.took(); len(out) != 1 || !bytes.Equal(out[0], packet) {
					t.Errorf("hidden %v: %x came out, want %x", hide, out, packet)
				}

				setTOS(packet, 0xb8)
				client.inside(packet)
				run = client.sent()[0].run(gateway)
				run.Class = ce
				gateway.receive(run)
				if out := gateway.took(); len(out) != 0 {
					t.Errorf("a packet without ECN arrived with congestion marked outside: %x", out)
				}
			}
			if got := gateway.dropped(); !maps.Equal(got, map[string]uint64{"ecn": 2}) {
				t.Errorf("dropped %v", got)
			}
			client.Close()
			gateway.Close()
		}
	})
}

// RFC 4301 6.2: an ICMP error that fits no selectors, from a router on the way,
// goes and comes with the traffic that it is about, and with no other.
func TestErrorsOfRouters(t *testing.T) {
	const router4, router6 = "10.200.0.1", "2001:db8:ff::1"
	c := planetest.Child(spi)
	c.LocalTS = []wire.Selector{sel("10.1.0.0/16"), sel("2001:db8:1::/48", protoUDP, 1000, 1000)}
	c.RemoteTS = []wire.Selector{sel("10.2.0.0/16"), sel("2001:db8:2::/48", protoUDP)}
	long4, long6 := udp4(b4, a4, 2, 1, 900), udp6(b6, a6, 2, 1000, 900)
	error4 := func(kind, code byte, to string, about []byte) []byte {
		return ip4(router4, to, protoICMP, append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, about...))
	}
	error6 := func(kind byte, to string, about []byte) []byte {
		return ip6(router6, to, protoICMPv6, append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, about...))
	}
	for _, row := range []struct {
		name   string
		packet []byte
		taken  bool
	}{
		{"unreachable", error4(3, 1, b4, long4[:28]), true},
		{"fragmentation needed", error4(3, 4, b4, long4[:500]), true},
		{"time exceeded", error4(11, 0, b4, long4[:28]), true},
		{"parameter problem", error4(12, 0, b4, long4[:28]), true},
		{"too big", error6(2, b6, long6[:800]), true},
		{"redirect", error4(5, 1, b4, long4[:28]), false},
		{"a ping", error4(8, 0, b4, long4[:28]), false},
		{"ICMPv6 echo", error6(128, b6, long6[:800]), false},
		{"to another than who sent that", error4(3, 1, "10.2.0.2", long4[:28]), false},
		{"about traffic of others", error4(3, 1, b4, udp4(b4, "10.3.0.1", 1, 2, 3)), false},
		{"about other ports", error6(2, b6, udp6(b6, a6, 2, 1001, 900)[:800]), false},
		{"quoting too little", error4(3, 1, b4, long4[:19]), false},
		{"quoting nothing", error4(3, 1, b4, nil), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, gateway := pairOf(t, Config{}, c)
			client.inside(row.packet)
			if sent := len(client.sent()) == 1; sent != row.taken {
				t.Errorf("%s: sent %v, want %v: %v", row.name, sent, row.taken, client.dropped())
			}
			next := uint8(4)
			if row.packet[0]>>4 == 6 {
				next = 41
			}
			gateway.from(clientUDP, newPeer(t).seal(row.packet, next))
			if out := gateway.took(); (len(out) == 1) != row.taken {
				t.Errorf("%s: %d came out, want %v: %v", row.name, len(out), row.taken, gateway.dropped())
			}
		})
	}

	// Two errors that differ in what they quote alone are judged one by one.
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pairOf(t, Config{}, c)
		good, bad := error4(3, 1, b4, long4[:28]), error4(3, 1, b4, udp4(b4, "10.3.0.1", 1, 2, 0))
		client.inside(good, bad, good)
		p := newPeer(t)
		gateway.from(clientUDP, p.seal(good, 4), p.seal(bad, 4), p.seal(good, 4))
		if s, out := client.sent(), gateway.took(); len(s) != 2 || len(out) != 2 {
			t.Errorf("%d sent, %d came out, want two each", len(s), len(out))
		}
	})
}
