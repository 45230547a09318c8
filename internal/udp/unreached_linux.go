//go:build linux && (amd64 || arm64)

package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel keeps the errors that ICMP brings about datagrams of a socket in
// its error queue, if it is asked to (IP_RECVERR). Until one is taken from
// there the next system call on the socket fails once, whatever it was about;
// and it fills the receive buffer as a datagram does.

const (
	errorBatch   = 64 // errors that one system call takes from the queue
	mostTries    = 64 // of a system call, while errors keep coming
	unheard      = 2  // errors that may have been taken from the queue before they fail a call
	pollerPause  = 10 // milliseconds
	icmpTooLong  = 4  // code: the datagram was too long, which says nothing of its destination
	icmpUnreach  = 3  // type, RFC 792
	icmp6Unreach = 1  // type, RFC 4443 3.1
)

// errorQueue is the errors of a socket. Whoever meets one empties it.
type errorQueue struct {
	unreachable func(netip.AddrPort)

	heard  atomic.Uint64 // those that came from outside
	mu     sync.Mutex
	vector vector // its memory comes with the first error
}

// hearErrors asks for the errors, unless nobody wants to be told.
func (s *socket) hearErrors(unreachable func(netip.AddrPort)) {
	if unreachable == nil {
		return
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if s.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	s.rc.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), level, option, 1) == nil {
			s.errors = &errorQueue{unreachable: unreachable}
		}
	})
}

// emptyErrors takes the errors from the queue, a bounded number of them: if
// there are more, the next system call fails too.
func (s *socket) emptyErrors() {
	q := s.errors
	q.mu.Lock()
	defer q.mu.Unlock()
	v := &q.vector
	if v.headers == nil {
		v.init(errorBatch)
	}
	for i := range v.headers {
		v.reset(i)
	}
	n := 0
	s.rc.Control(func(fd uintptr) {
		n, _ = mmsgCall(unix.SYS_RECVMMSG, fd, v.headers, errorBatch, unix.MSG_ERRQUEUE)
	})
	for i := range n {
		e := parseControl(v.controls[i][:min(v.headers[i].Hdr.Controllen, controlSize)]).err
		if e.remote() {
			q.heard.Add(1)
		}
		if e.unreachable() {
			q.unreachable(parseName(&v.names[i]))
		}
	}
}

// tries are those of one system call that moves datagrams.
type tries struct {
	s      *socket // nil: there is but one
	failed uint64
	heard  uint64 // errors before the first
}

func (s *socket) tries() tries {
	if s.errors == nil {
		return tries{}
	}
	return tries{s: s, heard: s.errors.heard.Load()}
}

// again tells whether a call that failed is worth another try: each error of a
// datagram sent earlier may have failed it twice, when it came and when it
// became the first of the queue. The kernel puts it there before it has a call
// fail, so that somebody may have taken it before the first try.
func (t *tries) again() bool {
	if t.s == nil {
		return false
	}
	t.failed++
	t.s.emptyErrors()
	return t.failed < mostTries && t.failed <= 2*(t.s.errors.heard.Load()-t.heard)+unheard
}

// receiveInto is recvmmsg. An error of a datagram sent earlier does not stop it.
func (s *socket) receiveInto(fd uintptr, headers []unix.Mmsghdr) (int, syscall.Errno) {
	for t := s.tries(); ; {
		n, errno := mmsgCall(unix.SYS_RECVMMSG, fd, headers, len(headers), 0)
		if errno == 0 || errno == unix.EAGAIN || !t.again() {
			return n, errno
		}
	}
}

// sendFrom is sendmmsg of the first count headers. An error of a datagram sent
// earlier does not stop it.
func (s *socket) sendFrom(fd uintptr, headers []unix.Mmsghdr, count int) (int, syscall.Errno) {
	for t := s.tries(); ; {
		n, errno := mmsgCall(unix.SYS_SENDMMSG, fd, headers, count, 0)
		if errno == 0 && n < count && s.errors != nil {
			s.emptyErrors() // the call was cut short, and does not tell by which error
		}
		if errno == 0 || errno == unix.EAGAIN || errno == unix.ENOBUFS || !t.again() {
			return n, errno
		}
	}
}

// await calls try until it is true, whenever something has come: rc.Read. The
// poller takes a socket that has an error and at that moment no room to send
// for one that cannot be polled, until it has room again. Then we wait without
// the poller, and not long.
func (s *socket) await(try func(fd uintptr) bool) error {
	for {
		err := s.rc.Read(try)
		if err == nil || s.errors == nil || errors.Is(err, net.ErrClosed) {
			return err
		}
		var done bool
		err = s.rc.Control(func(fd uintptr) {
			s.emptyErrors()
			if done = try(fd); !done {
				unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, pollerPause)
			}
		})
		if err != nil || done {
			return err
		}
	}
}

// extendedError is what sock_extended_err says of where an error comes from.
type extendedError struct{ origin, kind, code uint8 }

// parseError reads a sock_extended_err.
func parseError(b []byte) extendedError {
	const origin, kind, code = unsafe.Offsetof(unix.SockExtendedErr{}.Origin), unsafe.Offsetof(unix.SockExtendedErr{}.Type),
		unsafe.Offsetof(unix.SockExtendedErr{}.Code)
	if len(b) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
		return extendedError{}
	}
	return extendedError{b[origin], b[kind], b[code]}
}

// remote tells that a router or the destination has sent the error, and not
// the kernel by itself.
func (e extendedError) remote() bool {
	return e.origin == unix.SO_EE_ORIGIN_ICMP || e.origin == unix.SO_EE_ORIGIN_ICMP6
}

// unreachable tells that the destination cannot be reached.
func (e extendedError) unreachable() bool {
	switch e.origin {
	case unix.SO_EE_ORIGIN_ICMP:
		return e.kind == icmpUnreach && e.code != icmpTooLong
	case unix.SO_EE_ORIGIN_ICMP6:
		return e.kind == icmp6Unreach
	}
	return false
}
