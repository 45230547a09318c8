package interop

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tunnelMTU is that of both contestants.
const tunnelMTU = 1400

// contestant is a tunnel between two nodes.
type contestant struct {
	name      string
	from, to  string // inner addresses
	processes []*Process
	laps      []lap
}

// lap is what one contestant did in one pair.
type lap struct {
	tcp, udp measure
}

// measure is a flow and what it cost: CPU of both daemons together for each
// packet of the flow. A packet is a segment of TCP, whatever the offloads of
// the kernel glue together, or a datagram.
type measure struct {
	Flow
	nanoseconds float64
}

// offered is the rate of the datagrams: more than either carries on two cores,
// and not so much that sending them is all that these do.
const offered = "1G"

// BenchmarkESP is one TCP stream and datagrams of 1,360 octets through
// wireguard-go and through us, in turn, a pair each iteration: absolute
// figures flap on a busy machine, their ratio does not. `make bench-esp` runs
// it; STREAM is how many seconds each of them takes, 5 if it is not set. Its
// line of JSON has the medians.
func BenchmarkESP(b *testing.B) {
	seconds, err := strconv.Atoi(cmp.Or(os.Getenv("STREAM"), "5"))
	if err != nil || seconds < 1 || seconds > 30 {
		b.Fatalf("STREAM is %q: write seconds, 1 to 30", os.Getenv("STREAM"))
	}
	west, east := lab.Pair(b, "speed-west", "speed-east")
	east.Serve(b)
	theirs, ours := meetWireGuard(b, west, east), meetOurselves(b, west, east)
	fmt.Printf("%-13s %10s %10s %12s %10s %12s %8s %13s\n",
		"", "TCP Gbit/s", "CPU ns/pkt", "retransmits", "UDP Gbit/s", "CPU ns/pkt", "lost", "out of order")
	for b.Loop() {
		for _, c := range []*contestant{theirs, ours} {
			l := lap{
				tcp: c.measure(b, func() Flow { return west.Stream(b, c.from, c.to, seconds) }),
				udp: c.measure(b, func() Flow { return west.Datagrams(b, c.from, c.to, seconds, 1360, offered) }),
			}
			c.laps = append(c.laps, l)
			fmt.Printf("%-13s %10.2f %10.0f %12d %10.2f %12.0f %7.1f%% %13d\n", c.name,
				l.tcp.Gbps(), l.tcp.nanoseconds, l.tcp.Retransmits,
				l.udp.Gbps(), l.udp.nanoseconds, 100*float64(l.udp.Lost)/float64(l.udp.Packets), l.udp.OutOfOrder)
		}
	}
	conclude(b, theirs, ours)
}

func meetWireGuard(b *testing.B, west, east *Node) *contestant {
	b.Helper()
	binary := lab.buildWireGuard(b)
	w := west.StartWireGuard(b, binary, "10.66.0.1", tunnelMTU)
	e := east.StartWireGuard(b, binary, "10.66.0.2", tunnelMTU)
	w.Meet(b, e)
	e.Meet(b, w)
	west.Ping(b, w.Inner, e.Inner)
	return &contestant{name: "wireguard-go", from: w.Inner, to: e.Inner, processes: []*Process{w.Process, e.Process}}
}

func meetOurselves(b *testing.B, west, east *Node) *contestant {
	b.Helper()
	p := usual.carrying()
	gateway := east.Gateway(b, p.ourGateway(east), nil)
	client := west.Connect(b, p.ourClient(east), nil)
	client.AwaitTunnel(b, ourClientInner)
	west.Ping(b, ourClientInner[0], ourGatewayInner[0])
	return &contestant{name: "blackswan", from: ourClientInner[0], to: ourGatewayInner[0],
		processes: []*Process{client.Process, gateway.Process}}
}

// measure has a flow measured, and the CPU of the contestant meanwhile.
func (c *contestant) measure(b *testing.B, flow func() Flow) measure {
	b.Helper()
	before := c.cpu(b)
	m := measure{Flow: flow()}
	packets := m.Octets / 1360
	if m.MSS > 0 {
		packets = m.Octets / m.MSS
	}
	m.nanoseconds = (c.cpu(b) - before) / packets
	return m
}

// cpu is what the daemons have used since they began, in ns: user and system
// time of proc_pid_stat(5), in ticks of 10 ms.
func (c *contestant) cpu(b *testing.B) (ns float64) {
	b.Helper()
	for _, p := range c.processes {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		for _, field := range strings.Fields(rest)[11:13] {
			ticks, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			ns += float64(ticks) * 1e7
		}
	}
	return ns
}

// conclude prints the medians as the JSON that the script shows last.
func conclude(b *testing.B, theirs, ours *contestant) {
	b.Helper()
	median := func(c *contestant, of func(lap) float64) float64 {
		var values []float64
		for _, l := range c.laps {
			values = append(values, of(l))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	rate := func(l lap) float64 { return l.tcp.Gbps() }
	result := map[string]float64{}
	for name, of := range map[string]func(lap) float64{
		"gbps":                    rate,
		"udp_gbps":                func(l lap) float64 { return l.udp.Gbps() },
		"cpu_ns_per_packet":       func(l lap) float64 { return l.tcp.nanoseconds },
		"udp_cpu_ns_per_datagram": func(l lap) float64 { return l.udp.nanoseconds },
	} {
		result["wireguard_go_"+name], result["blackswan_"+name] = median(theirs, of), median(ours, of)
	}
	result["ratio"] = result["blackswan_gbps"] / result["wireguard_go_gbps"]
	result["pairs"] = float64(len(ours.laps))
	for name, value := range result {
		result[name] = math.Round(value*1000) / 1000
	}
	line, err := json.Marshal(result)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Println(string(line))
	b.ReportMetric(result["ratio"], "ratio")
}
