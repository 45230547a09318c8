// Package proxy is a SOCKS5 server (RFC 1928): programs of this machine reach
// the inside of a tunnel through it, by a dialer that it is given.
//
//	handshake.go   method and request (sections 3 and 4)
//	reply.go       reply codes (section 6)
//	connect.go     CONNECT: two streams, joined
//	associate.go   UDP ASSOCIATE: datagrams and their flows (section 7)
//
// It asks nobody for a password: who reaches the port uses the tunnel.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	mostConnections = 1024
	mostFlows       = 512 // of UDP, to one destination each

	handshakeTime = 10 * time.Second
	dialTime      = 30 * time.Second // a tunnel may have to come back first
	acceptPause   = 100 * time.Millisecond
)

// Server serves SOCKS5. It is not copied after first use.
type Server struct {
	// Dial connects to host:port inside the tunnel; network is "tcp" or "udp",
	// the host may be a name. It heeds ctx. A connection of TCP should have
	// CloseWrite and SetLinger, as a *net.TCPConn has.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Log  *slog.Logger // nil: slog.Default
	Most int          // connections at once; 0: 1024. What comes then is closed at once.

	open, flows     atomic.Int64
	total, refused  atomic.Uint64
	failed, dropped atomic.Uint64
	sent, received  atomic.Uint64
}

// Stats is what a Server counts, of all its listeners.
type Stats struct {
	Open    int    // connections now
	Flows   int    // of UDP now
	Total   uint64 // connections that were served
	Refused uint64 // connections closed at once: Most were open
	Failed  uint64 // connections that ended with a refusal or in the handshake
	Dropped uint64 // datagrams that were not for a flow, or had no room

	Sent, Received uint64 // octets of payload into and out of the tunnel
}

// Stats is safe for concurrent use.
func (s *Server) Stats() Stats {
	return Stats{
		Open: int(s.open.Load()), Flows: int(s.flows.Load()),
		Total: s.total.Load(), Refused: s.refused.Load(), Failed: s.failed.Load(), Dropped: s.dropped.Load(),
		Sent: s.sent.Load(), Received: s.received.Load(),
	}
}

// Serve accepts until ctx ends, then closes the listener and all connections,
// waits for them and returns nil. The listener is closed also with an error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer l.Close()
	context.AfterFunc(ctx, func() { l.Close() })

	s.warn(l.Addr())
	full := false
	for {
		c, err := s.accept(ctx, l)
		if c == nil {
			return err
		}
		if !s.enter() {
			c.Close()
			if !full {
				s.log().Warn("SOCKS5: no more connections", "open", s.most(), "listen", l.Addr())
			}
			full = true
			continue
		}
		full = false
		serving.Go(func() {
			defer s.open.Add(-1)
			defer c.Close()
			s.serve(ctx, c)
		})
	}
}

// warn tells who else may use the tunnel.
func (s *Server) warn(at net.Addr) {
	if tcp, ok := at.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		s.log().Warn("SOCKS5: everyone who reaches this address can use the tunnel; listen at 127.0.0.1 to keep it to this machine", "listen", at)
	}
}

// accept waits for a connection. There is none when ctx has ended, or with an
// error that does not pass.
func (s *Server) accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil:
			return nil, nil
		case !passes(err):
			return nil, fmt.Errorf("proxy: accept at %s: %w", l.Addr(), err)
		}
		s.log().Warn("SOCKS5: cannot accept for now", "err", err, "listen", l.Addr())
		select {
		case <-time.After(acceptPause):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// passes says whether a later Accept may have more luck.
func passes(err error) bool {
	for _, e := range []error{syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// enter takes a place for a connection, if there is one.
func (s *Server) enter() bool {
	if s.open.Add(1) > int64(s.most()) {
		s.open.Add(-1)
		s.refused.Add(1)
		return false
	}
	s.total.Add(1)
	return true
}

// serve does what one connection asks for.
func (s *Server) serve(ctx context.Context, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { abort(c) })
	defer stop()

	r, err := handshake(c)
	if err == nil {
		switch r.command {
		case connect:
			err = s.connect(ctx, c, r.to)
		case associate:
			err = s.associate(ctx, c, r.to.port)
		default:
			err = refuse(commandNotSupported, fmt.Errorf("command %d: only CONNECT and UDP ASSOCIATE are served", r.command))
		}
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	s.failed.Add(1)
	if err == io.EOF { // it left without a word: somebody asks whether the port is open
		return
	}
	s.log().Info("SOCKS5: refused", "client", c.RemoteAddr(), "err", err)
	var no *refusal
	if errors.As(err, &no) {
		_ = answer(c, no.code, nil) // who has left needs none
	}
}

func (s *Server) dial(ctx context.Context, network string, to address) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return s.Dial(ctx, network, to.String())
}

func (s *Server) most() int {
	if s.Most == 0 {
		return mostConnections
	}
	return s.Most
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}
