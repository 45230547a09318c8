package storm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

	// start starts it again, and tells when it listened, as far as can be known.
	start(ctx context.Context) (listened time.Time, err error)

	// process is where it runs now, if that is known.
	process(ctx context.Context) (Process, error)
}

// ParseCrash reads what kills a gateway: the number of its process, which is
// started again as it was; the name of a systemd unit, NAME.service; or a shell
// command that kills it and starts it again. process is where it runs, if that
// is known: the command does not tell.
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
	user      *syscall.Credential // nil: ours
}

func (c *crashPID) kill(ctx context.Context) error {
	proc := fmt.Sprintf("/proc/%d/", c.pid)
	line, lineErr := os.ReadFile(proc + "cmdline")
	env, envErr := os.ReadFile(proc + "environ")
	program, exeErr := os.Readlink(proc + "exe")
	dir, dirErr := os.Readlink(proc + "cwd")
	status, statusErr := os.ReadFile(proc + "status")
	err := errors.Join(lineErr, envErr, exeErr, dirErr, statusErr)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("storm: how process %d was started is root's to know, as of every process that has keys: run the storm as root, or have --crash run a command: %w", c.pid, err)
	}
	if err != nil {
		return fmt.Errorf("storm: how process %d was started: %w", c.pid, err)
	}
	c.args, c.env, c.dir = texts(line), texts(env), dir
	c.args[0] = program
	if os.Geteuid() == 0 {
		c.user = userOf(status)
	}
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

func (c *crashPID) start(context.Context) (time.Time, error) {
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = c.dir, c.env, &syscall.SysProcAttr{Setsid: true, Credential: c.user} // it outlives us
	if err := cmd.Start(); err != nil {
		return time.Time{}, fmt.Errorf("storm: start the gateway again: %w", err)
	}
	c.pid = cmd.Process.Pid
	return time.Now(), cmd.Process.Release()
}

func (c *crashPID) process(context.Context) (Process, error) {
	return Process(strconv.Itoa(c.pid)), nil
}

// userOf reads who a process is, of its /proc/PID/status.
func userOf(status []byte) *syscall.Credential {
	uid, gid := numbers(status, "Uid:"), numbers(status, "Gid:")
	if len(uid) == 0 || len(gid) == 0 {
		return nil
	}
	return &syscall.Credential{Uid: uid[0], Gid: gid[0], Groups: numbers(status, "Groups:")}
}

// texts are those of a file in /proc, each ended by a zero octet.
func texts(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00") }

// crashUnit is a unit of systemd.
type crashUnit string

func (c crashUnit) kill(ctx context.Context) error {
	return shell(ctx, "systemctl", "kill", "--signal=SIGKILL", string(c))
}

func (c crashUnit) start(ctx context.Context) (time.Time, error) {
	err := shell(ctx, "systemctl", "restart", string(c))
	return time.Now(), err
}

func (c crashUnit) process(ctx context.Context) (Process, error) {
	pid, err := exec.CommandContext(ctx, "systemctl", "show", "--property=MainPID", "--value", string(c)).Output()
	if err != nil {
		return "", fmt.Errorf("storm: process of %s: %w", c, err)
	}
	return Process(strings.TrimSpace(string(pid))), nil
}

// crashCommand does all of it.
type crashCommand struct {
	line string
	p    Process
}

func (c crashCommand) kill(context.Context) error { return nil }

func (c crashCommand) start(ctx context.Context) (time.Time, error) {
	err := shell(ctx, "sh", "-c", c.line)
	return time.Now(), err
}

func (c crashCommand) process(context.Context) (Process, error) { return c.p, nil }

// shell runs a command; its error has what the command said.
func shell(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("storm: %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
