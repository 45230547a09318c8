package blackswan

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/ike"
	"blackswan/spi"
	"blackswan/wire"
)

// TestRollCallAtScale (rules C2, C3): 100,000 entries are written behind, read
// back at the next start, and shown to clients of which none comes back: at most
// a window at once, and the next when a second is over. In the end all were shown
// three times, and none is left in the store.
func TestRollCallAtScale(t *testing.T) {
	const entries, window = 100_000, 1024
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		g, gr := l.gateway()
		s := g.node.shards[0]
		seal, err := spi.New(g.boot.SPIKeys, g.boot.SPICurrent, g.boot.SPI.Node, g.boot.SPI.Epoch, 0)
		if err != nil {
			t.Fatal(err)
		}
		own, _ := s.port.Ports()
		for first := 0; first < entries; first += 1000 { // beside other work
			s.call(func(now time.Time) {
				for i := first; i < first+1000; i++ {
					spir, err := seal.Next(g.boot.QCD.Current)
					if err != nil {
						t.Error(err)
						return
					}
					s.keep.record(now, ike.Output{Kind: ike.OutputRecord, Record: &ike.Record{Kind: ike.RecordRollCall, Slot: i, Entry: ike.Entry{
						SPIs: wire.SPIs{I: wire.SPI(i + 1), R: wire.SPI(spir)}, Ours: true, Generation: g.boot.QCD.Current, Local: own, Heard: now.Unix(),
						Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 500),
					}}})
				}
			})
		}
		time.Sleep(time.Second)
		if n := l.entries(g); n != entries {
			t.Fatalf("%d entries are on disk after a second", n)
		}
		l.crash(gr)
		g, gr = l.gateway()
		time.Sleep(time.Millisecond)
		for second := uint64(1); second <= 3; second++ {
			if st := g.Status(0).Totals; st.RollCall != entries || st.RollCallShown != second*window {
				t.Fatalf("second %d: %d entries were read, %d are shown", second, st.RollCall, st.RollCallShown)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		if st := g.Status(0).Totals; st.RollCallShown != 3*entries || st.RollCallLeft != 0 {
			t.Errorf("%d messages, %d entries are left", st.RollCallShown, st.RollCallLeft)
		}
		time.Sleep(time.Minute)
		if n := l.entries(g); n != 0 {
			t.Errorf("%d entries are still in the store", n)
		}
		gr.stop(t, nil)
	})
}
