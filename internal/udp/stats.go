package udp

import (
	"errors"
	"sync/atomic"
	"syscall"
)

// Count is a number of datagrams and of their octets, markers included, UDP
// and IP headers not.
type Count struct {
	Datagrams, Octets uint64
}

// Stats is what a Conn or an ESPPort has counted since it was opened.
type Stats struct {
	In, Out Count // delivered, by Read, Receive or Config.ESP; handed to the kernel

	Keepalives uint64 // of a NAT, received and taken out because ESP was asked for

	// Received and dropped.
	Overflow  uint64 // the kernel's buffer was full (Linux; told with the next datagram)
	Oversized uint64 // longer than MaxDatagram
	Malformed uint64 // empty, from port 0, or no marker, ESP or keepalive on the NAT traversal port
	Broken    uint64 // the system call failed

	// Not sent.
	Full        uint64 // the send buffer or the device had no room (EAGAIN, ENOBUFS)
	Refused     uint64 // a firewall of this machine forbids it (EPERM, EACCES)
	Unreachable uint64 // no route, or the local address is gone
	TooLong     uint64 // longer than the path or UDP allows (EMSGSIZE)
	Failed      uint64 // any other reason, a closed Conn included
}

// counters are Stats while they grow.
type counters struct {
	inDatagrams, inOctets, outDatagrams, outOctets atomic.Uint64
	keepalives                                     atomic.Uint64
	overflow, oversized, malformed, broken         atomic.Uint64
	full, refused, unreachable, tooLong, failed    atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		In:          Count{c.inDatagrams.Load(), c.inOctets.Load()},
		Out:         Count{c.outDatagrams.Load(), c.outOctets.Load()},
		Keepalives:  c.keepalives.Load(),
		Overflow:    c.overflow.Load(),
		Oversized:   c.oversized.Load(),
		Malformed:   c.malformed.Load(),
		Broken:      c.broken.Load(),
		Full:        c.full.Load(),
		Refused:     c.refused.Load(),
		Unreachable: c.unreachable.Load(),
		TooLong:     c.tooLong.Load(),
		Failed:      c.failed.Load(),
	}
}

// received counts datagrams that are delivered, and sent such as the kernel took.
func (c *counters) received(datagrams, octets int) {
	c.inDatagrams.Add(uint64(datagrams))
	c.inOctets.Add(uint64(octets))
}

func (c *counters) sent(datagrams, octets int) {
	c.outDatagrams.Add(uint64(datagrams))
	c.outOctets.Add(uint64(octets))
}

// unsent counts n messages that were not sent, by the reason.
func (c *counters) unsent(err error, n int) {
	var errno syscall.Errno
	errors.As(err, &errno)
	counter := &c.failed
	switch errno {
	case syscall.EAGAIN, syscall.ENOBUFS:
		counter = &c.full
	case syscall.EPERM, syscall.EACCES:
		counter = &c.refused
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL,
		syscall.EINVAL: // Linux: the local address is not ours, or the port is 0
		counter = &c.unreachable
	case syscall.EMSGSIZE:
		counter = &c.tooLong
	}
	counter.Add(uint64(n))
}
