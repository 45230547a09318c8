package tunnel

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/esp"
	"blackswan/internal/udp"
	"blackswan/wire"
)

// peer seals what it likes for the gateway of a pair: it holds the keys.
type peer struct {
	t   *testing.T
	out *esp.Out
}

func newPeer(t *testing.T) *peer {
	return &peer{t, outOf(t, planetest.Child(spi))}
}

// outOf is the sending half of a Child SA.
func outOf(t *testing.T, c dataplane.Child) *esp.Out {
	t.Helper()
	out, err := esp.NewOut(c.SPIOut, esp.AESGCM16, c.EncrOut, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (p *peer) seal(payload []byte, next uint8) []byte {
	buf := make([]byte, headroom+len(payload)+tailroom)
	copy(buf[headroom:], payload)
	packet, err := p.out.Seal(buf, headroom, len(payload), next)
	if err != nil {
		p.t.Fatal(err)
	}
	return bytes.Clone(packet)
}

// Whatever comes from a stranger, or from the peer against the rules, is
// dropped and counted by reason, changes nothing, and does not stop the next
// good packet.
func TestHostileInbound(t *testing.T) {
	const stranger = "203.0.113.66:4500"
	good := udp4(a4, b4, 1, 2, 30)
	edit := func(b []byte, at int, value ...byte) []byte {
		b = bytes.Clone(b)
		if at < 0 {
			at += len(b)
		}
		copy(b[at:], value)
		return b
	}
	for name, row := range map[string]struct {
		make   func(p *peer) []byte
		reason string
		proven bool // by the peer: it lives
	}{
		"ICV":               {func(p *peer) []byte { return edit(p.seal(good, 4), -1, 0xaa, 0xaa) }, "bad_icv", false},
		"ciphertext":        {func(p *peer) []byte { return edit(p.seal(good, 4), 20, 0xaa, 0xaa) }, "bad_icv", false},
		"sequence number":   {func(p *peer) []byte { return edit(p.seal(good, 4), 4, 0x7f) }, "bad_icv", false},
		"cut by one octet":  {func(p *peer) []byte { b := p.seal(good, 4); return b[:len(b)-1] }, "bad_icv", false},
		"cut to the header": {func(p *peer) []byte { return p.seal(good, 4)[:16] }, "truncated", false},
		"cut to the SPI":    {func(p *peer) []byte { return p.seal(good, 4)[:4] }, "truncated", false},
		"keepalive":         {func(*peer) []byte { return []byte{0xff} }, "keepalive", false},
		"one octet":         {func(*peer) []byte { return []byte{0xfe} }, "truncated", false},
		"zero SPI":          {func(p *peer) []byte { return edit(p.seal(good, 4), 0, 0, 0, 0, 0) }, "zero_spi", false},
		"unknown SPI":       {func(p *peer) []byte { return edit(p.seal(good, 4), 0, 0, 0, 1, 1) }, "unknown_spi", false},

		"bad padding":             {func(p *peer) []byte { return p.badPadding(good) }, "bad_padding", false},
		"dummy":                   {func(p *peer) []byte { return p.seal(make([]byte, 40), 59) }, "dummy", true},
		"transport mode":          {func(p *peer) []byte { return p.seal(good[20:], protoUDP) }, "not_tunnel_mode", false},
		"IPv6 that says IPv4":     {func(p *peer) []byte { return p.seal(udp6(a6, b6, 1, 2, 3), 4) }, "bad_inner_packet", false},
		"inner packet cut":        {func(p *peer) []byte { return p.seal(good[:len(good)-1], 4) }, "bad_inner_packet", false},
		"inner header too short":  {func(p *peer) []byte { return p.seal(edit(good, 0, 0x44), 4) }, "bad_inner_packet", true},
		"spoofed source":          {func(p *peer) []byte { return p.seal(udp4("10.9.0.1", b4, 1, 2, 3), 4) }, "spoofed_source", true},
		"destination not ours":    {func(p *peer) []byte { return p.seal(udp4(a4, "10.9.0.1", 1, 2, 3), 4) }, "selector", true},
		"family of no selector":   {func(p *peer) []byte { return p.seal(udp6(a6, b6, 1, 2, 3), 41) }, "spoofed_source", true},
		"source and destination":  {func(p *peer) []byte { return p.seal(udp4(b4, a4, 1, 2, 3), 4) }, "spoofed_source", true},
		"unknown SPI, no content": {func(*peer) []byte { return unhex("0000010100000001") }, "unknown_spi", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, gateway := pair(t, Config{})
				p := newPeer(t)
				first, second := p.seal(good, 4), p.seal(good, 4)
				gateway.from(clientUDP, first)
				gateway.took()
				gateway.seen()
				before, _ := gateway.Totals()
				top := gateway.child0().in.sa.Highest()

				bad := row.make(p)
				gateway.from(stranger, bad)
				gateway.from(stranger, bad)
				counted := gateway.dropped()
				delete(counted, "replay") // of the second copy of what the peer made
				want := map[string]uint64{row.reason: 2}
				if row.proven {
					want[row.reason] = 1
				}
				if !maps.Equal(counted, want) {
					t.Errorf("counted %v, want %v", counted, want)
				}
				if out := gateway.took(); len(out) != 0 {
					t.Errorf("%x went to the inside", out)
				}
				after, _ := gateway.Totals()
				after.Dropped = 0
				if after != before {
					t.Errorf("Totals %+v, before %+v", after, before)
				}
				if now := gateway.child0().in.sa.Highest(); !row.proven && now != top {
					t.Errorf("the window moved from %d to %d", top, now)
				}
				kinds := gateway.kinds()
				switch {
				case row.reason == "unknown_spi" && kinds != "unknown unknown",
					row.proven && kinds != "moved",
					row.reason != "unknown_spi" && !row.proven && kinds != "":
					t.Errorf("reported %q", kinds)
				}

				gateway.from(clientUDP, second)
				if out := gateway.took(); len(out) != 1 || !bytes.Equal(out[0], good) {
					t.Errorf("the next good packet: %x", out)
				}
			})
		})
	}
}

