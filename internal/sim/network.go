package sim

import (
	"net/netip"
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// Network is how bad the path between clients and gateway is. Probabilities
// are from 0 to 1.
type Network struct {
	Loss   float64
	Double float64       // a packet comes twice
	Late   float64       // a packet is overtaken: it takes up to a second longer
	Delay  time.Duration // one way, at least; up to half as much is added
	Forge  float64       // beside a packet comes a copy with one change, or from elsewhere
	Liar   bool          // somebody near the clients answers every request in clear, and sooner
	Cut    bool          // nothing gets through
	Lose   func(toGateway bool, p ike.Packet) bool
}

// natKey is an address and port as the gateway sees them.
type natKey = netip.AddrPort

// toGateway carries a packet of a host; p.Local is what the gateway sees.
func (w *World) toGateway(p ike.Packet) {
	if l, ok := w.lie(p); ok && w.Network.Liar {
		w.after(w.within(time.Millisecond), func() {
			if h := w.natted[p.Local]; h != nil {
				h.receive(l)
			}
		})
	}
	w.carry(true, p, func(p ike.Packet) {
		if g := w.gatewayAt(p.Remote.Addr()); g != nil {
			g.receive(ike.Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: p.Data})
		}
	})
}

// toHost carries a packet of the gateway.
func (w *World) toHost(p ike.Packet) {
	w.carry(false, p, func(p ike.Packet) {
		if h := w.natted[p.Remote]; h != nil {
			h.receive(ike.Packet{Local: p.Remote, Remote: p.Local, Marker: p.Marker, Data: p.Data})
		}
	})
}

func (w *World) carry(toGateway bool, p ike.Packet, arrive func(ike.Packet)) {
	n := &w.Network
	copies := 1
	if w.chance(n.Double) {
		copies = 2
	}
	if w.chance(n.Forge) {
		f := w.forge(ownPacket(p))
		w.after(n.Delay+w.within(n.Delay/2), func() { arrive(f) })
	}
	for range copies {
		if n.Cut || w.chance(n.Loss) || n.Lose != nil && n.Lose(toGateway, p) {
			continue
		}
		d := n.Delay + w.within(n.Delay/2)
		if w.chance(n.Late) {
			d += w.within(time.Second)
		}
		q := ownPacket(p)
		w.after(d, func() { arrive(q) })
	}
}

// lie answers a request as one who has no keys can: with a refusal, or with a
// token out of thin air.
func (w *World) lie(p ike.Packet) (ike.Packet, bool) {
	h, err := wire.ParseHeader(p.Data)
	if err != nil || h.Response() {
		return ike.Packet{}, false
	}
	h.Flags = h.Flags&wire.FlagInitiator ^ wire.FlagInitiator | wire.FlagResponse
	m := wire.NewWriter(nil, h)
	switch h.Exchange {
	case wire.ExchangeIKESAInit:
		m.Notify(wire.Notify{Type: wire.NotifyNoProposalChosen})
	case wire.ExchangeSessionResume:
		m.Notify(wire.Notify{Type: wire.NotifyTicketNACK})
	default:
		m.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI})
		m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
	}
	return ike.Packet{Local: p.Local, Remote: p.Remote, Marker: p.Marker, Data: m.Finish()}, true
}

// forge makes of a packet what somebody on the path could make of it.
func (w *World) forge(p ike.Packet) ike.Packet {
	switch w.dice.IntN(4) {
	case 0: // from somewhere else
		p.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(w.dice.Uint32())}), uint16(1024+w.dice.IntN(60000)))
	case 1: // cut off, with the length put right
		p.Data = p.Data[:28+w.dice.IntN(len(p.Data)-27)]
		p.Data[26], p.Data[27] = byte(len(p.Data)>>8), byte(len(p.Data))
	case 2: // the other direction
		p.Data[19] ^= 0x20
	default:
		p.Data[w.dice.IntN(len(p.Data))] ^= 1 << w.dice.IntN(8)
	}
	return p
}
