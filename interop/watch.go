package interop

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// Watch is a tcpdump that says what passes a node's eth0, a line a packet.
type Watch struct {
	*Process
	node *Node
	from int // what was seen before
}

// buoy is the port of the datagram that Seen sends after all others.
const buoy = 9

// Watch begins to look for packets of this filter.
func (n *Node) Watch(t testing.TB, filter string) *Watch {
	t.Helper()
	w := &Watch{node: n}
	w.Process = n.Start(t, nil, "tcpdump", "--immediate-mode", "-Z", "root", "-l", "-n", "-q", "-t",
		"-i", "eth0", fmt.Sprintf("(%s) or udp dst port %d", filter, buoy))
	w.Await(t, 0, "listening on")
	return w
}

// Seen are the lines about what has passed since Watch or the last Seen. It
// sends a datagram and waits until it is seen: what came before is seen too.
func (w *Watch) Seen(t testing.TB) []string {
	t.Helper()
	addr := w.node.Addr.As4()
	addr[3] = 255 // a broadcast: it asks nobody's link address first
	if _, err := w.node.Dial(t, netip.AddrFrom4(addr), buoy).Write([]byte("buoy")); err != nil {
		t.Fatal(err)
	}
	const afloat = `\.255\.9: UDP, length 4`
	w.Await(t, w.from, afloat)
	last := regexp.MustCompile(afloat)
	var seen []string
	for _, line := range w.log.since(w.from) {
		w.from++
		if last.MatchString(line) {
			break
		}
		if strings.HasPrefix(line, "IP") {
			seen = append(seen, line)
		}
	}
	return seen
}
