package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"blackswan/internal/natt"
)

// socket is one socket: one port, one family.
type socket struct {
	owner         *Conn
	count         *counters
	conn          packetConn
	rc            syscall.RawConn // of conn
	local         netip.AddrPort  // as bound
	nat, v6       bool
	receiveBuffer int
	runs          bool   // the kernel joins what comes (UDP_GRO)
	lost          uint32 // of the kernel's count, already counted
	link          link
	errors        *errorQueue // nil: nobody is told what was unreachable
}

// packetConn is a net.UDPConn, or a net.IPConn for bare ESP.
type packetConn interface {
	net.PacketConn
	syscall.Conn
}

// link moves datagrams between a socket and batches.
type link interface {
	// receive waits for at least one datagram. Datagrams that are no
	// messages are dropped and counted, so the batch may be empty.
	receive() (*Batch, error)

	// queue copies a message; flush sends all that were queued.
	queue(Message)
	flush()
}

var marker [natt.Marker]byte

var errNoSocket = fmt.Errorf("no socket of the family of the remote address: %w", syscall.ENETUNREACH)

func newBatch(size, octets int) *Batch {
	return &Batch{Messages: make([]Message, 0, size), slots: makeSlots(size, octets)}
}

// slotSize is the octets of a slot for what the socket receives.
func (s *socket) slotSize() int {
	if s.runs {
		return runSlot
	}
	return MaxDatagram
}

// add puts a datagram that lies in b into its messages, or drops it.
func (s *socket) add(b *Batch, data []byte, local netip.Addr, remote netip.AddrPort, at time.Time) {
	m := Message{Local: netip.AddrPortFrom(local, s.local.Port()), Remote: remote, Data: data, Arrived: at}
	if len(data) == 0 || remote.Port() == 0 {
		s.count.malformed.Add(1)
		return
	}
	if s.nat {
		var ok bool
		if m.Kind, ok = kindOf(data); !ok {
			s.count.malformed.Add(1)
			return
		}
		if m.Kind == IKE {
			m.Data, m.Marker = data[natt.Marker:], true
		}
	}
	switch astray := s.owner.cfg.ESP; {
	case m.Kind == IKE || astray == nil:
		b.Messages = append(b.Messages, m)
	case m.Kind == ESP:
		s.count.received(1, len(data))
		astray(m)
	default:
		s.count.keepalives.Add(1)
	}
}

// kindOf tells what a datagram on the NAT traversal port carries. It is false
// if that is nothing known.
func kindOf(data []byte) (Kind, bool) {
	switch {
	case natt.HasMarker(data): // RFC 7296 2.23: no ESP SPI is zero
		return IKE, true
	case natt.IsKeepalive(data): // RFC 3948 2.3
		return Keepalive, true
	}
	return ESP, len(data) > natt.Marker
}

// bind opens the sockets of one port, a socket for each family.
func bind(cfg *Config, nat bool) ([]*socket, error) {
	port := cfg.IKEPort
	if nat {
		port = cfg.NATPort
	}
	addr := cfg.Addr.Unmap()
	if addr.IsValid() && addr != netip.IPv6Unspecified() {
		s, err := listen(cfg, netip.AddrPortFrom(addr, port), nat)
		if err != nil {
			return nil, err
		}
		return []*socket{s}, nil
	}
	for try := 0; ; try++ {
		s4, err := listen(cfg, netip.AddrPortFrom(netip.IPv4Unspecified(), port), nat)
		if err != nil {
			return nil, err
		}
		s6, err := listen(cfg, netip.AddrPortFrom(netip.IPv6Unspecified(), s4.local.Port()), nat)
		switch {
		case err == nil:
			return []*socket{s4, s6}, nil
		case errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL):
			return []*socket{s4}, nil // a machine without IPv6
		case port != 0 || try == 16 || !errors.Is(err, syscall.EADDRINUSE):
			s4.conn.Close()
			return nil, err
		}
		s4.conn.Close() // that port is free for IPv4 alone: try another
	}
}

