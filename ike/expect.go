package ike

import "blackswan/wire"

// expected is an IKE_AUTH of a resume that comes next: the SPI of ours in it, and
// the SA that it will look at: its own, then the one that it replaces.
type expected struct {
	spi wire.SPI
	sa  *SA
}

// Expect tells which packets come next. It is no input, and changes nothing: it
// reads what the resumes among them will look at, which no cache holds when there
// are 100,000 SAs. A packet alone waits for its looks at memory one after the
// other, and longer than for all that is done with them; here those of all packets
// wait together, in three steps, as each look tells where the next is.
func (e *Endpoint) Expect(packets []Packet) {
	all := e.expected[:0]
	for i := range packets {
		if h, err := wire.ParseHeader(packets[i].Data); err == nil && h.Exchange == wire.ExchangeIKEAuth {
			all = append(all, expected{spi: ourSPI(h)})
		}
	}
	e.expected = all
	for i := range all {
		if sa := e.bySPI(all[i].spi); sa != nil && sa.half != nil && sa.half.resume {
			all[i].sa = sa
			e.touched += sa.touch()
		}
	}
	for i := range all {
		if sa := all[i].sa; sa != nil {
			if all[i].sa = e.in(e.lineages.Get(sa.lineage)); all[i].sa != nil {
				e.touched += all[i].sa.touch()
			}
		}
	}
	for i := range all {
		if sa := all[i].sa; sa != nil {
			e.touched += e.ours.Touch(sa.ours()) + e.tombs.at.Touch(sa.ours())
			e.touched += e.children.Touch(sa.child.in) + e.outbound.Touch(sa.child.out) + e.peers.Touch(e.peerKey(sa.peer))
		}
	}
}

// touch reads each line of memory that an SA has.
func (sa *SA) touch() uint32 {
	return uint32(len(sa.peer)) + sa.child.in + sa.peerNext + uint32(sa.iv) + uint32(sa.due) + uint32(sa.askedAt) + uint32(sa.reauth)
}
