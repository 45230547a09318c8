package storm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Crash kills a gateway and starts it again.
type Crash interface {
	// kill returns when the gateway is dead.
	kill(ctx context.Context) error

	// start starts it again, and tells when it listened, as far as can be known,
	// and in which process.
	start(ctx context.Context) (listened time.Time, p Process, err error)
}

// ParseCrash reads what kills a gateway: the number of its process, which is
// started again as it was; the name of a systemd unit, NAME.service; or a shell
// command that kills it and starts it again. process is where it runs then, if
// that is known.
func ParseCrash(text string, process Process) (Crash, error) {
	switch pid, err := strconv.Atoi(text); {
	case text == "":
		return nil, nil
	case err == nil && pid > 1:
		return &crashPID{pid: pid}, nil
	case err == nil:
		return nil, fmt.Errorf("%w: --crash: %d is no process of a gateway", ErrOptions, pid)
	case strings.HasSuffix(text, ".service") && !strings.Contains(text, " "):
		return crashUnit(text), nil
	}
	return crashCommand{text, process}, nil
}

// crashPID starts the program of a process again, as that was started.
type crashPID struct {
	pid       int
	args, env []string
	dir       string
}

func (c *crashPID) kill(ctx context.Context) error {
	proc := fmt.Sprintf("/proc/%d/", c.pid)
	line, lineErr := os.ReadFile(proc + "cmdline")
	env, envErr := os.ReadFile(proc + "environ")
	program, exeErr := os.Readlink(proc + "exe")
	dir, dirErr := os.Readlink(proc + "cwd")
	if err := errors.Join(lineErr, envErr, exeErr, dirErr); err != nil {
		return fmt.Errorf("storm: how process %d was started: %w", c.pid, err)
	}
	c.args, c.env, c.dir = texts(line), texts(env), dir
	c.args[0] = program
	fd, err := unix.PidfdOpen(c.pid, 0)
	if err != nil {
		return fmt.Errorf("storm: process %d: %w", c.pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("storm: kill process %d: %w", c.pid, err)
	}
	const patience = 5000 // ms
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, patience); n != 1 || err != nil {
		return fmt.Errorf("storm: process %d did not end: %w", c.pid, errors.Join(err, os.ErrDeadlineExceeded))
	}
	return nil
}

func (c *crashPID) start(context.Context) (time.Time, Process, error) {
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = c.dir, c.env, &syscall.SysProcAttr{Setsid: true} // it outlives us
	if err := cmd.Start(); err != nil {
		return time.Time{}, "", fmt.Errorf("storm: start the gateway again: %w", err)
	}
	c.pid = cmd.Process.Pid
	return time.Now(), Process(strconv.Itoa(c.pid)), cmd.Process.Release()
}

// texts are those of a file in /proc, each ended by a zero octet.
func texts(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00") }

// crashUnit is a unit of systemd.
type crashUnit string

func (c crashUnit) kill(ctx context.Context) error {
	return shell(ctx, "systemctl", "kill", "--signal=SIGKILL", string(c))
}

func (c crashUnit) start(ctx context.Context) (time.Time, Process, error) {
	if err := shell(ctx, "systemctl", "restart", string(c)); err != nil {
		return time.Time{}, "", err
	}
	listened := time.Now()
	pid, err := exec.CommandContext(ctx, "systemctl", "show", "--property=MainPID", "--value", string(c)).Output()
	if err != nil {
		return time.Time{}, "", fmt.Errorf("storm: process of %s: %w", c, err)
	}
	return listened, Process(strings.TrimSpace(string(pid))), nil
}

// crashCommand does all of it.
type crashCommand struct {
	line string
	p    Process
}

func (c crashCommand) kill(context.Context) error { return nil }

func (c crashCommand) start(ctx context.Context) (time.Time, Process, error) {
	err := shell(ctx, "sh", "-c", c.line)
	return time.Now(), c.p, err
}

// shell runs a command; its error has what the command said.
func shell(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("storm: %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
