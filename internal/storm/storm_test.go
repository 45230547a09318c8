package storm

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"blackswan"
	"blackswan/internal/udp"
	"blackswan/internal/udp/udptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside is a gateway in this process. It is closed, not killed: what the
// program does on SIGKILL is tested where the program is.
type inside struct {
	t   *testing.T
	cfg blackswan.Config
	g   *blackswan.Gateway
	ran chan error
}

const testKey = "0x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"

// raiseInside starts a gateway, and options that fit it.
func raiseInside(t *testing.T, clients int) (*inside, Options) {
	t.Helper()
	port, nat := udptest.FreePorts(t)
	ike := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	g := &inside{t: t, ran: make(chan error, 1), cfg: blackswan.Config{
		StateDir: t.TempDir(), Listen: []netip.Addr{ike.Addr()}, Port: ike.Port(), NATPort: nat, QCD: "on", Log: slog.New(slog.DiscardHandler),
		Connections: []blackswan.Connection{{
			Name: "storm", PSK: testKey, Local: blackswan.Side{ID: "gw.storm"}, Remote: blackswan.Side{ID: "*@storm"},
			IKE: []string{DefaultIKE}, ESP: []string{DefaultESP},
		}},
	}}
	if _, err := g.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.kill(context.Background()) })
	return g, Options{Clients: clients, Gateway: ike, NATPort: nat, PSK: testKey, Crash: g}
}

func (g *inside) start(context.Context) (listened time.Time, err error) {
	if g.g, err = blackswan.NewGateway(g.cfg); err != nil {
		return listened, err
	}
	listened = time.Now()
	go func() { g.ran <- g.g.Run(context.Background()) }()
	return listened, nil
}

func (g *inside) process(context.Context) (Process, error) { return "", nil }

func (g *inside) kill(context.Context) error {
	if g.g == nil {
		return nil
	}
	err := errors.Join(g.g.Close(), <-g.ran)
	g.g = nil
	return err
}

func TestStorm(t *testing.T) {
	const clients = 300
	g, o := raiseInside(t, clients)
	o.Resume = true
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Some ask on their own just then: the first message of a resumed SA (rule D7).
	heard := r.DetectedBy["roll_call"] + r.DetectedBy["qcd_reply"]
	if r.Resumed != clients || r.FellBack != 0 || r.Failed != 0 || !r.OK() || heard != clients || r.DetectedBy["roll_call"] == 0 {
		t.Errorf("%+v", r)
	}
	if r.BackSeconds <= 0 || r.Detect.P50 <= 0 || r.Back.Max < r.Back.P99 || r.ResumeLatency.P50 <= 0 || r.FullLatency.P50 <= 0 || r.FullRate <= 0 {
		t.Errorf("figures: %+v", r)
	}
	if n := len(r.Curve); n != curvePoints || r.Curve[n-1].Clients != clients || r.Curve[n-1].Milliseconds != r.Back.Max {
		t.Errorf("curve: %v", r.Curve)
	}
	st := g.g.Status(0)
	if st.Totals.SAs != clients || st.Totals.Resumed != clients || st.Totals.Full != 0 {
		t.Errorf("the gateway: %+v", st.Totals)
	}
}

