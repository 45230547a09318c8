package storm

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is the gateway's process on this machine: its number, the path of a
// file that has its number, or what it is called, as ps shows it. Empty: it is
// elsewhere, and nothing is measured.
type Process string

// self is this process.
func self() Process { return Process(strconv.Itoa(os.Getpid())) }

// usage is what a process has used so far and holds now.
type usage struct {
	known bool
	pid   int
	cpu   time.Duration // user and system
	rss   int64         // resident octets
	peak  int64         // the most of them so far
}

// usage reads the clock and the memory of the process.
func (p Process) usage() (u usage) {
	pid, err := p.pid()
	if err != nil {
		return u
	}
	cpu, err := cpuOf(pid)
	if err != nil {
		return u
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u
	}
	return usage{known: true, pid: pid, cpu: cpu, rss: octets(text, "VmRSS:"), peak: octets(text, "VmHWM:")}
}

// pid finds the process. A name means the first of that name.
func (p Process) pid() (int, error) {
	number := string(p)
	if strings.HasPrefix(number, "/") {
		text, err := os.ReadFile(number)
		if err != nil {
			return 0, fmt.Errorf("storm: number of the process: %w", err)
		}
		number = strings.TrimSpace(string(text))
	}
	if pid, err := strconv.Atoi(number); err == nil {
		return pid, nil
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("storm: %w", err)
	}
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || p == "" {
			continue
		}
		name, err := os.ReadFile("/proc/" + entry.Name() + "/comm")
		if err == nil && strings.TrimSpace(string(name)) == string(p) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("storm: no process is called %q", p)
}

// cpuOf reads the CPU clock of another process: it counts nanoseconds, where
// /proc counts hundredths of a second.
func cpuOf(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED: user and system
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &t); err != nil {
		return 0, fmt.Errorf("storm: CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// numbers reads those of a line of /proc/PID/status.
func numbers(status []byte, name string) (all []uint32) {
	_, after, _ := bytes.Cut(status, []byte("\n"+name))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	for _, field := range bytes.Fields(line) {
		if n, err := strconv.ParseUint(string(field), 10, 32); err == nil {
			all = append(all, uint32(n))
		}
	}
	return all
}

// octets reads a line in kB of /proc/PID/status.
func octets(status []byte, name string) int64 {
	if all := numbers(status, name); len(all) > 0 {
		return int64(all[0]) << 10
	}
	return 0
}
