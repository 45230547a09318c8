package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"blackswan"
)

// TestReload: the real program, on SIGHUP. One of two connections gets another
// key: its SA ends, and comes back when its client reads its file again; the other
// one's stays.
func TestReload(t *testing.T) {
	p := newPerson(t)
	ports := freePorts(t)
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.home, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gatewayText := func(key string) string {
		return fmt.Sprintf("state: gw\nlisten: [127.0.0.1]\nport: %s\nnat_port: %s\nconnections:\n"+
			"  - {name: ann, local: {id: gw}, remote: {id: ann}, psk: the key of ann that nobody else has}\n"+
			"  - {name: bob, local: {id: gw}, remote: {id: bob}, psk: %s}\n", ports[0], ports[1], key)
	}
	clientText := func(name, key string) string {
		return fmt.Sprintf("state: %s\nany_port: true\nconnections:\n  - {name: %s, gateway: '127.0.0.1:%s', gateway_nat_port: %s, local: {id: %s}, remote: {id: gw}, psk: %s}\n",
			name, name, ports[0], ports[1], name, key)
	}
	run := func(args ...string) *program {
		return p.start(t, p.command(p.program, append(args, "--traffic", "off")...))
	}
	hup := func(g *program) {
		t.Helper()
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	sas := func() map[string]string {
		t.Helper()
		var st blackswan.Status
		p.json(t, &st, "status", "--state", "gw", "--all")
		all := map[string]string{}
		for _, sa := range st.SAs {
			if sa.State == "established" {
				all[sa.Connection] = sa.SPIr
			}
		}
		return all
	}
	const first, second = "the key of bob that nobody else has", "another key of bob that nobody has"
	put("gateway.yaml", gatewayText(first))
	put("ann.yaml", clientText("ann", "the key of ann that nobody else has"))
	put("bob.yaml", clientText("bob", first))
	gateway := run("gateway", "--config", "gateway.yaml")
	gateway.await(t, "listening")
	ann, bob := run("connect", "--config", "ann.yaml"), run("connect", "--config", "bob.yaml")
	ann.await(t, "connected")
	bob.await(t, "connected")
	before := sas()

	put("gateway.yaml", gatewayText("''"))
	hup(gateway)
	gateway.await(t, "the configuration stays as it was")
	if text := gateway.text(); !strings.Contains(text, "gateway.yaml:7:") || !strings.Contains(text, "connections[1].psk") {
		t.Errorf("it does not say where:\n%s", text)
	}
	put("gateway.yaml", gatewayText(second))
	hup(gateway)
	gateway.await(t, "ended by a reload")
	bob.await(t, "sa down")
	if after := sas(); len(before) != 2 || len(after) != 1 || after["ann"] != before["ann"] {
		t.Errorf("SAs %v became %v", before, after)
	}
	put("bob.yaml", clientText("bob", second))
	hup(bob)
	bob.awaitNth(t, "msg=connected", 2)

	// A client whose connection is as it was does nothing, one whose is gone ends.
	hup(ann)
	ann.await(t, "connections reloaded")
	if after := sas(); len(after) != 2 || after["ann"] != before["ann"] || after["bob"] == before["bob"] {
		t.Errorf("SAs %v became %v", before, after)
	}
	put("ann.yaml", strings.Replace(clientText("ann", "the key of ann that nobody else has"), "name: ann", "name: eve", 1))
	if code := ann.end(t, syscall.SIGHUP); code != exitOK || !strings.Contains(ann.text(), "is not configured any more") {
		t.Errorf("exit code %d:\n%s", code, ann.text())
	}
	gateway.await(t, "deleted by the peer")
}
