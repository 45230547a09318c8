// Package netstack is an IP stack in user space (gVisor's): a TUN device on one
// side, a dialer on the other. With it a client uses its tunnel without root
// and without touching the machine's network.
//
//	data plane <── Read | Write ── Stack <── Dial ── internal/proxy
//
// wireguard's tun/netstack is the same in small, but its Close panics when it
// is called twice, and waits forever for who no longer reads.
package netstack

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic     = 1    // the only interface
	queue   = 1024 // packets that wait to be read; what comes then is lost, as on any link
	minMTU  = 576  // RFC 791 3.1: what every host takes
	minMTU6 = 1280 // RFC 8200 5
)

// Stack is an IP stack with one interface, which is a tun.Device. Its methods
// are safe for concurrent use.
type Stack struct {
	mtu    int
	link   link
	stack  *stack.Stack
	events chan tun.Event

	mu        sync.RWMutex
	addresses []netip.Addr
	dns       []netip.Addr
	closed    bool
}

// Open starts a stack with its addresses inside the tunnel, the DNS servers
// that are asked through it, and its MTU in octets. Addresses and servers may
// come later, by Assign.
func Open(addresses, dns []netip.Addr, mtu int) (*Stack, error) {
	if mtu < minMTU || mtu > 65535 {
		return nil, fmt.Errorf("netstack: an MTU of %d octets: %d to 65535 are possible", mtu, minMTU)
	}
	s := &Stack{
		mtu:  mtu,
		link: link{Endpoint: channel.New(queue, uint32(mtu), "")},
		stack: stack.New(stack.Options{
			NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{
				tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
			},
			HandleLocal: true, // what is for ourselves does not go out
		}),
		events: make(chan tun.Event, 1),
	}
	if err := s.start(); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.Assign(addresses, dns); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) start() error {
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &moderate} {
		if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("netstack: TCP option %T: %v", option, err)
		}
	}
	if err := s.stack.CreateNIC(nic, &s.link); err != nil {
		return fmt.Errorf("netstack: the interface: %v", err)
	}
	s.events <- tun.EventUp
	return nil
}

// Assign replaces the addresses and the DNS servers. A connection of an address
// that is gone ends: no answer finds it any more. An error changes nothing.
func (s *Stack) Assign(addresses, dns []netip.Addr) error {
	for _, a := range addresses {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return fmt.Errorf("netstack: %v cannot be our address inside the tunnel: give a unicast one of IPv4 or IPv6, without zone", a)
		}
		if a.Is6() && s.mtu < minMTU6 {
			return fmt.Errorf("netstack: IPv6 (%v) needs an MTU of %d octets, it is %d: raise the MTU or use IPv4 alone", a, minMTU6, s.mtu)
		}
	}
	for _, a := range dns {
		if !a.IsValid() {
			return fmt.Errorf("netstack: a DNS server without address")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	for _, a := range s.addresses {
		if !slices.Contains(addresses, a) {
			s.remove(a)
		}
	}
	for i, a := range addresses {
		if slices.Contains(s.addresses, a) || slices.Contains(addresses[:i], a) {
			continue
		}
		if err := s.stack.AddProtocolAddress(nic, protocolAddress(a), stack.AddressProperties{}); err != nil {
			return fmt.Errorf("netstack: address %v: %v", a, err) // not after the checks above
		}
	}
	s.addresses, s.dns = slices.Clone(addresses), slices.Clone(dns)
	s.stack.SetRouteTable(s.routes())
	return nil
}

// remove takes an address away and ends its connections.
func (s *Stack) remove(a netip.Addr) {
	gone := tcpip.AddrFromSlice(a.AsSlice())
	_ = s.stack.RemoveAddress(nic, gone) // it is there
	for _, e := range s.stack.RegisteredEndpoints() {
		if end, ok := e.(tcpip.Endpoint); ok {
			if info, ok := end.Info().(*stack.TransportEndpointInfo); ok && info.ID.LocalAddress == gone {
				end.Abort()
			}
		}
	}
}

// routes leads everything of the families that have an address into the tunnel.
func (s *Stack) routes() []tcpip.Route {
	var routes []tcpip.Route
	v4, v6 := s.families()
	if v4 {
		routes = append(routes, tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: nic})
	}
	if v6 {
		routes = append(routes, tcpip.Route{Destination: header.IPv6EmptySubnet, NIC: nic})
	}
	return routes
}

// families says of which the stack has an address. s.mu is held.
func (s *Stack) families() (v4, v6 bool) {
	return slices.ContainsFunc(s.addresses, netip.Addr.Is4), slices.ContainsFunc(s.addresses, netip.Addr.Is6)
}

func protocolAddress(a netip.Addr) tcpip.ProtocolAddress {
	return tcpip.ProtocolAddress{
		Protocol:          protocol(a),
		AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix(),
	}
}

func protocol(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// Close ends every connection, then Read and Write, and waits for the stack's
// goroutines. It may be called more than once.
func (s *Stack) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.stack.Close()
	s.stack.Wait() // and remove the interface: Read ends
	close(s.events)
	return nil
}
