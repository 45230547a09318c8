package blackswan

import (
	"errors"
	"fmt"
	"net/netip"

	"blackswan/dataplane"
	"blackswan/dataplane/tunnel"
	"blackswan/internal/udp"
)

// What carries the packets of Child SAs: a TUN of this host, or a device that
// the caller brought. ESP goes between the plane and its own sockets; no shard
// sees it.

// DefaultMTU is the octets of an inner packet: with any suite and family the
// outer one has at most 1500.
const DefaultMTU = 1400

// maxWaiting is how many octets of a client wait for a Child SA (rule E9).
const maxWaiting = 256 << 10

// carrier is a plane that sends and receives by our own sockets.
type carrier interface {
	dataplane.Plane
	Attach(ports ...udp.ESPPort)
	Stray(m udp.Message)
}

// openPlane makes the plane that the configuration asks for; none when nothing
// is to be carried.
func (n *node) openPlane() error {
	if n.plane = n.cfg.Plane; n.plane != nil {
		return nil
	}
	if n.cfg.Device == nil && (n.cfg.Traffic == "off" || n.cfg.Traffic == "") {
		return nil
	}
	if n.cfg.Device == nil {
		if n.cfg.StateDir == "" {
			return &FieldError{Field: "state", What: "traffic changes routes of this host, and a crash could not be undone", Cure: "name a directory that survives a crash"}
		}
		device, err := tunnel.Open(n.cfg.Tunnel.Name, n.mtu())
		if err != nil && n.cfg.Traffic == "on" {
			return &FieldError{Field: "traffic", What: err.Error(), Cure: `or write "auto": then only keys are agreed on`}
		}
		if err != nil {
			n.note("no traffic is carried, only keys are agreed on: " + err.Error())
			return nil
		}
		n.cfg.Device, n.ownDevice = device, true
	}
	cfg := tunnel.Config{Device: n.cfg.Device, Window: n.cfg.Tunnel.ReplayWindow}
	if n.role == RoleClient {
		cfg.Wait = maxWaiting
	}
	plane, err := tunnel.New(cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("blackswan: traffic: %w", err), n.cfg.Device.Close())
	}
	n.plane = plane
	return nil
}

func (n *node) mtu() int {
	if n.cfg.Tunnel.MTU == 0 {
		return DefaultMTU
	}
	return n.cfg.Tunnel.MTU
}

// stray is where ESP goes that came by a socket of IKE; nil: nobody takes ESP.
func (n *node) stray() func(udp.Message) {
	if c, ok := n.plane.(carrier); ok {
		return c.Stray
	}
	return nil
}

// attach gives the plane its sockets: those of the NAT traversal port, and
// those of bare ESP if it is wanted and can be had (rule G4).
func (n *node) attach(ports []udp.Port) {
	c, ok := n.plane.(carrier)
	if !ok {
		return
	}
	for _, p := range ports {
		c.Attach(p.ESP()...)
	}
	if n.cfg.Tunnel.Encap != "auto" {
		n.encap = true
		return
	}
	addrs := n.cfg.Listen
	if len(addrs) == 0 {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, a := range addrs {
		bare, err := udp.Bare(a, n.mark(), n.heedICMP())
		if err != nil { // the peer shall encapsulate
			n.note("bare ESP cannot be received, so that all ESP goes in UDP: " + err.Error())
			n.encap = true
			return
		}
		c.Attach(bare)
	}
}

// deviceName is the TUN that carries our traffic, if there is one.
func (n *node) deviceName() string {
	if n.cfg.Device == nil {
		return ""
	}
	name, err := n.cfg.Device.Name()
	if err != nil {
		return ""
	}
	return name
}
