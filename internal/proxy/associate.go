package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	flowIdle    = time.Minute // without a datagram either way
	flowQueue   = 16          // datagrams that wait until the destination is known
	mostPayload = 65535
)

// association is UDP for one client (section 7). It lives as long as the TCP
// connection that asked for it.
type association struct {
	server *Server
	socket *net.UDPConn
	client netip.AddrPort // port 0: that of the first datagram
	ending sync.WaitGroup

	mu    sync.Mutex
	flows map[address]*flow
}

// flow is the datagrams between the client and one destination.
type flow struct {
	to     address
	client netip.AddrPort
	out    chan []byte
}

// associate relays datagrams of the client, who sends from port if that is not
// 0; its address is that of its TCP connection, whatever the request says.
func (s *Server) associate(ctx context.Context, c net.Conn, port uint16) error {
	local, client := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0)))
	if err != nil {
		return refuse(generalFailure, err)
	}
	defer socket.Close()
	if err := answer(c, succeeded, socket.LocalAddr()); err != nil {
		return nil // the client has left, no refusal
	}
	a := &association{
		server: s, socket: socket, client: netip.AddrPortFrom(client.Addr(), port), flows: map[address]*flow{},
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() {
		socket.Close()
		c.Close()
	})
	a.ending.Go(func() {
		_, _ = io.Copy(io.Discard, c) // its end is all that matters
		cancel()
	})
	a.receive(ctx)
	cancel()
	a.ending.Wait()
	return nil
}

// receive takes datagrams of the client until the socket is closed.
func (a *association) receive(ctx context.Context) {
	buf := make([]byte, mostPayload)
	for {
		n, from, err := a.socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		to, data, err := parseDatagram(buf[:n])
		if err != nil || !a.admits(from) || !a.send(ctx, to, data) {
			a.server.dropped.Add(1)
		}
	}
}

// admits says whether a datagram is the client's. Its first one tells the port.
func (a *association) admits(from netip.AddrPort) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if a.client.Port() == 0 && from.Addr() == a.client.Addr() {
		a.client = from
	}
	return from == a.client
}

// send queues a datagram with its flow, and begins that if there is none.
func (a *association) send(ctx context.Context, to address, data []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.flows[to]
	if f == nil {
		if a.server.flows.Add(1) > mostFlows {
			a.server.flows.Add(-1)
			return false
		}
		f = &flow{to: to, client: a.client, out: make(chan []byte, flowQueue)}
		a.flows[to] = f
		a.ending.Go(func() {
			defer a.end(f)
			a.carry(ctx, f)
		})
	}
	select {
	case f.out <- bytes.Clone(data):
		return true
	default:
		return false
	}
}

// end forgets a flow. What still waits is lost.
func (a *association) end(f *flow) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.flows, f.to)
	a.server.dropped.Add(uint64(len(f.out)))
	a.server.flows.Add(-1)
}

// carry sends what is queued until the flow is idle, its destination refuses
// or the association ends.
func (a *association) carry(ctx context.Context, f *flow) {
	remote, err := a.server.dial(ctx, "udp", f.to)
	if err != nil {
		if ctx.Err() == nil {
			a.server.log().Info("SOCKS5: no UDP", "client", f.client, "to", f.to, "err", err)
		}
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var back sync.WaitGroup
	defer back.Wait()
	context.AfterFunc(ctx, func() { remote.Close() })
	back.Go(func() {
		defer cancel()
		a.bring(f, remote)
	})
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case data := <-f.out:
			if remote.SetReadDeadline(time.Now().Add(flowIdle)) != nil {
				return
			}
			a.server.sent.Add(uint64(len(data)))
			if _, err := remote.Write(data); err != nil { // too long, or nobody is there
				a.server.dropped.Add(1)
			}
		}
	}
}

// bring gives the client what the destination sends.
func (a *association) bring(f *flow, remote net.Conn) {
	buf := make([]byte, 3, 64+mostPayload) // reserved, and no fragment
	buf = appendAddress(buf, addrPort(remote.RemoteAddr()))
	head := len(buf)
	for remote.SetReadDeadline(time.Now().Add(flowIdle)) == nil {
		n, err := remote.Read(buf[head:cap(buf)])
		if err != nil {
			return
		}
		a.server.received.Add(uint64(n))
		if _, err := a.socket.WriteToUDPAddrPort(buf[:head+n], f.client); err != nil {
			a.server.dropped.Add(1) // too long with the header
		}
	}
}