// badPadding seals a packet whose padding is not 1, 2, 3 and so on: its last
// octets pass for the trailer.
func (p *peer) badPadding(b []byte) []byte {
	payload := append(bytes.Clone(b), 9, 9, 2, 4) // padding 9 9, Pad Length 2, Next Header 4
	for (len(payload)+2)%4 != 0 {
		payload = append([]byte{0}, payload...)
	}
	packet := p.seal(payload, 4)
	return p.withoutTrailer(packet, len(payload))
}

// withoutTrailer makes the last octets of a payload its trailer: sealed anew by
// hand, with the sequence number of packet.
func (p *peer) withoutTrailer(packet []byte, payload int) []byte {
	c := planetest.Child(spi)
	aead := gcmOf(p.t, c.EncrOut)
	plain, err := aead.Open(nil, nonceOf(c.EncrOut, packet), packet[16:], packet[:8])
	if err != nil {
		p.t.Fatal(err)
	}
	return append(bytes.Clone(packet[:16]), aead.Seal(nil, nonceOf(c.EncrOut, packet), plain[:payload], packet[:8])...)
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gateway := pair(t, Config{Window: 64})
		p := newPeer(t)
		var packets [][]byte
		for range 100 {
			packets = append(packets, p.seal(udp4(a4, b4, 1, 2, 3), 4))
		}
		gateway.from(clientUDP, packets[99])
		gateway.from(clientUDP, packets[99], packets[98], packets[98], packets[36]) // 36 is the oldest in a window of 64
		gateway.from(clientUDP, packets[35], packets[0])
		if n, want := len(gateway.took()), 3; n != want {
			t.Errorf("%d packets came out, want %d", n, want)
		}
		if got := gateway.dropped(); !maps.Equal(got, map[string]uint64{"replay": 4}) {
			t.Errorf("dropped %v, want 4 replays", got)
		}
	})
}

// RFC 4303 2.7: what lies behind the inner packet hides its length.
func TestTFCPadding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gateway := pair(t, Config{})
		want := udp4(a4, b4, 1, 2, 3)
		gateway.from(clientUDP, newPeer(t).seal(append(bytes.Clone(want), make([]byte, 700)...), 4))
		if out := gateway.took(); len(out) != 1 || !bytes.Equal(out[0], want) {
			t.Errorf("%x came out", out)
		}
	})
}

// Ports and protocol of an inner packet are checked too (RFC 4301 5.2).
func TestInboundSelectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := newEnd(t, Config{}, clientAt), newEnd(t, Config{}, gatewayAt)
		wide, narrow := planetest.Child(spi), planetest.Child(spi)
		narrow.LocalTS = []wire.Selector{sel("10.1.0.0/16", protoUDP)}
		narrow.RemoteTS = []wire.Selector{sel("10.2.0.0/16", protoUDP, 53, 53), sel("10.2.0.0/16", protoICMP, 0x0800, 0x08ff)}
		client.install(wide)
		gateway.install(mirror(narrow))
		packets := [][]byte{
			udp4(a4, b4, 1000, 53, 3),
			udp4(a4, b4, 1000, 54, 3),
			ip4(a4, b4, protoTCP, unhex("03e80035")),
			flags(udp4(a4, b4, 1000, 53, 3), 0x2001),  // RFC 4301 7.1: its ports cannot be seen
			ip4(a4, b4, protoICMP, unhex("08000000")), // our side admits UDP alone
		}
		client.inside(packets...)
		for _, s := range client.sent() {
			for _, packet := range s.packets {
				gateway.from(clientUDP, packet)
			}
		}
		if out := gateway.took(); len(out) != 1 || !bytes.Equal(out[0], packets[0]) {
			t.Errorf("%d packets came out, want the first: %x", len(out), out)
		}
		if got := gateway.dropped(); !maps.Equal(got, map[string]uint64{"selector": 4}) {
			t.Errorf("dropped %v, want 4 for their selectors", got)
		}
	})
}

