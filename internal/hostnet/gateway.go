package hostnet

import (
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
)

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
