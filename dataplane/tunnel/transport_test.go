package tunnel

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"blackswan/dataplane/planetest"
	"blackswan/internal/udp"
	"blackswan/wire"
)

// transportPair has a Child SA in transport mode between the two ends, and the
// same for two addresses of IPv6.
func transportPair(t *testing.T) (client, gateway *end) {
	c := planetest.Child(spi)
	c.Transport, c.Encap = true, false
	c.LocalTS, c.RemoteTS = hosts(clientAt), hosts(gatewayAt)
	client, gateway = pairOf(t, Config{}, c)
	c.SPIIn, c.SPIOut = c.SPIIn+1, c.SPIOut-1
	c.LocalTS, c.RemoteTS = hosts(client6), hosts(gateway6)
	client.install(c)
	gateway.install(mirror(c))
	return client, gateway
}

const client6, gateway6 = "2001:db8::1", "2001:db8::2"

func hosts(addr string) []wire.Selector { return []wire.Selector{sel(addr + "/" + bitsOf(addr))} }

func bitsOf(addr string) string {
	if strings.Contains(addr, ":") {
		return "128"
	}
	return "32"
}

// classed is an IPv4 packet with another traffic class.
func classed(b []byte, class uint8) []byte {
	setTOS(b, class)
	return b
}

// barely is an ESP packet that comes by the bare port.
func (e *end) barely(from string, class uint8, packet []byte) {
	e.bare.in <- []udp.Run{{Local: e.bare.local, Remote: netip.MustParseAddrPort(from + ":0"), Data: packet, Size: len(packet), Class: class}}
	synctest.Wait()
}

// RFC 4303 3.1.1: what stands behind the IP header is what ESP carries, with its
// protocol as the Next Header; the header is made again at the other end.
func TestRFC4303_3_1_1_TransportMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := transportPair(t)
		udp := []byte{0x03, 0xe8, 0x07, 0xd0, 0x00, 0x0c, 0x00, 0x00, 'b', 's', 'w', 'n'} // ports 1000 and 2000
		options := append([]byte{protoUDP, 0, 1, 4, 0, 0, 0, 0}, udp...)                  // Destination Options, padded
		for _, row := range []struct {
			name     string
			packet   []byte
			protocol uint8
			behind   []byte
			class    uint8
			comes    string // the header that it comes with, in hexadecimal
		}{
			{"IPv4", ip4(clientAt, gatewayAt, protoUDP, udp), protoUDP, udp, 0,
				"45000020 00004000 40114e91 c0000201 c6336407"},
			{"IPv4 with a traffic class", classed(ip4(clientAt, gatewayAt, protoUDP, udp), 0xb9), protoUDP, udp, 0xb9,
				"45b90020 00004000 40114dd8 c0000201 c6336407"},
			{"IPv6", ip6(client6, gateway6, protoUDP, udp), protoUDP, udp, 0,
				"60000000 000c1140 20010db8000000000000000000000001 20010db8000000000000000000000002"},
			{"IPv6 with options for its destination", ip6(client6, gateway6, protoDestination, options), protoDestination, options, 0,
				"60000000 00143c40 20010db8000000000000000000000001 20010db8000000000000000000000002"},
		} {
			client.inside(row.packet)
			all := client.sent()
			if len(all) != 1 || all[0].remote.Port() != 0 || all[0].class != row.class {
				t.Fatalf("%s: sent %+v, dropped %v", row.name, all, client.dropped())
			}
			packet := all[0].packets[0]
			key := planetest.Child(spi).EncrOut
			plain, err := gcmOf(t, key).Open(nil, nonceOf(key, packet), packet[16:], packet[:8])
			if err != nil || !bytes.HasPrefix(plain, row.behind) || plain[len(plain)-1] != row.protocol || len(plain)-int(plain[len(plain)-2])-2 != len(row.behind) {
				t.Errorf("%s: ESP carries %x, %v", row.name, plain, err)
			}
			gateway.barely(clientAt, row.class, bytes.Clone(packet))
			header, _ := hex.DecodeString(strings.ReplaceAll(row.comes, " ", ""))
			if got := gateway.took(); len(got) != 1 || !bytes.Equal(got[0], append(header, row.behind...)) {
				t.Errorf("%s: came out\n%x, want\n%x%x: %v", row.name, got, header, row.behind, gateway.dropped())
			}
			gateway.barely(clientAt, row.class, packet)
			if got := gateway.took(); len(got) != 0 {
				t.Errorf("%s: a replay comes out", row.name)
			}
		}
		if sum, _ := gateway.Totals(); sum.InPackets != 4 || sum.InOctets != 32+32+52+60 || gateway.dropped()["replay"] != 4 {
			t.Errorf("%+v, %v", sum, gateway.dropped())
		}
	})
}

