package interop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program builds blackswan once for the lab and returns where it is.
func (l *Lab) program(t testing.TB) string {
	t.Helper()
	l.building.Do(func() {
		binary := filepath.Join(l.dir, "blackswan")
		cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/blackswan")
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		l.binary = binary
	})
	if l.binary == "" {
		t.Fatal("blackswan was not built: see the first failure")
	}
	return l.binary
}

// Swan is our own program running in a node, as gateway or as client.
type Swan struct {
	*Process
	node    *Node
	command []string
	as      []string // what makes the command another user's; nothing: root's
	Dir     string   // its config, state and key log
}

// Gateway starts `blackswan gateway` with this gateway.yaml and files beside
// it, and waits until it listens.
func (n *Node) Gateway(t testing.TB, yaml string, files map[string][]byte) *Swan {
	t.Helper()
	s := n.swan(t, "gateway", yaml, files)
	s.start(t)
	s.Listening(t)
	return s
}

// Connect starts `blackswan connect` for the connection office of this
// client.yaml.
func (n *Node) Connect(t testing.TB, yaml string, files map[string][]byte) *Swan {
	t.Helper()
	s := n.swan(t, "connect", yaml, files, "office")
	s.start(t)
	return s
}

// Proxy starts `blackswan connect --proxy` as nobody, who can have no TUN and
// touch nothing of the host.
func (n *Node) Proxy(t testing.TB, yaml, listen string) *Swan {
	t.Helper()
	const nobody = 65534
	s := n.swan(t, "connect", yaml, nil, "office", "--any-port", "--proxy", listen)
	id := strconv.Itoa(nobody)
	s.as = []string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--no-new-privs"}
	for path, mode := range map[string]os.FileMode{n.lab.dir: 0o711, s.Dir: 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{s.Dir, filepath.Join(s.Dir, "connect.yaml")} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t)
	return s
}

func (n *Node) swan(t testing.TB, role, yaml string, files map[string][]byte, more ...string) *Swan {
	t.Helper()
	dir := n.Dir(t, role)
	config := filepath.Join(dir, role+".yaml")
	write(t, config, yaml)
	for name, content := range files {
		write(t, filepath.Join(dir, name), string(content))
	}
	command := []string{n.lab.program(t), role, "--config", config,
		"--state", filepath.Join(dir, "state"), "--keylog", filepath.Join(dir, "keylog")}
	return &Swan{node: n, Dir: dir, command: append(command, more...)}
}

func (s *Swan) start(t testing.TB) {
	t.Helper()
	s.Process = s.node.Start(t, nil, slices.Concat(s.as, s.command)...)
	if s.command[1] == "connect" {
		t.Cleanup(s.Interrupt) // with a DELETE, so that the peer has not to wait for us
	}
}

// KeyLog is the file with the keys of every SA, in Wireshark's form.
func (s *Swan) KeyLog() string { return filepath.Join(s.Dir, "keylog") }

// Restart starts the program again with the same configuration and state,
// after a Kill or a Stop.
func (s *Swan) Restart(t testing.TB) {
	t.Helper()
	s.start(t)
}

// Listening waits until a gateway listens, and returns when it began to.
func (s *Swan) Listening(t testing.TB) time.Time {
	t.Helper()
	line := s.Await(t, 0, `msg=listening`)
	_, rest, _ := strings.Cut(line, "time=")
	stamp, _, _ := strings.Cut(rest, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		t.Fatalf("our gateway says %q: %v", line, err)
	}
	return at
}

// Status is what a test reads of `blackswan status --json`.
type Status struct {
	Totals struct {
		Established, Full, Resumed, Failed, Down, Tickets uint64
		FellBack                                          uint64 `json:"fell_back"`
		ChildFailed                                       uint64 `json:"child_failed"`
		TokensShown                                       uint64 `json:"tokens_shown"`
		RollCallShown                                     uint64 `json:"roll_call_shown"`
	}
	Traffic Traffic
	SAs     []SA
}

// Traffic is what Child SAs carried, in inner packets and their octets.
type Traffic struct {
	In        uint64 `json:"in_packets"`
	InOctets  uint64 `json:"in_octets"`
	Out       uint64 `json:"out_packets"`
	OutOctets uint64 `json:"out_octets"`
}

// Since is what was carried since then.
func (t Traffic) Since(then Traffic) Traffic {
	return Traffic{t.In - then.In, t.InOctets - then.InOctets, t.Out - then.Out, t.OutOctets - then.OutOctets}
}

// Mirror is the same traffic as the other end has to count it.
func (t Traffic) Mirror() Traffic {
	return Traffic{In: t.Out, InOctets: t.OutOctets, Out: t.In, OutOctets: t.InOctets}
}

// SA is an IKE SA in our own view.
type SA struct {
	SPIi       string `json:"spi_i"`
	SPIr       string `json:"spi_r"`
	Connection string
	Remote     netip.AddrPort
	State      string
	Resumed    bool
	Suite      string
	Child      string // name of the Child SA of the next two
	ChildIn    string `json:"child_in"`
	ChildOut   string `json:"child_out"`
	Mode       string // "transport", or nothing: tunnel mode
	Traffic    Traffic
	Children   []struct { // those beside that one
		Name, In, Out string
		Traffic       Traffic
	}
	Wanted []struct{ Name, Refused string }
	By     string        `json:"detected_by"` // how the loss of the SA before was learned
	Heard  time.Duration `json:"heard_ns"`    // since the peer was heard last
}

// Do runs a command about this running program, such as delete.
func (s *Swan) Do(t testing.TB, command ...string) {
	t.Helper()
	s.node.MustRun(t, nil, s.about(command...)...)
}

// Status asks our program over its control socket.
func (s *Swan) Status(t testing.TB) (status Status, err error) {
	t.Helper()
	out, err := s.node.Run(t, nil, s.about("status", "--json")...)
	if err != nil {
		return status, fmt.Errorf("status: %w: %s", err, out)
	}
	return status, json.Unmarshal([]byte(out), &status)
}

func (s *Swan) about(command ...string) []string {
	return append(append([]string{s.command[0]}, command...), "--state", filepath.Join(s.Dir, "state"))
}

// AwaitStored waits until the gateway has written its store after a moment and
// has been quiet for half a second: what it keeps behind (rule C2), 200 ms in a
// page and 200 ms in the store, is then on disk.
func (s *Swan) AwaitStored(t testing.TB, after time.Time) {
	t.Helper()
	last, quiet := time.Time{}, 0
	until(t, "our gateway to write its store", func() bool {
		info, err := os.Stat(filepath.Join(s.Dir, "state", "store.db"))
		if err != nil || !info.ModTime().After(after) {
			return false
		}
		if !info.ModTime().Equal(last) {
			last, quiet = info.ModTime(), 0
		}
		quiet++
		return quiet > 25
	})
}

// AwaitUp waits until our program has exactly one established IKE SA, with a
// Child SA, and returns it.
func (s *Swan) AwaitUp(t testing.TB) SA {
	t.Helper()
	var up SA
	until(t, "one established SA with a Child SA at our "+s.command[1], func() bool {
		status, err := s.Status(t)
		if err != nil || len(status.SAs) != 1 {
			return false
		}
		up = status.SAs[0]
		return up.State == "established" && up.ChildIn != ""
	})
	return up
}

// AwaitNone waits until our program has no SA.
func (s *Swan) AwaitNone(t testing.TB) {
	t.Helper()
	until(t, "our "+s.command[1]+" to have no SA", func() bool {
		status, err := s.Status(t)
		return err == nil && len(status.SAs) == 0
	})
}
