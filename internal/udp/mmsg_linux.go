//go:build linux && (amd64 || arm64)

package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize holds the control messages of one datagram: its addresses (40
// octets with IPv6), the count of lost ones (24), the size of the packets of a
// run (24), the traffic class (24) and the time (32).
const controlSize = 144

// vector is what recvmmsg and sendmmsg want of each datagram.
type vector struct {
	headers  []unix.Mmsghdr
	iovecs   []unix.Iovec
	names    []unix.RawSockaddrInet6 // or Inet4, in its first 16 octets
	controls [][controlSize]byte
}

func (v *vector) init(size int) {
	*v = vector{
		headers:  make([]unix.Mmsghdr, size),
		iovecs:   make([]unix.Iovec, size),
		names:    make([]unix.RawSockaddrInet6, size),
		controls: make([][controlSize]byte, size),
	}
	for i := range size {
		h := &v.headers[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&v.names[i]))
		h.Iov = &v.iovecs[i]
		h.Iovlen = 1
		h.Control = &v.controls[i][0]
	}
}

// shape makes the vector receive into count slots of so many octets.
func (v *vector) shape(buf []byte, size, count int) {
	v.headers = v.headers[:count]
	for i := range v.headers {
		v.iovecs[i].Base = &buf[i*size]
		v.iovecs[i].Len = uint64(size)
		v.reset(i)
	}
}

// reset makes header i ready to receive again.
func (v *vector) reset(i int) {
	h := &v.headers[i].Hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.Controllen = controlSize
	h.Flags = 0
}

// mmsg is a link that moves a batch with each system call.
type mmsg struct {
	s *socket

	// The state of one call of receive; the callback is made once.
	try   func(fd uintptr) bool
	batch *Batch
	err   error

	out outbox
}

func newLink(s *socket, wantPlain bool) link {
	if wantPlain || !supported(s.rc) {
		return newPlain(s)
	}
	s.tellTime()
	s.hearErrors(s.owner.cfg.Unreachable)
	l := &mmsg{s: s}
	l.try = l.tryReceive
	l.out.try = l.trySend
	return l
}

// tellTime has the kernel tell when a datagram came: in a storm it waits long.
func (s *socket) tellTime() {
	s.rc.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
}

func (l *mmsg) receive() (*Batch, error) {
	l.batch, l.err = nil, nil
	if err := l.s.await(l.try); err != nil {
		return nil, err
	}
	return l.batch, l.err
}

// tryReceive fills a batch. It is false when nothing has come yet; no batch is
// held while waiting.
func (l *mmsg) tryReceive(fd uintptr) bool {
	b := l.s.owner.take()
	if b == nil {
		l.err = net.ErrClosed
		return true
	}
	n, errno := l.s.fill(fd, &b.slots)
	if errno != 0 {
		l.s.owner.Recycle(b)
		if errno == unix.EAGAIN {
			return false
		}
		l.err = errno
		return true
	}
	for i := range n {
		if a, ok := l.s.arrival(&b.slots, i); ok {
			for data := range slices.Chunk(a.data, a.size) {
				l.s.add(b, data, a.local, a.remote, a.at)
			}
		}
	}
	l.batch = b
	return true
}

// fill receives into slots and tells how many are filled.
func (s *socket) fill(fd uintptr, into *slots) (int, syscall.Errno) {
	into.shape(s.slotSize())
	return s.receiveInto(fd, into.vector.headers)
}

// arrival is what the kernel has put into a slot: a datagram, or a run of
// datagrams of one peer.
type arrival struct {
	local  netip.Addr
	remote netip.AddrPort
	data   []byte
	size   int   // octets of each datagram; the last may be shorter
	class  uint8 // traffic class, if the socket asks for it
	at     time.Time
}

// arrival reads slot i, and makes it ready again. It is false when the slot
// has nothing to be delivered.
func (s *socket) arrival(from *slots, i int) (arrival, bool) {
	v := &from.vector
	h := &v.headers[i]
	defer v.reset(i)
	c := parseControl(v.controls[i][:min(h.Hdr.Controllen, controlSize)])
	if c.lost != s.lost && c.lost != 0 {
		s.count.overflow.Add(uint64(c.lost - s.lost))
		s.lost = c.lost
	}
	if h.Hdr.Flags&unix.MSG_TRUNC != 0 {
		s.count.oversized.Add(1)
		return arrival{}, false
	}
	data := from.slot(i)[:h.Len]
	if len(data) == 0 {
		s.count.malformed.Add(1)
		return arrival{}, false
	}
	if c.size <= 0 || c.size > len(data) {
		c.size = len(data)
	}
	if !c.local.IsValid() {
		c.local = s.local.Addr()
	}
	return arrival{c.local, parseName(&v.names[i]), data, c.size, c.class, c.at}, true
}

// parseName is the address in a socket name.
func parseName(name *unix.RawSockaddrInet6) netip.AddrPort {
	if name.Family == unix.AF_INET {
		n4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(n4.Addr), swap(n4.Port))
	}
	addr := netip.AddrFrom16(name.Addr).Unmap()
	if name.Scope_id != 0 && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(strconv.FormatUint(uint64(name.Scope_id), 10))
	}
	return netip.AddrPortFrom(addr, swap(name.Port))
}

// putName writes an address as a socket name and tells its length.
func putName(name *unix.RawSockaddrInet6, to netip.AddrPort) uint32 {
	addr := to.Addr().Unmap()
	if addr.Is4() {
		n4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*n4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(to.Port()), Addr: addr.As4()}
		return unix.SizeofSockaddrInet4
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swap(to.Port()), Addr: addr.As16(), Scope_id: zone(addr)}
	return unix.SizeofSockaddrInet6
}

