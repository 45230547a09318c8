package netstack

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	socks "golang.org/x/net/proxy"

	"blackswan/internal/proxy"
)

// serveProxy gives a stack its proxy until the test ends.
func serveProxy(t testing.TB, s *Stack, log io.Writer) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		server := proxy.Server{Dial: s.Dial, Log: slog.New(slog.NewTextHandler(log, nil))}
		if err := server.Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return l.Addr().(*net.TCPAddr)
}

// TestProxy goes from a SOCKS5 client through the proxy and both stacks.
func TestProxy(t *testing.T) {
	here, there := pair(t)
	echo(t, there, there4+":80")
	echo(t, there, "["+there6+"]:80")
	names(t, there, there4+":53", "inside.example")
	d, err := socks.SOCKS5("tcp", serveProxy(t, here, io.Discard).String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, to := range []string{there4 + ":80", "[" + there6 + "]:80", "inside.example:80"} {
		c, err := d.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		if back := say(t, c, text); !bytes.Equal(back, text) {
			t.Errorf("%s: %d octets came back of %d", to, len(back), len(text))
		}
	}
	for to, reply := range map[string]string{
		there4 + ":81":       "connection refused",
		"outside.example:80": "host unreachable",
	} {
		if c, err := d.Dial("tcp", to); err == nil || !strings.Contains(err.Error(), reply) {
			if err == nil {
				c.Close()
			}
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestProxyUDP asks the DNS server inside by UDP ASSOCIATE.
func TestProxyUDP(t *testing.T) {
	here, there := pair(t)
	names(t, there, there4+":53", "inside.example")
	at := serveProxy(t, here, io.Discard)
	c, err := net.DialTCP("tcp", nil, at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 12)
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, reply); err != nil || reply[3] != 0 {
		t.Fatalf("reply %x, %v", reply, err)
	}
	own, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: reply[6:10], Port: int(reply[10])<<8 | int(reply[11])})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	ask := dnsmessage.Message{Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("inside.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
	}}}
	header := []byte{0, 0, 0, 1, 10, 99, 0, 2, 0, 53}
	out, err := ask.AppendPack(bytes.Clone(header))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Write(out); err != nil {
		t.Fatal(err)
	}
	_ = own.SetDeadline(time.Now().Add(patience))
	back := make([]byte, 1500)
	n, err := own.Read(back)
	if err != nil || !bytes.HasPrefix(back, header) {
		t.Fatalf("%x, %v", back[:n], err)
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(back[len(header):n]); err != nil || len(answer.Answers) != 1 {
		t.Errorf("%v, %v", answer, err)
	}
}

// TestProxyNoDNS has the log say what to do.
func TestProxyNoDNS(t *testing.T) {
	s := open(t, addrs(here4), nil)
	var log bytes.Buffer
	t.Run("ask", func(t *testing.T) {
		d, err := socks.SOCKS5("tcp", serveProxy(t, s, &log).String(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Dial("tcp", "inside.example:80"); err == nil || !strings.Contains(err.Error(), "host unreachable") {
			t.Errorf("%v", err)
		}
	})
	if !strings.Contains(log.String(), "set dns") {
		t.Errorf("the log: %s", log.String())
	}
}
