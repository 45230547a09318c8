package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A gateway serves its profiles at a socket in its state directory, if it is told
// to and not otherwise.
func TestProfiles(t *testing.T) {
	p := newPerson(t)
	state := filepath.Join(p.home, "profiled")
	socket := filepath.Join(state, "pprof.sock")
	for _, flags := range [][]string{nil, {"--pprof"}} {
		ports := freePorts(t)
		args := append([]string{"gateway", "--traffic", "off", "--state", state, "--listen", "127.0.0.1", "--port", ports[0], "--nat-port", ports[1]}, flags...)
		gateway := p.start(t, p.command(p.program, args...))
		gateway.await(t, "listening")
		if flags == nil {
			if _, err := os.Lstat(socket); err == nil {
				t.Error("profiles are served although nobody asked for them")
			}
		} else {
			profile(t, socket)
		}
		if code := gateway.end(t, os.Interrupt); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, gateway.text())
		}
	}
}

// profile reads the profile of allocations.
func profile(t *testing.T, socket string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			c, err := net.Dial("unix", socket)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
			runtime.Gosched() // it does not listen yet
		}
	}}
	r, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("http://gateway/debug/pprof/allocs")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK || len(b) < 100 || b[0] != 0x1f || b[1] != 0x8b {
		t.Errorf("%s, %d octets, %v", r.Status, len(b), err)
	}
}
