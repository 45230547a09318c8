package udp

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// plain is a link that moves one datagram with each call, on every system.
type plain struct {
	s   *socket
	oob []byte // control messages of the datagram received
	out []byte // scratch of the datagram sent
}

func newPlain(s *socket) *plain { return &plain{s: s, oob: make([]byte, 256)} }

func (p *plain) receive() (*Batch, error) {
	b := p.s.owner.take()
	if b == nil {
		return nil, net.ErrClosed
	}
	// One octet is kept back, so that a longer datagram shows.
	n, oobn, _, remote, err := p.s.conn.ReadMsgUDPAddrPort(b.slot(0), p.oob)
	if err != nil {
		p.s.owner.Recycle(b)
		return nil, err
	}
	if n == MaxDatagram {
		p.s.owner.count.oversized.Add(1)
		return b, nil
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	p.s.add(b, b.slot(0)[:n], p.destination(p.oob[:oobn]), remote)
	return b, nil
}

// destination is the address that a datagram came to.
func (p *plain) destination(oob []byte) netip.Addr {
	var dst net.IP
	if p.s.v6 {
		var cm ipv6.ControlMessage
		if cm.Parse(oob) == nil {
			dst = cm.Dst
		}
	} else {
		var cm ipv4.ControlMessage
		if cm.Parse(oob) == nil {
			dst = cm.Dst
		}
	}
	if addr, ok := netip.AddrFromSlice(dst); ok {
		return addr.Unmap()
	}
	return p.s.local.Addr()
}

// queue sends at once: there is nothing to be saved by waiting.
func (p *plain) queue(m Message) {
	p.out = p.out[:0]
	if m.Marker {
		p.out = append(p.out, marker[:]...)
	}
	p.out = append(p.out, m.Data...)
	var oob []byte
	if src, ok := p.s.source(&m); ok {
		if p.s.v6 {
			oob = (&ipv6.ControlMessage{Src: src.AsSlice()}).Marshal()
		} else {
			oob = (&ipv4.ControlMessage{Src: src.AsSlice()}).Marshal()
		}
	}
	remote := netip.AddrPortFrom(m.Remote.Addr().Unmap(), m.Remote.Port())
	n, _, err := p.s.conn.WriteMsgUDPAddrPort(p.out, oob, remote)
	if err != nil {
		p.s.owner.drop(err, 1)
		return
	}
	p.s.owner.count.outDatagrams.Add(1)
	p.s.owner.count.outOctets.Add(uint64(n))
}

func (p *plain) flush() {}
