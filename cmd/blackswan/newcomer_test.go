package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"blackswan"
)

// A newcomer starts a gateway without configuration, pastes the command that it
// prints, kills the gateway and is back.
func TestNewcomer(t *testing.T) {
	p := newPerson(t)
	ports := freePorts(t)
	whole := t // the programs live longer than a part of the test
	startGateway := func() *program {
		return p.start(whole, p.command(p.program, "gateway", "--traffic", "off", "--listen", "127.0.0.1", "--port", ports[0], "--nat-port", ports[1]))
	}
	gateway := startGateway()
	pasted := strings.TrimSpace(gateway.await(t, " connect --ca "))
	gateway.await(t, "listening")
	client := p.start(t, p.command("sh", "-c", "exec "+pasted))
	client.await(t, "connected")

	var st blackswan.Status
	p.json(t, &st, "status")
	if len(st.SAs) != 1 || st.SAs[0].Peer != newClient || st.SAs[0].State != "established" || st.Totals.Full != 1 {
		t.Errorf("the gateway's status: %+v", st)
	}
	text := p.ok(t, "status")
	for _, want := range []string{"gateway " + blackswan.Version, "1 SAs", newClient, "established"} {
		if !strings.Contains(text, want) {
			t.Errorf("status says no %q:\n%s", want, text)
		}
	}
	testTicket(t, p)
	testKeys(t, p)

	t.Run("crash", func(t *testing.T) {
		clientState := filepath.Join(p.home, "state/blackswan/client")
		if code := client.end(t, syscall.SIGTERM); code != exitOK {
			t.Errorf("SIGTERM: exit code %d:\n%s", code, client.text())
		}
		var kept shown
		p.keepsTicket(t, "--state", clientState)
		p.json(t, &kept, "ticket", "inspect", "--state", clientState)
		gateway.end(t, syscall.SIGKILL)
		gateway = startGateway()
		gateway.await(t, "listening")
		client = p.start(whole, p.command("sh", "-c", "exec "+pasted))
		client.await(t, "resumed")
		p.json(t, &st, "status", "--all")
		if st.Totals.Resumed != 1 || st.Totals.Full != 0 {
			t.Errorf("after SIGKILL: %+v", st.Totals)
		}
	})

	t.Run("log out", func(t *testing.T) {
		if code := client.end(t, os.Interrupt); code != exitOK {
			t.Errorf("Ctrl-C: exit code %d:\n%s", code, client.text())
		}
		gateway.await(t, "sa down")
		p.json(t, &st, "status")
		if len(st.SAs) != 0 {
			t.Errorf("the SA is still there: %+v", st.SAs)
		}
		if _, problems, code := p.run(t, "ticket", "inspect"); code != exitFailed || !strings.Contains(problems, "keeps no ticket") {
			t.Errorf("the ticket is still there: %d %s", code, problems)
		}
	})

	t.Run("state adopt", func(t *testing.T) {
		if _, problems, code := p.run(t, "state", "adopt"); code != exitFailed || !strings.Contains(problems, "in use by process") {
			t.Errorf("while it runs: %d %s", code, problems)
		}
		if code := gateway.end(t, syscall.SIGTERM); code != exitOK {
			t.Errorf("SIGTERM: exit code %d:\n%s", code, gateway.text())
		}
		p.ok(t, "state", "adopt")
		if _, problems, code := p.run(t, "status"); code != exitFailed || !strings.Contains(problems, "start 'blackswan gateway") {
			t.Errorf("status of nobody: %d %s", code, problems)
		}
	})

	err := filepath.WalkDir(p.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != 0 || strings.HasSuffix(path, ".pem") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// testTicket looks at the ticket that the connected client has.
func testTicket(t *testing.T, p person) {
	t.Helper()
	var s shown
	p.keepsTicket(t)
	p.json(t, &s, "ticket", "inspect", "--gateway-state", filepath.Join(p.home, "state/blackswan/gateway"))
	if s.Verdict != "opens" || s.Opened == nil || s.Opened.IDi != newClient || s.Opened.IDr != newGateway ||
		s.Opened.SPIi != s.Client.SPIi || s.Opened.Lineage == "" || s.Opened.SPIr != s.Client.SPIr || s.Opened.SKd != "redacted" || s.Client.SKd != "redacted" {
		t.Errorf("got %+v, client %+v, opened %+v", s, s.Client, s.Opened)
	}
	text := p.ok(t, "ticket", "inspect")
	if !strings.Contains(text, "by value") || !strings.Contains(text, newGateway) || !strings.Contains(text, "redacted") {
		t.Errorf("text:\n%s", text)
	}
	if left, err := filepath.Glob(filepath.Join(p.home, "state/blackswan/gateway/inspect-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if _, problems, code := p.run(t, "ticket", "inspect", "--gateway-state", p.home); code != exitUsage || !strings.Contains(problems, "is "+p.home+" the state directory of a gateway?") {
		t.Errorf("a directory without store: %d %s", code, problems)
	}
	if _, problems, code := p.run(t, "ticket", "inspect", "other"); code != exitFailed || !strings.Contains(problems, `keeps no ticket for "other"`) {
		t.Errorf("another name: %d %s", code, problems)
	}
}

// testKeys rotates: the ticket stays good.
func testKeys(t *testing.T, p person) {
	t.Helper()
	p.ok(t, "keys", "rotate")
	var s shown
	p.keepsTicket(t)
	p.json(t, &s, "ticket", "inspect", "--gateway-state", filepath.Join(p.home, "state/blackswan/gateway"))
	if s.Verdict != "opens" {
		t.Errorf("after keys rotate: %s", s.Verdict)
	}
}

// After keys revoke no ticket opens, and the gateway says who logs in anew.
func TestRevokeAndDelete(t *testing.T) {
	p := newPerson(t)
	ports := freePorts(t)
	gateway := p.start(t, p.command(p.program, "gateway", "--traffic", "off", "--listen", "127.0.0.1", "--port", ports[0], "--nat-port", ports[1]))
	pasted := strings.TrimSpace(gateway.await(t, " connect --ca "))
	gateway.await(t, "listening")
	client := p.start(t, p.command("sh", "-c", "exec "+pasted))
	client.await(t, "connected")
	var r revoked
	p.json(t, &r, "keys", "revoke")
	if r.Keys < 1 || r.Clients != 1 {
		t.Errorf("revoked: %+v", r)
	}
	var s shown
	p.keepsTicket(t)
	p.json(t, &s, "ticket", "inspect", "--gateway-state", filepath.Join(p.home, "state/blackswan/gateway"))
	if s.Verdict == "opens" || s.Opened != nil {
		t.Errorf("a ticket of a revoked key: %+v", s)
	}
	var st blackswan.Status
	p.json(t, &st, "status")
	if len(st.SAs) != 1 {
		t.Fatalf("SAs: %+v", st.SAs)
	}
	if _, problems, code := p.run(t, "delete", "0000000000000001"); code != exitFailed || !strings.Contains(problems, "'blackswan status' lists them") {
		t.Errorf("delete of no SA: %d %s", code, problems)
	}
	p.ok(t, "delete", st.SAs[0].SPIr)
	client.await(t, "sa down")
}

// keepsTicket waits until the client's ticket is in its jar: it is there a
// moment after "connected" is said.
func (p person) keepsTicket(t *testing.T, args ...string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		_, problems, code := p.run(t, append([]string{"ticket", "inspect"}, args...)...)
		if code == exitOK {
			return
		}
		select {
		case <-late:
			t.Fatalf("no ticket after 20 s: %s", problems)
		default:
		}
	}
}
