package interop

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a daemon inside a node. It dies with the test process, however
// that ends, and with its owner's cleanup.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  journal
	done chan struct{}
}

// Run runs a command inside the node and returns all that it wrote.
func (n *Node) Run(t testing.TB, env []string, command ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // t.Context has ended in a cleanup
	defer cancel()
	cmd := n.command(ctx, env, command)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return string(out), err
}

// MustRun is Run for a command that has to succeed.
func (n *Node) MustRun(t testing.TB, env []string, command ...string) string {
	t.Helper()
	out, err := n.Run(t, env, command...)
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", n.word, strings.Join(command, " "), err, out)
	}
	return out
}

func (n *Node) command(ctx context.Context, env, command []string) *exec.Cmd {
	args := append([]string{"netns", "exec", n.name}, command...)
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	// ip becomes the command, so the signal reaches the command itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Start starts a daemon inside the node; t ends it. When t has failed, the
// daemon's words since Start are in the test's log.
func (n *Node) Start(t testing.TB, env []string, command ...string) *Process {
	t.Helper()
	p := &Process{
		name: n.word + " " + command[0],
		cmd:  n.command(context.Background(), env, command),
		done: make(chan struct{}),
	}
	p.log.grown = make(chan struct{})
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.Stop)
	p.showWhenFailed(t, 0)
	return p
}

// showWhenFailed puts the log from a mark on into the log of a failed test. That
// of the test which began a lasting process is closed long before the process is.
func (p *Process) showWhenFailed(t testing.TB, from int) {
	if l, ok := t.(lasting); ok {
		t = l.TB
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, strings.Join(p.log.since(from), "\n"))
		}
	})
}

// Stop ends the process with SIGTERM, and with SIGKILL if it stays.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Interrupt sends SIGINT and waits for the end.
func (p *Process) Interrupt() {
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Kill ends the process as a crash would, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Mark is the present end of the log, for Await to begin at.
func (p *Process) Mark() int { return p.log.len() }

// Said reports whether a line since mark matches.
func (p *Process) Said(mark int, pattern string) bool {
	re := regexp.MustCompile(pattern)
	for _, line := range p.log.since(mark) {
		if re.MatchString(line) {
			return true
		}
	}
	return false
}

// Await waits until the process has written a line that matches, at or after
// mark, and returns that line.
func (p *Process) Await(t testing.TB, mark int, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for at := mark; ; {
		lines, grown := p.log.waitable(at)
		for _, line := range lines {
			if re.MatchString(line) {
				return line
			}
		}
		at += len(lines)
		select {
		case <-grown:
		case <-p.done:
			if p.Said(mark, pattern) {
				continue
			}
			t.Fatalf("%s ended (%v) before it said %q", p.name, p.cmd.ProcessState, pattern)
		case <-ctx.Done():
			t.Fatalf("%s never said %q", p.name, pattern)
		}
	}
}

// journal keeps the lines that a process writes.
type journal struct {
	mu    sync.Mutex
	lines []string
	part  []byte        // a line whose end is still to come
	grown chan struct{} // closed and replaced at each new line
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.part = append(j.part, b...)
	for {
		line, rest, whole := bytes.Cut(j.part, []byte{'\n'})
		if !whole {
			return len(b), nil
		}
		j.lines = append(j.lines, string(line))
		j.part = append(j.part[:0], rest...)
		close(j.grown)
		j.grown = make(chan struct{})
	}
}

// forget drops what was said so far.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = nil
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

func (j *journal) since(mark int) []string {
	lines, _ := j.waitable(mark)
	return lines
}

// waitable returns the lines since mark and the channel that the next closes.
func (j *journal) waitable(mark int) ([]string, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines[mark:len(j.lines):len(j.lines)], j.grown
}
