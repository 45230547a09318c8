package interop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const stormGateway = `listen: [%v]
qcd: "on"
roll_call: "ours"
traffic: "off"
connections:
  - name: storm
    psk: "a secret of the storm's own"
    local: {id: "gw.storm", auth: psk}
    remote: {id: "*", auth: psk}
`

// Clients of a storm own the addresses of a prefix that is routed to their
// namespace: the gateway in the next one sees each at its own, calls each there
// after SIGKILL, and each comes back from there.
func TestStormFromAPrefix(t *testing.T) {
	const clients, prefix = 100, "10.77.0.0/16" // status shows so many
	gateway, crowd := lab.Pair(t, "stormed", "crowd")
	gateway.MustRun(t, nil, "ip", "route", "add", prefix, "via", crowd.Addr.String())
	crowd.MustRun(t, nil, "ip", "route", "add", "local", prefix, "dev", "lo")
	s := gateway.Gateway(t, fmt.Sprintf(stormGateway, gateway.Addr), nil)
	pidFile, log := filepath.Join(s.Dir, "pid"), filepath.Join(s.Dir, "log")
	write(t, pidFile, strconv.Itoa(s.cmd.Process.Pid))
	again := fmt.Sprintf(`kill -9 "$(cat %[1]s)"
ip netns exec %[2]s %[3]s >%[4]s 2>&1 &
echo $! >%[1]s
until grep -q listening %[4]s; do kill -0 $! || exit 1; sleep 0.02; done`, pidFile, gateway.name, strings.Join(s.command, " "), log)
	t.Cleanup(func() {
		if text, err := os.ReadFile(pidFile); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	out := crowd.MustRun(t, nil, lab.program(t), "storm", gateway.Addr.String(), "--from", prefix, "--clients", strconv.Itoa(clients),
		"--psk", "a secret of the storm's own", "--process", pidFile, "--crash", again, "--json")
	var r struct {
		Resumed, Failed int
		CPU             float64        `json:"gateway_cpu_us_resume"`
		DetectedBy      map[string]int `json:"detected_by"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Resumed != clients || r.Failed != 0 || r.CPU <= 0 || r.DetectedBy["timeout"] != 0 {
		t.Errorf("%s", out)
	}
	status, err := s.Status(t)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]bool{}
	for _, sa := range status.SAs {
		if !sa.Resumed || !netip.MustParsePrefix(prefix).Contains(sa.Remote.Addr()) {
			t.Errorf("an SA with %v, resumed %v", sa.Remote, sa.Resumed)
		}
		seen[sa.Remote.Addr()] = true
	}
	if len(seen) != clients {
		t.Errorf("the gateway sees %d addresses", len(seen))
	}
}
