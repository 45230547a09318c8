package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// mirror is a destination of UDP that sends back what it hears, in capitals.
func mirror(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, mostPayload)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort([]byte(strings.ToUpper(string(buf[:n]))), from)
		}
	})
	t.Cleanup(func() {
		c.Close()
		serving.Wait()
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// relay asks for an association and returns its port for datagrams.
func relay(t *testing.T, c net.Conn, port uint16) netip.AddrPort {
	t.Helper()
	r := ask(t, c, associate, appendAddress(nil, netip.AddrPortFrom(netip.IPv4Unspecified(), port)))
	if r[1] != 0 || r[3] != typeIPv4 {
		t.Fatalf("reply %x", r)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(r[4:8])), binary.BigEndian.Uint16(r[8:]))
}

// sender is a client's socket.
func sender(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func port(c *net.UDPConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

func send(t *testing.T, c *net.UDPConn, to netip.AddrPort, header string, data string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(header+data), to); err != nil {
		t.Fatal(err)
	}
}

// headerOf is that of a datagram to an address (section 7).
func headerOf(to netip.AddrPort) string { return string(appendAddress(make([]byte, 3), to)) }

const headerOfHost = "\x00\x00\x00\x03\x04host\x00\x35"

func receive(t *testing.T, c *net.UDPConn, want string) {
	t.Helper()
	buf := make([]byte, mostPayload)
	n, _, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("%q, not %q: %v", buf[:n], want, err)
	}
}

func TestAssociate(t *testing.T) {
	there := mirror(t)
	s, l := quiet(straight(net.UDPAddrFromAddrPort(there))), loopback(t)
	run(t, s, l)
	for _, row := range []struct {
		name string
		told bool // the port, in the request
		to   string
	}{
		{"address", false, headerOf(there)},
		{"name", false, headerOfHost},
		{"port in the request", true, headerOf(there)},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, own := reach(t, l), sender(t)
			expected := uint16(0)
			if row.told {
				expected = port(own)
			}
			at, before := relay(t, c, expected), s.Stats()
			for range 3 {
				send(t, own, at, row.to, "hello")
				receive(t, own, headerOf(there)+"HELLO")
			}
			if got := s.Stats(); got.Flows == 0 || got.Dropped != 0 || got.Sent != before.Sent+15 || got.Received != before.Received+15 {
				t.Errorf("%+v, before %+v", got, before)
			}
		})
	}
}

// watched is a connection whose end can be waited for.
type watched struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// TestAssociationEnds with its TCP connection (section 7).
func TestAssociationEnds(t *testing.T) {
	there := mirror(t)
	remote := make(chan *watched, 1)
	l := loopback(t)
	run(t, quiet(func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := straight(net.UDPAddrFromAddrPort(there))(ctx, network, address)
		w := &watched{Conn: c, closed: make(chan struct{})}
		remote <- w
		return w, err
	}), l)
	c, own := reach(t, l), sender(t)
	send(t, own, relay(t, c, 0), headerOfHost, "hello")
	receive(t, own, headerOf(there)+"HELLO")
	c.Close()
	<-(<-remote).closed
}

// TestDropped sends what is not relayed, and after it what is.
func TestDropped(t *testing.T) {
	there := mirror(t)
	s, l := quiet(straight(net.UDPAddrFromAddrPort(there))), loopback(t)
	run(t, s, l)
	own, other := sender(t), sender(t)
	elsewhere, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.2:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	at := relay(t, reach(t, l), 0)
	for i, row := range []struct {
		name, datagram string
		from           *net.UDPConn
	}{
		{"another address", headerOfHost + "x", elsewhere},
		{"empty", "", own},
		{"no address", "\x00\x00\x00", own},
		{"fragment", "\x00\x00\x01\x03\x04host\x00\x35x", own},
		{"last fragment", "\x00\x00\x81\x03\x04host\x00\x35x", own},
		{"address type", "\x00\x00\x00\x02\x7f\x00\x00\x01\x00\x35x", own},
		{"name cut off", "\x00\x00\x00\x03\x04hos", own},
		{"port cut off", "\x00\x00\x00\x03\x04host\x00", own},
		{"empty name", "\x00\x00\x00\x03\x00\x00\x35x", own},
		{"another port than the first", headerOfHost + "x", other},
	} {
		t.Run(row.name, func(t *testing.T) {
			send(t, row.from, at, row.datagram, "")
			send(t, own, at, headerOfHost, "hello")
			receive(t, own, headerOf(there)+"HELLO")
			if got := s.Stats().Dropped; got != uint64(i+1) {
				t.Errorf("%d are dropped, not %d", got, i+1)
			}
		})
	}
}

