package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
)

// process is a child that prints lines of JSON.
type process struct {
	role  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *json.Decoder
	tail  *tail
	once  sync.Once
}

func start(role string, cmd *exec.Cmd) (*process, error) {
	p := &process{role: role, cmd: cmd, tail: &tail{}}
	cmd.Stderr = p.tail
	out, err := cmd.StdoutPipe()
	if err == nil && role == roleGateway {
		p.stdin, err = cmd.StdinPipe()
	}
	if err == nil {
		p.out = json.NewDecoder(out)
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("demo: start the %s: %w", role, err)
	}
	return p, nil
}

// read decodes the next line. The error tells what the process said last.
func (p *process) read(line any) error {
	if err := p.out.Decode(line); err != nil {
		p.kill()
		return fmt.Errorf("demo: the %s ended: %w%s", p.role, err, p.tail)
	}
	return nil
}

// usage asks a gateway.
func (p *process) usage() (u usage, err error) {
	if _, err = io.WriteString(p.stdin, "usage\n"); err != nil {
		p.kill()
		return u, fmt.Errorf("demo: the %s does not listen: %w%s", p.role, err, p.tail)
	}
	return u, p.read(&u)
}

// kill sends SIGKILL to the process, whose number is still its own, and takes
// its end.
func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
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

// String begins a new line, or is empty.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(t.last))
}
