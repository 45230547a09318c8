package interop

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Ping sends ten echo requests from one inner address of the node to another
// beyond the tunnel, half of them as large as a tunnel carries in one packet,
// and fails the test unless each is answered.
func (n *Node) Ping(t testing.TB, from, to string) {
	t.Helper()
	for _, size := range []string{"56", "1300"} {
		n.MustRun(t, nil, "ping", "-q", "-c", "5", "-w", "10", "-i", "0.02", "-s", size, "-I", from, to)
	}
}

// AwaitInner waits until the inner addresses are the node's: the host follows
// its Child SAs, and nobody waits for it.
func (s *Swan) AwaitInner(t testing.TB, inner [2]string) {
	t.Helper()
	for _, addr := range inner {
		until(t, addr+" at our "+s.command[1], func() bool {
			return s.node.MustRun(t, nil, "ip", "-oneline", "addr", "show", "to", addr) != ""
		})
	}
}

// AwaitTunnel is AwaitUp and AwaitInner.
func (s *Swan) AwaitTunnel(t testing.TB, inner [2]string) SA {
	t.Helper()
	sa := s.AwaitUp(t)
	s.AwaitInner(t, inner)
	return sa
}

// Serve starts an iperf3 server on all of the node's addresses.
func (n *Node) Serve(t testing.TB) {
	t.Helper()
	n.Start(t, nil, "iperf3", "--server", "--forceflush").Await(t, 0, "Server listening")
}

// Flow is what iperf3 measured of one stream through the tunnel.
type Flow struct {
	Seconds     float64
	Octets      float64 // received
	Packets     uint64  // UDP: sent
	Lost        uint64  // UDP
	OutOfOrder  uint64  // UDP
	MSS         float64 // TCP
	Retransmits uint64  // TCP
}

// Gbps is the rate at which it was received, in Gbit/s.
func (f Flow) Gbps() float64 { return f.Octets * 8 / f.Seconds / 1e9 }

// Stream sends TCP for some seconds from one inner address to another, where
// Serve was called, as fast as it goes.
func (n *Node) Stream(t testing.TB, from, to string, seconds int) Flow {
	t.Helper()
	return n.iperf(t, from, to, seconds)
}

// Trickle is Stream for a second and so slow that no socket on the way has to
// drop a packet, even when a busy machine keeps a daemon waiting: both ends of a
// tunnel have to count the same.
func (n *Node) Trickle(t testing.TB, from, to string) Flow {
	t.Helper()
	return n.iperf(t, from, to, 1, "--fq-rate", "5M", "--length", "4K")
}

// Datagrams sends UDP of this size for some seconds at a rate in iperf3's
// words, of which 0 is as fast as the node can.
func (n *Node) Datagrams(t testing.TB, from, to string, seconds, size int, rate string) Flow {
	t.Helper()
	return n.iperf(t, from, to, seconds, "--udp", "--bandwidth", rate, "--length", strconv.Itoa(size))
}

func (n *Node) iperf(t testing.TB, from, to string, seconds int, more ...string) Flow {
	t.Helper()
	command := append([]string{"iperf3", "--json", "--client", to, "--bind", from, "--time", strconv.Itoa(seconds)}, more...)
	var out string
	until(t, "iperf3's server to be free", func() bool {
		var err error
		out, err = n.Run(t, nil, command...)
		return err == nil || !stillServing.MatchString(out)
	})
	flow, err := parseFlow([]byte(out[max(0, strings.Index(out, "{")):])) // warnings come before
	if err != nil {
		t.Fatalf("iperf3: %v\n%s", err, out)
	}
	return flow
}

// stillServing is what iperf3 says when its server is not yet done with the
// stream before: it serves one at a time.
var stillServing = regexp.MustCompile(`server is busy|unable to receive control message`)

// parseFlow reads iperf3's JSON.
func parseFlow(b []byte) (Flow, error) {
	type sum struct {
		Seconds, Bytes float64
		Retransmits    uint64
	}
	var report struct {
		Error string
		Start struct {
			MSS float64 `json:"tcp_mss_default"`
		}
		End struct {
			Streams []struct {
				UDP struct {
					Packets    uint64
					Lost       uint64 `json:"lost_packets"`
					OutOfOrder uint64 `json:"out_of_order"`
				}
			}
			Sent     sum `json:"sum_sent"`
			Received sum `json:"sum_received"`
		}
	}
	if err := json.Unmarshal(b, &report); err != nil {
		return Flow{}, err
	}
	if report.Error != "" {
		return Flow{}, errors.New(report.Error)
	}
	flow := Flow{Seconds: report.End.Received.Seconds, Octets: report.End.Received.Bytes,
		MSS: report.Start.MSS, Retransmits: report.End.Sent.Retransmits}
	if len(report.End.Streams) == 1 {
		udp := report.End.Streams[0].UDP
		flow.Packets, flow.Lost, flow.OutOfOrder = udp.Packets, udp.Lost, udp.OutOfOrder
	}
	return flow, nil
}

// Pulse is a ping every 50 ms until t ends, whatever comes of it.
type Pulse struct {
	*Process
}

// Pulse begins to ping and waits for the first answer. from may be empty: the
// node chooses.
func (n *Node) Pulse(t testing.TB, from, to string) *Pulse {
	t.Helper()
	command := []string{"ping", "-n", "-D", "-O", "-i", "0.05"}
	if from != "" {
		command = append(command, "-I", from)
	}
	p := &Pulse{n.Start(t, nil, append(command, to)...)}
	p.Beat(t, time.Time{})
	return p
}

// Beat waits for an answer that has come after a moment, and returns when it
// came.
func (p *Pulse) Beat(t testing.TB, after time.Time) (came time.Time) {
	t.Helper()
	until(t, "an answer to "+p.name, func() bool {
		for _, at := range p.beats() {
			if at.After(after) {
				came = at
				return true
			}
		}
		return false
	})
	return came
}

// Beats waits for so many more answers.
func (p *Pulse) Beats(t testing.TB, count int) {
	t.Helper()
	for range count {
		p.Beat(t, time.Now())
	}
}

// Missed is how many pings were never answered, of those before the last that
// was.
func (p *Pulse) Missed() int {
	last, answered := 0, map[int]bool{}
	for _, line := range p.log.since(0) {
		if m := sequence.FindStringSubmatch(line); m != nil {
			number, _ := strconv.Atoi(m[1])
			last, answered[number] = max(last, number), true
		}
	}
	return last - len(answered)
}

// Last is when the last answer before a moment came.
func (p *Pulse) Last(before time.Time) (last time.Time) {
	for _, at := range p.beats() {
		if at.Before(before) {
			last = at
		}
	}
	return last
}

var (
	beat     = regexp.MustCompile(`^\[(\d+)\.(\d{6})\] \d+ bytes from `)
	sequence = regexp.MustCompile(` bytes from .* icmp_seq=(\d+) `)
)

func (p *Pulse) beats() (came []time.Time) {
	for _, line := range p.log.since(0) {
		if m := beat.FindStringSubmatch(line); m != nil {
			seconds, _ := strconv.ParseInt(m[1], 10, 64)
			micros, _ := strconv.ParseInt(m[2], 10, 64)
			came = append(came, time.Unix(seconds, micros*1000))
		}
	}
	return came
}
