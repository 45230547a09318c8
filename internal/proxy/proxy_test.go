package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestHandshake holds what a client may send, cut off after each octet as well,
// against the answer (RFC 1928 sections 3, 4 and 6).
func TestHandshake(t *testing.T) {
	dialled := make(chan string, 1)
	s := quiet(func(_ context.Context, _, to string) (net.Conn, error) {
		dialled <- to
		return nil, syscall.ECONNREFUSED
	})
	l := loopback(t)
	run(t, s, l)
	reply := func(code reply) string {
		return "\x05\x00\x05" + string(rune(code)) + "\x00\x01\x00\x00\x00\x00\x00\x00"
	}
	for _, row := range []struct{ name, in, out, dials string }{
		{"IPv4", "\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", reply(connectionRefused), "192.0.2.1:80"},
		{"IPv6", "\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x01\xbb", reply(connectionRefused), "[2001:db8::1]:443"},
		{"IPv4 in IPv6", "\x05\x01\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x01\x01\xbb", reply(connectionRefused), "192.0.2.1:443"},
		{"name", "\x05\x01\x00\x05\x01\x00\x03\x04host\x00\x50", reply(connectionRefused), "host:80"},
		{"longest name", "\x05\x01\x00\x05\x01\x00\x03\xff" + strings.Repeat("a", 255) + "\x00\x50", reply(connectionRefused), strings.Repeat("a", 255) + ":80"},
		{"several methods", "\x05\x03\x01\x02\x00\x05\x01\x00\x03\x04host\x00\x50", reply(connectionRefused), "host:80"},
		{"SOCKS4", "\x04\x01\x00\x50\xc0\x00\x02\x01\x00", "", ""},
		{"HTTP", "CONNECT host:80 HTTP/1.1\r\n\r\n", "", ""},
		{"no methods", "\x05\x00", "\x05\xff", ""},
		{"methods that we have not", "\x05\x02\x01\x02", "\x05\xff", ""},
		{"version of the request", "\x05\x01\x00\x04\x01\x00\x01\xc0\x00\x02\x01\x00\x50", reply(generalFailure), ""},
		{"BIND", "\x05\x01\x00\x05\x02\x00\x01\xc0\x00\x02\x01\x00\x50", reply(commandNotSupported), ""},
		{"unknown command", "\x05\x01\x00\x05\x09\x00\x01\xc0\x00\x02\x01\x00\x50", reply(commandNotSupported), ""},
		{"address type", "\x05\x01\x00\x05\x01\x00\x02", reply(addressTypeNotSupported), ""},
		{"empty name", "\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50", reply(generalFailure), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := reach(t, l)
			if out := converse(t, c, row.in); out != row.out {
				t.Errorf("%x, not %x", out, row.out)
			}
			if row.dials != "" {
				if got := <-dialled; got != row.dials {
					t.Errorf("dials %s", got)
				}
			}
			if row.dials == "" {
				return // it may be refused before its end
			}
			for n := range len(row.in) {
				out := converse(t, reach(t, l), row.in[:n])
				if !strings.HasPrefix("\x05\x00", out) {
					t.Errorf("%x after %d octets", out, n)
				}
			}
			select {
			case to := <-dialled:
				t.Errorf("dials %s after half a request", to)
			default:
			}
		})
	}
}

