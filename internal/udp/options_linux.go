package udp

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// shares tells that sockets can share a port.
const shares = true

// setOptions prepares a socket before it is bound.
func (s *socket) setOptions(fd uintptr, cfg *Config) error {
	if cfg.Reuse {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("sharing the port: %w", err)
		}
	}
	if err := setMark(fd, cfg.Mark); err != nil {
		return err
	}
	// Large buffers are for the storm; less is no reason not to start.
	setBuffer(int(fd), unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, cfg.ReceiveBuffer)
	setBuffer(int(fd), unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, cfg.SendBuffer)
	if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
		s.receiveBuffer = n / 2 // the kernel doubles what it was asked for
	}
	unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	if !s.v6 {
		// An IKE message too large for the path is better in pieces than
		// lost: no DF bit. IPv6 routers never fragment, the kernel does.
		err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		if err != nil {
			return fmt.Errorf("allowing fragments: %w", err)
		}
	}
	return nil
}

// setMark gives what a socket sends a firewall mark, unless that is 0.
func setMark(fd uintptr, mark uint32) error {
	if mark == 0 {
		return nil
	}
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		return fmt.Errorf("marking what is sent: %w", err)
	}
	return nil
}

// setBuffer asks for a buffer beyond the system's limit, which takes
// CAP_NET_ADMIN, else for what the limit allows.
func setBuffer(fd, force, polite, size int) {
	if size <= 0 {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, polite, size)
	}
}

// steerGroup gives the program to all sockets that share a port with this one.
func steerGroup(rc syscall.RawConn, program []instruction) error {
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.code, Jt: in.yes, Jf: in.no, K: in.k}
	}
	var err error
	if e := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
			&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	}); e != nil {
		return errors.Join(err, e)
	}
	return err
}
