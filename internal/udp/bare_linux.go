//go:build linux && (amd64 || arm64)

package udp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// espProtocol is ESP's number in the IP header.
const espProtocol = 50

// Bare opens a port for ESP directly over IP, of the family of addr, which may
// be unspecified. It takes every packet of protocol 50 that comes to addr;
// ports are 0 in its Runs and without meaning in Send. What it sends has that
// firewall mark, if it is not 0. It needs CAP_NET_RAW. Whom it does not reach
// is told as by Config.Unreachable.
func Bare(addr netip.Addr, mark uint32, unreachable func(netip.AddrPort)) (ESPPort, error) {
	addr = addr.Unmap()
	if !addr.IsValid() {
		return nil, errors.New("udp: bare ESP needs a local address: 0.0.0.0 or :: for all of a family")
	}
	s := &socket{v6: addr.Is6(), local: netip.AddrPortFrom(addr, 0)}
	cfg := &Config{ReceiveBuffer: espBuffer, SendBuffer: espBuffer, Mark: mark}
	if err := s.open(cfg, fmt.Sprintf("ip%s:%d", s.family(), espProtocol), addr.String()); err != nil {
		return nil, bareError(addr, err)
	}
	if !supported(s.rc) {
		s.conn.Close()
		return nil, bareError(addr, syscall.ENOSYS)
	}
	p := newESPSocket(s, unreachable)
	p.bare = true
	return p, nil
}

// bareError says what failed, why, and the cure.
func bareError(addr netip.Addr, err error) error {
	cure := ""
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno // without the name of the system call
		switch errno {
		case syscall.EPERM, syscall.EACCES:
			cure = ": raw sockets need root or CAP_NET_RAW; run with one of them or let ESP travel in UDP"
		case syscall.EADDRNOTAVAIL:
			cure = ": no interface of this machine has that address; choose another"
		}
	}
	return fmt.Errorf("udp: cannot open a raw socket for bare ESP (IP protocol %d) on %s: %w%s", espProtocol, addr, err, cure)
}

// afterIPv4 is what an IPv4 header (RFC 791 3.1) has behind it: one octet or
// more. The kernel has put fragments together: one that comes all the same is
// no packet.
func afterIPv4(b []byte) ([]byte, bool) {
	const (
		minHeader = 20
		fragment  = 0x3fff // more fragments, or an offset
	)
	if len(b) < minHeader || b[0]>>4 != 4 {
		return nil, false
	}
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < minHeader || total <= header || total > len(b) ||
		binary.BigEndian.Uint16(b[6:])&fragment != 0 || b[9] != espProtocol {
		return nil, false
	}
	return b[header:total], true
}
