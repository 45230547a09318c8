package wire

import (
	"net/netip"
	"strconv"
)

// GatewayType is how a REDIRECT names a gateway (RFC 5685 9.2).
type GatewayType uint8

// Gateway identity types, IANA "IKEv2 Gateway Identity Types".
const (
	GatewayIPv4 GatewayType = 1 // 4 octets
	GatewayIPv6 GatewayType = 2 // 16 octets
	GatewayFQDN GatewayType = 3 // text, no terminator
)

// Redirect is the notification data of REDIRECT (RFC 5685 9.2), and without a
// nonce that of REDIRECTED_FROM (9.3).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| GW Ident Type |  GW Ident Len |                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               ~
//	~                    New Responder GW Identity                  ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                          Nonce Data                           ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Redirect struct {
	Type     GatewayType
	Identity []byte // 1 to 255 octets
	Nonce    []byte // Ni, in an answer that nothing authenticates; empty otherwise
}

// ParseRedirect views the data of a notification. Errors: ErrShort,
// ErrIdentity, ErrNonce.
func ParseRedirect(data []byte) (Redirect, error) {
	if len(data) < 2 || len(data) < 2+int(data[1]) {
		return Redirect{}, ErrShort
	}
	end := 2 + int(data[1])
	r := Redirect{Type: GatewayType(data[0]), Identity: data[2:end:end], Nonce: data[end:]}
	switch n := len(r.Identity); {
	case r.Type == GatewayIPv4 && n != 4, r.Type == GatewayIPv6 && n != 16, n == 0: //rfc:5685-9.2-3
		return Redirect{}, ErrIdentity
	}
	if len(r.Nonce) > 0 {
		if _, err := ParseNonce(r.Nonce); err != nil { //rfc:5685-9.2-4
			return Redirect{}, err
		}
	}
	return r, nil
}

// Append appends the notification data.
func (r Redirect) Append(b []byte) []byte {
	b = append(b, byte(r.Type), octet(len(r.Identity)))
	b = append(b, r.Identity...)
	return append(b, r.Nonce...)
}

// RedirectTo names a gateway by its address, or by its name: any text that is
// no address.
func RedirectTo(gateway string) Redirect {
	a, err := netip.ParseAddr(gateway)
	switch a = a.Unmap(); {
	case err != nil:
		return Redirect{Type: GatewayFQDN, Identity: []byte(gateway)}
	case a.Is4():
		return Redirect{Type: GatewayIPv4, Identity: a.AsSlice()}
	}
	return Redirect{Type: GatewayIPv6, Identity: a.AsSlice()}
}

// Addr is the address of the gateway, unless it has a name.
func (r Redirect) Addr() (netip.Addr, bool) {
	if r.Type != GatewayIPv4 && r.Type != GatewayIPv6 {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(r.Identity)
}

// String returns the gateway for a person, as ID.String does.
func (r Redirect) String() string {
	if a, ok := r.Addr(); ok {
		return a.String()
	}
	if r.Type == GatewayFQDN {
		return printable(string(r.Identity))
	}
	return "gateway of type " + strconv.Itoa(int(r.Type))
}