// TestFlows fills the flows of a server, and the queue of one of them.
func TestFlows(t *testing.T) {
	there := mirror(t)
	dialled, release := make(chan struct{}), make(chan struct{})
	s, l := quiet(func(ctx context.Context, network, address string) (net.Conn, error) {
		switch address {
		case "host:53":
		case "host:1":
			dialled <- struct{}{}
			<-release
		default:
			dialled <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return straight(net.UDPAddrFromAddrPort(there))(ctx, network, address)
	}), loopback(t)
	stop := run(t, s, l)
	own := sender(t)
	at := relay(t, reach(t, l), 0)
	to := func(n uint16) string {
		return string(binary.BigEndian.AppendUint16([]byte("\x00\x00\x00\x03\x04host"), n))
	}
	hello := func() {
		send(t, own, at, headerOfHost, "hello")
		receive(t, own, headerOf(there)+"HELLO")
	}
	hello()
	send(t, own, at, to(1), "a")
	<-dialled
	for range flowQueue + 1 {
		send(t, own, at, to(1), "a")
	}
	hello()
	if got := s.Stats(); got.Flows != 2 || got.Dropped != 2 {
		t.Fatalf("%+v", got)
	}
	close(release)
	for range flowQueue {
		receive(t, own, headerOf(there)+"A")
	}
	for n := range uint16(mostFlows - 2) {
		send(t, own, at, to(100+n), "b")
		<-dialled
	}
	send(t, own, at, to(2), "c")
	hello()
	if got := s.Stats(); got.Flows != mostFlows || got.Dropped != 3 {
		t.Errorf("%+v", got)
	}
	stop() // with a datagram waiting in most flows
	if got := s.Stats(); got.Flows != 0 || got.Dropped != 3+mostFlows-2 {
		t.Errorf("%+v", got)
	}
}

// idle is a connection that nothing comes from in time.
type idle struct{ net.Conn }

func (idle) Read([]byte) (int, error)        { return 0, os.ErrDeadlineExceeded }
func (idle) SetReadDeadline(time.Time) error { return nil }
func (idle) Write(b []byte) (int, error)     { return len(b), nil }
func (idle) Close() error                    { return nil }
func (idle) RemoteAddr() net.Addr            { return nil }

// TestFlowEnds has a flow end that is idle or whose dial fails: the next
// datagram begins another.
func TestFlowEnds(t *testing.T) {
	for name, result := range map[string]error{"idle": nil, "dial": errors.New("no DNS server is known: set dns")} {
		t.Run(name, func(t *testing.T) {
			var j journal
			dialled := make(chan struct{}, 1)
			s := &Server{Log: j.log(), Dial: func(context.Context, string, string) (net.Conn, error) {
				select {
				case dialled <- struct{}{}:
				default:
				}
				return idle{}, result
			}}
			l := loopback(t)
			stop := run(t, s, l)
			own := sender(t)
			at := relay(t, reach(t, l), 0)
			for range 2 {
				for again := true; again; { // one may find the flow that is about to end
					send(t, own, at, headerOfHost, "hello")
					select {
					case <-dialled:
						again = false
					case <-time.After(time.Millisecond):
					}
				}
			}
			stop()
			if got := s.Stats().Flows; got != 0 {
				t.Errorf("%d flows are left", got)
			}
			if result != nil && !strings.Contains(j.String(), result.Error()) {
				t.Errorf("the log does not say why: %s", j.String())
			}
		})
	}
}
