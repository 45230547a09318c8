package netstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestDial(t *testing.T) {
	here, there := pair(t)
	echo(t, there, there4+":80")
	echo(t, there, "["+there6+"]:80")
	names(t, there, there4+":53", "inside.example")
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	for _, to := range []string{there4 + ":80", "[" + there6 + "]:80", "[::ffff:" + there4 + "]:80", "inside.example:80", "inside.example.:80"} {
		t.Run(to, func(t *testing.T) {
			c, err := here.Dial(within(t), "tcp", to)
			if err != nil {
				t.Fatal(err)
			}
			if back := say(t, c, text); !bytes.Equal(back, text) {
				t.Errorf("%d octets came back of %d", len(back), len(text))
			}
		})
	}
}

func TestDialErrors(t *testing.T) {
	here, there := pair(t)
	names(t, there, there4+":53", "inside.example")
	four := open(t, addrs(here4), nil) // nobody reads what it sends
	deadline, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ended, end := context.WithCancel(t.Context())
	end()
	for _, row := range []struct {
		name, network, to string
		from              *Stack
		ctx               context.Context
		want              error
	}{
		{"refused", "tcp", there4 + ":81", here, within(t), syscall.ECONNREFUSED},
		{"refused, IPv6", "tcp", "[" + there6 + "]:81", here, within(t), syscall.ECONNREFUSED},
		{"no address of that family", "tcp", "[" + there6 + "]:80", four, within(t), syscall.EHOSTUNREACH},
		{"silence", "tcp", there4 + ":80", four, deadline, os.ErrDeadlineExceeded},
		{"cancelled", "tcp", there4 + ":80", four, ended, context.Canceled},
		{"network", "sctp", there4 + ":80", here, within(t), net.UnknownNetworkError("sctp")},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := row.from.Dial(row.ctx, row.network, row.to)
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, row.want) {
				t.Errorf("%v, not %v", err, row.want)
			}
			t.Log(err)
		})
	}
	for _, row := range []struct {
		name, to, server string
		from             *Stack
		found            bool // IsNotFound
	}{
		{"a name nobody has", "outside.example:80", there4, here, true},
		{"no servers", "inside.example:80", "", four, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := row.from.Dial(within(t), "tcp", row.to)
			var name *net.DNSError
			if !errors.As(err, &name) || name.IsNotFound != row.found || name.Server != row.server {
				t.Fatalf("%#v", err)
			}
			t.Log(err)
		})
	}
}

// TestFamilies resolves a name that has both families for who has one.
func TestFamilies(t *testing.T) {
	here, there := pair(t)
	names(t, there, there4+":53", "inside.example")
	names(t, there, "["+there6+"]:53", "inside.example")
	for _, row := range []struct{ own, server, want []netip.Addr }{
		{addrs(here4), addrs(there4), addrs(there4)},
		{addrs(here6), addrs(there6), addrs(there6)},
		{addrs(here4, here6), addrs(there6), addrs(there4, there6)},
	} {
		if err := here.Assign(row.own, row.server); err != nil {
			t.Fatal(err)
		}
		got, err := here.resolve(within(t), "inside.example")
		slices.SortFunc(got, netip.Addr.Compare)
		if err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%v for %v: %v", got, row.own, err)
		}
	}
}

// TestSecondServer has a first DNS server that is silent and a second that knows.
func TestSecondServer(t *testing.T) {
	here, there := pair(t)
	if err := here.Assign(addrs(here4, here6), addrs(there6, there4)); err != nil {
		t.Fatal(err)
	}
	names(t, there, there4+":53", "inside.example")
	echo(t, there, there4+":80")
	echo(t, there, "["+there6+"]:80")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // half of it for the first
	defer cancel()
	c, err := here.Dial(ctx, "tcp", "inside.example:80")
	if err != nil {
		t.Fatal(err)
	}
	if back := say(t, c, []byte("hello")); string(back) != "hello" {
		t.Errorf("%q", back)
	}
}

func TestUDP(t *testing.T) {
	here, there := pair(t)
	names(t, there, there4+":53", "inside.example")
	c, err := here.Dial(within(t), "udp", there4+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := dnsmessage.Message{Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("inside.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
	}}}
	out, err := ask.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, err := c.Read(make([]byte, 1500))
	if err != nil || n <= len(out) {
		t.Errorf("%d octets, %v", n, err)
	}
}

// TestAssign moves a stack to another address: connections of the old one end,
// and what is kept goes on.
func TestAssign(t *testing.T) {
	here, there := pair(t)
	l := listen(t, there, "["+there6+"]:80")
	defer l.Close()
	old, err := here.Dial(within(t), "tcp", "["+there6+"]:80")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := here.Assign(addrs("10.99.0.3", "10.99.0.3"), nil); err != nil {
		t.Fatal(err)
	}
	_ = old.SetReadDeadline(time.Now().Add(patience))
	if _, err := old.Read(make([]byte, 1)); err == nil || timedOut(err) {
		t.Errorf("the connection of an address that is gone: %v", err)
	}
	echo(t, there, there4+":80")
	c, err := here.Dial(within(t), "tcp", there4+":80")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != "10.99.0.3" {
		t.Errorf("from %s", got)
	}
	if err := here.Assign(addrs("10.99.0.3", here6), nil); err != nil {
		t.Fatal(err)
	}
	if back := say(t, c, []byte("hello")); string(back) != "hello" {
		t.Errorf("the connection of an address that is kept: %q", back)
	}
}

// TestReset is a connection that ends hard, so that what is cut off is not
// taken for the whole.
func TestReset(t *testing.T) {
	here, there := pair(t)
	l := listen(t, there, there4+":80")
	defer l.Close()
	c, err := here.Dial(within(t), "tcp", there4+":80")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := c.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
	_ = peer.SetReadDeadline(time.Now().Add(patience))
	if _, err := peer.Read(make([]byte, 1)); err == nil || err == io.EOF || timedOut(err) {
		t.Errorf("the peer sees %v", err)
	}
}