// TestEnd has ctx end while connections are in every state.
func TestEnd(t *testing.T) {
	to := inside(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	dialling := make(chan struct{})
	s := quiet(func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "slow") {
			close(dialling)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return straight(to)(ctx, network, address)
	})
	l := loopback(t)
	stop := run(t, s, l)
	silent, half, slow, joined, datagrams := reach(t, l), reach(t, l), reach(t, l), reach(t, l), reach(t, l)
	_, _ = half.Write([]byte{5, 1, 0, 5})
	expect(t, half, 2)
	_, _ = io.WriteString(slow, "\x05\x01\x00\x05\x01\x00\x03\x04slow\x00\x50")
	expect(t, slow, 2)
	<-dialling
	ask(t, joined, connect, somewhere)
	ask(t, datagrams, associate, somewhere)
	stop()
	for i, c := range []net.Conn{silent, half, slow, joined, datagrams} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is open", i)
		}
	}
	if got := s.Stats(); got.Open != 0 || got.Flows != 0 {
		t.Errorf("%+v", got)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

// TestEndStuck has ctx end while a client cannot send: nobody reads.
func TestEndStuck(t *testing.T) {
	release := make(chan struct{})
	to := inside(t, func(*net.TCPConn) { <-release })
	defer close(release)
	l := loopback(t)
	stop := run(t, quiet(straight(to)), l)
	c := reach(t, l)
	ask(t, c, connect, somewhere)
	for err := error(nil); err == nil; {
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		_, err = c.Write(make([]byte, 1<<16))
	}
	stop()
}

func TestMost(t *testing.T) {
	var j journal
	s := &Server{Most: 2, Log: j.log()}
	l := loopback(t)
	run(t, s, l)
	var open []*net.TCPConn
	for range 2 {
		c := reach(t, l)
		_, _ = c.Write([]byte{5, 1, 0})
		expect(t, c, 2)
		open = append(open, c)
	}
	for range 2 {
		if n, err := reach(t, l).Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the third connection is served: %v", err)
		}
	}
	if got := s.Stats(); got.Open != 2 || got.Total != 2 || got.Refused != 2 {
		t.Errorf("%+v", got)
	}
	if got := strings.Count(j.String(), "no more connections"); got != 1 {
		t.Errorf("told %d times: %s", got, j.String())
	}
	if out := converse(t, open[0], "\x06\x01\x00"); out == "" {
		t.Error("no reply to a bad request")
	}
	for { // its place is free a little after its connection has ended
		c := reach(t, l)
		_, _ = c.Write([]byte{5, 1, 0})
		if n, _ := io.ReadFull(c, make([]byte, 2)); n == 2 {
			break
		}
	}
}

// TestWarning is about who else may use the tunnel.
func TestWarning(t *testing.T) {
	for at, warns := range map[string]bool{"127.0.0.1:0": false, "[::1]:0": false, "0.0.0.0:0": true, "[::]:0": true} {
		var j journal
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, &Server{Log: j.log()}, l)
		stop()
		if got := strings.Contains(j.String(), "level=WARN"); got != warns {
			t.Errorf("%s: warned: %v", at, got)
		}
	}
}

// TestTimes holds the handshake against its 10 seconds and a dial against its
// 30, on a clock of their own.
func TestTimes(t *testing.T) {
	for _, row := range []struct {
		name, in string
		replies  int // octets
		took     time.Duration
	}{
		{"silence", "", 0, handshakeTime},
		{"half a request", "\x05\x01\x00\x05\x01", 2, handshakeTime},
		{"dial", "\x05\x01\x00\x05\x01\x00\x03\x04host\x00\x50", 12, dialTime},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := quiet(func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})
				l := newPipes()
				run(t, s, l)
				c, served := net.Pipe()
				l.next <- served
				began := time.Now()
				var saying sync.WaitGroup
				saying.Go(func() { _, _ = io.WriteString(c, row.in) })
				out, err := io.ReadAll(c)
				if took := time.Since(began); err != nil || len(out) != row.replies || took != row.took {
					t.Errorf("%x, %v after %v", out, err, took)
				}
				saying.Wait()
			})
		})
	}
}

// TestAccept waits out a lack of files, and ends with what does not pass.
func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		var serving sync.WaitGroup
		serving.Go(func() {
			err := quiet(nil).Serve(t.Context(), l)
			if !errors.Is(err, os.ErrInvalid) {
				t.Errorf("Serve: %v", err)
			}
		})
		l.next <- os.NewSyscallError("accept4", syscall.EMFILE)
		c, served := net.Pipe()
		l.next <- served
		_, _ = c.Write([]byte{5, 1, 0})
		expect(t, c, 2)
		l.next <- os.ErrInvalid
		serving.Wait()
		select {
		case <-l.closed:
		default:
			t.Error("it still listens")
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection outlives Serve")
		}
	})
}
