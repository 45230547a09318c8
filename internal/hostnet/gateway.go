package hostnet

import (
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// Routes is the gateway's side: it puts addresses of ours on the TUN, sets it
// up, and routes what the clients' selectors name to it, in the main table. All
// of it goes with the device, so there is nothing to undo. It may be called
// again with more, and takes nothing away. MTU 0 leaves the device's as it is.
//
// A default route is refused: it would lead the gateway's own packets into its
// tunnels. The error is [syscall.EPERM] without CAP_NET_ADMIN.
func Routes(dev string, mtu int, addresses, routes []netip.Prefix) error {
	p := Plan{Device: dev, Addresses: addresses, Routes: routes}
	if err := p.check(); err != nil {
		return fmt.Errorf("hostnet: %w", err)
	}
	if p.full() {
		return fmt.Errorf("hostnet: a gateway cannot route everything to %s: name the networks of the other side", dev)
	}
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	now, err := k.link(dev)
	if err != nil {
		return err
	}
	if err := k.setUp(now, mtu); err != nil {
		return explain(fmt.Errorf("hostnet: setting up %s: %w", dev, err))
	}
	there, err := k.addresses([]device{now.Device})
	if err != nil {
		return fmt.Errorf("hostnet: addresses of %s: %w", dev, err)
	}
	for _, a := range addresses {
		e := entry{Kind: address, Prefix: a, Device: now.Device}
		if slices.Contains(there, e) {
			continue
		}
		if err := k.add(0, e); err != nil {
			return explain(fmt.Errorf("hostnet: %s: %w", e.command("add", 0), err))
		}
	}
	for _, r := range routes {
		if err := k.routeMain(r.Masked(), now.Device); err != nil {
			return explain(fmt.Errorf("hostnet: routing %v to %s: %w", r.Masked(), dev, err))
		}
	}
	return nil
}

// Hint is a setting of the host under which a gateway does not forward, and
// what mends it.
type Hint struct {
	Problem string // one sentence
	Cure    string // a command
}

// Forwarding looks for such settings. sys is /proc/sys; routes say which
// families matter. What cannot be read is not judged.
func Forwarding(sys fs.FS, routes []netip.Prefix) []Hint {
	is6 := func(r netip.Prefix) bool { return r.Addr().Is6() }
	is4 := func(r netip.Prefix) bool { return r.Addr().Is4() }
	var hints []Hint
	if slices.ContainsFunc(routes, is4) {
		if setting(sys, "net/ipv4/ip_forward") == "0" {
			hints = append(hints, Hint{"This host does not forward IPv4 packets.", "sysctl -w net.ipv4.ip_forward=1"})
		}
		hints = append(hints, reversePaths(sys)...)
	}
	if !slices.ContainsFunc(routes, is6) {
		return hints
	}
	if setting(sys, "net/ipv6/conf/all/forwarding") == "0" {
		hints = append(hints, Hint{
			"This host does not forward IPv6 packets. (Once it does, an uplink that learns its route from advertisements needs accept_ra=2.)",
			"sysctl -w net.ipv6.conf.all.forwarding=1",
		})
	}
	if setting(sys, "net/ipv6/conf/all/disable_ipv6") == "1" {
		hints = append(hints, Hint{"IPv6 is switched off on this host.", "sysctl -w net.ipv6.conf.all.disable_ipv6=0"})
	}
	return hints
}

// reversePaths are hints about strict filters (RFC 3704 2.2): they drop what
// comes by another interface than the answer leaves by. Of the filters of all
// and of an interface the higher number counts.
func reversePaths(sys fs.FS) []Hint {
	const dir = "net/ipv4/conf"
	files, _ := fs.Glob(sys, dir+"/*/rp_filter") // the pattern is well-formed
	all := setting(sys, dir+"/all/rp_filter")
	var hints []Hint
	for _, file := range files {
		name := path.Base(path.Dir(file))
		if name == "all" || name == "default" || name == "lo" || max(all, setting(sys, file)) != "1" {
			continue
		}
		hints = append(hints, Hint{
			fmt.Sprintf("Interface %s drops packets whose answer would leave by another interface (strict rp_filter): a host with several uplinks loses some.", name),
			fmt.Sprintf("sysctl -w net/ipv4/conf/%s/rp_filter=2", name), // slashes: a name may have dots
		})
	}
	return hints
}

// setting is one of sysctl, "" if it cannot be read.
func setting(sys fs.FS, name string) string {
	b, err := fs.ReadFile(sys, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
