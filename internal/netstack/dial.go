package netstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Keepalive of TCP inside the tunnel: a peer that is gone frees its connection
// in four minutes, and an idle connection keeps no tunnel busy.
const (
	keepaliveIdle     = 2 * time.Minute
	keepaliveInterval = 30 * time.Second
	keepaliveCount    = 4
)

// Dial connects through the tunnel; network is "tcp" or "udp". A name is
// resolved by the DNS servers inside, and its addresses are tried in turn. The
// error is a *net.OpError or a *net.DNSError; syscall.ECONNREFUSED,
// ENETUNREACH, EHOSTUNREACH and os.ErrDeadlineExceeded are found in it. A
// connection of TCP has CloseWrite and SetLinger.
func (s *Stack) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "udp" {
		return nil, dialError(network, nil, net.UnknownNetworkError(network))
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, dialError(network, nil, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, dialError(network, nil, fmt.Errorf("port %q: a number from 0 to 65535 is needed", service))
	}
	addrs, err := s.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var first error
	for i, addr := range addrs {
		c, err := s.try(ctx, network, netip.AddrPortFrom(addr, uint16(port)), len(addrs)-i)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// try gives one of several addresses its share of the time that is left.
func (s *Stack) try(ctx context.Context, network string, to netip.AddrPort, left int) (net.Conn, error) {
	ctx, cancel := share(ctx, left)
	defer cancel()
	return s.connect(ctx, network, to)
}

// share is ctx with the part of its time that one of n tries has.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

// connect makes a connection to an address.
func (s *Stack) connect(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	transport := tcp.ProtocolNumber
	if network == "udp" {
		transport = udp.ProtocolNumber
	}
	var events waiter.Queue
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents)
	events.EventRegister(&entry)
	defer events.EventUnregister(&entry)

	e, failure := s.begin(transport, to, &events)
	if _, wait := failure.(*tcpip.ErrConnectStarted); wait {
		select {
		case <-ready:
			failure = e.LastError()
		case <-ctx.Done():
			e.Close()
			return nil, dialError(network, &to, context.Cause(ctx))
		}
	}
	if failure != nil {
		if e != nil {
			e.Close()
		}
		return nil, dialError(network, &to, reason(failure))
	}
	if transport == udp.ProtocolNumber {
		return gonet.NewUDPConn(&events, e), nil
	}
	return stream{gonet.NewTCPConn(&events, e), e}, nil
}

// begin makes an endpoint and starts to connect it. It is done before Close
// ends all endpoints, or not at all.
func (s *Stack) begin(transport tcpip.TransportProtocolNumber, to netip.AddrPort, events *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, &tcpip.ErrClosedForSend{}
	}
	e, err := s.stack.NewEndpoint(transport, protocol(to.Addr()), events)
	if err != nil {
		return nil, err
	}
	if transport == tcp.ProtocolNumber {
		if err := keepalive(e); err != nil {
			return e, err
		}
	}
	return e, e.Connect(tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()})
}

func keepalive(e tcpip.Endpoint) tcpip.Error {
	e.SocketOptions().SetKeepAlive(true)
	idle, interval := tcpip.KeepaliveIdleOption(keepaliveIdle), tcpip.KeepaliveIntervalOption(keepaliveInterval)
	for _, option := range []tcpip.SettableSocketOption{&idle, &interval} {
		if err := e.SetSockOpt(option); err != nil {
			return err
		}
	}
	return e.SetSockOptInt(tcpip.KeepaliveCountOption, keepaliveCount)
}

// stream is a TCP connection that can also end hard, as that of package net.
type stream struct {
	*gonet.TCPConn
	endpoint tcpip.Endpoint
}

// SetLinger is that of *net.TCPConn: with 0, Close sends RST instead of FIN.
func (c stream) SetLinger(seconds int) error {
	c.endpoint.SocketOptions().SetLinger(tcpip.LingerOption{
		Enabled: seconds >= 0, Timeout: time.Duration(max(seconds, 0)) * time.Second,
	})
	return nil
}

// dialError is like that of package net.
func dialError(network string, to *netip.AddrPort, err error) error {
	e := &net.OpError{Op: "dial", Net: network, Err: err}
	switch {
	case to == nil:
	case network == "udp":
		e.Addr = net.UDPAddrFromAddrPort(*to)
	default:
		e.Addr = net.TCPAddrFromAddrPort(*to)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Err = os.ErrDeadlineExceeded
	}
	return e
}

// reason is the stack's error as those of the machine's sockets are.
func reason(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrClosedForSend:
		return net.ErrClosed
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrTimeout:
		return os.ErrDeadlineExceeded
	}
	return errors.New(err.String())
}
