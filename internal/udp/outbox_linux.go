//go:build linux && (amd64 || arm64)

package udp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// outboxOctets is how much content an outbox holds before it must be flushed.
const outboxOctets = 256 << 10

// outbox is the messages of one socket that wait for Flush. Its memory comes
// with the first of them.
type outbox struct {
	vector vector
	n      int    // messages
	data   []byte // their contents, one behind the other
	try    func(fd uintptr) bool
	sent   int // of n; the state of one call of flush
}

func (l *mmsg) queue(m Message) {
	o := &l.out
	size := len(m.Data)
	if m.Marker {
		size += len(marker)
	}
	if size > 1<<16-1 {
		l.s.owner.drop(unix.EMSGSIZE, 1)
		return
	}
	if o.vector.headers == nil {
		o.vector.init(l.s.owner.cfg.batch())
	}
	if o.n == len(o.vector.headers) || len(o.data)+size > outboxOctets {
		l.flush()
	}
	if m.Marker {
		o.data = append(o.data, marker[:]...)
	}
	o.data = append(o.data, m.Data...)
	o.vector.iovecs[o.n].Len = uint64(size)
	h := &o.vector.headers[o.n].Hdr
	h.Namelen = putName(&o.vector.names[o.n], m.Remote)
	h.Control, h.Controllen = nil, 0
	if src, ok := l.s.source(m.Local.Addr()); ok {
		h.Control = &o.vector.controls[o.n][0]
		h.Controllen = putControl(&o.vector.controls[o.n], control{local: src}, l.s.v6)
	}
	o.n++
}

func (l *mmsg) flush() {
	o := &l.out
	if o.n == 0 {
		return
	}
	at := 0
	for i := range o.n { // data may have moved while it grew
		if size := int(o.vector.iovecs[i].Len); size > 0 {
			o.vector.iovecs[i].Base = &o.data[at]
			at += size
		}
	}
	o.sent = 0
	if err := l.s.rc.Write(o.try); err != nil {
		l.s.owner.drop(err, o.n-o.sent) // the socket is closed
	}
	o.n, o.data = 0, o.data[:0]
}

// trySend sends all it can. It is always true: nothing waits.
func (l *mmsg) trySend(fd uintptr) bool {
	o := &l.out
	datagrams, octets := 0, 0
	for o.sent < o.n {
		n, errno := l.s.sendFrom(fd, o.vector.headers[o.sent:], o.n-o.sent)
		if errno != 0 {
			o.sent += l.unsendable(errno)
			continue
		}
		for _, h := range o.vector.headers[o.sent : o.sent+n] {
			octets += int(h.Len)
		}
		datagrams += n
		o.sent += n
	}
	l.s.count.sent(datagrams, octets)
	return true
}

// unsendable counts the message at the front of the outbox as not sent, with
// all behind it when the buffer is full, and tells how many those are.
func (l *mmsg) unsendable(errno syscall.Errno) int {
	n := 1
	if errno == unix.EAGAIN {
		n = l.out.n - l.out.sent
	}
	l.s.owner.drop(errno, n)
	return n
}
