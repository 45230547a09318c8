package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const version = 5

// Methods (section 3).
const (
	noAuthentication = 0x00
	noneAcceptable   = 0xff
)

// Commands (section 4); BIND, 2, is not served.
const (
	connect   = 1
	associate = 3
)

// Address types (section 5).
const (
	typeIPv4 = 1
	typeName = 3
	typeIPv6 = 4
)

// request is what a client asks for.
type request struct {
	command byte
	to      address
}

// address is a destination as the client names it.
type address struct {
	host string // a name, or an address as text
	port uint16
}

// String is what a dialer takes.
func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// handshake agrees on the method and reads the request. Not one octet behind
// it is read: that may be the stream already.
func handshake(c net.Conn) (request, error) {
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return request{}, err
	}
	methods, err := readMethods(c)
	if err != nil {
		return request{}, err
	}
	method := byte(noneAcceptable)
	if slices.Contains(methods, noAuthentication) {
		method = noAuthentication
	}
	if _, err := c.Write([]byte{version, method}); err != nil {
		return request{}, err
	}
	if method == noneAcceptable {
		return request{}, errors.New("the client wants to authenticate: let it use no user name and no password")
	}
	r, err := readRequest(c)
	if err != nil {
		return request{}, err
	}
	return r, c.SetDeadline(time.Time{})
}

// readMethods reads the methods that a client offers (section 3).
func readMethods(from io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(from, head[:1]); err != nil {
		return nil, err
	}
	if head[0] != version {
		return nil, fmt.Errorf("the first octet is %#02x, not that of SOCKS5: set the client to socks5h, neither SOCKS4 nor HTTP", head[0])
	}
	if err := readRest(from, head[1:]); err != nil {
		return nil, err
	}
	methods := make([]byte, head[1])
	return methods, readRest(from, methods)
}

// readRequest reads a request (section 4).
func readRequest(from io.Reader) (request, error) {
	var head [3]byte // the third is reserved
	if err := readRest(from, head[:]); err != nil {
		return request{}, err
	}
	if head[0] != version {
		return request{}, refuse(generalFailure, fmt.Errorf("a request of version %d, not %d", head[0], version))
	}
	to, err := readAddress(from)
	return request{command: head[1], to: to}, err
}

// readAddress reads type, address and port (sections 4 and 7).
func readAddress(from io.Reader) (address, error) {
	var buf [255]byte
	if err := readRest(from, buf[:1]); err != nil {
		return address{}, err
	}
	var host string
	switch buf[0] {
	case typeIPv4:
		if err := readRest(from, buf[:4]); err != nil {
			return address{}, err
		}
		host = netip.AddrFrom4([4]byte(buf[:4])).String()
	case typeIPv6:
		if err := readRest(from, buf[:16]); err != nil {
			return address{}, err
		}
		host = netip.AddrFrom16([16]byte(buf[:16])).Unmap().String()
	case typeName:
		if err := readRest(from, buf[:1]); err != nil {
			return address{}, err
		}
		name := buf[:buf[0]]
		if err := readRest(from, name); err != nil {
			return address{}, err
		}
		host = string(name)
	default:
		return address{}, refuse(addressTypeNotSupported, fmt.Errorf("address type %d is unknown", buf[0]))
	}
	if err := readRest(from, buf[:2]); err != nil {
		return address{}, err
	}
	if host == "" {
		return address{}, refuse(generalFailure, errors.New("the destination has an empty name"))
	}
	return address{host: host, port: binary.BigEndian.Uint16(buf[:2])}, nil
}

// readRest fills buf with what has to follow.
func readRest(from io.Reader, buf []byte) error {
	_, err := io.ReadFull(from, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the client left in the middle of the handshake")
	}
	return err
}

// parseDatagram reads the header of a datagram from a client (section 7).
// Data lies in b.
func parseDatagram(b []byte) (to address, data []byte, err error) {
	const reserved = 2
	if len(b) <= reserved {
		return address{}, nil, errors.New("a datagram without header")
	}
	if fragment := b[reserved]; fragment != 0 {
		return address{}, nil, errors.New("a fragment: putting them together is optional")
	}
	r := bytes.NewReader(b[reserved+1:])
	to, err = readAddress(r)
	return to, b[len(b)-r.Len():], err
}

// appendAddress writes what readAddress reads.
func appendAddress(b []byte, a netip.AddrPort) []byte {
	kind := byte(typeIPv4)
	if a.Addr().Is6() {
		kind = typeIPv6
	}
	b = append(append(b, kind), a.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}