// Whoever cannot connect is an error that says why.
func TestRefused(t *testing.T) {
	_, o := raiseInside(t, 3)
	o.PSK, o.Patience = "another secret of twenty octets", 2*time.Second
	_, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "0 of 3 clients connected: ") || !strings.Contains(err.Error(), "AUTHENTICATION_FAILED") {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Clients: 1, Gateway: netip.MustParseAddrPort("127.0.0.1:500"), PSK: testKey}
	for _, row := range []struct {
		what   string
		change func(*Options)
		want   string
	}{
		{"no clients", func(o *Options) { o.Clients = 0 }, "0 clients"},
		{"too many clients", func(o *Options) { o.Clients = MaxClients + 1 }, "choose 1 to"},
		{"one name for all", func(o *Options) { o.ID = "me" }, `"me" needs one %d`},
		{"a verb of its own", func(o *Options) { o.ID = "%s%d" }, "needs one %d"},
		{"no proposal", func(o *Options) { o.IKE = "rot13" }, "rot13"},
		{"no proposal of ESP", func(o *Options) { o.ESP = "rot13" }, "rot13"},
		{"no secret", func(o *Options) { o.PSK = "" }, "psk: empty"},
		{"no way", func(o *Options) { o.Auth = "trust" }, "choose psk or cert"},
		{"no authority", func(o *Options) { o.Auth, o.CA = "cert", "/nonexistent" }, "/nonexistent"},
		{"ports at many addresses", func(o *Options) { o.Ports, o.From = true, netip.MustParsePrefix("127.1.0.0/16") }, "write --from 127.1.0.0/32"},
		{"another's ring", func(o *Options) { o.BreakRing = true }, "blackswan keys revoke"},
		{"two families", func(o *Options) { o.From = netip.MustParsePrefix("fd00::/64") }, "two families"},
	} {
		o := good
		row.change(&o)
		if _, err := Run(t.Context(), o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, row := range []struct {
		prefix string
		n      int
		want   string
	}{
		{prefix: "127.64.0.0/10", n: 0, want: "127.64.0.1"},
		{prefix: "127.64.0.0/10", n: 99999, want: "127.65.134.160"},
		{prefix: "192.0.2.0/30", n: 1, want: "192.0.2.2"},
		{prefix: "192.0.2.0/30", n: 2, want: "192.0.2.1"}, // begins again
		{prefix: "192.0.2.7/32", n: 5, want: "192.0.2.7"},
		{prefix: "fd00::/64", n: 256, want: "fd00::101"},
	} {
		if got := spread(netip.MustParsePrefix(row.prefix)).of(row.n); got != netip.MustParseAddr(row.want) {
			t.Errorf("client %d of %s: %v, want %s", row.n, row.prefix, got, row.want)
		}
	}
}

func TestTurn(t *testing.T) {
	now := time.Unix(1000, 0)
	all := turn{end: 3, pace: pace{atOnce: 2}}
	for _, row := range []struct {
		underWay, want int
		ok             bool
	}{{0, 0, true}, {1, 1, true}, {2, 0, false}, {1, 2, true}, {0, 0, false}} {
		if i, ok := all.take(now, row.underWay); i != row.want || ok != row.ok {
			t.Errorf("%d under way: %d, %v", row.underWay, i, ok)
		}
	}
	steady := turn{end: 9, pace: pace{every: time.Second, due: now}}
	for _, row := range []struct {
		after, wait time.Duration
		ok          bool
	}{{0, 0, true}, {0, time.Second, false}, {2500 * time.Millisecond, 0, true}, {2500 * time.Millisecond, 0, true}, {2500 * time.Millisecond, 500 * time.Millisecond, false}} {
		at := now.Add(row.after)
		wait := steady.wait(at, 1000)
		if _, ok := steady.take(at, 1000); ok != row.ok || wait != row.wait {
			t.Errorf("after %v: wait %v, %v", row.after, wait, ok)
		}
	}
}

// With every twentieth datagram lost, others doubled and overtaken, and a
// second crash amid the recovery from the first, every client is back in the
// end, and none is there twice.
func TestBadWeather(t *testing.T) {
	const clients = 250
	g, o := raiseInside(t, clients)
	o.Weather = Weather{Loss: 0.05, Duplicate: 0.05, Reorder: 0.05}
	o.Crashes, o.Timers = 2, Timers{Retry: 300 * time.Millisecond, DPD: time.Second}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != 0 || r.Resumed+r.FellBack != clients || r.Retransmissions == 0 {
		t.Errorf("%+v", r)
	}
	there := map[string]int{}
	for _, sa := range g.g.Status(-1).SAs {
		if sa.State == "established" {
			there[sa.Peer]++
		}
	}
	for peer, n := range there {
		if n != 1 {
			t.Errorf("%s has %d SAs", peer, n)
		}
	}
	if len(there) != clients {
		t.Errorf("%d of %d clients are at the gateway", len(there), clients)
	}
}

// Weather loses, doubles and delays about as much as it was told, and nothing
// else happens to a datagram.
func TestWeather(t *testing.T) {
	const sent = 10000
	w := newWeather(Weather{Loss: 0.1, Duplicate: 0.2, Reorder: 0.1}, 1, 0)
	seen := map[int]int{}
	at := func(m udp.Message) int { return int(m.Data[0])<<8 | int(m.Data[1]) }
	late := 0
	for i := range sent {
		data := []byte{byte(i >> 8), byte(i)}
		w.pass(udp.Message{Data: data}, func(m udp.Message) { seen[at(m)]++ })
		data[0], data[1] = 0xff, 0xff // its owner uses it again
		if i%100 == 99 {
			w.release(func(m udp.Message) { seen[at(m)]++; late++ })
		}
	}
	for w.holds() {
		w.release(func(m udp.Message) { seen[at(m)]++; late++ })
	}
	lost, twice := sent-len(seen), 0
	for i, n := range seen {
		if i >= sent || n > 2 {
			t.Fatalf("datagram %d came %d times", i, n)
		}
		twice += n - 1
	}
	for _, row := range []struct {
		what      string
		got, want int
	}{{"lost", lost, 1000}, {"twice", twice, 1620}, {"late", late, 900 + 1620}} {
		if row.got < row.want*9/10 || row.got > row.want*11/10 {
			t.Errorf("%d %s, want about %d", row.got, row.what, row.want)
		}
	}
	clear := newWeather(Weather{}, 1, 0)
	clear.pass(udp.Message{Data: []byte{1}}, func(udp.Message) { late = -1 })
	if late != -1 || clear.holds() {
		t.Error("without weather a datagram does not pass")
	}
}
