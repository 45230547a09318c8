package ike

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"blackswan/wire"
)

// TestSAOctets: beside an idle SA are only its identity, its keys and the
// cached response. 480 is a size in which Go allocates; from 513 on an octet
// more would cost 8 of a header, and up to 128 of a coarser size.
func TestSAOctets(t *testing.T) {
	if n := unsafe.Sizeof(SA{}); n > 480 {
		t.Errorf("an SA has %d octets", n)
	}
	if n := unsafe.Sizeof(half{}); n > 480 {
		t.Errorf("what a half-open one has beside it has %d octets", n)
	}
	w := newWorld(t, "octets", quiet, dynamicSelectors, func(_, cl *Config) { cl.Tokens = false })
	w.connect()
	if g, _ := w.one(); g.half != nil || g.cold != nil || g.told != nil || g.cert != nil || g.child.ts != nil {
		t.Errorf("an idle SA holds %v, %v, %v, %v, %v", g.half, g.cold, g.told, g.cert, g.child.ts)
	}
}

func dynamicSelectors(gw, cl *Config) {
	for _, c := range []*Config{gw, cl} {
		c.Connections[0].LocalTS, c.Connections[0].RemoteTS = nil, nil
	}
}

// RFC 7296 2.9.2 and RFC 4555 3.5: what a Child SA carries stays the same when it is
// rekeyed and when its SA moves; also when its selectors are the address at
// which the client was.
func TestRFC7296_2_9_2_DynamicSelectorsStay(t *testing.T) {
	for _, by := range []string{"client", "gateway"} {
		t.Run(by, func(t *testing.T) {
			w := mobileWorld(t, "dynamic", dynamicSelectors)
			was := w.gw.kids[0]
			if want := (wire.Selector{EndPort: 65535, Start: clAddr.Addr(), End: clAddr.Addr()}); len(was.RemoteTS) != 1 || was.RemoteTS[0] != want {
				t.Fatalf("the Child SA carries %v", was.RemoteTS)
			}
			w.moveClient(netip.MustParseAddrPort("198.51.100.77:500"))
			w.run(5 * time.Second)
			if w.gw.lastMove().Addr() != w.cl.addr.Addr() {
				t.Fatal("the client did not move")
			}
			n := w.cl
			if by == "gateway" {
				n = w.gw
			}
			for range 2 {
				before := len(w.gw.kids)
				w.wear(n, ReportWorn)
				w.run(10 * time.Second)
				w.agreed(1)
				if k := w.gw.kids[len(w.gw.kids)-1]; len(w.gw.kids) != before+1 || k.RemoteTS[0] != was.RemoteTS[0] || k.LocalTS[0] != was.LocalTS[0] {
					t.Fatalf("%d Child SAs; the newest carries %v and %v, the first %v and %v", len(w.gw.kids), k.LocalTS, k.RemoteTS, was.LocalTS, was.RemoteTS)
				}
			}
		})
	}
}
