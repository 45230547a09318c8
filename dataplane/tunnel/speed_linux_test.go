package tunnel

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wg "golang.zx2c4.com/wireguard/device"
)

// BenchmarkStream is one TCP stream through two TUN devices in two namespaces,
// with wireguard-go beside it on the same machine: what counts is the ratio.
func BenchmarkStream(b *testing.B) {
	b.Run("tunnel", func(b *testing.B) {
		both := twoNamespaces(b)
		planes := join(both, 1420, 0, true)
		stream(b, both)
		for _, p := range planes {
			if n, dropped := p.Totals(); dropped["unsent"]+dropped["replay"] != 0 {
				b.Logf("%+v %v", n, dropped)
			}
		}
	})
	b.Run("wireguard-go", func(b *testing.B) {
		both := twoNamespaces(b)
		var keys [2]*ecdh.PrivateKey
		for i := range keys {
			keys[i], _ = ecdh.X25519().GenerateKey(rand.Reader)
		}
		for i, n := range both {
			other := both[1-i]
			d := wg.NewDevice(n.device(1420, other), conn.NewStdNetBind(), wg.NewLogger(wg.LogLevelSilent, ""))
			b.Cleanup(d.Close)
			n.inside(func() error {
				if err := d.IpcSet(fmt.Sprintf("private_key=%x\nlisten_port=51820\npublic_key=%x\nendpoint=%s:51820\nallowed_ip=%s/32\n",
					keys[i].Bytes(), keys[1-i].PublicKey().Bytes(), other.outer[0], other.inner[0])); err != nil {
					return err
				}
				return d.Up()
			})
		}
		stream(b, both)
	})
}

// cpu is the processor time of this process: both ends, and the TCP stream.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stream sends 4 MB at a time over one TCP connection.
func stream(b *testing.B, both [2]*namespace) {
	const size = 4 << 20
	from, to := connect(both, 0)
	arrived := make(chan struct{}, 1)
	go func() {
		buf := make([]byte, 256<<10)
		for octets := 0; ; {
			n, err := to.Read(buf)
			if err != nil {
				return
			}
			for octets += n; octets >= size; octets -= size {
				arrived <- struct{}{}
			}
		}
	}()
	data := make([]byte, size)
	b.SetBytes(size)
	start := cpu(b)
	for b.Loop() {
		if _, err := from.Write(data); err != nil {
			b.Fatal(err)
		}
		<-arrived
	}
	octets := float64(b.N) * size
	b.ReportMetric(octets*8/1e9/b.Elapsed().Seconds(), "Gbit/s")
	b.ReportMetric((cpu(b)-start).Seconds()/(octets/1e9), "cpu-s/GB")
}