// listen opens one UDP socket.
func listen(cfg *Config, local netip.AddrPort, nat bool) (*socket, error) {
	s := &socket{nat: nat, v6: !local.Addr().Is4()}
	if err := s.open(cfg, "udp"+s.family(), local.String()); err != nil {
		return nil, listenError(local, nat, err)
	}
	s.local = s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return s, nil
}

// family is how package net names it.
func (s *socket) family() string {
	if s.v6 {
		return "6"
	}
	return "4"
}

// open opens a socket that tells the destination address of each datagram.
// Where the system cannot tell it, it stays that of the socket.
func (s *socket) open(cfg *Config, network, local string) error {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		if e := rc.Control(func(fd uintptr) { err = s.setOptions(fd, cfg) }); e != nil {
			return e
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), network, local)
	if err != nil {
		return err
	}
	s.conn = pc.(packetConn)
	if s.rc, err = s.conn.SyscallConn(); err != nil {
		return err
	}
	if s.v6 {
		ipv6.NewPacketConn(s.conn).SetControlMessage(ipv6.FlagDst, true)
	} else {
		ipv4.NewPacketConn(s.conn).SetControlMessage(ipv4.FlagDst, true)
	}
	return nil
}

// source is the address that must be named for a datagram to leave from local,
// if the socket does not have it already.
func (s *socket) source(local netip.Addr) (netip.Addr, bool) {
	addr := local.Unmap()
	fixed := !s.local.Addr().IsUnspecified()
	if fixed || !addr.IsValid() || addr.IsUnspecified() || addr.Is4() == s.v6 {
		return netip.Addr{}, false
	}
	return addr, true
}

// reserve finds out which ports can be had when nobody shares them. With probe
// false a port is returned as it is configured.
func reserve(cfg Config, probeIKE, probeNAT bool) (ike, nat uint16, err error) {
	cfg.Reuse = false
	ports := [2]uint16{cfg.IKEPort, cfg.NATPort}
	for i, probe := range [2]bool{probeIKE, probeNAT} {
		if !probe {
			continue
		}
		sockets, err := bind(&cfg, i == 1)
		if err != nil {
			return 0, 0, err
		}
		ports[i] = sockets[0].local.Port()
		for _, s := range sockets {
			defer s.conn.Close() // both ports are held until both are known
		}
	}
	return ports[0], ports[1], nil
}

func errSamePort(port uint16) error {
	return fmt.Errorf("udp: IKE and NAT traversal cannot share port %d: "+
		"choose two ports (500 and 4500 by the RFC)", port)
}

// listenError says which port, why, and the cure.
func listenError(local netip.AddrPort, nat bool, err error) error {
	name := "IKE port"
	if nat {
		name = "NAT traversal port"
	}
	cause := err
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		cause = op.Err // without "listen udp4 ..."
	}
	var errno syscall.Errno
	cure := ""
	if errors.As(err, &errno) {
		cause = errno // without the name of the system call
		switch errno {
		case syscall.EADDRINUSE:
			cure = ": another IKE daemon has it (charon, pluto, another blackswan); stop that one or choose another port"
		case syscall.EACCES, syscall.EPERM:
			cure = ": ports below 1024 need root or CAP_NET_BIND_SERVICE; run with one of them or choose a port above 1023"
		case syscall.EADDRNOTAVAIL:
			cure = ": no interface of this machine has that address; choose another or leave it out for all"
		case syscall.EMFILE, syscall.ENFILE:
			cure = ": raise the limit of open files (ulimit -n)"
		}
	}
	return fmt.Errorf("udp: cannot listen on %s %s: %w%s", name, local, cause, cure)
}

// Source is the address of ours that packets with that firewall mark leave from
// to remote, by the routes of this moment. Nothing is sent. The error says why
// there is no way.
func Source(remote netip.AddrPort, mark uint32) (netip.Addr, error) {
	c, err := Dialer(mark).Dial("udp", remote.String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("udp: no way to %s: %w", remote, err)
	}
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), c.Close()
}

// Dialer dials by sockets with that firewall mark.
func Dialer(mark uint32) *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		if e := rc.Control(func(fd uintptr) { err = setMark(fd, mark) }); e != nil {
			return e
		}
		return err
	}}
}
