package ike

import (
	"encoding/binary"
	"slices"

	"blackswan/internal/propose"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// Child SAs, RFC 7296 2.9 and 2.17: what is offered, chosen, installed and
// removed. IKE_AUTH makes the first, CREATE_CHILD_SA (rekey.go) all others.
// Their traffic is the data plane's; the machine keeps their SPIs.

// maxChildren are the Child SAs of an IKE SA, those that are being replaced included.
const maxChildren = 16

// firstUse is how long traffic does not leave by the Child SA of a login that may
// be one more of its peer, unless the peer uses it before, in ns.
const firstUse = int64(5e9)

// phase is where an installed Child SA stands.
type phase uint8

const (
	phaseNone     phase = iota // at most its SPI is offered
	phaseUp                    // it carries traffic
	phaseReplaced              // the peer has rekeyed it, and will delete it
	phaseClosing               // our DELETE waits or is out
)

// child is a Child SA as the machine remembers it.
type child struct {
	ts      *selectors // nil: all that the connection's first policy allows
	in, out uint32
	suite   propose.ESPSuite
	phase   phase
	waits   bool  // the peer asked for it, and may not have our answer yet (RFC 7296 2.8)
	worn    bool  // it is due to be rekeyed
	spent   bool  // it carries nothing more
	asked   bool  // our DELETE is out
	tries   uint8 // rekeys that failed
	rekeyAt int64
	endAt   int64 // it must not be used any more; or its phase is over
	readyAt int64 // it waits no longer; 0: until its peer is known to have it
}

// offer is a Child SA on its way.
type offer struct {
	num      uint8
	of       uint8 // which of the connection's policies it has
	suite    propose.ESPSuite
	in, out  uint32
	local    []wire.Selector
	remote   []wire.Selector
	own      bool // its selectors are not simply what its policy allows
	more     bool // others of the offered ones would be acceptable, too
	straight bool // transport mode
	encr     int  // octets of keys of one direction
	integ    int
	keymat   []byte
	outFirst bool // our direction's keys come first: we are the initiator of the exchange
	waits    bool
}

// acceptChild answers SA, TSi, TSr of the request at hand, which may replace
// old. It returns the error notify when there is no Child SA.
func (e *Endpoint) acceptChild(sa *SA, old *child) (offer, wire.NotifyType) {
	m := &e.msg
	if m.sa == nil || m.tsi == nil || m.tsr == nil {
		return offer{}, wire.NotifyNoProposalChosen
	}
	proposals, err := wire.ParseSA(m.sa)
	if err != nil {
		return offer{}, wire.NotifyInvalidSyntax
	}
	tsi, ierr := wire.ParseTS(m.tsi)
	tsr, rerr := wire.ParseTS(m.tsr)
	if ierr != nil || rerr != nil {
		return offer{}, wire.NotifyInvalidSyntax
	}
	var o offer
	wanted := old.selectors()
	if old == nil {
		wanted = e.fitting(sa, tsr, tsi)
	}
	e.narrow(sa, &o, wanted, tsr, tsi)           //rfc:7296-2.9.2-1
	if len(o.remote) == 0 || len(o.local) == 0 { //rfc:7296-2.9-3
		return offer{}, wire.NotifyTSUnacceptable
	}
	policy := sa.conn.policy(wanted)
	if o.straight = e.mayBeTransport(sa, policy) && m.has(wire.NotifyUseTransportMode); !o.straight && policy.Mode == ModeTransport {
		return offer{}, wire.NotifyNoProposalChosen
	}
	if sa.half != nil {
		o.suite, o.num, o.out, err = propose.SelectESP(proposals, policy.ESP)
	} else {
		o.suite, o.num, o.out, err = propose.SelectChild(proposals, policy.ESP, m.group())
	}
	if err != nil {
		return offer{}, wire.NotifyNoProposalChosen
	}
	o.own = o.own || old == nil && sa.carriesOf(o.of)
	return o, 0
}

// offerChild adds SA, TSi and TSr to our IKE_AUTH request.
func (e *Endpoint) offerChild(w *wire.Writer, sa *SA) {
	if sa.child.in == 0 {
		sa.child.in = e.newESPSPI()
		e.children.Put(sa.child.in, sa.slot+1)
	}
	own := spiBytes(sa.child.in)
	addMode(w, e.mayBeTransport(sa, &sa.conn.Policy))
	w.SA(propose.SpecsESP(sa.conn.ESP, own[:])...)
	e.offerSelectors(w, sa, nil)
}

func (e *Endpoint) offerSelectors(w *wire.Writer, sa *SA, ts *selectors) {
	local, remote := e.allowed(sa, ts)
	w.TS(wire.PayloadTSi, local)
	w.TS(wire.PayloadTSr, remote)
}

// addChild adds SA, TSi and TSr to our IKE_AUTH response.
func (e *Endpoint) addChild(w *wire.Writer, o offer) {
	own := spiBytes(o.in)
	addMode(w, o.straight)
	w.SA(propose.SpecOfESP(e.scratch.chosen[:0], o.suite, o.num, own[:]))
	e.addSelectors(w, o)
}

func (e *Endpoint) addSelectors(w *wire.Writer, o offer) {
	w.TS(wire.PayloadTSi, o.remote)
	w.TS(wire.PayloadTSr, o.local)
	if o.more {
		w.Notify(wire.Notify{Type: wire.NotifyAdditionalTSPossible})
	}
}

func spiBytes(spi uint32) (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], spi)
	return b
}

