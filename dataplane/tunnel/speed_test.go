package tunnel

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.zx2c4.com/wireguard/conn"
	wg "golang.zx2c4.com/wireguard/device"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/wire"
)

var innerA, innerB = netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.2")

// between is a Child SA between the inner addresses of two namespaces.
func between(a, b *namespace, encap bool) dataplane.Child {
	c := planetest.Child(0x1000)
	c.LocalTS = []wire.Selector{wire.Prefix(netip.PrefixFrom(innerA, 32))}
	c.RemoteTS = []wire.Selector{wire.Prefix(netip.PrefixFrom(innerB, 32))}
	port := uint16(4500)
	if !encap {
		port = 0
	}
	c.Local, c.Remote, c.Encap = netip.AddrPortFrom(a.outer, port), netip.AddrPortFrom(b.outer, port), encap
	return c
}

// join starts a plane in each namespace, with one Child SA.
func join(t testing.TB, a, b *namespace, mtu int) (pa, pb *Plane) {
	t.Helper()
	c := between(a, b, true)
	for i, n := range []*namespace{a, b} {
		inner, remote, child := innerA, innerB, c
		if i == 1 {
			inner, remote, child = innerB, innerA, mirror(c)
		}
		p, err := New(Config{Device: n.device(inner, remote, mtu)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		p.Attach(n.ports()...)
		if err := p.Install(child); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			pa = p
		} else {
			pb = p
		}
	}
	return pa, pb
}

// stream sends octets over one TCP connection from a to b, b.N times.
func stream(b *testing.B, from, to *namespace) {
	var l net.Listener
	to.inside(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(innerB, 0).String())
		return err
	})
	defer l.Close()
	var out net.Conn
	from.inside(func() (err error) {
		out, err = net.Dial("tcp", l.Addr().String())
		return err
	})
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	const size = 4 << 20
	done := make(chan struct{}, 1)
	go func() {
		buf := make([]byte, 256<<10)
		for n := 0; ; {
			k, err := in.Read(buf)
			if err != nil {
				return
			}
			for n += k; n >= size; n -= size {
				done <- struct{}{}
			}
		}
	}()
	data := make([]byte, size)
	b.SetBytes(size)
	for b.Loop() {
		if _, err := out.Write(data); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.ReportMetric(float64(b.N)*size*8/1e9/b.Elapsed().Seconds(), "Gbit/s")
}

func BenchmarkStream(b *testing.B) {
	b.Run("tunnel", func(b *testing.B) {
		x, y := twoNamespaces(b)
		pa, pb := join(b, x, y, 1420)
		stream(b, x, y)
		if testing.Verbose() {
			fmt.Println(pa.Totals())
			fmt.Println(pb.Totals())
		}
	})
	b.Run("wireguard-go", func(b *testing.B) {
		x, y := twoNamespaces(b)
		keys := [2]*ecdh.PrivateKey{}
		for i := range keys {
			keys[i], _ = ecdh.X25519().GenerateKey(rand.Reader)
		}
		for i, n := range []*namespace{x, y} {
			inner, remote, peer := innerA, innerB, y.outer
			if i == 1 {
				inner, remote, peer = innerB, innerA, x.outer
			}
			d := wg.NewDevice(n.device(inner, remote, 1420), conn.NewStdNetBind(), wg.NewLogger(wg.LogLevelError, ""))
			b.Cleanup(d.Close)
			n.inside(func() error {
				if err := d.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=51820\npublic_key=%s\nendpoint=%s:51820\nallowed_ip=%s/32\n",
					hex.EncodeToString(keys[i].Bytes()), hex.EncodeToString(keys[1-i].PublicKey().Bytes()), peer, remote)); err != nil {
					return err
				}
				return d.Up()
			})
		}
		stream(b, x, y)
	})
}
