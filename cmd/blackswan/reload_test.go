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

const (
	annKey = "the key of ann that nobody else has"
	bobKey = "the key of bob that nobody else has"
)

// reloadable is a gateway with connections for ann and bob, whose files are read
// again on SIGHUP.
type reloadable struct {
	person
	t     *testing.T
	ports [2]string
}

func (r *reloadable) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.home, name), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloadable) writeGateway(keyOfBob string) {
	r.write("gateway.yaml", fmt.Sprintf("state: gw\nlisten: [127.0.0.1]\nport: %s\nnat_port: %s\nconnections:\n"+
		"  - {name: ann, local: {id: gw}, remote: {id: ann}, psk: %s}\n"+
		"  - {name: bob, local: {id: gw}, remote: {id: bob}, psk: %s}\n", r.ports[0], r.ports[1], annKey, keyOfBob))
}

func (r *reloadable) writeClient(name, connection, key string) {
	r.write(name+".yaml", fmt.Sprintf("state: %s\nany_port: true\nconnections:\n"+
		"  - {name: %s, gateway: '127.0.0.1:%s', gateway_nat_port: %s, local: {id: %s}, remote: {id: gw}, psk: %s}\n",
		name, connection, r.ports[0], r.ports[1], name, key))
}

func (r *reloadable) run(args ...string) *program {
	return r.start(r.t, r.command(r.program, append(args, "--traffic", "off")...))
}

func (r *reloadable) hup(g *program) {
	r.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
}

// sas are the gateway's SPIs of what is established, by connection.
func (r *reloadable) sas() map[string]string {
	r.t.Helper()
	var st blackswan.Status
	r.json(r.t, &st, "status", "--state", "gw", "--all")
	all := map[string]string{}
	for _, sa := range st.SAs {
		if sa.State == "established" {
			all[sa.Connection] = sa.SPIr
		}
	}
	return all
}

// TestReload: the real program, on SIGHUP. One of two connections gets another
// key: its SA ends, and comes back when its client reads its file again; the other
// one's stays.
func TestReload(t *testing.T) {
	r := &reloadable{newPerson(t), t, freePorts(t)}
	r.writeGateway(bobKey)
	r.writeClient("ann", "ann", annKey)
	r.writeClient("bob", "bob", bobKey)
	gateway := r.run("gateway", "--config", "gateway.yaml")
	gateway.await(t, "listening")
	ann, bob := r.run("connect", "--config", "ann.yaml"), r.run("connect", "--config", "bob.yaml")
	ann.await(t, "msg=connected")
	bob.await(t, "msg=connected")
	before := r.sas()

	r.writeGateway("''") // what is wrong changes nothing
	r.hup(gateway)
	gateway.await(t, "the configuration stays as it was")
	if text := gateway.text(); !strings.Contains(text, "gateway.yaml:7:") || !strings.Contains(text, "connections[1].psk") {
		t.Errorf("it does not say where:\n%s", text)
	}
	r.writeGateway(bobKey + " now")
	r.hup(gateway)
	gateway.await(t, `msg="ended by a reload" connection=bob number=1 why="its shared key is another now"`)
	bob.await(t, "deleted by the peer")
	if after := r.sas(); len(before) != 2 || len(after) != 1 || after["ann"] != before["ann"] {
		t.Errorf("SAs %v became %v", before, after)
	}
	r.writeClient("bob", "bob", bobKey+" now")
	r.hup(bob)
	bob.awaitNth(t, "msg=connected", 2)

	r.hup(ann) // whose connection is as it was
	ann.await(t, "connections reloaded")
	if after := r.sas(); len(after) != 2 || after["ann"] != before["ann"] || after["bob"] == before["bob"] {
		t.Errorf("SAs %v became %v", before, after)
	}
	r.writeClient("ann", "eve", annKey) // whose connection is gone
	if code := ann.end(t, syscall.SIGHUP); code != exitOK || !strings.Contains(ann.text(), "is not configured any more") {
		t.Errorf("exit code %d:\n%s", code, ann.text())
	}
	gateway.await(t, "deleted by the peer")
}
