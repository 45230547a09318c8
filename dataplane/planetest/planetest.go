// Package planetest is the suite that every data plane passes.
package planetest

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"blackswan/dataplane"
	"blackswan/internal/propose"
	"blackswan/wire"
)

// Run tests the planes that open makes. Each is closed by the suite.
func Run(t *testing.T, open func(t *testing.T) dataplane.Plane) {
	for name, test := range map[string]func(*testing.T, dataplane.Plane){
		"Install":    install,
		"Transport":  transport,
		"Borrowed":   borrowed,
		"Unknown":    unknown,
		"Retire":     retire,
		"Replaced":   replaced,
		"Move":       move,
		"Concurrent": concurrent,
		"Close":      closing,
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			test(t, p)
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// Child is a Child SA for tests: AES-128-GCM between two addresses of
// documentation, with keys that its SPI determines.
func Child(spi uint32) dataplane.Child {
	key := func(first byte) dataplane.Key {
		k := make(dataplane.Key, 20)
		for i := range k {
			k[i] = first + byte(spi) + byte(i)
		}
		return k
	}
	return dataplane.Child{
		Connection: "kit", SPIIn: spi, SPIOut: spi ^ 0xffff,
		Suite:  propose.ESPSuite{Encr: wire.ENCRAESGCM16, KeyBits: 128},
		EncrIn: key(1), EncrOut: key(101),
		LocalTS:  []wire.Selector{wire.Prefix(netip.MustParsePrefix("10.1.0.0/16"))},
		RemoteTS: []wire.Selector{wire.Prefix(netip.MustParsePrefix("10.2.0.0/16"))},
		Local:    netip.MustParseAddrPort("192.0.2.1:4500"),
		Remote:   netip.MustParseAddrPort("198.51.100.7:4500"),
		Encap:    true,
	}
}

func install(t *testing.T, p dataplane.Plane) {
	for spi := uint32(0x1000); spi < 0x1010; spi++ {
		if err := p.Install(Child(spi)); err != nil {
			t.Fatalf("Install %08x: %v", spi, err)
		}
	}
	if err := p.Install(Child(0x1003)); !errors.Is(err, dataplane.ErrInUse) {
		t.Errorf("Install of an SPI in use: %v", err)
	}
	for spi := uint32(0x1000); spi < 0x1010; spi++ {
		if err := p.Remove(spi); err != nil {
			t.Errorf("Remove %08x: %v", spi, err)
		}
	}
	if err := p.Install(Child(0x1003)); err != nil {
		t.Errorf("Install of an SPI that was removed: %v", err)
	}
}

// transport: a Child SA in transport mode is one like others, beside one in tunnel
// mode between the same hosts.
func transport(t *testing.T, p dataplane.Plane) {
	for spi, mode := range []bool{true, false} {
		c := Child(0x1000 + uint32(spi))
		c.Transport = mode
		c.LocalTS = []wire.Selector{wire.Prefix(netip.PrefixFrom(c.Local.Addr(), 32))}
		c.RemoteTS = []wire.Selector{wire.Prefix(netip.PrefixFrom(c.Remote.Addr(), 32))}
		if err := p.Install(c); err != nil {
			t.Fatalf("Install, transport mode %v: %v", mode, err)
		}
	}
	if got, err := p.Traffic(0x1000); err != nil || got != (dataplane.Traffic{}) {
		t.Errorf("Traffic: %+v, %v", got, err)
	}
	if err := p.Remove(0x1000); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

// borrowed: a machine uses its key buffers again after each call.
func borrowed(t *testing.T, p dataplane.Plane) {
	for spi := uint32(0x1000); spi < 0x1008; spi++ {
		c := Child(spi)
		if err := p.Install(c); err != nil {
			t.Fatal(err)
		}
		clear(c.EncrIn)
		clear(c.EncrOut)
		clear(c.LocalTS)
		clear(c.RemoteTS)
	}
	for spi := uint32(0x1000); spi < 0x1008; spi++ {
		want := Child(spi)
		if local, remote, err := p.Selectors(spi); err != nil || !slices.Equal(local, want.LocalTS) || !slices.Equal(remote, want.RemoteTS) {
			t.Errorf("Selectors of %08x: %v, %v, %v", spi, local, remote, err)
		}
		if err := p.Remove(spi); err != nil {
			t.Errorf("Remove %08x: %v", spi, err)
		}
	}
}

func unknown(t *testing.T, p dataplane.Plane) {
	if err := p.Remove(0x1234); !errors.Is(err, dataplane.ErrUnknown) {
		t.Errorf("Remove of an unknown SPI: %v", err)
	}
	if err := p.Retire(0x1234); !errors.Is(err, dataplane.ErrUnknown) {
		t.Errorf("Retire of an unknown SPI: %v", err)
	}
	if err := p.Move(0x1234, elsewhere); !errors.Is(err, dataplane.ErrUnknown) {
		t.Errorf("Move of an unknown SPI: %v", err)
	}
	if err := p.Prefer(0x1234); !errors.Is(err, dataplane.ErrUnknown) {
		t.Errorf("Prefer of an unknown SPI: %v", err)
	}
	if _, err := p.Traffic(0x1234); !errors.Is(err, dataplane.ErrUnknown) {
		t.Errorf("Traffic of an unknown SPI: %v", err)
	}
	if _, _, err := p.Selectors(0x1234); !errors.Is(err, dataplane.ErrUnknown) {
		t.Errorf("Selectors of an unknown SPI: %v", err)
	}
}

// elsewhere is another path than that of Child.
var elsewhere = dataplane.Path{
	Local: netip.MustParseAddrPort("192.0.2.1:4500"), Remote: netip.MustParseAddrPort("203.0.113.9:61234"), Encap: true, Behind: true,
}

// move: a Child SA that moved is the same one, and has carried nothing yet.
func move(t *testing.T, p dataplane.Plane) {
	if err := p.Install(Child(0x1000)); err != nil {
		t.Fatal(err)
	}
	if err := p.Move(0x1000, elsewhere); err != nil {
		t.Errorf("Move: %v", err)
	}
	if err := p.Prefer(0x1000); err != nil {
		t.Errorf("Prefer of one that does not wait: %v", err)
	}
	if n, err := p.Traffic(0x1000); err != nil || n != (dataplane.Traffic{}) {
		t.Errorf("Traffic of a new Child SA: %+v, %v", n, err)
	}
	if n, _ := p.Totals(); n != (dataplane.Traffic{}) {
		t.Errorf("Totals of a new plane: %+v", n)
	}
	if err := p.Remove(0x1000); err != nil {
		t.Errorf("Remove after Move: %v", err)
	}
}

// retire: who installs sees a Child SA that was retired no more than one that was
// removed, and its SPI may be used again.
func retire(t *testing.T, p dataplane.Plane) {
	for range 3 {
		if err := p.Install(Child(0x1000)); err != nil {
			t.Fatalf("Install: %v", err)
		}
		if err := p.Retire(0x1000); err != nil {
			t.Fatalf("Retire: %v", err)
		}
		for what, err := range map[string]error{
			"Retire": p.Retire(0x1000), "Remove": p.Remove(0x1000), "Move": p.Move(0x1000, elsewhere), "Prefer": p.Prefer(0x1000),
		} {
			if !errors.Is(err, dataplane.ErrUnknown) {
				t.Errorf("%s of a retired one: %v", what, err)
			}
		}
		if _, err := p.Traffic(0x1000); !errors.Is(err, dataplane.ErrUnknown) {
			t.Errorf("Traffic of a retired one: %v", err)
		}
	}
}

// replaced: what a Child SA that was retired keeps goes with the one in its place,
// and another peer may have its addresses then (rule F5).
func replaced(t *testing.T, p dataplane.Plane) {
	for peer := uint64(1); peer < 4; peer++ {
		for _, spi := range []uint32{0x1000, 0x1001} {
			c := Child(spi)
			c.Peer = peer
			if err := p.Install(c); err != nil {
				t.Fatalf("Install %08x for peer %d: %v", spi, peer, err)
			}
		}
		if err := p.Retire(0x1000); err != nil {
			t.Fatalf("Retire: %v", err)
		}
		if err := p.Remove(0x1001); err != nil {
			t.Fatalf("Remove: %v", err)
		}
	}
}

func concurrent(t *testing.T, p dataplane.Plane) {
	var all sync.WaitGroup
	for g := range uint32(8) {
		all.Go(func() {
			for i := range uint32(64) {
				spi := 0x10000 + g<<8 + i
				if err := p.Install(Child(spi)); err != nil {
					t.Errorf("Install %08x: %v", spi, err)
				}
				if i%2 == 0 {
					if err := p.Remove(spi); err != nil {
						t.Errorf("Remove %08x: %v", spi, err)
					}
				}
			}
		})
	}
	all.Wait()
}

func closing(t *testing.T, p dataplane.Plane) {
	if err := p.Install(Child(0x1000)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := p.Install(Child(0x1001)); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("Install after Close: %v", err)
	}
	if err := p.Remove(0x1000); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("Remove after Close: %v", err)
	}
	if err := p.Retire(0x1000); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("Retire after Close: %v", err)
	}
	if err := p.Move(0x1000, elsewhere); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("Move after Close: %v", err)
	}
	if err := p.Prefer(0x1000); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("Prefer after Close: %v", err)
	}
	if _, err := p.Traffic(0x1000); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("Traffic after Close: %v", err)
	}
	if _, _, err := p.Selectors(0x1000); !errors.Is(err, dataplane.ErrClosed) {
		t.Errorf("Selectors after Close: %v", err)
	}
	if r := p.Reports(); r != nil {
		for range r { // ends only when it is closed
		}
	}
}
