package blackswan

import (
	"net/netip"
	"slices"
	"testing"

	"blackswan/dataplane"
	"blackswan/internal/hostnet"
	"blackswan/wire"
)

// hosted is a host that no kernel hears of.
func hosted(client bool, base ...string) *host {
	h := &host{stays: client, carried: map[uint32][]netip.Prefix{}, sources: map[netip.Prefix]netip.Addr{}, wake: make(chan struct{}, 1)}
	h.base.Routes = networks(base...)
	return h
}

func networks(all ...string) (list []netip.Prefix) {
	for _, s := range all {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func (h *host) carry(spi uint32, remote string, all ...string) {
	c := dataplane.Child{SPIIn: spi, Remote: netip.MustParseAddrPort(remote)}
	for _, p := range networks(all...) {
		c.RemoteTS = append(c.RemoteTS, wire.Prefix(p))
	}
	h.installed(&c)
}

// wants checks the routes of the plan, and whether the host is to be changed.
func (h *host) wants(t *testing.T, when string, rung bool, routes ...string) {
	t.Helper()
	got, want := h.plan().Routes, networks(routes...)
	for _, list := range [][]netip.Prefix{got, want} {
		slices.SortFunc(list, netip.Prefix.Compare)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: routes %v, want %v", when, got, want)
	}
	select {
	case <-h.wake:
		if !rung {
			t.Errorf("%s: the host is changed", when)
		}
	default:
		if rung {
			t.Errorf("%s: the host is not changed", when)
		}
	}
}

// A gateway routes the networks of its connections, whoever is there, and what
// else its Child SAs carry for as long as they do.
func TestRoutesOfAGateway(t *testing.T) {
	h := hosted(false, "10.8.0.0/16")
	const at = "198.51.100.7:4500"
	h.carry(1, at, "10.8.1.2/32")
	h.wants(t, "a client of the network", false, "10.8.0.0/16")
	h.carry(2, at, "198.51.100.7/32", "10.8.3.0/24")
	h.wants(t, "another one", true, "10.8.0.0/16", "198.51.100.7/32")
	h.carry(3, at, "10.0.0.0/8")
	h.wants(t, "more than the network", true, "10.8.0.0/16", "198.51.100.7/32", "10.0.0.0/8")
	h.removed(3)
	h.removed(2)
	h.wants(t, "both gone", true, "10.8.0.0/16")
	h.renewed(hostnet.Plan{Routes: networks("10.9.0.0/16")})
	h.wants(t, "after a reload that does not know the client", true, "10.8.1.2/32", "10.9.0.0/16")
	h.removed(1)
	h.removed(1)
	h.removed(4)
	h.wants(t, "it is gone", true, "10.9.0.0/16")
}

// Rule E9: what a gateway carried before its crash stays off the wire until who
// it was for has had time to come back.
func TestRoutesOfBeforeACrash(t *testing.T) {
	h := hosted(false, "10.8.0.0/16")
	h.carried[beforeUs] = networks("10.8.0.0/16", "172.16.5.5/32", "172.16.6.6/32")
	h.wants(t, "at the start", false, "10.8.0.0/16", "172.16.5.5/32", "172.16.6.6/32")
	h.carry(1, "198.51.100.7:4500", "172.16.5.5/32")
	h.wants(t, "one is back", true, "10.8.0.0/16", "172.16.5.5/32", "172.16.5.5/32", "172.16.6.6/32")
	h.removed(beforeUs)
	h.wants(t, "late", true, "10.8.0.0/16", "172.16.5.5/32")
}

// Rule E9: a client's routes stay until another Child SA has them, and lead around the
// tunnel to its gateway, wherever that is.
func TestRoutesOfAClient(t *testing.T) {
	h := hosted(true)
	gateway := func(when, want string) {
		t.Helper()
		if got := h.plan().Gateway; got.String() != want {
			t.Errorf("%s: the gateway is at %v, want %v", when, got, want)
		}
	}
	h.carry(1, "192.0.2.1:4500", "0.0.0.0/0", "::/0")
	h.wants(t, "up", true, "0.0.0.0/0", "::/0")
	gateway("up", "192.0.2.1")
	h.removed(1)
	h.wants(t, "lost", false, "0.0.0.0/0", "::/0")
	h.carry(2, "192.0.2.9:4500", "0.0.0.0/0")
	h.wants(t, "resumed at another gateway, with less", true, "0.0.0.0/0", "::/0", "0.0.0.0/0")
	gateway("resumed", "192.0.2.9")
	h.moved(netip.MustParseAddr("192.0.2.77"))
	h.wants(t, "moved", true, "0.0.0.0/0", "::/0", "0.0.0.0/0")
	h.carry(9, "192.0.2.77:4500", "::/0", "0.0.0.0/0")
	h.wants(t, "all is back", true, "0.0.0.0/0", "::/0", "0.0.0.0/0")
	h.removed(2)
	h.removed(9)
	h.carry(1, "192.0.2.77:4500", "0.0.0.0/0", "::/0")
	h.wants(t, "all in one", true, "0.0.0.0/0", "::/0")
	gateway("moved", "192.0.2.77")
	h = hosted(true)
	h.carry(3, "192.0.2.77:4500", "192.0.2.77/32")
	h.carry(4, "192.0.2.77:4500", "10.0.0.0/8")
	h.removed(3)
	h.removed(4)
	h.carry(5, "192.0.2.77:4500", "192.0.2.77/32")
	h.wants(t, "one of two is back", true, "10.0.0.0/8", "192.0.2.77/32")
	gateway("for the gateway itself", "invalid IP")
	for spi := range uint32(2 * mostGone) {
		h.carry(100+spi, "192.0.2.77:4500", netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(spi >> 8), byte(spi)}), 32).String())
		h.removed(100 + spi)
	}
	if n := len(h.plan().Routes); n != mostGone+1 || n != len(h.carried) {
		t.Errorf("%d routes of Child SAs that are gone, %d are remembered", n, len(h.carried))
	}
}

