//go:build linux && (amd64 || arm64)

package udp

import (
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	outPackets  = 256   // most packets that one system call sends
	maxSegments = 64    // most packets of a run: older kernels split no more
	maxRun      = 65507 // most octets of a run: what UDP over IPv4 holds
)

// espOutbox is the packets of one call of Send. A run of them leaves as one
// message, which the kernel or the device splits (UDP_SEGMENT).
type espOutbox struct {
	mu     sync.Mutex
	vector vector
	runs   bool // the kernel splits runs

	packets [][]byte   // not sent yet
	source  netip.Addr // where they leave from, if it must be named
	class   uint8      // traffic class
	nameLen uint32     // octets of the name of where they go, the first of vector
	alone   int        // so many of packets leave one by one
	lost    int
	err     error // first reason for it
	try     func(fd uintptr) bool
}

func (p *espSocket) Send(local netip.Addr, remote netip.AddrPort, class uint8, packets [][]byte) (int, error) {
	if err := p.s.fits(remote); err != nil {
		p.count.unsent(err, len(packets))
		return 0, unsentError(err)
	}
	if p.bare { // a port would be taken for a protocol
		remote = netip.AddrPortFrom(remote.Addr(), 0)
	}
	o := &p.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.packets, o.class, o.alone, o.lost, o.err = packets, class, 0, 0, nil
	o.source, _ = p.s.source(local)
	o.nameLen = putName(&o.vector.names[0], remote)
	if err := p.s.rc.Write(o.try); err != nil {
		p.drop(err, len(o.packets)) // the socket is closed
	}
	o.packets = nil // they are the caller's
	clear(o.vector.iovecs[:min(len(packets), outPackets)])
	return len(packets) - o.lost, unsentError(o.err)
}

func (p *espSocket) Keepalive(local netip.Addr, remote netip.AddrPort) error {
	if p.bare {
		return errors.ErrUnsupported
	}
	_, err := p.Send(local, remote, 0, keepalive)
	return err
}

// trySend sends all it can. It is always true: nothing waits.
func (p *espSocket) trySend(fd uintptr) bool {
	o := &p.out
	for len(o.packets) > 0 {
		n := o.fill()
		n, errno := p.s.sendFrom(fd, o.vector.headers, n)
		if errno != 0 {
			p.unsendable(errno)
			continue
		}
		datagrams, octets := 0, 0
		for i := range o.vector.headers[:n] {
			h := &o.vector.headers[i]
			datagrams += int(h.Hdr.Iovlen)
			octets += int(h.Len)
		}
		p.count.sent(datagrams, octets)
		o.advance(datagrams)
	}
	return true
}

// unsendable takes care of the message in front, which the kernel refused.
func (p *espSocket) unsendable(errno syscall.Errno) {
	o := &p.out
	n := int(o.vector.headers[0].Hdr.Iovlen)
	switch {
	case errno == unix.EAGAIN: // no room for those behind it either
		p.drop(errno, len(o.packets))
	case n == 1:
		p.drop(errno, 1)
	case errno == unix.EIO: // the route or its device splits nothing
		o.runs = false
	case errno == unix.EMSGSIZE || errno == unix.EINVAL:
		o.alone = n // too long for this path, perhaps: the kernel makes fragments of packets only
	default:
		p.drop(errno, n)
	}
}

// drop counts n packets as lost.
func (p *espSocket) drop(err error, n int) {
	p.count.unsent(err, n)
	p.out.lost += n
	if p.out.err == nil {
		p.out.err = err
	}
	p.out.advance(n)
}

// advance is past n packets.
func (o *espOutbox) advance(n int) {
	o.packets = o.packets[n:]
	o.alone = max(o.alone-n, 0)
}

// fill makes messages of packets and tells how many those are.
func (o *espOutbox) fill() int {
	v := &o.vector
	used, n := 0, 0
	for rest := o.packets[:min(len(o.packets), outPackets)]; len(rest) > 0; n++ {
		count, size := 1, 0
		if o.runs && used >= o.alone {
			count = runLength(rest)
		}
		if count > 1 {
			size = len(rest[0])
		}
		for i, packet := range rest[:count] {
			v.iovecs[used+i] = unix.Iovec{Base: unsafe.SliceData(packet), Len: uint64(len(packet))}
		}
		h := &v.headers[n].Hdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&v.names[0])), o.nameLen
		h.Iov, h.Iovlen = &v.iovecs[used], uint64(count)
		h.Control, h.Controllen = nil, 0
		if size > 0 || o.class != 0 || o.source.IsValid() {
			h.Control = &v.controls[n][0]
			h.Controllen = putControl(&v.controls[n], control{local: o.source, size: size, class: o.class}, v.names[0].Family == unix.AF_INET6)
		}
		used += count
		rest = rest[count:]
	}
	return n
}

// runLength is how many packets in front make a run: all of the same size, but
// the last may be shorter.
func runLength(packets [][]byte) int {
	size, octets := len(packets[0]), 0
	for i, packet := range packets {
		octets += len(packet)
		if i == maxSegments || len(packet) > size || octets > maxRun {
			return max(i, 1)
		}
		if len(packet) < size {
			return i + 1
		}
	}
	return len(packets)
}