// swap turns a port from or to network order; the machine is little-endian.
func swap(port uint16) uint16 { return port<<8 | port>>8 }

// zone is the number of an address's interface.
func zone(addr netip.Addr) uint32 {
	name := addr.Zone()
	if name == "" {
		return 0
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n)
	}
	if ifi, err := net.InterfaceByName(name); err == nil {
		return uint32(ifi.Index)
	}
	return 0
}

// A control message: length 8, level 4, type 4, then the data, in multiples
// of 8 octets.
const (
	controlHeader = 16
	pktinfo4      = 12 // interface 4, local address 4, destination 4
	pktinfo6      = 20 // destination 16, interface 4
	segmentSize   = 2  // octets, on sending; 4 on receiving
	classSize     = 4  // octets of a traffic class; 1 on receiving by IPv4
	timeSize      = 16 // seconds 8, nanoseconds 8
)

// control is what control messages tell of a datagram.
type control struct {
	local netip.Addr    // where it came to, or leaves from; may be invalid
	lost  uint32        // the kernel's count of those lost before it
	size  int           // of its packets if it is a run of several (UDP_GRO, UDP_SEGMENT), else 0
	class uint8         // traffic class: DSCP and ECN
	at    time.Time     // when it was received, if the socket asks for it
	err   extendedError // what it met, if it is one of ours from the error queue
}

// parseControl reads what was received with a datagram.
func parseControl(b []byte) (c control) {
	for len(b) >= controlHeader {
		length := binary.NativeEndian.Uint64(b)
		if length < controlHeader || length > uint64(len(b)) {
			break
		}
		level, kind, data := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:]), b[controlHeader:length]
		switch {
		case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= pktinfo4:
			c.local = netip.AddrFrom4([4]byte(data[4:]))
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= pktinfo6:
			c.local = netip.AddrFrom16([16]byte(data)).Unmap()
			if n := binary.NativeEndian.Uint32(data[16:]); n != 0 && c.local.IsLinkLocalUnicast() {
				c.local = c.local.WithZone(strconv.FormatUint(uint64(n), 10))
			}
		case level == unix.SOL_SOCKET && kind == unix.SO_RXQ_OVFL && len(data) >= 4:
			c.lost = binary.NativeEndian.Uint32(data)
		case level == unix.SOL_SOCKET && kind == unix.SO_TIMESTAMPNS && len(data) >= timeSize:
			c.at = time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		case level == unix.SOL_UDP && kind == unix.UDP_GRO && len(data) >= 4:
			c.size = int(binary.NativeEndian.Uint32(data))
		case level == unix.IPPROTO_IP && kind == unix.IP_TOS && len(data) >= 1:
			c.class = data[0]
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_TCLASS && len(data) >= classSize:
			c.class = uint8(binary.NativeEndian.Uint32(data))
		case level == unix.IPPROTO_IP && kind == unix.IP_RECVERR, level == unix.IPPROTO_IPV6 && kind == unix.IPV6_RECVERR:
			c.err = parseError(data)
		}
		b = b[min((length+7)&^7, uint64(len(b))):]
	}
	return c
}

// putControl writes what is set of c, for a datagram that goes to a peer of
// IPv6 or not, and tells the length.
func putControl(b *[controlSize]byte, c control, v6 bool) uint64 {
	clear(b[:])
	at := 0
	put := func(level, kind uint32, octets int) (data []byte) {
		binary.NativeEndian.PutUint64(b[at:], uint64(controlHeader+octets))
		binary.NativeEndian.PutUint32(b[at+8:], level)
		binary.NativeEndian.PutUint32(b[at+12:], kind)
		data = b[at+controlHeader : at+controlHeader+octets]
		at += controlHeader + (octets+7)&^7
		return data
	}
	switch {
	case c.local.Is4():
		a4 := c.local.As4()
		copy(put(unix.IPPROTO_IP, unix.IP_PKTINFO, pktinfo4)[4:], a4[:])
	case c.local.IsValid():
		a16 := c.local.As16()
		data := put(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, pktinfo6)
		copy(data, a16[:])
		binary.NativeEndian.PutUint32(data[16:], zone(c.local))
	}
	if c.size > 0 {
		binary.NativeEndian.PutUint16(put(unix.SOL_UDP, unix.UDP_SEGMENT, segmentSize), uint16(c.size))
	}
	switch {
	case c.class == 0:
	case v6:
		binary.NativeEndian.PutUint32(put(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, classSize), uint32(c.class))
	default:
		binary.NativeEndian.PutUint32(put(unix.IPPROTO_IP, unix.IP_TOS, classSize), uint32(c.class))
	}
	return uint64(at)
}

// supported tells whether the system calls are there: a sandbox may forbid
// them.
func supported(rc syscall.RawConn) bool {
	var none [1]unix.Mmsghdr
	ok := true
	err := rc.Control(func(fd uintptr) {
		for _, call := range []uintptr{unix.SYS_RECVMMSG, unix.SYS_SENDMMSG} {
			if _, errno := mmsgCall(call, fd, none[:], 0, 0); errno != 0 {
				ok = false
			}
		}
	})
	return ok && err == nil
}

// mmsgCall is recvmmsg or sendmmsg of the first count headers: how many
// datagrams were moved. It never waits.
func mmsgCall(call, fd uintptr, headers []unix.Mmsghdr, count int, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(count),
			unix.MSG_DONTWAIT|flags, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
