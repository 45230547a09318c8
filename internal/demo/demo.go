// Package demo kills a gateway and shows how its clients come back. A
// supervisor starts a gateway process and a process with many clients, which
// hears nothing from the supervisor after its start; it kills the gateway with
// SIGKILL, starts it again, and reads what the clients print.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"blackswan"
)

// Options of Run.
type Options struct {
	Clients    int
	NoRollCall bool // the restarted gateway stays silent: clients learn from its answer to a liveness check
	NoQCD      bool // no tokens at all: clients learn from silence

	// Command makes the command of a child, which runs Child with this role
	// and file. The end of ctx kills it.
	Command func(ctx context.Context, role, file string) *exec.Cmd
	// Progress is told what happens meanwhile, or is nil.
	Progress io.Writer
}

// MaxClients is bounded by the addresses that the demo uses.
const MaxClients = 60000

// ErrOptions is what Run cannot do.
var ErrOptions = errors.New("demo")

// settle is a moment in which everything is written that is written behind:
// the roll call is on disk a second late at most (rule C2).
const settle = 1200 * time.Millisecond

// spec is what a child of the demo is started with, in a file of mode 0600.
type spec struct {
	Dir      string // of the whole demo
	Gateway  netip.AddrPort
	NATPort  uint16
	Clients  int
	PSK      string
	RollCall bool
	QCD      bool
}

// Run is the supervisor. It returns once every client is back, or after the
// time that this may take; the error tells of what kept it from measuring. All
// that it started and made is gone when it returns.
func Run(ctx context.Context, opt Options) (report *Report, err error) {
	if opt.Clients < 1 || opt.Clients > MaxClients {
		return nil, fmt.Errorf("%w: %d clients: choose 1 to %d", ErrOptions, opt.Clients, MaxClients)
	}
	if err := enoughFiles(opt.Clients); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "blackswan-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	s := &supervisor{
		Options: opt, lives: make([]life, opt.Clients), news: make(chan news),
		spec: spec{
			Dir: dir, Gateway: netip.MustParseAddrPort("127.0.0.1:0"), Clients: opt.Clients, PSK: "0x" + hex.EncodeToString(secret),
			RollCall: !opt.NoRollCall && !opt.NoQCD, QCD: !opt.NoQCD,
		},
	}
	return s.run(ctx)
}

// enoughFiles tells whether one process may have the sockets of n clients.
func enoughFiles(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("demo: limit of open files: %w", err)
	}
	if need := uint64(3*n + 64); limit.Max < need {
		return fmt.Errorf("%w: %d clients need %d open files and this process may have %d: raise the limit (ulimit -Hn %d, as root), or choose --clients %d",
			ErrOptions, n, need, limit.Max, need, (max(limit.Max, 67)-64)/3)
	}
	return nil
}

// Child is a process of the demo: the gateway or the clients, as role says. It
// reads its spec from file, tells its supervisor on stdout what happens and
// runs until ctx ends.
func Child(ctx context.Context, role, file string, stdin io.Reader, stdout io.Writer) error {
	// A supervisor that was killed leaves a broken pipe: a word into it must not
	// end the child before it has cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	var s spec
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("demo: %s: %w", file, err)
	}
	switch role {
	case roleGateway:
		return runGateway(ctx, s, stdin, stdout)
	case Clients:
		return runClients(ctx, s, stdout)
	}
	return fmt.Errorf("demo: no child is called %q", role)
}

// write puts s into a file for a child.
func (s spec) write(role string) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, role+".json")
	return file, os.WriteFile(file, text, 0o600)
}

// The roles of Child, and the names of both sides.
const (
	roleGateway = "gateway"
	// Clients is the role of the child that holds the clients.
	Clients     = "clients"
	gatewayName = "gateway.demo"
	clientTail  = "@demo"
)

// connection is what both sides have in common.
func (s spec) connection() blackswan.Connection {
	return blackswan.Connection{
		Name: "demo", PSK: s.PSK,
		IKE: []string{"aes256gcm16-prfsha256-x25519"}, ESP: []string{"aes256gcm16"},
		LocalTS: []string{"dynamic"}, RemoteTS: []string{"dynamic"},
	}
}

func (s spec) gatewayConfig() blackswan.Config {
	c := s.connection()
	c.Local = blackswan.Side{ID: gatewayName, Auth: "psk"}
	c.Remote = blackswan.Side{ID: "*" + clientTail, Auth: "psk"}
	return blackswan.Config{
		StateDir: filepath.Join(s.Dir, "gateway"),
		Listen:   []netip.Addr{s.Gateway.Addr()}, Port: s.Gateway.Port(), NATPort: s.NATPort, AnyPort: true,
		QCD: onOff(s.QCD), RollCall: roll(s.RollCall),
		Connections: []blackswan.Connection{c},
	}
}

// clientConfig is that of client number n, from 0, with an address of its own.
func (s spec) clientConfig(n int) blackswan.Config {
	c := s.connection()
	c.Gateway, c.GatewayNATPort = s.Gateway.String(), s.NATPort
	c.Local = blackswan.Side{ID: fmt.Sprintf("client-%d%s", n+1, clientTail), Auth: "psk"}
	c.Remote = blackswan.Side{ID: gatewayName, Auth: "psk"}
	cfg := blackswan.Config{
		Listen: []netip.Addr{netip.AddrFrom4([4]byte{127, 20, byte(n / 250), byte(1 + n%250)})}, AnyPort: true,
		QCD: onOff(s.QCD), RollCall: roll(s.RollCall),
	}
	switch {
	case !s.QCD:
		c.DPD = time.Second
		cfg.Timers.Liveness = blackswan.Backoff{Initial: 300 * time.Millisecond, Max: time.Second, Tries: 4}
	case !s.RollCall:
		c.DPD = time.Second
	}
	cfg.Connections = []blackswan.Connection{c}
	return cfg
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func roll(on bool) string {
	if on {
		return "ours"
	}
	return "off"
}
