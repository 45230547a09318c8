// Package child runs processes that are started to be killed: what a child says
// is read as lines of JSON, and the last of it explains its end.
package child

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a child that prints lines of JSON.
type Process struct {
	role  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *json.Decoder
	said  *tail
	kill  sync.Once
	ended chan struct{} // of a child of Watch: closed when it has ended
}

// Start starts a child that speaks on stdout and reads stdin. role names it in
// errors.
func Start(role string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{role: role, cmd: cmd, said: &tail{}}
	cmd.Stderr = p.said
	out, err := cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = cmd.StdinPipe()
	}
	if err == nil {
		p.lines = json.NewDecoder(out)
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	return p, nil
}

// Watch starts a child whose log on stderr is JSON, and returns when the log
// says message; line takes that line. The child dies with this process, however
// that ends. It runs on the CPUs that are named; nil: those of this process.
func Watch(role string, cmd *exec.Cmd, cpus *unix.CPUSet, message string, line any) (*Process, error) {
	p := &Process{role: role, cmd: cmd, said: &tail{}, ended: make(chan struct{})}
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	heard := make(chan struct{})
	go func() {
		// The kernel means the thread that started the child: it stays as
		// long as the child, and ends with this goroutine.
		runtime.LockOSThread()
		defer close(p.ended)
		err := error(nil)
		if cpus != nil { // the child has those of the thread
			err = unix.SchedSetaffinity(0, cpus)
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		<-heard // Wait closes what is read
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		close(heard)
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	p.lines = json.NewDecoder(io.TeeReader(log, p.said))
	found := p.await(message, line)
	go func() { // what it says later must not hold it up
		_, _ = io.Copy(p.said, log)
		close(heard)
	}()
	if found != nil {
		p.Kill()
		return nil, found
	}
	return p, nil
}

// await reads the log until it says message.
func (p *Process) await(message string, line any) error {
	for {
		var raw json.RawMessage
		if err := p.lines.Decode(&raw); err != nil {
			return fmt.Errorf("the %s ended: %w%s", p.role, err, p.said)
		}
		var said struct{ Msg string }
		if json.Unmarshal(raw, &said) == nil && said.Msg == message {
			return json.Unmarshal(raw, line)
		}
	}
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Read decodes the next line. The error tells what the process said last.
func (p *Process) Read(line any) error {
	if err := p.lines.Decode(line); err != nil {
		p.Kill()
		return fmt.Errorf("the %s ended: %w%s", p.role, err, p.said)
	}
	return nil
}

// Lines hands every line that is still to come to take, and returns when the
// child says nothing more.
func Lines[T any](p *Process, take func(T)) {
	for {
		var line T
		if p.lines.Decode(&line) != nil {
			return
		}
		take(line)
	}
}

// Ask writes a question to stdin and reads the answer.
func (p *Process) Ask(question string, answer any) error {
	if _, err := io.WriteString(p.stdin, question+"\n"); err != nil {
		p.Kill()
		return fmt.Errorf("the %s does not listen: %w%s", p.role, err, p.said)
	}
	return p.Read(answer)
}

// Said is what the child wrote last beside its lines. It begins a new line, or
// is empty.
func (p *Process) Said() string { return p.said.String() }

// Kill sends SIGKILL to the process, whose number is still its own, and takes
// its end.
func (p *Process) Kill() {
	p.kill.Do(func() {
		_ = p.cmd.Process.Kill()
		if p.ended != nil {
			<-p.ended
			return
		}
		_ = p.cmd.Wait()
	})
}

// tail keeps the last that was written.
type tail struct {
	mu   sync.Mutex
	last []byte
}

const tailLen = 2048

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	t.last = t.last[max(len(t.last)-tailLen, 0):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(t.last))
}
