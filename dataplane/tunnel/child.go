package tunnel

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"blackswan/dataplane"
	"blackswan/esp"
	"blackswan/internal/propose"
	"blackswan/wire"
)

// child is a Child SA: a pair of ESP SAs and what they may carry. A gateway has
// very many that are idle, so there is little in it.
type child struct {
	owner
	spiIn         uint32
	local, remote []wire.Selector // never changed
	order         uint64          // of installation
	soft, hard    dataplane.Volume
	esn           bool        // sequence numbers have 64 bits
	transport     bool        // packets go without their IP header
	retired       bool        // it takes what is on its way and no more; guarded by the plane's mu
	waits         atomic.Bool // older ones send until this one was used
	path          atomic.Pointer[path]
	dropped       atomic.Uint64
	worn, spent   atomic.Bool  // it was told
	awake         atomic.Bool  // it has ciphers, see watch.go
	used          atomic.Int64 // when it last carried packets, on the plane's clock
	heard         atomic.Int64 // when a packet came in that its peer has made

	out outbound
	in  inbound
}

// owner is whose a Child SA is.
type owner struct {
	connection string
	peer       uint64 // 0: not told
}

// outbound is the SA that packets leave by.
type outbound struct {
	mu      sync.Mutex    // of sa
	sa      *esp.Out      // nil once retired or removed
	asked   time.Duration // when Unanswered was told last, the sender's
	carried meter
}

// inbound is the SA that packets come in by.
type inbound struct {
	mu      sync.Mutex    // of all but carried
	sa      *esp.In       // nil once removed
	proven  time.Duration // when Used was told last
	moved   time.Duration // when Moved was told last
	carried meter
}

// path is where the outer packets of a Child SA go. It is replaced as a whole.
type path struct {
	local, remote netip.AddrPort // with port 0 where ESP is bare
	mtu           int            // octets of the longest inner packet that is not fragmented
	pulse         *pulse         // NAT keepalives, or nil
}

// encap tells whether ESP goes in UDP.
func (w *path) encap() bool { return w.remote.Port() != 0 }

// by tells whether packets leave by a port with that address: of this family,
// in UDP or bare, and with the right source.
func (w *path) by(own netip.AddrPort) bool {
	return own.Addr().Is4() == w.remote.Addr().Is4() && (own.Port() != 0) == w.encap() &&
		(own.Addr() == w.local.Addr() || own.Addr().IsUnspecified() || !w.local.Addr().IsValid())
}

// newChild takes copies of what c lends.
func newChild(c *dataplane.Child, window int) (*child, error) {
	if err := checkSelectors(c.LocalTS, c.RemoteTS); err != nil {
		return nil, err
	}
	if c.Transport && !(oneHost(c.LocalTS) && oneHost(c.RemoteTS)) {
		return nil, errHosts
	}
	all := make([]wire.Selector, 0, len(c.LocalTS)+len(c.RemoteTS))
	all = append(append(all, c.LocalTS...), c.RemoteTS...)
	n := len(c.LocalTS)
	k := &child{
		owner: owner{c.Connection, c.Peer}, spiIn: c.SPIIn, soft: c.Soft, hard: c.Hard, esn: c.Suite.ESN, transport: c.Transport,
		local: all[:n:n], remote: all[n:],
	}
	k.waits.Store(c.Waits)
	a, err := algorithm(&c.Suite)
	if err != nil {
		return nil, err
	}
	if k.out.sa, err = esp.NewOut(c.SPIOut, a, c.EncrOut, c.IntegOut, c.Suite.ESN); err != nil {
		return nil, err
	}
	if k.in.sa, err = esp.NewIn(c.SPIIn, a, c.EncrIn, c.IntegIn, c.Suite.ESN, window); err != nil {
		k.out.sa.Wipe()
		return nil, err
	}
	return k, nil
}

var chacha = esp.ChaCha20Poly1305(chacha20poly1305.New)

// algorithm is how the packets of a suite are protected.
func algorithm(s *propose.ESPSuite) (*esp.Algorithm, error) {
	switch [2]wire.TransformID{s.Encr, s.Integ} {
	case [2]wire.TransformID{wire.ENCRAESGCM16}:
		return esp.AESGCM16, nil
	case [2]wire.TransformID{wire.ENCRChaCha20Poly1305}:
		return chacha, nil
	case [2]wire.TransformID{wire.ENCRAESCBC, wire.INTEGHMACSHA256}:
		return esp.AESCBCSHA256128, nil
	case [2]wire.TransformID{wire.ENCRAESCBC, wire.INTEGHMACSHA384}:
		return esp.AESCBCSHA384192, nil
	case [2]wire.TransformID{wire.ENCRAESCBC, wire.INTEGHMACSHA512}:
		return esp.AESCBCSHA512256, nil
	}
	return nil, fmt.Errorf("tunnel: no ESP with %v", *s)
}

// carriedBoth is what went through c, both directions together.
func (c *child) carriedBoth() dataplane.Volume {
	return plus(c.in.carried.volume(), c.out.carried.volume())
}

// setPath makes c send to new outer addresses.
func (c *child) setPath(to dataplane.Path, mtu int, pulse *pulse) {
	local, remote := to.Local, to.Remote
	if !to.Encap {
		local, remote = netip.AddrPortFrom(local.Addr(), 0), netip.AddrPortFrom(remote.Addr(), 0)
	}
	c.path.Store(&path{
		local: local, remote: remote, pulse: pulse,
		mtu: innerMTU(mtu, remote.Addr().Is6(), to.Encap, c.out.sa.Algorithm().Size),
	})
}

// wipe forgets the keys: nothing leaves any more.
func (o *outbound) wipe() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sa.Wipe()
	o.sa = nil
}

// wipe forgets the keys: nothing comes in any more.
func (i *inbound) wipe() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sa.Wipe()
	i.sa = nil
}
