package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"blackswan"
	"blackswan/internal/storm"
)

// stranger is a gateway that the storm has not started, with what its owner has
// to start it: a script, which writes the number of its process into a file.
type stranger struct {
	p       person
	storm   []string // arguments that lead a storm to it
	pidFile string
	script  string // kills it and starts it
	root    bool   // who runs the storm
}

const strangerConfig = `state: %s
listen: [127.0.0.1]
port: %s
nat_port: %s
qcd: "on"
roll_call: "ours"
traffic: "off"
connections:
  - name: storm
    psk: "a secret of the storm's own"
    local: {id: "gw.storm", auth: psk}
    remote: {id: "*", auth: psk}
`

// The script returns when the gateway listens, as a unit of systemd does.
const strangerScript = `[ -s %[2]s ] && kill -9 "$(cat %[2]s)"
: >%[3]s
%[1]s gateway --config %[4]s >%[3]s 2>&1 &
echo $! >%[2]s
until grep -q listening %[3]s; do kill -0 $! || exit 1; sleep 0.02; done
`

func newStranger(t *testing.T) stranger {
	t.Helper()
	p := newPerson(t)
	in := func(name string) string { return filepath.Join(p.home, name) }
	ports := freePorts(t)
	g := stranger{p: p, pidFile: in("pid"), script: in("again")}
	g.storm = []string{"storm", "127.0.0.1:" + ports[0], "--nat-port", ports[1], "--psk", "a secret of the storm's own", "--clients", "60"}
	for file, text := range map[string]string{
		"gateway.yaml": fmt.Sprintf(strangerConfig, in("state"), ports[0], ports[1]),
		"again":        fmt.Sprintf(strangerScript, p.program, g.pidFile, in("log"), in("gateway.yaml")),
	} {
		if err := os.WriteFile(in(file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := p.command("sh", g.script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, problems, code := p.run(t, "stop", "--state", in("state")); code != exitOK {
			t.Errorf("stop: %s%s", out, problems)
		}
	})
	return g
}

// pid is the number of the process that the script has started last.
func (g stranger) pid(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(g.pidFile)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// judge runs a storm that crashes the gateway so, and wants everybody back.
func (g stranger) judge(t *testing.T, path string, args ...string) {
	t.Helper()
	cmd := g.p.command(g.p.program, append(append(g.storm, "--json"), args...)...)
	cmd.Env = append(cmd.Env, "PATH="+path)
	if g.root {
		cmd.SysProcAttr = nil
	}
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, &problems)
	}
	var r storm.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Resumed != 60 || r.FellBack != 0 || r.Failed != 0 || r.BackSeconds <= 0 {
		t.Errorf("%+v", r)
	}
	if r.GatewayCPUFull <= 0 || r.GatewayCPUResume <= 0 || r.GatewayRSS <= 0 {
		t.Errorf("the gateway's process was not measured before and after: %+v", r)
	}
}

// A process is killed and started as it was, by the user that it was of. Only
// root may know how one was started that has keys.
func TestStormCrashesAProcess(t *testing.T) {
	g := newStranger(t)
	first := g.pid(t)
	_, problems, code := g.p.run(t, append(g.storm, "--crash", first)...)
	if code != exitFailed || !strings.Contains(problems, "run the storm as root") {
		t.Errorf("not root: exit code %d, %s", code, problems)
	}
	if os.Geteuid() != 0 {
		return
	}
	g.root = true
	g.judge(t, os.Getenv("PATH"), "--crash", first)
	gone(t, first)
	var st blackswan.Status
	g.p.json(t, &st, "status", "--state", filepath.Join(g.p.home, "state")) // the user's own
	if st.Totals.SAs != 60 {
		t.Errorf("%d SAs", st.Totals.SAs)
	}
}

// A unit is killed and restarted by systemctl, which tells its process. Where
// systemd is not process 1 no unit can run: this one is a script that does what
// systemctl would, and writes down what it was asked.
func TestStormCrashesAUnit(t *testing.T) {
	g := newStranger(t)
	bin, calls := filepath.Join(g.p.home, "bin"), filepath.Join(g.p.home, "calls")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	systemctl := fmt.Sprintf(`#!/bin/sh
echo "$@" >>%[1]s
case $1 in
kill) kill -9 "$(cat %[2]s)" && : >%[2]s ;;
restart) sh %[3]s ;;
show) cat %[2]s ;;
esac
`, calls, g.pidFile, g.script)
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(systemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	first := g.pid(t)
	g.judge(t, bin+":"+os.Getenv("PATH"), "--crash", "blackswan.service")
	gone(t, first)
	asked, _ := os.ReadFile(calls)
	show := "show --property=MainPID --value blackswan.service\n"
	want := show + "kill --signal=SIGKILL blackswan.service\nrestart blackswan.service\n" + show
	if string(asked) != want {
		t.Errorf("systemctl was asked\n%swant\n%s", asked, want)
	}
}

// A command does both.
func TestStormCrashesByACommand(t *testing.T) {
	g := newStranger(t)
	first := g.pid(t)
	g.judge(t, os.Getenv("PATH"), "--process", g.pidFile, "--crash", "sh "+g.script)
	gone(t, first)
	_, problems, code := g.p.run(t, append(g.storm, "--crash", "echo the gateway is nailed down; exit 7")...)
	if code != exitFailed || !strings.Contains(problems, "nailed down") {
		t.Errorf("a command that fails: exit code %d, %s", code, problems)
	}
}

// gone wants no process of that number, or a dead one.
func gone(t *testing.T, pid string) {
	t.Helper()
	if status, err := os.ReadFile("/proc/" + pid + "/status"); err == nil && !strings.Contains(string(status), "State:\tZ") {
		t.Errorf("process %s still runs:\n%s", pid, status)
	}
}
