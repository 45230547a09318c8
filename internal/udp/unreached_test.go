//go:build linux && (amd64 || arm64)

package udp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// told is what Config.Unreachable was told.
type told struct {
	mu   sync.Mutex
	all  map[netip.AddrPort]bool
	news chan struct{}
}

func newTold() *told { return &told{all: map[netip.AddrPort]bool{}, news: make(chan struct{}, 1)} }

func (w *told) unreachable(to netip.AddrPort) {
	w.mu.Lock()
	w.all[to] = true
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *told) has(to netip.AddrPort) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[to]
}

// await waits until to was unreachable, and forgets it. The limit only ends a
// test that has failed.
func (w *told) await(t testing.TB, to netip.AddrPort) {
	t.Helper()
	for limit := time.After(20 * time.Second); !w.has(to); {
		select {
		case <-w.news:
		case <-limit:
			t.Fatalf("nobody told that %v is unreachable", to)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, to)
}

// nobody is an address where no socket listens: a port that the system gives to
// none, and whose service has no UDP (tcpmux).
func nobody(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, 1) }

// noErrors waits until no socket has an error in its queue, which is a part of
// its receive buffer. The limit only ends a test that has failed.
func noErrors(t testing.TB, sockets ...*socket) {
	t.Helper()
	for _, s := range sockets {
		for begin := time.Now(); s.ready(t, 0)&unix.POLLERR != 0; runtime.Gosched() {
			if time.Since(begin) > 20*time.Second {
				t.Fatalf("errors stay in the queue of %v", s.local)
			}
		}
	}
}

