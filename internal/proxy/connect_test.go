package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"
)

// TestRoundTrip goes by a client that others wrote.
func TestRoundTrip(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	to := inside(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	s, l := quiet(straight(to)), loopback(t)
	run(t, s, l)
	d, err := proxy.SOCKS5("tcp", l.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial("tcp", "inside.example:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := c.Write(text); err != nil {
			t.Error(err)
		}
	})
	if back := expect(t, c, len(text)); !bytes.Equal(back, text) {
		t.Error("not what was sent")
	}
	writing.Wait()
	if got := s.Stats(); got.Open != 1 || got.Total != 1 || got.Failed != 0 || got.Sent != uint64(len(text)) || got.Received != uint64(len(text)) {
		t.Errorf("%+v", got)
	}
}

// TestHalfClose has each end say that it has said all, and hear the other still.
func TestHalfClose(t *testing.T) {
	t.Run("client first", func(t *testing.T) {
		to := inside(t, func(c *net.TCPConn) {
			all, err := io.ReadAll(c)
			fmt.Fprintf(c, "%s back, %v", all, err)
		})
		l := loopback(t)
		run(t, quiet(straight(to)), l)
		c := reach(t, l)
		if r := ask(t, c, connect, somewhere); r[1] != 0 {
			t.Fatalf("%x", r)
		}
		if out := converse(t, c, "there"); out != "there back, <nil>" {
			t.Errorf("%q", out)
		}
	})
	t.Run("destination first", func(t *testing.T) {
		heard := make(chan string, 1)
		to := inside(t, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "there")
			_ = c.CloseWrite()
			all, _ := io.ReadAll(c)
			heard <- string(all)
		})
		l := loopback(t)
		run(t, quiet(straight(to)), l)
		c := reach(t, l)
		ask(t, c, connect, somewhere)
		if all, err := io.ReadAll(c); string(all) != "there" || err != nil {
			t.Fatalf("%q, %v", all, err)
		}
		_, _ = io.WriteString(c, "and back")
		c.Close()
		if got := <-heard; got != "and back" {
			t.Errorf("%q", got)
		}
	})
}

// TestCutOff passes on that a stream broke, so that nobody takes it for whole.
func TestCutOff(t *testing.T) {
	to := inside(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "half of")
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.SetLinger(0)
	})
	l := loopback(t)
	run(t, quiet(straight(to)), l)
	c := reach(t, l)
	ask(t, c, connect, somewhere)
	expect(t, c, len("half of"))
	_, _ = io.WriteString(c, "x")
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, not a reset", err)
	}
}

func TestReplyCodes(t *testing.T) {
	for _, row := range []struct {
		err  error
		code reply
	}{
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, connectionRefused},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, networkUnreachable},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, hostUnreachable},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, ttlExpired},
		{context.DeadlineExceeded, ttlExpired},
		{&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, hostUnreachable},
		{&net.DNSError{Err: "no DNS server is known: set dns", Name: "x"}, hostUnreachable},
		{&net.DNSError{Err: "timeout", Name: "x", IsTimeout: true}, hostUnreachable},
		{io.EOF, generalFailure},
	} {
		t.Run(row.err.Error(), func(t *testing.T) {
			var j journal
			s := quiet(func(context.Context, string, string) (net.Conn, error) { return nil, row.err })
			s.Log = j.log()
			l := loopback(t)
			stop := run(t, s, l)
			if r := ask(t, reach(t, l), connect, somewhere); reply(r[1]) != row.code {
				t.Errorf("reply %d, not %d", r[1], row.code)
			}
			stop()
			if !strings.Contains(j.String(), row.err.Error()) {
				t.Errorf("the log does not say why: %s", j.String())
			}
			if got := s.Stats(); got.Failed != 1 || got.Open != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
