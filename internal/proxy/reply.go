package proxy

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// reply is a reply code (section 6).
type reply byte

const (
	succeeded               reply = 0
	generalFailure          reply = 1
	networkUnreachable      reply = 3
	hostUnreachable         reply = 4
	connectionRefused       reply = 5
	ttlExpired              reply = 6
	commandNotSupported     reply = 7
	addressTypeNotSupported reply = 8
)

// refusal is an error that the client is told of.
type refusal struct {
	code reply
	err  error
}

func refuse(code reply, err error) error { return &refusal{code, err} }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// codeOf is how a client is told why a dial failed. A name that is not found
// is a host that cannot be reached; TTL expired comes nearest to silence.
func codeOf(err error) reply {
	var name *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &name), errors.Is(err, syscall.EHOSTUNREACH):
		return hostUnreachable
	case errors.Is(err, syscall.ENETUNREACH):
		return networkUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		return connectionRefused
	case errors.As(err, &timeout) && timeout.Timeout():
		return ttlExpired
	}
	return generalFailure
}

// answer sends a reply with the address that the server uses, 0.0.0.0:0 if it
// has none to tell.
func answer(c net.Conn, code reply, bound net.Addr) error {
	_, err := c.Write(appendAddress([]byte{version, byte(code), 0}, addrPort(bound)))
	return err
}

// addrPort is the address of a socket, or 0.0.0.0:0.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok && a.AddrPort().IsValid() {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}
