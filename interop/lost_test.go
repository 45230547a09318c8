package interop

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// Who loses its TUN ends with a line that says so, and leaves the host as it
// was before: nobody would carry what its routes lead to.
func TestLostDevice(t *testing.T) {
	there, here := lab.Node(t, "gateway-l"), lab.Node(t, "client-l")
	here.Face(t, there)
	p := usual.carrying()
	p.full = true
	before := map[*Node]string{there: there.network(t), here: here.network(t)}
	gateway := there.Gateway(t, p.ourGateway(there), nil)
	gateway.AwaitInner(t, ourGatewayInner)
	client := here.Connect(t, p.ourClient(there), nil)
	client.AwaitTunnel(t, ourClientInner)
	for _, s := range []*Swan{client, gateway} {
		mark := s.Mark()
		links(t, "-n "+s.node.name+" link del bs0")
		s.Await(t, mark, "TUN device bs0 is gone: somebody deleted it .*start again")
		<-s.done
		if code := s.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("our %s ended with %d", s.command[1], code)
		}
		if left := s.node.network(t); left != before[s.node] {
			t.Errorf("our %s has left\n%s\nand not\n%s", s.command[1], left, before[s.node])
		}
	}
}

// network is all rules and routes of the node, but those that the kernel makes
// for its own addresses, in its own time.
func (n *Node) network(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, family := range []string{"-4", "-6"} {
		for _, what := range []string{"rule", "route show table all"} {
			for line := range strings.Lines(n.MustRun(t, nil, append([]string{"ip", family}, strings.Fields(what)...)...)) {
				if !strings.Contains(line, "table local") {
					b.WriteString(line)
				}
			}
		}
	}
	return b.String()
}

// A stranger's packets, some of them with the SPI of a tunnel, are counted by
// reason, and the tunnel does not notice.
func TestStrangersPacketsAreCounted(t *testing.T) {
	there, here := lab.Node(t, "gateway-d"), lab.Node(t, "client-d")
	stranger := lab.Node(t, "stranger-d")
	p := usual.carrying()
	gateway := there.Gateway(t, p.ourGateway(there), nil)
	client := here.Connect(t, p.ourClient(there), nil)
	client.AwaitTunnel(t, ourClientInner)
	sa := gateway.AwaitUp(t)
	spi, err := strconv.ParseUint(sa.ChildIn, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 108)
	rand.Read(noise)
	packet := func(spi uint32, n int) []byte { return append(binary.BigEndian.AppendUint32(nil, spi), noise[:n]...) }
	conn := stranger.Dial(t, there.Addr, 4500)
	const each = 5
	for range each {
		for _, b := range [][]byte{
			{0xff}, {1, 2, 3}, packet(0, 3), // a keepalive, and no message at all
			packet(uint32(spi), 8), packet(uint32(spi), 108), packet(0xb1ac5a00, 108),
		} {
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := map[string]uint64{"truncated": each, "bad_icv": each, "unknown_spi": each}
	until(t, "our gateway to have counted", func() bool {
		drops := gateway.drops(t)
		for reason, n := range want {
			if drops[reason] != n {
				return false
			}
		}
		return true
	})
	here.Ping(t, ourClientInner[0], ourGatewayInner[0])
	if now := gateway.AwaitUp(t); now.Remote != sa.Remote || now.ChildIn != sa.ChildIn {
		t.Errorf("our gateway's SA was %+v and is %+v", sa, now)
	}
	out := there.MustRun(t, nil, gateway.about("status")...)
	for _, line := range []string{"dropped of the traffic:", "5 bad_icv", "5 unknown_spi"} {
		if !strings.Contains(out, line) {
			t.Errorf("the status does not say %q:\n%s", line, out)
		}
	}
}

// drops are what the program has dropped of the traffic, by reason.
func (s *Swan) drops(t testing.TB) map[string]uint64 {
	t.Helper()
	var status struct {
		Traffic struct{ Drops map[string]uint64 }
	}
	out := s.node.MustRun(t, nil, s.about("status", "--json")...)
	if err := json.NewDecoder(bytes.NewReader([]byte(out))).Decode(&status); err != nil {
		t.Fatal(err)
	}
	return status.Traffic.Drops
}