// checkChild takes SA, TSi and TSr of the response at hand: one of our
// proposals, and selectors within ts, which we asked for.
func (e *Endpoint) checkChild(sa *SA, in uint32, ts *selectors) (offer, error) {
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
	o := offer{in: in, outFirst: true}
	policy := sa.conn.policy(ts)
	if o.straight = m.has(wire.NotifyUseTransportMode); o.straight && !e.mayBeTransport(sa, policy) {
		return offer{}, errMalformed // nobody has asked for that
	}
	if sa.half != nil {
		o.suite, o.out, err = propose.CheckESP(choice, policy.ESP)
	} else {
		o.suite, o.out, err = propose.CheckChild(choice, policy.ESP)
	}
	if err != nil {
		return offer{}, err
	}
	e.narrow(sa, &o, ts, tsi, tsr)
	if len(o.local) == 0 || len(o.remote) == 0 {
		return offer{}, errMalformed
	}
	return o, nil
}

// keymat derives the keys of both directions (RFC 7296 2.17). shared is empty
// where there was no key exchange.
func (e *Endpoint) keymat(sa *SA, o *offer, shared, ni, nr []byte) {
	o.encr, o.integ = suite.ChildKeyLen(o.suite.Encr, o.suite.KeyBits, o.suite.Integ)
	o.keymat = e.scratch.keymat[:2*(o.encr+o.integ)]
	suite.DeriveChild(e.prf(sa.suite), o.keymat, sa.keys.D(sa.suite), shared, ni, nr) //rfc:7296-2.17-3
}

// install tells the data plane, the survivors' map and the SA. The newest is
// the SA's first: it is what a resume finds again.
func (e *Endpoint) install(sa *SA, o offer) *child {
	if sa.child.phase != phaseNone {
		before := sa.child
		c := e.chill(sa)
		c.more = append(c.more, &before)
	}
	sa.child = child{in: o.in, out: o.out, suite: o.suite, phase: phaseUp, waits: o.waits}
	c := &sa.child
	if c.ts = wholeOf(o.of); o.own || o.straight {
		c.ts = &selectors{o.of, o.straight, slices.Clone(o.local), slices.Clone(o.remote)}
	}
	e.children.Put(o.in, sa.slot+1)
	e.outbound.Put(o.out, sa.slot+1)
	half := o.encr + o.integ
	first, second := o.keymat[:half], o.keymat[half:]
	if !o.outFirst { //rfc:7296-2.17-1
		first, second = second, first
	}
	soft, hard := e.age(sa, c)
	e.childs = append(e.childs, Child{
		Connection: sa.conn.Name, Peer: sa.peer, SPIIn: o.in, SPIOut: o.out, Suite: o.suite,
		EncrOut: first[:o.encr], IntegOut: first[o.encr:], EncrIn: second[:o.encr], IntegIn: second[o.encr:], //rfc:7296-2.17-2
		LocalTS: o.local, RemoteTS: o.remote, Transport: o.straight, Local: sa.local.addrPort(), Remote: sa.remote.addrPort(),
		Encap: e.encap(sa), Behind: sa.natted, Resumed: sa.resumed, Waits: o.waits, Soft: soft, Hard: hard,
	})
	e.put(Output{Kind: OutputInstall, SA: sa.handle(), Child: &e.childs[len(e.childs)-1]})
	e.noteChildren(sa)
	return c
}

