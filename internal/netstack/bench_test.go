package netstack

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	socks "golang.org/x/net/proxy"
)

// BenchmarkProxy is a stream through the proxy and both stacks, in octets.
func BenchmarkProxy(b *testing.B) {
	here, there := pair(b)
	l := listen(b, there, there4+":80")
	var heard sync.WaitGroup
	heard.Go(func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	})
	d, err := socks.SOCKS5("tcp", serveProxy(b, here, io.Discard).String(), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := d.Dial("tcp", there4+":80")
	if err != nil {
		b.Fatal(err)
	}
	const piece = 1 << 20
	b.SetBytes(piece)
	for b.Loop() {
		if _, err := c.Write(make([]byte, piece)); err != nil {
			b.Fatal(err)
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, _ = c.Read(make([]byte, 1)) // all has arrived
	c.Close()
	l.Close()
	heard.Wait()
}
