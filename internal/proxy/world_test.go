package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second // more than any step needs

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// loopback listens at 127.0.0.1.
func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run serves until the test ends, and returns how to end it before.
func run(t *testing.T, s *Server, l net.Listener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	stop = func() {
		cancel()
		serving.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// quiet is a Server whose log nobody reads.
func quiet(dial func(context.Context, string, string) (net.Conn, error)) *Server {
	return &Server{Dial: dial, Log: slog.New(slog.DiscardHandler)}
}

// straight dials the machine's own network, whatever the destination is called.
func straight(to net.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, to.String())
	}
}

// inside is a server behind the proxy that does what serve says, one
// connection at a time.
func inside(t *testing.T, serve func(*net.TCPConn)) net.Addr {
	t.Helper()
	l := loopback(t)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c.(*net.TCPConn))
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr()
}

// reach connects to the proxy's port.
func reach(t *testing.T, l net.Listener) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// ask sends a request for a destination, and returns the reply.
func ask(t *testing.T, c net.Conn, command byte, to []byte) []byte {
	t.Helper()
	if _, err := c.Write(append([]byte{5, 1, 0, 5, command, 0}, to...)); err != nil {
		t.Fatal(err)
	}
	return expect(t, c, 2+10)[2:]
}

// expect reads that many octets.
func expect(t *testing.T, c io.Reader, octets int) []byte {
	t.Helper()
	b := make([]byte, octets)
	if n, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("%x and no more: %v", b[:n], err)
	}
	return b
}

var somewhere = []byte{typeIPv4, 192, 0, 2, 1, 0, 80}

// converse says all, ends that half and returns what comes back.
func converse(t *testing.T, c *net.TCPConn, all string) string {
	t.Helper()
	defer c.Close()
	if _, err := io.WriteString(c, all); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite() // it may be refused already
	out, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // what it did not read
		t.Error(err)
	}
	return string(out)
}

// pipes is a listener of connections in memory, and of errors.
type pipes struct {
	next   chan any
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{next: make(chan any), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case x := <-p.next:
		if err, bad := x.(error); bad {
			return nil, err
		}
		return x.(net.Conn), nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }
