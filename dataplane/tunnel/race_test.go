package tunnel

import (
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"blackswan/dataplane"
	"blackswan/internal/udp"
)

// TestEverythingAtOnce is for the race detector: traffic in both directions
// while Child SAs come, move and go, sleep, are counted, and the plane closes.
func TestEverythingAtOnce(t *testing.T) {
	const children = 16
	d, port := newDevice(), &sink{port: newPort("192.0.2.1:4500")}
	p, err := New(Config{Device: d, Wait: 1 << 12})
	if err != nil {
		t.Fatal(err)
	}
	p.Attach(port)
	child := func(n int) dataplane.Child {
		c := nth(n)
		c.Behind = n%2 == 0
		c.Hard = dataplane.Volume{Packets: 500}
		return c
	}
	for n := range children {
		if err := p.Install(child(n)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	busy := func(step func(i int)) {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					step(i)
				}
			}
		})
	}
	busy(func(i int) {
		batch := make([][]byte, 8)
		for k := range batch {
			batch[k] = udp4("192.0.2.80", clientAddr((i+k)%(children+1)).String(), 1, 2, 100)
		}
		select {
		case d.in <- batch:
		case <-done:
		}
	})
	peers := make([]*peer, children)
	for n := range peers {
		c := child(n)
		c.SPIOut, c.EncrOut = c.SPIIn, c.EncrIn
		peers[n] = &peer{t, outOf(t, c)}
	}
	busy(func(i int) {
		n := i % children
		packet := peers[n].seal(udp4(clientAddr(n).String(), "192.0.2.80", 2, 1, 100), 4)
		m := udp.Message{Local: port.local, Remote: netip.MustParseAddrPort("203.0.113.5:99"), Data: packet, Kind: udp.ESP}
		if i%3 == 0 {
			p.Stray(m)
			return
		}
		select {
		case port.in <- []udp.Run{{Local: m.Local, Remote: m.Remote, Data: packet, Size: len(packet)}}:
		case <-done:
		}
	})
	busy(func(i int) {
		n := i % children
		if i%2 == 0 {
			_ = p.Remove(child(n).SPIIn)
		} else {
			_ = p.Retire(child(n).SPIIn)
		}
		_ = p.Install(child(n))
	})
	busy(func(i int) {
		c := child(i % children)
		_ = p.Move(c.SPIIn, dataplane.Path{Local: c.Local, Remote: netip.AddrPortFrom(c.Remote.Addr(), uint16(i)|1), Encap: i%5 != 0})
		_, _ = p.Traffic(c.SPIIn)
		_, _ = p.Totals()
		for _, c := range p.awake.idle(p.now() + time.Hour) {
			c.sleep()
		}
		p.pulses.due(p.now() + time.Hour)
	})
	busy(func(int) {
		select {
		case <-p.Reports():
		case <-d.out:
		case <-done:
		}
	})
	stop := time.AfterFunc(300*time.Millisecond, func() {
		for n, _ := p.Totals(); n.OutPackets == 0 || n.InPackets == 0; n, _ = p.Totals() { // a slow machine has not carried anything yet
			runtime.Gosched()
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		close(done)
	})
	defer stop.Stop()
	all.Wait()
	if n, _ := p.Totals(); n.OutPackets == 0 || n.InPackets == 0 {
		t.Errorf("%+v: nothing was carried", n)
	}
}
