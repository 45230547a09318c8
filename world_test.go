package blackswan

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"blackswan/internal/udp"
	"blackswan/internal/udp/udptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gatewayAddr and clientAddr are addresses of the network in memory.
var (
	gatewayAddr = netip.MustParseAddr("192.0.2.1")
	clientAddr  = netip.MustParseAddr("198.51.100.7")
	bobAddr     = []netip.Addr{netip.MustParseAddr("198.51.100.8")}
)

// lab is a gateway, clients, and the network between them.
type lab struct {
	t    *testing.T
	net  *udptest.Network // nil: real sockets
	dir  string           // of the gateway's state
	gw   Config
	mu   sync.Mutex
	seen []Event // of gateway and clients, in their order
	wire []string

	made    func(*Gateway) // before it runs
	changed chan struct{}  // an event came; nil in a bubble
}

// newLab has a network in memory; use it in a synctest bubble.
func newLab(t *testing.T) *lab {
	l := &lab{t: t, net: &udptest.Network{Delay: time.Millisecond}}
	l.prepare()
	return l
}

func (l *lab) prepare() {
	l.dir = filepath.Join(l.t.TempDir(), "gateway")
	l.gw = Config{
		Listen: []netip.Addr{gatewayAddr}, Shards: 1, Log: quiet(), Connections: []Connection{{
			Name:   "office",
			Local:  Side{ID: "gw.example.org"},
			Remote: Side{ID: "*@example.org"},
			PSK:    "0x000102030405060708090a0b0c0d0e0f10111213",
			IKE:    []string{"aes128gcm16-sha256-x25519"}, ESP: []string{"aes128gcm16"},
			LocalTS: []string{"10.1.0.0/16"}, RemoteTS: []string{"10.2.0.0/16"},
		}},
		MachineID: []string{machineID(l.t)},
	}
}

// machineID is a file that names this machine for the test.
func machineID(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(path, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// client is the configuration of a client of that name.
func (l *lab) client(name string) Config {
	c := l.gw.Connections[0]
	c.Local, c.Remote = Side{ID: name + "@example.org"}, Side{ID: "gw.example.org"}
	c.LocalTS, c.RemoteTS = []string{"10.2.0.0/16"}, []string{"10.1.0.0/16"}
	c.Gateway = gatewayAddr.String()
	return Config{Listen: []netip.Addr{clientAddr}, Log: quiet(), Connections: []Connection{c}}
}

func (l *lab) listen(shards int, cfg udp.Config) ([]udp.Port, error) {
	if shards != 1 {
		return nil, fmt.Errorf("the network in memory has no groups")
	}
	c, err := l.net.Listen(cfg)
	return []udp.Port{c}, err
}

// running is a Gateway or a Client in its Run.
type running struct {
	cancel context.CancelCauseFunc
	ended  chan error
}

func start(run func(context.Context) error) *running {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &running{cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx) }()
	return r
}

// stop ends a Run and waits for it.
func (r *running) stop(t *testing.T, cause error) {
	t.Helper()
	r.cancel(cause)
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func (l *lab) hear(who string) func(Event) {
	return func(e Event) {
		e.Connection = who
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, e)
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

// events are those of one node and kind.
func (l *lab) events(who string, kind EventKind) (all []Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.seen {
		if e.Connection == who && e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// want fails the test unless that many events of a kind came.
func (l *lab) want(who string, kind EventKind, n int) {
	l.t.Helper()
	if got := len(l.events(who, kind)); got != n {
		l.t.Errorf("%s: %d times %s, want %d:\n%s", who, got, kind, n, l.story())
	}
}

// detected fails the test unless who learned of one crash, in that way.
func (l *lab) detected(who, by string) {
	l.t.Helper()
	if d := l.events(who, Detected); len(d) != 1 || d[0].By != by {
		l.t.Errorf("%s did not detect the crash by %s:\n%s", who, by, l.story())
	}
}

// refused fails the test unless the gateway refused somebody, for that reason.
func (l *lab) refused(why string) {
	l.t.Helper()
	if r := l.events("gateway", Refused); len(r) == 0 || !strings.Contains(r[0].Err.Error(), why) {
		l.t.Errorf("the gateway did not refuse because %s:\n%s", why, l.story())
	}
}

// keeping is a client with a state directory.
func (l *lab) keeping(name string) Config {
	cfg := l.client(name)
	cfg.StateDir, cfg.MachineID = filepath.Join(l.t.TempDir(), name), l.gw.MachineID
	return cfg
}

// tickets are the files of a client's jar that hold one.
func (l *lab) tickets(cfg Config) []string {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.StateDir, "jar", "*.ticket"))
	if err != nil {
		l.t.Fatal(err)
	}
	return files
}

// sent is how many datagrams the gateway has sent.
func (l *lab) sent() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.wire {
		if strings.HasPrefix(m, "<-") {
			n++
		}
	}
	return n
}

func (l *lab) story() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := ""
	for _, e := range l.seen {
		text += fmt.Sprintf("%s %s %s by=%s reason=%s err=%v\n", e.At.Format("05.000"), e.Connection, e.Kind, e.By, e.Reason, e.Err)
	}
	return text
}

// tap notes the exchange types that a gateway sees.
func (l *lab) tap(out bool, data []byte, _ time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wire = append(l.wire, fmt.Sprintf("%s%d", map[bool]string{true: "<-", false: "->"}[out], data[18]))
}

func (l *lab) gateway() (*Gateway, *running) {
	l.t.Helper()
	cfg := l.gw
	cfg.StateDir, cfg.OnEvent, cfg.Tap = l.dir, l.hear("gateway"), l.tap
	if l.net != nil {
		cfg.listen = l.listen
	}
	g, err := NewGateway(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.made != nil {
		l.made(g)
	}
	return g, start(g.Run)
}

func (l *lab) connect(name string, cfg Config) (*Client, *running) {
	l.t.Helper()
	cfg.OnEvent = l.hear(name)
	if l.net != nil {
		cfg.listen = l.listen
	}
	c, err := NewClient(cfg, "")
	if err != nil {
		l.t.Fatal(err)
	}
	return c, start(c.Run)
}

// crash takes the state directory as it is on disk now, ends the gateway and
// makes the next one start from what was taken: nothing of the end counts.
func (l *lab) crash(r *running) {
	l.t.Helper()
	image := l.image()
	r.stop(l.t, nil)
	l.dir = image
}

// image is a copy of the gateway's state directory as it is on disk now.
func (l *lab) image() string {
	l.t.Helper()
	image := filepath.Join(l.t.TempDir(), "image")
	if err := os.CopyFS(image, os.DirFS(l.dir)); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chmod(image, 0o700); err != nil {
		l.t.Fatal(err)
	}
	for _, name := range []string{"state.key", "store.db", "machine-id"} {
		if err := os.Chmod(filepath.Join(image, name), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	return image
}
