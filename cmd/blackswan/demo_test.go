package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"blackswan/internal/demo"
)

// Every client comes back, in each way that it can learn of the crash.
func TestDemo(t *testing.T) {
	p := newPerson(t)
	for _, row := range []struct{ args, by string }{
		{"demo --clients 5", "roll_call"},
		{"demo --clients 5 --no-roll-call", "qcd_reply"},
		{"demo --clients 5 --no-qcd", "timeout"},
	} {
		t.Run(row.by, func(t *testing.T) {
			var r demo.Report
			p.json(t, &r, strings.Fields(row.args)...)
			if r.Clients != 5 || r.Resumed != 5 || r.FellBack != 0 || r.Failed != 0 || r.DetectedBy[row.by] != 5 {
				t.Errorf("%+v", r)
			}
			if r.Wire["38"] < 10 || r.Wire["35"] < 10 || r.Wire["34"] != 0 || r.TripsFull != 2 || r.TripsResume != 2 {
				t.Errorf("on the wire: %v, round trips %d and %d", r.Wire, r.TripsFull, r.TripsResume)
			}
			if r.Detect.P50 <= 0 || r.Back.P50 < r.Detect.P50 || r.Back.Max < r.Back.P99 || r.Back.P99 < r.Back.P50 || r.GatewayCPUFull <= 0 || r.GatewayCPUResume <= 0 {
				t.Errorf("figures: %+v", r)
			}
			nothingLeft(t, p)
		})
	}
}

// The JSON of the demo is a promise to scripts.
func TestDemoJSON(t *testing.T) {
	p := newPerson(t)
	var r map[string]any
	p.json(t, &r, "demo", "--clients", "1")
	for _, key := range strings.Fields("clients resumed fell_back failed detect_ms back_ms gateway_cpu_us_full gateway_cpu_us_resume detected_by wire") {
		if _, ok := r[key]; !ok {
			t.Errorf("no %q in %v", key, r)
		}
	}
	for _, key := range strings.Fields("roll_call qcd_reply esp_reply timeout") {
		if _, ok := r["detected_by"].(map[string]any)[key]; !ok {
			t.Errorf("no %q in detected_by", key)
		}
	}
	for _, key := range []string{"p50", "p99", "max"} {
		if _, ok := r["detect_ms"].(map[string]any)[key]; !ok {
			t.Errorf("no %q in detect_ms", key)
		}
	}
}

func TestDemoForPeople(t *testing.T) {
	p := newPerson(t)
	out := p.ok(t, "demo", "--clients", "3")
	for _, want := range []string{
		"SIGKILL to the gateway", "-> IKE_SA_INIT {SAi1, KEi, Ni,", "<- IKE_AUTH SK {IDr, AUTH,", "N(TICKET_LT_OPAQUE)}",
		"<- INFORMATIONAL {N(INVALID_IKE_SPI), N(QCD_TOKEN)}", "-> IKE_SESSION_RESUME {Ni, N(TICKET_OPAQUE),",
		"round trips", "detected by:   roll_call 3", "3 of 3 clients resumed, 0 fell back to a full handshake, 0 failed",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// Ctrl-C amid the demo leaves no process and no file.
func TestDemoInterrupted(t *testing.T) {
	p := newPerson(t)
	d := p.start(t, p.command(p.program, "demo", "--clients", "3", "--no-qcd"))
	d.await(t, "listens again")
	if code := d.end(t, os.Interrupt); code != exitFailed {
		t.Errorf("exit code %d:\n%s", code, d.text())
	}
	nothingLeft(t, p)
}

// A supervisor that is killed cannot clean up: its processes do, and end.
func TestDemoKilled(t *testing.T) {
	p := newPerson(t)
	d := p.start(t, p.command(p.program, "demo", "--clients", "3", "--no-roll-call"))
	d.await(t, "listens again")
	var ends []unix.PollFd
	for _, pid := range processesOf(t, p) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		ends = append(ends, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	if len(ends) != 3 {
		t.Errorf("%d processes: want the supervisor, a gateway and one for the clients", len(ends))
	}
	d.end(t, syscall.SIGKILL)
	for i := range ends {
		if n, err := unix.Poll(ends[i:i+1], 20_000); n != 1 || err != nil {
			t.Errorf("a process of the demo goes on after 20 s: %v", err)
		}
	}
	nothingLeft(t, p)
}

// nothingLeft looks for what the demo of p may have left.
func nothingLeft(t *testing.T, p person) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(p.home, "blackswan-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if left := processesOf(t, p); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
}

// processesOf are those that run the program of p.
func processesOf(t *testing.T, p person) (pids []int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(line), p.program+"\x00") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}
