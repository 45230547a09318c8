package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"blackswan"
)

func TestVersion(t *testing.T) {
	p := newPerson(t)
	var v struct{ Version, Go string }
	p.json(t, &v, "version")
	if v.Version != blackswan.Version || !strings.HasPrefix(v.Go, "go") {
		t.Errorf("%+v", v)
	}
	if out := p.ok(t, "version"); !strings.HasPrefix(out, "blackswan "+blackswan.Version) {
		t.Error(out)
	}
}

func TestEveryCommandTellsItsExitCodes(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Runnable() && !c.Hidden && !strings.Contains(c.Long, strings.TrimSpace(exitCodes)) {
			t.Errorf("'%s --help' tells no exit codes", c.CommandPath())
		}
		if c.Runnable() && c.HasParent() && c.InheritedFlags().Lookup("json") == nil {
			t.Errorf("'%s' has no --json", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(command())
}

// What a person gets wrong is told with the cure.
func TestUsage(t *testing.T) {
	p := newPerson(t)
	config, client := filepath.Join(p.home, "gateway.yaml"), filepath.Join(p.home, "client.yaml")
	text := "connections:\n"
	for _, name := range []string{"office", "home"} {
		text += "  - {name: " + name + ", gateway: 192.0.2.1, local: {id: ann}, remote: {id: gw}, psk: a very long secret of it}\n"
	}
	for _, err := range []error{
		os.WriteFile(config, []byte("connections:\n  - name: a\n    psc: x\n"), 0o644),
		os.WriteFile(client, []byte(text), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		args string
		code int
		says string
	}{
		{"keys dance", exitUsage, `unknown command "dance"`},
		{"dance", exitUsage, `unknown command "dance"`},
		{"gateway --prot 5500", exitUsage, "see 'blackswan gateway --help'"},
		{"gateway office", exitUsage, "see 'blackswan gateway --help'"},
		{"gateway --listen here", exitUsage, `"here" is not an IP address`},
		{"gateway --config " + config, exitUsage, config + ":3:5: connections[0].psc: unknown key: did you mean psk?"},
		{"gateway --config nowhere.yaml", exitUsage, "nowhere.yaml: no such file or directory: name a file that can be read"},
		{"gateway --listen 127.0.0.1 --port 500", exitUsage, "add --port 5500 --nat-port 5501, or run as root"},
		{"gateway --listen 192.0.2.77 --port 5500 --nat-port 5501", exitUsage, "--listen wants an address of this machine"},
		{"connect", exitUsage, "Name a gateway or give --config"},
		{"connect 192.0.2.1", exitUsage, "identity"},
		{"connect 192.0.2.1 --id a --cert none.pem --key none.key --ca none.pem", exitUsage, "none.pem"},
		{"connect --config " + client + " lab", exitUsage, "lab: no such connection: connections: name one of: office, home"},
		{"connect --config " + client, exitUsage, "name one of: office, home"},
		{"status --state nowhere", exitFailed, "start 'blackswan gateway --state nowhere'"},
		{"keys rotate --state nowhere", exitFailed, "start 'blackswan gateway --state nowhere'"},
		{"ticket inspect --state nowhere", exitUsage, "name the client's state directory with --state"},
		{"state adopt --state nowhere", exitUsage, "no such file"},
		{"check " + config, exitUsage, "did you mean psk?"},
		{"demo --clients 0", exitUsage, "choose 1 to"},
		{"pki init", exitUsage, "see 'blackswan pki init --help'"},
		{"pki init x --key dsa", exitUsage, "write ecdsa, rsa or ed25519"},
		{"pki issue nowhere --id a", exitFailed, "'blackswan pki init nowhere' makes an authority"},
		{"pki issue nowhere", exitUsage, "--id names whose certificate"},
	} {
		out, problems, code := p.run(t, strings.Fields(row.args)...)
		if code != row.code || !strings.Contains(problems, row.says) || out != "" {
			t.Errorf("blackswan %s: exit code %d, want %d and %q\n%s%s", row.args, code, row.code, row.says, out, problems)
		}
	}
}

func TestCheck(t *testing.T) {
	p := newPerson(t)
	write := func(name, text string) string {
		file := filepath.Join(p.home, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	gateway := write("gateway.yaml", "connections:\n  - {name: a, local: {id: gw.example.org}, remote: {id: '*'}, psk: a very long secret of it}\n")
	client := write("client.yaml", "connections:\n  - {name: a, gateway: 192.0.2.1, local: {id: ann}, remote: {id: gw.example.org}, psk: a very long secret of it}\n")
	for file, role := range map[string]string{gateway: "gateway", client: "client"} {
		var got struct {
			OK              bool
			Role, Effective string
			Advice          []string
		}
		p.json(t, &got, "check", file)
		if got.Advice == nil || len(got.Advice) > 0 {
			t.Errorf("%s: advice %q, want an empty list", file, got.Advice)
		}
		if !got.OK || got.Role != role || !strings.Contains(got.Effective, "fragment: 1252") || strings.Contains(got.Effective, "secret") {
			t.Errorf("%s: %+v", file, got)
		}
		out := p.ok(t, "check", file)
		if !strings.HasPrefix(out, fmt.Sprintf("# %s is a good configuration of a %s\n", file, role)) {
			t.Error(out)
		}
		again := write("again.yaml", strings.ReplaceAll(out, "psk: redacted", "psk: a very long secret of it"))
		if twice := p.ok(t, "check", again); strings.SplitN(twice, "\n", 2)[1] != strings.SplitN(out, "\n", 2)[1] {
			t.Errorf("what check prints means something else:\n%s\nthen\n%s", out, twice)
		}
	}
	weak := write("weak.yaml", "connections:\n  - {name: a, local: {id: gw.example.org}, remote: {id: '*'}, psk: short}\n")
	if out := p.ok(t, "check", weak); !strings.Contains(out, "\n# but a: this pre-shared key") {
		t.Error(out)
	}
}

func TestPKI(t *testing.T) {
	p := newPerson(t)
	dir := filepath.Join(p.home, "pki")
	p.ok(t, "pki", "init", dir, "--key", "ed25519")
	if _, problems, code := p.run(t, "pki", "init", dir); code != exitFailed || !strings.Contains(problems, "take another place") {
		t.Errorf("a second authority: %d %s", code, problems)
	}
	var gw, ann map[string]string
	p.json(t, &gw, "pki", "issue", dir, "--id", "gw.example.org", "--kind", "gateway", "--key", "rsa-2048", "--out", filepath.Join(p.home, "gw"))
	p.json(t, &ann, "pki", "issue", dir, "--id", "ann@example.org")
	if gw["cert"] != filepath.Join(p.home, "gw.pem") || ann["key"] != filepath.Join(dir, "ann@example.org.key") {
		t.Errorf("files: %v %v", gw, ann)
	}
	ports := freePorts(t)
	config := filepath.Join(p.home, "gateway.yaml")
	text := fmt.Sprintf("listen: [127.0.0.1]\nport: %s\nnat_port: %s\nconnections:\n  - name: all\n"+
		"    ike: [aes256gcm16-prfsha256-x25519]\n"+ // which Wireshark can read
		"    local: {id: gw.example.org, auth: cert, cert: gw.pem, key: gw.key}\n"+
		"    remote: {id: '*@example.org', auth: cert, ca: [pki/ca.pem]}\n", ports[0], ports[1])
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	gateway := p.start(t, p.command(p.program, "gateway", "--traffic", "off", "--config", config))
	gateway.await(t, "listening")
	client := p.start(t, p.command(p.program, "connect", "--traffic", "off", "--ca", ann["ca"], "--cert", ann["cert"], "--key", ann["key"],
		"--id", "ann@example.org", "--gateway-id", "gw.example.org", "--gateway-nat-port", ports[1], "127.0.0.1:"+ports[0],
		"--keylog", filepath.Join(p.home, "keys"), "--json"))
	client.await(t, `"msg":"connected"`)
	keys, err := os.ReadFile(filepath.Join(p.home, "keys"))
	if err != nil || strings.Count(string(keys), "\n") != 1 || !strings.Contains(string(keys), "AES-GCM-256") {
		t.Errorf("key log: %v\n%s", err, keys)
	}

	// A reload that is wrong changes nothing; one that is right counts.
	for _, row := range []struct{ text, says string }{
		{"connections: []\n", "the configuration stays as it was"},
		{text, "connections reloaded"},
	} {
		if err := os.WriteFile(config, []byte(row.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := gateway.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		gateway.await(t, row.says)
	}

	// The gateway is deaf: the first Ctrl-C waits for it, the second does not.
	if err := gateway.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := client.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	client.await(t, "logging out")
	if code := client.end(t, os.Interrupt); code != exitFailed {
		t.Errorf("the second Ctrl-C: exit code %d:\n%s", code, client.text())
	}
}

func TestNoCoreDumps(t *testing.T) {
	p := newPerson(t)
	ports := freePorts(t)
	gateway := p.start(t, p.command(p.program, "gateway", "--traffic", "off", "--listen", "127.0.0.1", "--port", ports[0], "--nat-port", ports[1]))
	gateway.await(t, "listening")
	proc := fmt.Sprintf("/proc/%d/", gateway.cmd.Process.Pid)
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max core file size") && strings.Join(strings.Fields(line)[4:6], " ") != "0 0" {
			t.Error(line)
		}
	}
	// The memory of a process that cannot be dumped belongs to root.
	var st syscall.Stat_t
	if err := syscall.Stat(proc+"mem", &st); err != nil || st.Uid != 0 {
		t.Errorf("%smem belongs to user %d, %v", proc, st.Uid, err)
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{
		"":             "''",
		"/a/b-c_d.pem": "/a/b-c_d.pem",
		"[::1]:500":    "'[::1]:500'",
		"it's here":    `'it'\''s here'`,
		"$(reboot)":    "'$(reboot)'",
	} {
		if got := quoted(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

// TestStatusChildren: the status names each of several Child SAs, and those that
// the peer refuses.
func TestStatusChildren(t *testing.T) {
	text := statusText(&blackswan.Status{SAs: []blackswan.SAStatus{
		{Connection: "lone", ChildIn: "00000001"},
		{
			Connection: "office", Peer: "gw.example.org", Child: "data", ChildIn: "00000a01",
			Children: []blackswan.ChildStatus{{Name: "voice", In: "00000a02", Mode: "transport", Traffic: blackswan.Traffic{InPackets: 3, OutPackets: 4}}},
			Wanted:   []blackswan.WantedStatus{{Name: "video", Refused: "NO_PROPOSAL_CHOSEN", In: 7 * time.Second}},
		},
	}})
	const want = `
Child SAs of office with gw.example.org:
  00000a01 data
  00000a02 voice transport, in 3, out 4
  to be made: video NO_PROPOSAL_CHOSEN, in 7s
`
	if !strings.HasSuffix(text, want) {
		t.Errorf("got  %s\nwant at its end %s", text, want)
	}
}
