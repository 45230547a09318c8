package blackswan

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/dataplane"
	"blackswan/dataplane/keysonly"
	"blackswan/ike"
	"blackswan/internal/udp"
)

// seeing is a plane that sees what the test says.
type seeing struct {
	*keysonly.Plane
	reports chan dataplane.Report
	refuse  error
}

func newSeeing() *seeing { return &seeing{keysonly.Open(), make(chan dataplane.Report, 8), nil} }

func (p *seeing) Reports() <-chan dataplane.Report { return p.reports }

func (p *seeing) Install(c dataplane.Child) error {
	if p.refuse != nil {
		return p.refuse
	}
	return p.Plane.Install(c)
}

func (p *seeing) Close() error {
	close(p.reports)
	return p.Plane.Close()
}

// TestRFC6290_8_2_ESPOfALostSA: an ESP packet of before the crash is answered
// with the token of the IKE SA that it belonged to.
func TestRFC6290_8_2_ESPOfALostSA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		c, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		out := c.Status(-1).SAs[0].ChildOut
		l.crash(gr)
		l.net.Path = func(m *udp.Message) bool { // the roll call is lost
			return !(m.Remote.Addr() == clientAddr && m.Data[18] == 37 && m.Data[19]&0x20 != 0)
		}
		plane := newSeeing()
		l.gw.Plane = plane
		_, gr = l.gateway()
		time.Sleep(time.Second)
		l.want("ann", Detected, 0)
		for _, length := range []int{40, 200} { // never an answer larger than its cause
			plane.reports <- dataplane.Report{
				Kind: dataplane.Unknown, SPI: spiOf(t, out), Length: length, Encap: true,
				Local: netip.AddrPortFrom(gatewayAddr, 4500), Remote: netip.AddrPortFrom(clientAddr, 4500),
			}
			time.Sleep(time.Second)
			if length == 40 {
				l.want("ann", Detected, 0)
			}
		}
		l.detected("ann", "esp_reply")
		l.want("ann", Resumed, 1)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

func spiOf(t *testing.T, text string) (spi uint32) {
	t.Helper()
	for _, c := range text {
		digit := uint32(c - '0')
		if c >= 'a' {
			digit = uint32(c-'a') + 10
		}
		spi = spi<<4 | digit
	}
	return spi
}

// TestD7_TrafficConfirms: the first packet through the tunnel spends the
// ticket, before any INFORMATIONAL.
func TestD7_TrafficConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		l.crash(gr)
		plane := newSeeing()
		l.gw.Plane = plane
		g, gr := l.gateway()
		time.Sleep(500 * time.Millisecond)
		l.want("gateway", Resumed, 1)
		l.want("gateway", Confirmed, 0)
		plane.reports <- dataplane.Report{Kind: dataplane.Used, SPI: spiOf(t, g.Status(-1).SAs[0].ChildIn)}
		time.Sleep(100 * time.Millisecond)
		l.want("gateway", Confirmed, 1)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestPlaneRefuses: a plane that cannot carry a Child SA says so, and the IKE
// SA stays.
func TestPlaneRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		plane := newSeeing()
		plane.refuse = errors.New("no device")
		l.gw.Plane = plane
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		l.mu.Lock()
		told := 0
		for _, e := range l.seen {
			if e.Kind == ChildFailed && errors.Is(e.Err, plane.refuse) {
				told++
			}
		}
		l.mu.Unlock()
		if st := g.Status(0); told != 1 || st.Totals.SAs != 1 || st.Totals.ChildFailed != 1 {
			t.Errorf("told %d times; status: %+v", told, st.Totals)
		}
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestF5_PeersAreToldApart: the data plane knows whose a Child SA is, by the
// identity that was proved.
func TestF5_PeersAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		plane := newSeeing()
		l.gw.Plane = plane
		_, gr := l.gateway()
		var all []*running
		for i, name := range []string{"ann", "bob"} {
			cfg := l.client(name)
			cfg.Listen = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(20 + i)})}
			_, r := l.connect(name, cfg)
			all = append(all, r)
		}
		time.Sleep(time.Second)
		if c := plane.Children(); len(c) != 2 || c[0].Peer == c[1].Peer || c[0].Peer == 0 || c[1].Peer == 0 {
			t.Errorf("%d Child SAs; whose they are: %v", len(c), c)
		}
		for _, r := range all {
			r.stop(t, nil)
		}
		gr.stop(t, nil)
	})
}

// TestBrokenPlane: who has lost its device or its sockets ends, and says so. The
// client's ticket is good for its next start.
func TestBrokenPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		broken := dataplane.Report{Kind: dataplane.Broken, Err: errors.New("the TUN device bs0 is gone")}
		plane := newSeeing()
		l.gw.Plane = plane
		_, gr := l.gateway()
		cfg := l.client("ann")
		cfg.StateDir = t.TempDir()
		its := newSeeing()
		cfg.Plane = its
		_, cr := l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		its.reports <- broken
		if err := <-cr.ended; !errors.Is(err, broken.Err) {
			t.Errorf("the client's Run: %v", err)
		}
		cfg.Plane = nil
		_, cr = l.connect("ann", cfg)
		time.Sleep(2 * time.Second)
		l.want("ann", Resumed, 1)
		cr.stop(t, nil)
		plane.reports <- broken
		if err := <-gr.ended; !errors.Is(err, broken.Err) {
			t.Errorf("the gateway's Run: %v", err)
		}
	})
}

// counting is a plane whose Child SAs have carried as many packets as their SPI
// says.
type counting struct{ dataplane.Plane }

func (counting) Traffic(spi uint32) (dataplane.Traffic, error) {
	return dataplane.Traffic{InPackets: uint64(spi), InOctets: 100, OutPackets: 1, OutOctets: 60, Dropped: 2}, nil
}

// TestStatusOfSeveralChildSAs: an SA shows what all of its Child SAs have
// carried, and each of them.
func TestStatusOfSeveralChildSAs(t *testing.T) {
	s := &shard{node: &node{plane: counting{}}}
	sa := s.saStatus(time.Now(), ike.View{Child: ike.ChildView{In: 7, Out: 8}, More: []ike.ChildView{{In: 0x10, Out: 0x20}, {In: 0x100, Out: 0x200}}})
	if want := (Traffic{InPackets: 0x117, InOctets: 300, OutPackets: 3, OutOctets: 180, Dropped: 6}); !reflect.DeepEqual(sa.Traffic, want) || sa.ChildIn != "00000007" {
		t.Errorf("of %s: %+v, want %+v", sa.ChildIn, sa.Traffic, want)
	}
	if len(sa.Children) != 2 || sa.Children[1].In != "00000100" || sa.Children[1].Out != "00000200" || sa.Children[1].Traffic.InPackets != 0x100 {
		t.Errorf("the others: %+v", sa.Children)
	}
}
