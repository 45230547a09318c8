package kills

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"blackswan"
	"blackswan/internal/udp/udptest"
)

// program is the program under test.
var program string

// build makes it. The binary of this test could be a gateway too, but not one
// that a person would start.
func build(to string) error {
	program = to
	if out, err := exec.Command("go", "build", "-o", to, "blackswan/cmd/blackswan").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// site is where gateway processes live, one after the other.
type site struct {
	dir      string // of the state
	config   string // file
	ike, nat uint16
}

func newSite(t *testing.T) *site {
	t.Helper()
	home := t.TempDir()
	s := &site{dir: filepath.Join(home, "gateway"), config: filepath.Join(home, "gateway.yaml")}
	s.ike, s.nat = udptest.FreePorts(t)
	id := filepath.Join(home, "machine-id")
	text := fmt.Sprintf(`listen: [127.0.0.1]
port: %d
nat_port: %d
machine_id: [%s]
traffic: off
connections:
  - name: office
    local: {id: gw.example.org}
    remote: {id: "*@example.org"}
    psk: "%s"
    ike: [aes128gcm16-sha256-x25519]
    esp: [aes128gcm16]
    local_ts: [10.1.0.0/16]
    remote_ts: [10.2.0.0/16]
`, s.ike, s.nat, id, psk)
	for name, content := range map[string]string{s.config: text, id: "0123456789abcdef0123456789abcdef\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

const psk = "0x000102030405060708090a0b0c0d0e0f10111213"

// address is that of the gateway without UDP encapsulation.
func (s *site) address() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.ike)
}

// run runs the program beside the gateway, on its state directory, to a good
// end, and decodes what it says unless into is nil.
func (s *site) run(t *testing.T, into any, args ...string) {
	t.Helper()
	cmd := exec.Command(program, append(args, "--json", "--state", s.dir)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if err == nil && into != nil {
		err = json.Unmarshal(out.Bytes(), into)
	}
	if err != nil {
		t.Fatalf("blackswan %s: %v\n%s", strings.Join(args, " "), err, problems.String())
	}
}

// established are the SAs of the running gateway. Resumes that nobody went on
// with are not among them.
func (s *site) established(t *testing.T) []blackswan.SAStatus {
	t.Helper()
	var st blackswan.Status
	s.run(t, &st, "status", "--all")
	return slices.DeleteFunc(st.SAs, func(sa blackswan.SAStatus) bool { return sa.State != "established" })
}

func (s *site) nobodyLeft(t *testing.T) {
	t.Helper()
	until(t, func() string {
		if sas := s.established(t); len(sas) > 0 {
			return fmt.Sprintf("all clients sent DELETE and %d SAs are left: %+v", len(sas), sas[0])
		}
		return ""
	})
}

// gateway is a process.
type gateway struct {
	cmd  *exec.Cmd
	up   chan struct{} // closed when it listens
	done chan struct{} // closed at its end

	mu    sync.Mutex
	lines []string // of its log, the last ones
}

func (s *site) start(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{
		cmd: exec.Command(program, "gateway", "--config", s.config, "--state", s.dir),
		up:  make(chan struct{}), done: make(chan struct{}),
	}
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go g.read(bufio.NewScanner(stderr))
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill() // an error says that it is gone
		<-g.done
	})
	return g
}

// read takes the log of the process, and then its end.
func (g *gateway) read(log *bufio.Scanner) {
	defer close(g.done)
	for up := false; log.Scan(); {
		if !up && strings.Contains(log.Text(), "msg=listening") {
			up = true
			close(g.up)
		}
		g.mu.Lock()
		g.lines = append(g.lines[max(len(g.lines)-30, 0):], log.Text())
		g.mu.Unlock()
	}
	_ = g.cmd.Wait() // ProcessState tells
}

func (g *gateway) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.lines, "\n")
}

// settled waits until the gateway listens, or has ended of itself.
func (g *gateway) settled(t *testing.T) (up bool) {
	t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case <-g.up:
		return true
	case <-g.done:
		select {
		case <-g.up:
			return true
		default:
		}
	case <-late.C:
		t.Fatalf("the gateway neither listens nor ends:\n%s", g.log())
	}
	return false
}

// listens waits until it does.
func (g *gateway) listens(t *testing.T) {
	t.Helper()
	if !g.settled(t) {
		t.Fatalf("the gateway does not start:\n%s", g.log())
	}
}

// kill is SIGKILL. A process that has ended before is a failure.
func (g *gateway) kill(t *testing.T) {
	t.Helper()
	_ = g.cmd.Process.Kill()
	<-g.done
	if status, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the gateway ended before it was killed: %v\n%s", g.cmd.ProcessState, g.log())
	}
}
