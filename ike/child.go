package ike

import (
	"encoding/binary"
	"net/netip"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// The Child SA that IKE_AUTH makes, RFC 7296 2.9 and 2.17. Its traffic is the
// data plane's; the machine keeps its SPIs.

// maxSelectors is how many traffic selectors a side may have after narrowing.
const maxSelectors = 16

// offer is a Child SA on its way.
type offer struct {
	num      uint8
	suite    propose.ESPSuite
	in, out  uint32
	local    []wire.Selector
	remote   []wire.Selector
	encr     int // octets of keys of one direction
	integ    int
	keymat   []byte
	outFirst bool // our direction's keys come first: we are the initiator of the exchange
}

// acceptChild answers SAi2, TSi, TSr of the IKE_AUTH at hand. It returns the
// error notify when there is no Child SA; the IKE SA stays.
func (e *Endpoint) acceptChild(sa *SA, ni, nr []byte) (offer, wire.NotifyType) {
	m := &e.msg
	if m.sa == nil || m.tsi == nil || m.tsr == nil {
		return offer{}, wire.NotifyNoProposalChosen
	}
	proposals, err := wire.ParseSA(m.sa)
	if err != nil {
		return offer{}, wire.NotifyInvalidSyntax
	}
	var o offer
	o.suite, o.num, o.out, err = propose.SelectESP(proposals, sa.conn.ESP)
	if err != nil {
		return offer{}, wire.NotifyNoProposalChosen
	}
	tsi, ierr := wire.ParseTS(m.tsi)
	tsr, rerr := wire.ParseTS(m.tsr)
	if ierr != nil || rerr != nil {
		return offer{}, wire.NotifyInvalidSyntax
	}
	o.remote = narrow(e.scratch.selectors[0][:0], tsi, e.allowed(0, sa.conn.RemoteTS, sa.remote))
	o.local = narrow(e.scratch.selectors[1][:0], tsr, e.allowed(1, sa.conn.LocalTS, sa.local))
	e.scratch.selectors[0], e.scratch.selectors[1] = o.remote, o.local
	if len(o.remote) == 0 || len(o.local) == 0 {
		return offer{}, wire.NotifyTSUnacceptable
	}
	o.in = e.newESPSPI()
	e.keymat(sa, &o, ni, nr)
	return o, 0
}

// offerChild adds SAi2, TSi and TSr to our IKE_AUTH request.
func (e *Endpoint) offerChild(w *wire.Writer, sa *SA) {
	if sa.child.in == 0 {
		sa.child.in = e.newESPSPI()
		e.children[sa.child.in] = sa.slot
	}
	var own [4]byte
	binary.BigEndian.PutUint32(own[:], sa.child.in)
	w.SA(propose.SpecsESP(sa.conn.ESP, own[:])...)
	w.TS(wire.PayloadTSi, e.allowed(0, sa.conn.LocalTS, sa.local))
	w.TS(wire.PayloadTSr, e.allowed(1, sa.conn.RemoteTS, sa.remote))
}

// addChild adds SAr2, TSi and TSr to our IKE_AUTH response.
func (e *Endpoint) addChild(w *wire.Writer, o offer) {
	var own [4]byte
	binary.BigEndian.PutUint32(own[:], o.in)
	w.SA(propose.SpecOfESP(o.suite, o.num, own[:]))
	w.TS(wire.PayloadTSi, o.remote)
	w.TS(wire.PayloadTSr, o.local)
}

// checkChild takes SAr2, TSi and TSr of the response: one of our proposals,
// and selectors within what we asked for.
func (e *Endpoint) checkChild(sa *SA, ni, nr []byte) (offer, error) {
	m := &e.msg
	if m.sa == nil || m.tsi == nil || m.tsr == nil {
		if n, ok := m.failure(); ok {
			return offer{}, &PeerError{n}
		}
		return offer{}, errMalformed
	}
	choice, err := wire.ParseSA(m.sa)
	tsi, ierr := wire.ParseTS(m.tsi)
	tsr, rerr := wire.ParseTS(m.tsr)
	if err != nil || ierr != nil || rerr != nil {
		return offer{}, errMalformed
	}
	o := offer{in: sa.child.in, outFirst: true}
	if o.suite, o.out, err = propose.CheckESP(choice, sa.conn.ESP); err != nil {
		return offer{}, err
	}
	o.local = narrow(e.scratch.selectors[0][:0], tsi, e.allowed(0, sa.conn.LocalTS, sa.local))
	o.remote = narrow(e.scratch.selectors[1][:0], tsr, e.allowed(1, sa.conn.RemoteTS, sa.remote))
	e.scratch.selectors[0], e.scratch.selectors[1] = o.local, o.remote
	if len(o.local) == 0 || len(o.remote) == 0 {
		return offer{}, errMalformed
	}
	e.keymat(sa, &o, ni, nr)
	return o, nil
}

// keymat derives the keys of both directions (RFC 7296 2.17).
func (e *Endpoint) keymat(sa *SA, o *offer, ni, nr []byte) {
	o.encr, o.integ = suite.ChildKeyLen(o.suite.Encr, o.suite.KeyBits, o.suite.Integ)
	o.keymat = e.scratch.keymat[:2*(o.encr+o.integ)]
	suite.DeriveChild(e.prf(sa.suite), o.keymat, sa.keys.D(sa.suite), nil, ni, nr)
}

// install tells the data plane, the survivors' map and the SA.
func (e *Endpoint) install(sa *SA, o offer) {
	if sa.child.in != 0 && sa.child.in != o.in {
		delete(e.children, sa.child.in)
	}
	sa.child = child{in: o.in, out: o.out, suite: o.suite, up: true}
	e.children[o.in] = sa.slot
	e.outbound[o.out] = sa.slot
	half := o.encr + o.integ
	first, second := o.keymat[:half], o.keymat[half:]
	if !o.outFirst {
		first, second = second, first
	}
	e.childs = append(e.childs, Child{
		Connection: sa.conn.Name, SPIIn: o.in, SPIOut: o.out, Suite: o.suite,
		EncrOut: first[:o.encr], IntegOut: first[o.encr:], EncrIn: second[:o.encr], IntegIn: second[o.encr:],
		LocalTS: o.local, RemoteTS: o.remote, Local: sa.local.addrPort(), Remote: sa.remote.addrPort(),
		Encap: e.encap(sa), Behind: sa.natted, Resumed: sa.resumed,
	})
	e.put(Output{Kind: OutputInstall, SA: sa.handle(), Child: &e.childs[len(e.childs)-1]})
	if e.cfg.RollCall != RollCallOff {
		e.record(sa, Record{Kind: RecordChild, Slot: int(sa.slot), ESPSPI: o.in, Entry: Entry{SPIs: sa.spi, Original: sa.Original, Generation: sa.gen}}) //rfc:6290-8.2-1
	}
}

// removeChild takes sa's Child SA from the data plane.
func (e *Endpoint) removeChild(sa *SA) {
	if sa.child.in != 0 {
		delete(e.children, sa.child.in)
	}
	if !sa.child.up {
		sa.child = child{}
		return
	}
	delete(e.outbound, sa.child.out)
	e.childs = append(e.childs, Child{Connection: sa.conn.Name, SPIIn: sa.child.in, SPIOut: sa.child.out})
	e.put(Output{Kind: OutputRemove, SA: sa.handle(), Child: &e.childs[len(e.childs)-1]})
	if e.cfg.RollCall != RollCallOff {
		e.record(sa, Record{Kind: RecordChildGone, Slot: int(sa.slot)})
	}
	sa.child = child{}
}

// moveChild tells the data plane where the peer is now.
func (e *Endpoint) moveChild(sa *SA) {
	if !sa.child.up {
		return
	}
	e.childs = append(e.childs, Child{
		Connection: sa.conn.Name, SPIIn: sa.child.in, SPIOut: sa.child.out,
		Local: sa.local.addrPort(), Remote: sa.remote.addrPort(), Encap: e.encap(sa), Behind: sa.natted,
	})
	e.put(Output{Kind: OutputMove, SA: sa.handle(), Child: &e.childs[len(e.childs)-1]})
}

// newESPSPI is shard 6 | random 26 bits, above 255, not live and not one that
// a peer may still send to from before a crash (rule B1).
func (e *Endpoint) newESPSPI() uint32 {
	for {
		s := e.random()&(1<<26-1) | uint32(e.cfg.Shard&63)<<26
		_, live := e.children[s]
		_, old := e.survivors[s]
		if s > 255 && !live && !old {
			return s
		}
	}
}

// allowed are the configured selectors, or the address itself where they are
// dynamic.
func (e *Endpoint) allowed(buf int, ts []wire.Selector, a addr) []wire.Selector {
	if len(ts) > 0 {
		return ts
	}
	ip := a.addrPort().Addr()
	e.scratch.dynamic[buf] = wire.Selector{EndPort: 65535, Start: ip, End: ip}
	return e.scratch.dynamic[buf : buf+1]
}

// narrow appends the intersections of what is offered with what is allowed
// (RFC 7296 2.9), without repeats.
func narrow(dst []wire.Selector, offered wire.TS, allowed []wire.Selector) []wire.Selector {
	for o := range offered.Selectors() {
		for _, a := range allowed {
			s, ok := intersect(o, a)
			if ok && len(dst) < maxSelectors && !holds(dst, s) {
				dst = append(dst, s)
			}
		}
	}
	return dst
}

func holds(list []wire.Selector, s wire.Selector) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func intersect(a, b wire.Selector) (wire.Selector, bool) {
	if a.Protocol != 0 && b.Protocol != 0 && a.Protocol != b.Protocol || a.Start.Is4() != b.Start.Is4() {
		return wire.Selector{}, false
	}
	s := wire.Selector{
		Protocol: max(a.Protocol, b.Protocol), StartPort: max(a.StartPort, b.StartPort), EndPort: min(a.EndPort, b.EndPort),
		Start: later(a.Start, b.Start), End: earlier(a.End, b.End),
	}
	return s, s.StartPort <= s.EndPort && s.Start.Compare(s.End) <= 0
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if b.Less(a) {
		return b
	}
	return a
}