// What goes to a peer itself has the address that the Child SA is for, as long
// as one is.
func TestSourcesOfPeers(t *testing.T) {
	const peer = "198.51.100.7/32"
	child := func(local string, selectors ...string) *dataplane.Child {
		c := &dataplane.Child{SPIIn: 7, Remote: netip.MustParseAddrPort("198.51.100.7:0")}
		if local != "" {
			c.Local = netip.MustParseAddrPort(local)
		}
		for i, p := range networks(selectors...) {
			side := []*[]wire.Selector{&c.LocalTS, &c.RemoteTS}[min(i, 1)]
			*side = append(*side, wire.Prefix(p))
		}
		return c
	}
	for _, row := range []struct {
		name  string
		child *dataplane.Child
		want  string
	}{
		{"host to host", child("192.0.2.1:0", "192.0.2.1/32", peer), "192.0.2.1"},
		{"a client that roams", child("", "10.9.0.2/32", peer), "10.9.0.2"},
		{"a host behind us", child("192.0.2.1:0", "10.7.0.5/32", peer), "invalid IP"},
		{"a network behind us", child("192.0.2.1:0", "192.0.2.0/24", peer), "invalid IP"},
		{"a network of the peer's", child("192.0.2.1:0", "192.0.2.1/32", "198.51.100.0/24"), "invalid IP"},
		{"two networks of the peer's", child("192.0.2.1:0", "192.0.2.1/32", peer, "10.1.0.0/16"), "invalid IP"},
	} {
		h := hosted(false)
		h.installed(row.child)
		if got := h.plan().Sources[netip.MustParsePrefix(peer)]; got.String() != row.want {
			t.Errorf("%s: from %v, want %s", row.name, got, row.want)
		}
		h.removed(7)
		if p := h.plan(); len(p.Sources)+len(h.sources) != 0 {
			t.Errorf("%s: it is gone, and %v stays", row.name, p.Sources)
		}
	}
}
