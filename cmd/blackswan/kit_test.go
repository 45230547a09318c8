package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"blackswan/internal/udp/udptest"
)

// The test binary is the program when it is told so.
const beProgram = "BLACKSWAN_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// nobody is the user of the programs that root's tests start.
const nobody = 65534

// person is a user without root, with a home of its own.
type person struct {
	program, home string
}

// newPerson copies the program to where a user without root can start it.
func newPerson(t *testing.T) person {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "blackswan-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := person{program: filepath.Join(dir, "blackswan"), home: filepath.Join(dir, "home")}
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(p.program, self, 0o755), os.Mkdir(p.home, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(p.home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p person) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = p.home
	cmd.Env = append(os.Environ(), beProgram+"=1", "HOME="+p.home, "XDG_STATE_HOME="+p.home+"/state", "TMPDIR="+p.home)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// run runs the program to its end.
func (p person) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := p.command(p.program, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// ok runs the program, which must succeed, and returns what it printed.
func (p person) ok(t *testing.T, args ...string) string {
	t.Helper()
	out, problems, code := p.run(t, args...)
	if code != exitOK {
		t.Fatalf("blackswan %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, problems)
	}
	return out
}

// json is ok with --json, decoded.
func (p person) json(t *testing.T, into any, args ...string) {
	t.Helper()
	out := p.ok(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("blackswan %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// program is one that runs; its lines of stdout and stderr are kept.
type program struct {
	cmd   *exec.Cmd
	mu    sync.Mutex
	lines []string
	more  chan struct{} // a line came
	done  chan struct{} // it has ended, and all its lines are there
}

func (p person) start(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	g := &program{cmd: cmd, more: make(chan struct{}, 1), done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		w.Close()
	}()
	go func() {
		defer close(g.done) // all that it said has been read
		for s := bufio.NewScanner(r); s.Scan(); {
			g.mu.Lock()
			g.lines = append(g.lines, s.Text())
			g.mu.Unlock()
			select {
			case g.more <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-g.done
	})
	return g
}

func (g *program) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.lines, "\n")
}

// await waits for a line with that text and returns it.
func (g *program) await(t *testing.T, text string) string {
	t.Helper()
	return g.awaitNth(t, text, 1)
}

// awaitNth waits for the nth line with that text.
func (g *program) awaitNth(t *testing.T, text string, n int) string {
	t.Helper()
	late := time.After(20 * time.Second)
	for seen, ended := 0, false; ; {
		select {
		case <-g.done: // there will be no more than there is now
			ended = true
		default:
		}
		g.mu.Lock()
		lines := g.lines[seen:]
		seen = len(g.lines)
		g.mu.Unlock()
		for _, line := range lines {
			if strings.Contains(line, text) {
				n--
			}
			if n == 0 {
				return line
			}
		}
		if ended {
			t.Fatalf("ended before it said %q:\n%s", text, g.text())
		}
		select {
		case <-g.more:
		case <-g.done:
		case <-late:
			t.Fatalf("did not say %q:\n%s", text, g.text())
		}
	}
}

// end sends a signal and waits for the end.
func (g *program) end(t *testing.T, signal os.Signal) (code int) {
	t.Helper()
	if err := g.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%v does not end it:\n%s", signal, g.text())
	}
	return g.cmd.ProcessState.ExitCode()
}

// freePorts are two UDP ports that nobody uses, as arguments.
func freePorts(t *testing.T) (ports [2]string) {
	t.Helper()
	ike, nat := udptest.FreePorts(t)
	return [2]string{fmt.Sprint(ike), fmt.Sprint(nat)}
}
