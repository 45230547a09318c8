package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"blackswan"
	"blackswan/internal/percentile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside runs a child of the demo in this process.
type inside struct {
	lines *json.Decoder
	stdin io.Closer
	stop  context.CancelCauseFunc
	ended chan error
}

func begin(t *testing.T, role, file string) *inside {
	t.Helper()
	ctx, stop := context.WithCancelCause(context.Background())
	in, stdin := io.Pipe()
	out, stdout := io.Pipe()
	c := &inside{lines: json.NewDecoder(out), stdin: stdin, stop: stop, ended: make(chan error, 1)}
	go func() {
		err := Child(ctx, role, file, in, stdout)
		stdout.Close()
		c.ended <- err
	}()
	return c
}

// end stops the child without a word to its peers.
func (c *inside) end(t *testing.T) {
	t.Helper()
	c.stop(blackswan.ErrKeepTicket)
	c.stdin.Close()
	go func() { // what it still says
		for {
			var line json.RawMessage
			if c.lines.Decode(&line) != nil {
				return
			}
		}
	}()
	if err := <-c.ended; err != nil && !errors.Is(err, blackswan.ErrKeepTicket) {
		t.Error(err)
	}
}

// await reads news until so many clients told of kind.
func (c *inside) await(t *testing.T, clients int, kind blackswan.EventKind) (last news) {
	t.Helper()
	for seen := map[int]bool{}; len(seen) < clients; {
		var n news
		if err := c.lines.Decode(&n); err != nil {
			t.Fatalf("%d of %d clients %s, then: %v", len(seen), clients, kind, err)
		}
		if n.Kind == kind {
			seen[n.Client] = true
			if n.Client == 0 {
				last = n
			}
		}
	}
	return last
}