// ready is what the kernel tells of a socket at this moment.
func (s *socket) ready(t testing.TB, events int16) int16 {
	t.Helper()
	fds := []unix.PollFd{{Events: events}}
	err := s.rc.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		unix.Poll(fds, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	return fds[0].Revents
}

// What a closed port answers is told, for each kind of socket.
func TestUnreachableIsTold(t *testing.T) {
	for _, addr := range []netip.Addr{loop4, loop6} {
		if lacks(t, addr) {
			continue
		}
		for _, local := range []netip.Addr{addr, {}} {
			heard := newTold()
			cfg := Config{Addr: local, ESP: func(Message) {}, Unreachable: heard.unreachable}
			c := mustListen(t, cfg)
			ports := c.ESP()
			collect(t, ports[0])
			esp := ports[len(ports)-1]
			if addr == loop4 {
				esp = ports[0]
			} else if len(ports) > 1 {
				collect(t, esp)
			}
			for name, send := range map[string]func(to netip.AddrPort){
				"IKE":             func(to netip.AddrPort) { send(t, c, Message{Remote: to, Data: []byte("x")}) },
				"IKE with marker": func(to netip.AddrPort) { send(t, c, Message{Remote: to, Data: []byte("x"), Marker: true}) },
				"keepalive":       func(to netip.AddrPort) { esp.Keepalive(netip.Addr{}, to) },
				"ESP": func(to netip.AddrPort) {
					esp.Send(netip.Addr{}, to, 0, [][]byte{espPacket(1, 1, 100), espPacket(1, 2, 100)})
				},
			} {
				t.Run(fmt.Sprint(addr, local, name), func(t *testing.T) {
					to := nobody(addr)
					send(to)
					heard.await(t, to)
				})
			}
			if s := c.Stats(); s.Broken != 0 || ports[0].Stats().Broken != 0 {
				t.Errorf("%v: %+v", addr, s)
			}
		}
	}
}

// The errors of what nobody received cost nobody else a datagram, on any way
// out; and they are gone at the end.
func TestErrorsOfOthersLoseNothing(t *testing.T) {
	for _, addr := range []netip.Addr{loop4, loop6} {
		if lacks(t, addr) {
			continue
		}
		server, espServer := mustListen(t, Config{Addr: addr}), mustESP(t, 1, Config{Addr: addr})[0].ESP()[0]
		ike, nat := server.Ports()
		came := collect(t, espServer)
		heard := newTold()
		cfg := Config{Addr: addr, ESP: func(Message) {}, Unreachable: heard.unreachable}
		steered := mustListen(t, cfg)
		cfg.Reuse = true
		for name, c := range map[string]*Conn{"steered": steered, "lent": mustListen(t, cfg)} {
			esp := c.ESP()[0]
			collect(t, esp)
			const rounds, each = 100, 30
			for range rounds {
				gone := nobody(addr)
				for range each {
					c.Queue(Message{Remote: gone, Data: []byte("to nobody"), Marker: true})
					c.Queue(Message{Remote: nat, Data: []byte("to the server"), Marker: true})
					c.Queue(Message{Remote: gone, Data: []byte("to nobody")})
					c.Queue(Message{Remote: ike, Data: []byte("to the server")})
				}
				if err := c.Flush(); err != nil {
					t.Fatal(name, err)
				}
				receive(t, server, 2*each)
				for seq := range uint32(each) {
					packets := [][]byte{espPacket(1, seq, 1000), espPacket(1, seq, 1000)}
					esp.Send(netip.Addr{}, gone, 0, packets)
					if n, err := esp.Send(netip.Addr{}, espServer.Local(), 0, packets); n != 2 || err != nil {
						t.Fatalf("%s: %d ESP packets, %v", name, n, err)
					}
				}
				came.take(t, 2*each)
				heard.await(t, gone)
			}
			s := c.Stats()
			if all := uint64(rounds * each * 4); s.Out.Datagrams != all || s.Broken+s.Full+s.Refused+s.Unreachable+s.Failed != 0 {
				t.Errorf("%s: %+v, want %d sent", name, s, all)
			}
			noErrors(t, c.sockets...)
		}
	}
}

// Data comes in beside errors: none is lost, no receive fails.
func TestErrorsStopNoReader(t *testing.T) {
	heard := newTold()
	server := mustListen(t, Config{Addr: loop4})
	c := mustListen(t, Config{Addr: loop4, ReceiveBuffer: 4 << 20, Unreachable: heard.unreachable})
	ike, _ := c.Ports()
	gone := nobody(loop4)
	for range 300 {
		for range 16 {
			c.Queue(Message{Remote: gone, Data: []byte("x")})
			server.Queue(Message{Remote: ike, Data: []byte("x")})
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := server.Flush(); err != nil {
			t.Fatal(err)
		}
		receive(t, c, 16)
	}
	heard.await(t, gone)
	if s := c.Stats(); s.Broken != 0 || s.Overflow != 0 {
		t.Errorf("%+v", s)
	}
}

// An error that our own kernel has made tells nothing of the other side, and
// does not stay in the queue.
func TestLocalErrorsAreNotTold(t *testing.T) {
	server := mustListen(t, Config{Addr: loop4})
	ike, _ := server.Ports()
	c := mustListen(t, Config{Addr: loop4, Unreachable: func(to netip.AddrPort) { t.Errorf("%v is said to be unreachable", to) }})
	for range 2 * errorBatch {
		c.Queue(Message{Remote: ike, Data: make([]byte, 1<<16-10)}) // longer than IPv4
		c.Queue(Message{Remote: netip.AddrPortFrom(loop4, 0), Data: []byte("no port")})
		c.Queue(Message{Remote: ike, Data: []byte("x")})
		c.Flush()
		receive(t, server, 1)
	}
	noErrors(t, c.sockets...)
	if s := c.Stats(); s.TooLong != 2*errorBatch || s.Unreachable != 2*errorBatch || s.Broken != 0 {
		t.Errorf("%+v", s)
	}
}

// Who does not ask is not told, and no ICMP touches his sockets: a gateway.
func TestErrorsAreAskedFor(t *testing.T) {
	heard := newTold()
	for _, row := range []struct {
		f    func(netip.AddrPort)
		want int
	}{{nil, 0}, {heard.unreachable, 1}} {
		c := mustListen(t, Config{ESP: func(Message) {}, Unreachable: row.f})
		sockets := c.sockets
		for _, p := range c.ESP() {
			sockets = append(sockets, p.(*espSocket).s)
		}
		for _, s := range sockets {
			level, option := unix.IPPROTO_IP, unix.IP_RECVERR
			if s.v6 {
				level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
			}
			s.rc.Control(func(fd uintptr) {
				if got, err := unix.GetsockoptInt(int(fd), level, option); got != row.want || err != nil {
					t.Errorf("%v: errors are asked for: %d, want %d", s.local, got, row.want)
				}
			})
		}
	}
}

// forge is an ICMP message to a socket of ours about a datagram to another.
func forge(kind, code byte, from, to netip.AddrPort) []byte {
	src, dst := from.Addr().As4(), to.Addr().As4()
	b := []byte{kind, code, 0, 0, 0, 0, 0, 0}
	b = append(b, 0x45, 0, 0, 29, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0)
	b = append(append(b, src[:]...), dst[:]...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = append(b, 0, 9, 0, 0, 'x')
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

// Forged ICMP stops neither sender nor reader and stays in no queue; of its
// messages those about a destination are told, and no others.
func TestForgedErrors(t *testing.T) { inNamespace(t, loopbackMTU, func() { checkForged(t) }) }

func checkForged(t *testing.T) {
	raw, err := net.ListenPacket("ip4:icmp", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	heard := newTold()
	c, server := mustListen(t, Config{Addr: loop4, Unreachable: heard.unreachable}), mustListen(t, Config{Addr: loop4})
	ours, _ := c.Ports()
	ike, _ := server.Ports()
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), port) }
	for range 200 { // no more at a time than the buffers hold
		var forger sync.WaitGroup
		forger.Go(func() {
			for range 10 {
				for _, m := range [][]byte{
					forge(icmpUnreach, 1, ours, at(1)),
					forge(icmpUnreach, icmpTooLong, ours, at(2)),
					forge(11, 0, ours, at(3)), // time exceeded
					forge(12, 0, ours, at(4)), // parameter problem
					forge(icmpUnreach, 13, ours, at(5)),
				} {
					raw.WriteTo(m, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)})
				}
			}
		})
		for range 20 {
			send(t, c, Message{Remote: ike, Data: []byte("x")})
			receive(t, server, 1)
			send(t, server, Message{Remote: ours, Data: []byte("x")})
			receive(t, c, 1)
		}
		forger.Wait()
		noErrors(t, c.sockets...)
	}
	for port, want := range []bool{1: true, 2: false, 3: false, 4: false, 5: true} {
		if heard.has(at(uint16(port))) != want {
			t.Errorf("ICMP message %d was told: %v", port, !want)
		}
	}
}

