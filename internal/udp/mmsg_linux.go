//go:build linux && (amd64 || arm64)

package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize holds the control messages of one datagram: its addresses (40
// octets with IPv6) and the count of lost ones (24).
const controlSize = 64

// vector is what recvmmsg and sendmmsg want of each datagram. All slices have
// the same length.
type vector struct {
	headers  []unix.Mmsghdr
	iovecs   []unix.Iovec
	names    []unix.RawSockaddrInet6 // or Inet4, in its first 16 octets
	controls [][controlSize]byte
}

func makeVector(size int) vector {
	v := vector{
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
	return v
}

// init makes the vector that receives into the slots of a batch.
func (v *vector) init(b *Batch) {
	*v = makeVector(cap(b.Messages))
	for i := range v.headers {
		v.iovecs[i].Base = &b.slot(i)[0]
		v.iovecs[i].Len = MaxDatagram
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
	s  *socket
	rc syscall.RawConn

	// The state of one call of receive; the callback is made once.
	try   func(fd uintptr) bool
	batch *Batch
	err   error
	lost  uint32 // of the kernel's count, already counted

	out outbox
}

func newLink(s *socket, wantPlain bool) link {
	rc, err := s.conn.SyscallConn()
	if wantPlain || err != nil || !supported(rc) {
		return newPlain(s)
	}
	l := &mmsg{s: s, rc: rc}
	l.try = l.tryReceive
	l.out.try = l.trySend
	return l
}

func (l *mmsg) receive() (*Batch, error) {
	l.batch, l.err = nil, nil
	if err := l.rc.Read(l.try); err != nil {
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
	n, errno := mmsgCall(unix.SYS_RECVMMSG, fd, b.vector.headers, len(b.vector.headers))
	if errno != 0 {
		l.s.owner.Recycle(b)
		if errno == unix.EAGAIN {
			return false
		}
		l.err = errno
		return true
	}
	for i := range n {
		l.accept(b, i)
		b.vector.reset(i)
	}
	l.batch = b
	return true
}

// accept reads what the kernel wrote about datagram i.
func (l *mmsg) accept(b *Batch, i int) {
	h := &b.vector.headers[i]
	local, lost := parseControl(b.vector.controls[i][:min(h.Hdr.Controllen, controlSize)])
	if lost != l.lost && lost != 0 {
		l.s.owner.count.overflow.Add(uint64(lost - l.lost))
		l.lost = lost
	}
	if h.Hdr.Flags&unix.MSG_TRUNC != 0 {
		l.s.owner.count.oversized.Add(1)
		return
	}
	if !local.IsValid() {
		local = l.s.local.Addr()
	}
	l.s.add(b, b.slot(i)[:h.Len], local, parseName(&b.vector.names[i]))
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
)

// parseControl is the address that a datagram came to, and the kernel's count
// of those lost before it.
func parseControl(b []byte) (local netip.Addr, lost uint32) {
	for len(b) >= controlHeader {
		size := binary.NativeEndian.Uint64(b)
		if size < controlHeader || size > uint64(len(b)) {
			break
		}
		level, kind, data := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:]), b[controlHeader:size]
		switch {
		case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= pktinfo4:
			local = netip.AddrFrom4([4]byte(data[4:]))
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= pktinfo6:
			local = netip.AddrFrom16([16]byte(data)).Unmap()
			if n := binary.NativeEndian.Uint32(data[16:]); n != 0 && local.IsLinkLocalUnicast() {
				local = local.WithZone(strconv.FormatUint(uint64(n), 10))
			}
		case level == unix.SOL_SOCKET && kind == unix.SO_RXQ_OVFL && len(data) >= 4:
			lost = binary.NativeEndian.Uint32(data)
		}
		b = b[min((size+7)&^7, uint64(len(b))):]
	}
	return local, lost
}

// putControl writes the address that a datagram leaves from and tells the
// length.
func putControl(b *[controlSize]byte, from netip.Addr) uint64 {
	clear(b[:])
	if from.Is4() {
		binary.NativeEndian.PutUint64(b[:], controlHeader+pktinfo4)
		binary.NativeEndian.PutUint32(b[8:], unix.IPPROTO_IP)
		binary.NativeEndian.PutUint32(b[12:], unix.IP_PKTINFO)
		a4 := from.As4()
		copy(b[controlHeader+4:], a4[:])
		return controlHeader + (pktinfo4+7)&^7
	}
	binary.NativeEndian.PutUint64(b[:], controlHeader+pktinfo6)
	binary.NativeEndian.PutUint32(b[8:], unix.IPPROTO_IPV6)
	binary.NativeEndian.PutUint32(b[12:], unix.IPV6_PKTINFO)
	a16 := from.As16()
	copy(b[controlHeader:], a16[:])
	binary.NativeEndian.PutUint32(b[controlHeader+16:], zone(from))
	return controlHeader + (pktinfo6+7)&^7
}

// supported tells whether the system calls are there: a sandbox may forbid
// them.
func supported(rc syscall.RawConn) bool {
	var none [1]unix.Mmsghdr
	ok := true
	err := rc.Control(func(fd uintptr) {
		for _, call := range []uintptr{unix.SYS_RECVMMSG, unix.SYS_SENDMMSG} {
			if _, errno := mmsgCall(call, fd, none[:], 0); errno != 0 {
				ok = false
			}
		}
	})
	return ok && err == nil
}

// mmsgCall is recvmmsg or sendmmsg of the first count headers: how many
// datagrams were moved.
func mmsgCall(call, fd uintptr, headers []unix.Mmsghdr, count int) (int, syscall.Errno) {
	for {
		n, _, errno := unix.Syscall6(call, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(count),
			unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
