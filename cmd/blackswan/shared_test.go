package main

import (
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"blackswan"
)

// twoGateways are the commands and the two files of the README's part of that
// name.
func twoGateways(t *testing.T) (commands []string, gateway, client string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "**Two gateways.**")
	part, _, _ = strings.Cut(part, "\n**")
	var blocks []string
	indented := false
	for line := range strings.Lines(part) {
		code, is := strings.CutPrefix(line, "    ")
		if is && !indented {
			blocks = append(blocks, "")
		}
		if indented = is; is {
			blocks[len(blocks)-1] += code
		}
	}
	if len(blocks) != 3 {
		t.Fatalf("README: %d blocks, want commands, gateway.yaml and client.yaml", len(blocks))
	}
	return strings.Split(strings.TrimSpace(blocks[0]), "\n"), blocks[1], blocks[2]
}

// put makes a file of p's own.
func (p person) put(t *testing.T, name, text string) {
	t.Helper()
	p.sh(t, `mkdir -p "$(dirname "$1")" && cat >"$1"`, text, name)
}

// sh runs a shell's script as p.
func (p person) sh(t *testing.T, script, input string, args ...string) {
	t.Helper()
	cmd := p.command("sh", append([]string{"-euc", "umask 077; " + script, "sh"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// TestKeysFile makes a file of ticket keys, turns it and looks at it.
func TestKeysFile(t *testing.T) {
	p := newPerson(t)
	var made, turned, seen ringFile
	p.json(t, &made, "keys", "new", "ring")
	if len(made.Keys) != 1 || time.Until(made.Keys[0].SealsFrom) > 0 || made.File != "ring" {
		t.Errorf("new: %+v", made)
	}
	if text := p.ok(t, "keys", "new", "joined", "--from", "ring"); strings.Count(text, "\n") != 5 || !strings.Contains(text, made.Keys[0].ID) || !strings.Contains(text, "name it as ticket_keys") {
		t.Error(text)
	}
	p.json(t, &turned, "keys", "turn", "ring", "--in", "5m")
	if len(turned.Keys) != 2 || turned.Keys[0].ID != made.Keys[0].ID || !turned.Keys[1].SealsFrom.Equal(turned.Keys[0].SealsUntil) ||
		time.Until(turned.Keys[1].SealsFrom).Round(time.Minute) != 5*time.Minute || !turned.Turn.Equal(turned.Keys[1].SealsFrom.Add(24*time.Hour)) {
		t.Errorf("turn: %+v", turned)
	}
	p.json(t, &seen, "keys", "show", "ring")
	if !reflect.DeepEqual(seen, turned) {
		t.Errorf("show: %+v, want %+v", seen, turned)
	}
	text := p.ok(t, "keys", "show", "ring")
	if !strings.Contains(text, seen.Keys[1].ID) || strings.Contains(text, "copy it") {
		t.Error(text)
	}
	if text := p.ok(t, "keys", "turn", "ring"); !strings.Contains(text, "copy it to every gateway that shares it: the new key is used in 10m0s") {
		t.Error(text)
	}
	p.put(t, "cut", "blackswan ticket keys\n\x01")
	p.sh(t, `cp ring open && chmod 0644 open`, "")
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"new ring":            {exitFailed, "state: ring: file already exists: 'blackswan keys turn' adds a key to it"},
		"new other --from no": {exitUsage, "is no the state directory of a gateway?"},
		"turn ring --in 30s":  {exitUsage, "too soon for the other gateways"},
		"turn ring --in 1m":   {exitFailed, "not used yet"},
		"turn gone":           {exitFailed, "make it with 'blackswan keys new'"},
		"turn cut":            {exitFailed, "state: cut was cut or altered: copy it again"},
		"show open":           {exitFailed, "state: open has mode 0644 and is open to others: chmod 0600 it"},
		"show":                {exitUsage, "see 'blackswan keys show --help'"},
	} {
		out, problems, code := p.run(t, strings.Fields("keys "+args)...)
		if code != want.code || !strings.Contains(problems, want.says) || out != "" {
			t.Errorf("keys %s: exit code %d, want %d and %q\n%s%s", args, code, want.code, want.says, out, problems)
		}
	}
}

// Addresses of the loopback interface, in place of those of the README.
const (
	firstAddr  = "127.0.0.2"
	secondAddr = "127.0.0.3"
)

// TestTwoGateways does what the README says, with three clients and addresses
// of this machine: two gateways share nothing but their ticket keys. The first
// is drained: every client resumes at the second, without DELETE. The second is
// killed: every client resumes at the first, by the second's ticket (rule F2).
func TestTwoGateways(t *testing.T) {
	p := newPerson(t)
	ports := freePorts(t)
	commands, gatewayYAML, clientYAML := twoGateways(t)
	clients := []string{"ann", "bob", "eve"}
	for _, line := range commands {
		for _, name := range clients {
			line := strings.ReplaceAll(line, "ann", name)
			p.ok(t, strings.Fields(line)[1:]...)
			if !strings.Contains(line, name) {
				break // once for all
			}
		}
	}
	own := "port: " + ports[0] + "\nnat_port: " + ports[1] + "\nstate: state\n"
	for dir, addr := range map[string]string{"a": firstAddr, "b": secondAddr} {
		p.put(t, dir+"/gateway.yaml", own+strings.ReplaceAll(gatewayYAML, "192.0.2.1", addr))
		p.sh(t, `cp pki/ca.pem gw.pem gw.key ring "$1"`, "", dir)
	}
	startGateway := func(dir string) *program {
		g := p.start(t, p.command(p.program, "gateway", "--traffic", "off", "--config", dir+"/gateway.yaml"))
		g.await(t, "listening")
		return g
	}
	status := func(dir string) (st blackswan.Status) {
		p.json(t, &st, "status", "--state", dir+"/state")
		return st
	}
	drained, b := startGateway("a"), startGateway("b")

	quick := strings.NewReplacer("gateway: 192.0.2.1", "gateway: "+firstAddr+":"+ports[0]+"\n    gateway_nat_port: "+ports[1]+"\n    dpd: 1s",
		"[192.0.2.2]", "["+secondAddr+":"+ports[0]+"]")
	connected := map[string]*program{}
	for _, name := range clients {
		text := "any_port: true\nstate: state\ntimers: {retry: {initial: 200ms, max: 400ms, tries: 3}, liveness: {initial: 100ms, max: 400ms, tries: 4}}\n"
		p.put(t, name+"/client.yaml", text+strings.ReplaceAll(quick.Replace(clientYAML), "ann", name))
		p.sh(t, `cp pki/ca.pem "$1.pem" "$1.key" "$1"`, "", name)
		connected[name] = p.start(t, p.command(p.program, "connect", "--traffic", "off", "--config", name+"/client.yaml"))
		connected[name].await(t, "connected")
		p.keepsTicket(t, "work", "--state", name+"/state")
	}

	if out := p.ok(t, "drain", secondAddr, "--state", "a/state"); !strings.Contains(out, "the gateway has ended; 3 clients were sent away") {
		t.Error(out)
	}
	select {
	case <-drained.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("drained, and still there:\n%s", drained.text())
	}
	if code := drained.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("the drained gateway: exit code %d:\n%s", code, drained.text())
	}
	for name, c := range connected {
		c.await(t, "resumed")
		var s shown
		p.json(t, &s, "ticket", "inspect", "work", "--state", name+"/state", "--gateway-state", "ring")
		if st := status(name); len(st.SAs) != 1 || st.SAs[0].Remote.Addr().String() != secondAddr || s.Opened == nil || s.Opened.SPIr != st.SAs[0].SPIr {
			t.Errorf("%s has no ticket of the second: %+v, opened %+v", name, st.SAs, s.Opened)
		}
	}
	if got := status("b").Totals; got.SAs != 3 || got.Resumed != 3 || got.Full != 0 || got.Refused != 0 {
		t.Errorf("the second: %+v", got)
	}

	for command, cure := range map[string]string{"rotate": "'blackswan keys turn ", "revoke": "'blackswan keys new "} {
		_, problems, code := p.run(t, "keys", command, "--state", "b/state")
		if code != exitFailed || !strings.Contains(problems, "shared with other gateways") || !strings.Contains(problems, cure+"b/ring'") {
			t.Errorf("keys %s: %d %s", command, code, problems)
		}
	}
	b.end(t, syscall.SIGKILL)
	a := startGateway("a")
	for name, c := range connected {
		c.awaitNth(t, "msg=resumed", 2)
		if got := status(name).Totals; got.Full != 1 || got.Resumed != 2 || got.FellBack != 0 {
			t.Errorf("%s: %+v\n%s", name, got, c.text())
		}
	}
	if got := status("a").Totals; got.SAs != 3 || got.Resumed != 3 || got.Full != 0 || got.Refused != 0 {
		t.Errorf("the first: %+v", got)
	}
	for _, text := range []string{drained.text(), a.text(), b.text(), connected["ann"].text()} {
		if strings.Contains(text, "delete") {
			t.Errorf("somebody said DELETE:\n%s", text)
		}
	}
}