// removeChildren takes all Child SAs of sa from the data plane, at once or as
// both peers have agreed to.
func (e *Endpoint) removeChildren(sa *SA, how OutputKind) {
	for sa.child.in != 0 {
		e.removeChild(sa, &sa.child, how)
	}
}

// removeChild takes c from the data plane: OutputRemove or OutputRetire. Another
// one becomes the SA's first in its place.
func (e *Endpoint) removeChild(sa *SA, c *child, how OutputKind) {
	e.children.Delete(c.in, sa.slot+1)
	if c.phase != phaseNone {
		e.outbound.Delete(c.out, sa.slot+1)
		e.tellChild(how, sa, c)
	}
	more := sa.more()
	if c != &sa.child {
		e.unnote(sa, c.in)
		sa.cold.more = slices.DeleteFunc(more, func(x *child) bool { return x == c })
		return
	}
	noted := c.phase != phaseNone
	if sa.child = (child{}); len(more) > 0 {
		at := max(slices.IndexFunc(more, func(x *child) bool { return x.phase == phaseUp }), 0)
		sa.child = *more[at]
		sa.cold.more = slices.Delete(more, at, at+1)
		e.unnote(sa, sa.child.in)
	}
	if noted {
		e.noteChildren(sa)
	}
}

// tellChild tells the data plane of one that it has: where the peer is now, or
// no more than its SPIs.
func (e *Endpoint) tellChild(kind OutputKind, sa *SA, c *child) {
	told := Child{Connection: sa.conn.Name, SPIIn: c.in, SPIOut: c.out}
	if kind == OutputMove {
		told.Local, told.Remote, told.Encap, told.Behind = sa.local.addrPort(), sa.remote.addrPort(), e.encap(sa), sa.natted
	}
	e.childs = append(e.childs, told)
	e.put(Output{Kind: kind, SA: sa.handle(), Child: &e.childs[len(e.childs)-1]})
}

// moveChildren tells the data plane where the peer is now.
func (e *Endpoint) moveChildren(sa *SA) {
	for c := range sa.installed {
		e.tellChild(OutputMove, sa, c)
	}
}

// prefer lets traffic leave by c, and requests be about it: its peer is known to
// have it.
func (e *Endpoint) prefer(sa *SA, c *child) {
	if !c.waits {
		return
	}
	c.waits, c.readyAt = false, 0
	if c.phase == phaseUp {
		e.tellChild(OutputPrefer, sa, c)
	}
	if c.worn || c.phase == phaseClosing {
		c.rekeyAt = e.now
		e.schedule(sa)
	}
}

// more are the Child SAs of sa but the first.
func (sa *SA) more() []*child {
	if sa.cold == nil {
		return nil
	}
	return sa.cold.more
}

// installed yields the Child SAs that the data plane has.
func (sa *SA) installed(yield func(*child) bool) {
	if sa.child.phase == phaseNone || !yield(&sa.child) {
		return
	}
	for _, c := range sa.more() {
		if !yield(c) {
			return
		}
	}
}

// childIn is the installed Child SA with that inbound SPI, childOut the one
// with that outbound SPI, or nil.
func (sa *SA) childIn(spi uint32) *child {
	for c := range sa.installed {
		if c.in == spi {
			return c
		}
	}
	return nil
}

func (sa *SA) childOut(spi uint32) *child {
	for c := range sa.installed {
		if c.out == spi {
			return c
		}
	}
	return nil
}

// carries reports whether sa has a Child SA that stays.
func (sa *SA) carries() bool {
	for c := range sa.installed {
		if c.phase == phaseUp {
			return true
		}
	}
	return false
}

// carriesOf reports whether sa has one of that policy that stays.
func (sa *SA) carriesOf(of uint8) bool {
	for c := range sa.installed {
		if c.phase == phaseUp && c.ts.policy() == of {
			return true
		}
	}
	return false
}

// newESPSPI is shard 6 | random 26 bits, above 255, not live and not one that
// a peer may still send to from before a crash (rule B1).
func (e *Endpoint) newESPSPI() uint32 {
	for {
		s := e.random()&(1<<26-1) | uint32(e.cfg.Shard&63)<<26
		_, old := e.survivors[s]
		if s > 255 && e.children.Get(s) == 0 && !old {
			return s
		}
	}
}