// The two children of the demo find each other again and leave no goroutine.
func TestChildren(t *testing.T) {
	const clients = 5
	s := spec{
		Dir: t.TempDir(), Gateway: netip.MustParseAddrPort("127.0.0.1:0"), Clients: clients, PSK: "0x" + strings.Repeat("5a", 32),
		RollCall: true, QCD: true,
	}
	file := func(role string) string {
		t.Helper()
		name, err := s.write(role)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	var first, again listening
	gateway := begin(t, roleGateway, file(roleGateway))
	if err := gateway.lines.Decode(&first); err != nil || len(first.Addresses) != 2 {
		t.Fatalf("the gateway listens at %v: %v", first.Addresses, err)
	}
	s.Gateway, s.NATPort = first.Addresses[0], first.Addresses[1].Port()
	all := begin(t, Clients, file(Clients))
	n := all.await(t, clients, blackswan.Established)
	if len(n.Rungs) != 4 || !strings.HasPrefix(n.Rungs[3].Text, "IKE_AUTH SK {IDr, AUTH, ") || n.Seen.Trips != 2 || n.Seen.Octets < 500 {
		t.Errorf("the first client connected: %+v", n)
	}
	gateway.end(t) // which writes the roll call
	gateway = begin(t, roleGateway, file(roleGateway))
	if err := gateway.lines.Decode(&again); err != nil || again.At <= first.At {
		t.Fatalf("the gateway listens again at %d: %v", again.At, err)
	}
	n = all.await(t, clients, blackswan.Resumed)
	if len(n.Rungs) < 5 || !strings.HasPrefix(n.Rungs[1].Text, "IKE_SESSION_RESUME {Ni, N(TICKET_OPAQUE)") {
		t.Errorf("the first client resumed: %+v", n)
	}
	all.end(t)
	gateway.end(t)
	if _, err := os.Stat(s.Dir); err != nil {
		t.Errorf("a gateway that was told to end removed the directory: %v", err)
	}
}

// The gateway cleans up after a supervisor that is gone.
func TestGatewayAlone(t *testing.T) {
	s := spec{Dir: t.TempDir(), Gateway: netip.MustParseAddrPort("127.0.0.1:0"), PSK: "0x" + strings.Repeat("5a", 32), QCD: true}
	file, err := s.write(roleGateway)
	if err != nil {
		t.Fatal(err)
	}
	gateway := begin(t, roleGateway, file)
	var first listening
	if err := gateway.lines.Decode(&first); err != nil {
		t.Fatal(err)
	}
	gateway.stdin.Close()
	if err := <-gateway.ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
	gateway.stop(nil)
}

func TestChildRefuses(t *testing.T) {
	dir := t.TempDir()
	file, err := spec{Dir: dir}.write("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := Child(t.Context(), "x", file, nil, nil); err == nil || !strings.Contains(err.Error(), `no child is called "x"`) {
		t.Error(err)
	}
	if err := Child(t.Context(), roleGateway, dir+"/none", nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, n := range []int{0, -1, MaxClients + 1} {
		if _, err := Run(t.Context(), Options{Clients: n}); !errors.Is(err, ErrOptions) {
			t.Errorf("%d clients: %v", n, err)
		}
	}
}

func TestClientsHaveAddressesOfTheirOwn(t *testing.T) {
	seen := map[netip.Addr]int{}
	s := spec{Gateway: netip.MustParseAddrPort("127.0.0.1:500")}
	for n := range MaxClients {
		a := s.clientConfig(n).Listen[0]
		if before, twice := seen[a]; twice || !a.IsLoopback() {
			t.Fatalf("clients %d and %d: %v", before, n, a)
		}
		seen[a] = n
	}
}

func TestReport(t *testing.T) {
	at := func(ms int) int64 { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond).UnixNano() }
	s := supervisor{lives: make([]life, 4)}
	for _, n := range []news{
		{Client: 0, Kind: blackswan.Established, At: at(-900), Seen: traffic{1000, 2}},
		{Client: 1, Kind: blackswan.Established, At: at(-800), Seen: traffic{1000, 2}},
		{Client: 2, Kind: blackswan.Established, At: at(-700), Seen: traffic{1100, 3}},
		{Client: 3, Kind: blackswan.Established, At: at(-600), Seen: traffic{1000, 2}},
		{Client: 0, Kind: blackswan.Detected, At: at(1), By: "roll_call"},
		{Client: 0, Kind: blackswan.Resumed, At: at(5), Seen: traffic{2400, 4}},
		{Client: 1, Kind: blackswan.Detected, At: at(2), By: "qcd_reply"},
		{Client: 1, Kind: blackswan.Detected, At: at(50), By: "timeout"}, // not the first
		{Client: 1, Kind: blackswan.Resumed, At: at(6), Seen: traffic{2500, 4}},
		{Client: 2, Kind: blackswan.Detected, At: at(3), By: "roll_call"},
		{Client: 2, Kind: blackswan.FellBack, At: at(4)},
		{Client: 2, Kind: blackswan.Established, At: at(9), Seen: traffic{2100, 6}},
		{Client: 3, Kind: blackswan.Failed, At: at(10), Why: "nobody answers"},
		{Client: 9, Kind: blackswan.Resumed, At: at(1)}, // there is none
	} {
		s.take(n)
	}
	r := s.report(time.Unix(100, 0))
	if s.up != 4 || s.back != 3 || r.Clients != 4 || r.Resumed != 2 || r.FellBack != 1 || r.Failed != 1 || r.OK() {
		t.Errorf("up %d, back %d: %+v", s.up, s.back, r)
	}
	if r.Detect != (percentile.Spread{P50: 2, P99: 3, Max: 3}) || r.Back != (percentile.Spread{P50: 6, P99: 9, Max: 9}) {
		t.Errorf("detected %+v, back %+v", r.Detect, r.Back)
	}
	if r.DetectedBy["roll_call"] != 2 || r.DetectedBy["qcd_reply"] != 1 || r.DetectedBy["timeout"] != 0 {
		t.Errorf("detected by %v", r.DetectedBy)
	}
	if r.TripsFull != 2 || r.OctetsFull != 1000 || r.TripsResume != 2 || r.OctetsResume != 1500 {
		t.Errorf("%+v", r)
	}
	r.Wire = map[string]uint64{"38": 4, "35": 8, "34": 2}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"detected by:   roll_call 2, qcd_reply 1\n", "on the wire:   IKE_AUTH 8, IKE_SESSION_RESUME 4, IKE_SA_INIT 2\n",
		"2 of 4 clients resumed, 1 fell back to a full handshake, 1 failed\n", "client 4: nobody answers\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