// RFC 4303 3.1.1, 3.3.4: what needs its header is not carried, and what comes is
// judged by the selectors as in tunnel mode.
func TestRFC4303_3_3_4_NotForTransportMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := transportPair(t)
		options := ip4(clientAt, gatewayAt, protoUDP, append([]byte{7, 4, 4, 0}, udpOf(1, 2, 3)...)) // Record Route
		options[0] = 0x46
		for _, b := range [][]byte{
			flags(udp4(clientAt, gatewayAt, 1, 2, 3), 0x2000),                  // the first fragment
			flags(ip4(clientAt, gatewayAt, protoTCP, udpOf(1, 2, 30)), 0x0003), // the last one
			options,
			ip6(client6, gateway6, protoHopByHop, append([]byte{protoUDP, 0, 1, 4, 0, 0, 0, 0}, udpOf(1, 2, 3)...)),
			ip6(client6, gateway6, protoFragment, append([]byte{protoUDP, 0, 0, 1, 0, 0, 0, 9}, udpOf(1, 2, 3)...)),
		} {
			client.inside(b)
		}
		if n := client.dropped()["not_for_transport_mode"]; n != 5 || len(client.sent()) != 0 {
			t.Errorf("%d of 5 packets were dropped: %v", n, client.dropped())
		}
		client.inside(udp4(clientAt, "198.51.100.8", 1, 2, 3), udp4("192.0.2.9", gatewayAt, 1, 2, 3))
		if n := client.dropped()["no_child_sa"]; n != 2 {
			t.Errorf("other addresses: %v", client.dropped())
		}

		tcp := planetest.Child(spi + 8) // of TCP alone, of which the sender knows nothing
		tcp.Transport, tcp.LocalTS, tcp.RemoteTS = true, hosts(clientAt), hosts(gatewayAt)
		client.install(tcp)
		other := mirror(tcp)
		other.LocalTS, other.RemoteTS = []wire.Selector{sel(gatewayAt+"/32", protoTCP)}, []wire.Selector{sel(clientAt+"/32", protoTCP)}
		gateway.install(other)
		client.inside(udp4(clientAt, gatewayAt, 1, 2, 3))
		gateway.from(clientUDP, client.packet())
		if got := gateway.took(); len(got) != 0 || gateway.dropped()["selector"] != 1 {
			t.Errorf("UDP in a Child SA for TCP: %x, %v", got, gateway.dropped())
		}
	})
}

// A Child SA in transport mode has one address on each side.
func TestTransportModeIsBetweenTwoHosts(t *testing.T) {
	e := newEnd(t, Config{}, clientAt)
	for _, ts := range [][2][]wire.Selector{
		{hosts(clientAt), {sel("198.51.100.0/24")}},
		{{sel("192.0.2.0/31")}, hosts(gatewayAt)},
		{hosts(clientAt), append(hosts(gatewayAt), hosts("198.51.100.8")...)},
	} {
		c := planetest.Child(spi)
		c.Transport, c.LocalTS, c.RemoteTS = true, ts[0], ts[1]
		if err := e.Install(c); !errors.Is(err, errHosts) {
			t.Errorf("%v and %v: %v", ts[0], ts[1], err)
		}
	}
	ports := planetest.Child(spi)
	ports.Transport, ports.LocalTS = true, hosts(clientAt)
	ports.RemoteTS = []wire.Selector{sel(gatewayAt+"/32", protoTCP, 22, 22), sel(gatewayAt+"/32", protoTCP, 80, 80)}
	if err := e.Install(ports); err != nil {
		t.Errorf("two ports of one host: %v", err)
	}
}

// Transport mode allocates nothing for a packet, as tunnel mode.
func TestTransportModeAllocatesNothing(t *testing.T) {
	b := udp4(clientAt, gatewayAt, 1, 2, 300)
	src, dst := netip.MustParseAddr(clientAt), netip.MustParseAddr(gatewayAt)
	if n := testing.AllocsPerRun(100, func() {
		if headerless(b) && protocolOf(b) == protoUDP {
			putHeader(b, src, dst, protoUDP, 0)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
