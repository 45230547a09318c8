//go:build linux && (amd64 || arm64)

package udp

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cable makes a network in our namespace where nobody answers: 192.0.2.0/24.
func cable(t *testing.T) {
	t.Helper()
	addr, err := netlink.ParseAddr("192.0.2.1/24")
	near := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}
	err = errors.Join(err, netlink.LinkAdd(near), raise("near", 1500), raise("far", 1500), netlink.AddrAdd(near, addr))
	if err != nil {
		t.Fatal(err)
	}
}

// A socket whose packets wait for the link and that meets an error meanwhile
// has nothing to tell but the error; Go's poller gives it up then. It is read
// all the same. And that nobody answers on the cable is told at last.
func TestErrorWithoutRoomToSend(t *testing.T) {
	inNamespace(t, loopbackMTU, func() { cable(t); checkErrorWithoutRoom(t) })
}

func checkErrorWithoutRoom(t *testing.T) {
	heard := newTold()
	c := mustListen(t, Config{Addr: netip.IPv4Unspecified(), SendBuffer: 64 << 10, Unreachable: heard.unreachable})
	other := mustListen(t, Config{Addr: loop4})
	s := c.sockets[0]
	closed, away := nobody(loop4), netip.MustParseAddrPort("192.0.2.77:500")
	full := func() bool { return s.ready(t, unix.POLLOUT)&unix.POLLOUT == 0 }
	for range 1000 { // packets wait for the link's address of a host that is not there
		if full() {
			break
		}
		send(t, c, Message{Remote: away, Data: make([]byte, 100)})
	}
	if !full() {
		t.Fatal("there is room to send")
	}
	send(t, c, Message{Remote: closed, Data: []byte("x")})
	heard.await(t, closed)
	ike, _ := c.Ports()
	for range 10 {
		send(t, other, Message{Remote: netip.AddrPortFrom(loop4, ike.Port()), Data: []byte("x")})
		receive(t, c, 1)
	}
	heard.await(t, away)
	if s := c.Stats(); s.Broken != 0 {
		t.Errorf("%+v", s)
	}
}
