package udp

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// plain is a link that moves one datagram with each call, on every system.
type plain struct {
	s   *socket
	in  []byte // datagram received, one octet more than may be
	oob []byte // its control messages
	out []byte // datagram sent
}

func newPlain(s *socket) *plain {
	return &plain{s: s, in: make([]byte, MaxDatagram+1), oob: make([]byte, 256)}
}

// receive holds no batch while it waits.
func (p *plain) receive() (*Batch, error) {
	n, oobn, _, remote, err := p.s.udp().ReadMsgUDPAddrPort(p.in, p.oob)
	if err != nil {
		return nil, err
	}
	b := p.s.owner.take()
	if b == nil {
		return nil, net.ErrClosed
	}
	if n > MaxDatagram {
		p.s.count.oversized.Add(1)
		return b, nil
	}
	data := b.slot(0)[:copy(b.slot(0), p.in[:n])]
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	p.s.add(b, data, p.destination(p.oob[:oobn]), remote, time.Time{})
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
	if err := p.s.write(p.out, m.Local.Addr(), m.Remote); err != nil {
		p.s.owner.drop(err, 1)
		return
	}
	p.s.count.sent(1, len(p.out))
}

func (p *plain) flush() {}

func (s *socket) udp() *net.UDPConn { return s.conn.(*net.UDPConn) }

// write sends one datagram, from the address local if that is set.
func (s *socket) write(data []byte, local netip.Addr, remote netip.AddrPort) error {
	var oob []byte
	if src, ok := s.source(local); ok {
		if s.v6 {
			oob = (&ipv6.ControlMessage{Src: src.AsSlice()}).Marshal()
		} else {
			oob = (&ipv4.ControlMessage{Src: src.AsSlice()}).Marshal()
		}
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	for t := s.tries(); ; {
		_, _, err := s.udp().WriteMsgUDPAddrPort(data, oob, remote)
		if err == nil || !t.again() {
			return err
		}
	}
}
