package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// buffers are what a stream passes through, one for each direction.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// connect joins the client with a destination until both have said everything.
func (s *Server) connect(ctx context.Context, client net.Conn, to address) error {
	remote, err := s.dial(ctx, "tcp", to)
	if err != nil {
		return refuse(codeOf(err), err)
	}
	defer remote.Close()
	stop := context.AfterFunc(ctx, func() { abort(remote) })
	defer stop()

	if err := answer(client, succeeded, remote.LocalAddr()); err != nil {
		return nil // the client has left, no refusal
	}
	var up sync.WaitGroup
	up.Go(func() { pass(remote, client, &s.sent) })
	pass(client, remote, &s.received)
	up.Wait()
	return nil
}

// pass copies until from has said everything, and tells to so: half a
// connection may stay open. A failure ends both, so that neither takes what is
// cut off for the whole.
func pass(to, from net.Conn, octets *atomic.Uint64) {
	err := copyAll(to, from, octets)
	if err == nil {
		err = closeWrite(to)
	}
	if err != nil {
		abort(to)
		abort(from)
	}
}

func copyAll(to io.Writer, from io.Reader, octets *atomic.Uint64) error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			octets.Add(uint64(n))
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// closeWrite ends one direction of a connection, or all of it if it has no
// half.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// abort ends a connection with RST instead of FIN, where it can.
func abort(c net.Conn) {
	if hard, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		_ = hard.SetLinger(0) // it may be closed
	}
	c.Close()
}