// Runs may hold packets of several Child SAs and of nobody.
func TestMixedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := newEnd(t, Config{}, clientAt), newEnd(t, Config{}, gatewayAt)
		for i, to := range []string{"10.2.0.0/16", "10.3.0.0/16"} {
			c := planetest.Child(spi + uint32(i))
			c.RemoteTS = []wire.Selector{sel(to)}
			client.install(c)
			gateway.install(mirror(c))
		}
		var run [][]byte
		for i := range 9 {
			client.inside(udp4(a4, []string{"10.2.0.1", "10.3.0.1", "10.3.0.1"}[i%3], 1, uint16(i), 100))
			b := client.packet()
			if i == 4 {
				binary.BigEndian.PutUint32(b, 0x7777)
			}
			run = append(run, b)
		}
		gateway.from(clientUDP, run...)
		if out := gateway.took(); len(out) != 8 {
			t.Errorf("%d packets came out, want 8: %v", len(out), gateway.dropped())
		}
	})
}

func TestMalformedInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := pair(t, Config{})
		client.inside([]byte{}, []byte{0x45}, udp4(a4, b4, 1, 2, 9)[:30], udp4(a4, "11.0.0.1", 1, 2, 3), udp4("11.0.0.1", b4, 1, 2, 3), udp4(a4, b4, 1, 2, 3))
		client.packet()
		if got := client.dropped(); !maps.Equal(got, map[string]uint64{"malformed": 3, "no_child_sa": 2}) {
			t.Errorf("dropped %v", got)
		}
	})
}

// An IKE or ESP packet to the peer that a route has led into its own tunnel is
// not wrapped once more; other traffic between the two hosts is.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := planetest.Child(spi)
		c.Remote = netip.MustParseAddrPort(gatewayAt + ":61234")
		c.LocalTS, c.RemoteTS = []wire.Selector{sel("0.0.0.0/0")}, []wire.Selector{sel("0.0.0.0/0")}
		client := newEnd(t, Config{}, clientAt)
		client.install(c)
		for name, row := range map[string]struct {
			packet []byte
			loop   bool
		}{
			"ESP":              {ip4(clientAt, gatewayAt, protoESP, make([]byte, 40)), true},
			"ESP in UDP":       {udp4(clientAt, gatewayAt, 4500, 61234, 40), true},
			"IKE":              {udp4(clientAt, gatewayAt, 500, 500, 40), true},
			"IKE behind NAT":   {udp4(clientAt, gatewayAt, 777, 4500, 40), true},
			"from our port":    {udp4(clientAt, gatewayAt, 4500, 777, 40), true},
			"a later fragment": {flags(udp4(clientAt, gatewayAt, 1, 2, 40), 0x2003), true},
			"DNS":              {udp4(clientAt, gatewayAt, 777, 53, 40), false},
			"TCP to 4500":      {ip4(clientAt, gatewayAt, protoTCP, synOf(nil)), false},
			"ping":             {ip4(clientAt, gatewayAt, protoICMP, unhex("08000000")), false},
			"ESP of others":    {ip4(clientAt, "198.51.100.8", protoESP, make([]byte, 40)), false},
		} {
			before := client.dropped()["loop"]
			client.inside(row.packet)
			if looped := client.dropped()["loop"] > before; looped != row.loop || len(client.sent()) > 0 == looped {
				t.Errorf("%s: dropped %v, want %v", name, looped, row.loop)
			}
		}
	})
}

// Stray packets are carried like others.
func TestStray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pair(t, Config{})
		want := udp4(a4, b4, 1, 2, 3)
		client.inside(want)
		m := udp.Message{Local: gateway.udp.local, Remote: client.udp.local, Data: client.packet(), Kind: udp.ESP}
		gateway.Stray(m)
		if out := gateway.took(); len(out) != 1 || !bytes.Equal(out[0], want) {
			t.Errorf("%x came out", out)
		}
		gateway.Stray(m)
		gateway.Stray(udp.Message{Local: gateway.udp.local, Remote: client.udp.local, Data: []byte{0xff}, Kind: udp.Keepalive})
		gateway.Stray(udp.Message{})
		if got := gateway.dropped(); !maps.Equal(got, map[string]uint64{"replay": 1, "keepalive": 1}) {
			t.Errorf("dropped %v", got)
		}
		if r := gateway.seen(); len(r) != 1 || r[0] != (dataplane.Report{Kind: dataplane.Used, SPI: spi ^ 0xffff, Local: gateway.udp.local, Remote: client.udp.local, Encap: true}) {
			t.Errorf("reported %+v", r)
		}
	})
}