// Bare ESP has errors as UDP has.
func TestUnreachableByBareESP(t *testing.T) {
	inNamespace(t, loopbackMTU, func() { checkUnreachableByBareESP(t) })
}

func checkUnreachableByBareESP(t *testing.T) {
	raw, err := net.ListenPacket("ip4:icmp", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	heard := newTold()
	p, err := Bare(loop4, 0, heard.unreachable)
	if err != nil {
		t.Fatal(err)
	}
	came := collect(t, p)
	to := netip.MustParseAddrPort("192.0.2.7:0")
	m := forge(icmpUnreach, 2, netip.AddrPortFrom(loop4, 0), to)
	m[8+9] = espProtocol
	binary.BigEndian.PutUint16(m[2:], binary.BigEndian.Uint16(m[2:])-(espProtocol-unix.IPPROTO_UDP)) // the checksum
	for range 10 {
		raw.WriteTo(m, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if n, err := p.Send(netip.Addr{}, netip.AddrPortFrom(loop4, 0), 0, [][]byte{espPacket(1, 1, 100)}); n != 1 || err != nil {
			t.Fatalf("%d sent, %v", n, err)
		}
		came.take(t, 1)
		heard.await(t, to)
	}
}

// RFC 792, RFC 4443 3.1: which errors say that a destination is unreachable.
func TestWhatIsUnreachable(t *testing.T) {
	for _, row := range []struct {
		name                string
		e                   extendedError
		remote, unreachable bool
	}{
		{"network", extendedError{unix.SO_EE_ORIGIN_ICMP, 3, 0}, true, true},
		{"port", extendedError{unix.SO_EE_ORIGIN_ICMP, 3, 3}, true, true},
		{"too long", extendedError{unix.SO_EE_ORIGIN_ICMP, 3, 4}, true, false},
		{"time exceeded", extendedError{unix.SO_EE_ORIGIN_ICMP, 11, 0}, true, false},
		{"v6 no route", extendedError{unix.SO_EE_ORIGIN_ICMP6, 1, 0}, true, true},
		{"v6 port", extendedError{unix.SO_EE_ORIGIN_ICMP6, 1, 4}, true, true},
		{"v6 too long", extendedError{unix.SO_EE_ORIGIN_ICMP6, 2, 0}, true, false},
		{"v6 with a type of v4", extendedError{unix.SO_EE_ORIGIN_ICMP6, 3, 3}, true, false},
		{"our kernel", extendedError{unix.SO_EE_ORIGIN_LOCAL, 3, 3}, false, false},
		{"none", extendedError{}, false, false},
	} {
		if row.e.remote() != row.remote || row.e.unreachable() != row.unreachable {
			t.Errorf("%s: remote %v, unreachable %v", row.name, row.e.remote(), row.e.unreachable())
		}
	}
}

// The error comes behind all else that the kernel tells, and is whole or none.
func TestControlsOfAnError(t *testing.T) {
	e := make([]byte, 16+28) // with the address of who has sent it
	binary.NativeEndian.PutUint32(e, uint32(unix.ECONNREFUSED))
	e[4], e[5], e[6] = unix.SO_EE_ORIGIN_ICMP6, 1, 4
	want := extendedError{unix.SO_EE_ORIGIN_ICMP6, 1, 4}
	all := controlMessage(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, make([]byte, timeSize))
	all = append(all, controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, make([]byte, pktinfo6))...)
	before := len(all)
	all = append(all, controlMessage(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, e)...)
	if got := parseControl(all).err; got != want || len(all) > controlSize {
		t.Errorf("%+v from %d octets", got, len(all))
	}
	for cut := range 16 {
		short := append(all[:before:before], controlMessage(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, e[:cut])...)
		if got := parseControl(short).err; got != (extendedError{}) {
			t.Errorf("%+v from %d octets", got, cut)
		}
	}
	if got := parseControl(controlMessage(unix.IPPROTO_IP, unix.IP_RECVERR, e)).err; got != want {
		t.Errorf("%+v", got)
	}
}
