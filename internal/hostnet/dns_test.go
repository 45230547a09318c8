//go:build linux

package hostnet

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// programs is a PATH of the test's own with fake programs that write down how
// they were called and what they were given.
type programs struct {
	t   *testing.T
	dir string
}

func newPrograms(t *testing.T) *programs {
	p := &programs{t, t.TempDir()}
	t.Setenv("PATH", p.dir)
	return p
}

// has puts a program into the PATH, which ends with the words of the shell.
func (p *programs) has(name, end string) {
	p.t.Helper()
	script := "#!/bin/sh\n" +
		"echo \"" + name + " $*\" >>" + p.dir + "/calls\n" +
		"while read -r line; do echo \"  $line\" >>" + p.dir + "/calls; done\n" + end + "\n"
	must(p.t, os.WriteFile(filepath.Join(p.dir, name), []byte(script), 0o700))
}

// calls are the lines since the last time.
func (p *programs) calls() []string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "calls"))
	_ = os.Remove(filepath.Join(p.dir, "calls"))
	return slices.Collect(func(yield func(string) bool) {
		for line := range strings.Lines(string(b)) {
			if !yield(strings.TrimSuffix(line, "\n")) {
				return
			}
		}
	})
}

func (p *programs) want(when string, want ...string) {
	p.t.Helper()
	if got := p.calls(); !slices.Equal(got, want) {
		p.t.Errorf("%s: called\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// loopback is a device that is there in every namespace.
func loopback(t *testing.T, h *Host) device {
	t.Helper()
	l, err := h.kernel.link("lo")
	must(t, err)
	return l.Device
}

func namesPlan(routes string, search ...string) *Plan {
	return &Plan{Routes: prefixes(routes), DNS: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, Search: search}
}

func TestResolvectl(t *testing.T) {
	for _, row := range []struct {
		name          string
		plan          *Plan
		domain, route string
	}{
		{"full", namesPlan("0.0.0.0/0"), "~.", "true"},
		{"full with domains", namesPlan("::/0", "corp.example"), "~. corp.example", "true"},
		{"split", namesPlan("10.0.0.0/8"), "~.", "true"},
		{"split with domains", namesPlan("10.0.0.0/8", "corp.example", "lab.example"), "corp.example lab.example", "false"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPrograms(t)
			p.has(resolvectl, "")
			p.has(resolvconf, "")
			h := open(t, t.TempDir())
			lo := loopback(t, h)
			for range 2 { // the second time it is known
				must(t, h.setDNS(t.Context(), row.plan, lo))
			}
			p.want("set", "resolvectl dns lo 10.0.0.1 fd00::1", "resolvectl domain lo "+row.domain, "resolvectl default-route lo "+row.route)
			must(t, h.Release(t.Context()))
			must(t, h.Release(t.Context()))
			p.want("released", "resolvectl revert lo")
		})
	}
}

func TestResolvconf(t *testing.T) {
	for _, row := range []struct {
		name      string
		plan      *Plan
		exclusive string
	}{
		{"full", namesPlan("0.0.0.0/0", "corp.example"), " -x"},
		{"split", namesPlan("10.0.0.0/8", "corp.example"), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPrograms(t)
			p.has(resolvconf, "")
			h := open(t, t.TempDir())
			lo := loopback(t, h)
			must(t, h.setDNS(t.Context(), row.plan, lo))
			p.want("set", "resolvconf -a lo.blackswan -m 0"+row.exclusive, "  nameserver 10.0.0.1", "  nameserver fd00::1", "  search corp.example")
			row.plan.DNS = nil
			must(t, h.setDNS(t.Context(), row.plan, lo))
			p.want("no servers any more", "resolvconf -d lo.blackswan -f")
			if h.Changed() {
				t.Error("something is left to undo")
			}
		})
	}
}

// TestResolvectlThatFails: systemd-resolved does not run, the next program is
// asked.
func TestResolvectlThatFails(t *testing.T) {
	p := newPrograms(t)
	p.has(resolvectl, "exit 1")
	p.has(resolvconf, "")
	h := open(t, t.TempDir())
	err := h.setDNS(t.Context(), namesPlan("::/0"), device{"none0", 9})
	must(t, err)
	p.want("set", "resolvectl dns none0 10.0.0.1 fd00::1", "resolvconf -a none0.blackswan -m 0 -x", "  nameserver 10.0.0.1", "  nameserver fd00::1")
}

func TestNoResolver(t *testing.T) {
	p := newPrograms(t)
	h := open(t, t.TempDir())
	lo := loopback(t, h)
	err := h.setDNS(t.Context(), namesPlan("::/0"), lo)
	if !errors.Is(err, ErrDNS) || !strings.Contains(err.Error(), "/etc/resolv.conf: nameserver 10.0.0.1, nameserver fd00::1") {
		t.Errorf("error %v", err)
	}
	p.has(resolvconf, "echo 'no such thing' >&2; exit 3")
	err = h.setDNS(t.Context(), namesPlan("::/0"), lo)
	if !errors.Is(err, ErrDNS) || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error %v", err)
	}
}

// TestDNSAfterACrash: the next process undoes what the journal names.
func TestDNSAfterACrash(t *testing.T) {
	p := newPrograms(t)
	p.has(resolvconf, "")
	dir := t.TempDir()
	h := open(t, dir)
	lo := loopback(t, h)
	must(t, h.setDNS(t.Context(), namesPlan("::/0"), lo))
	must(t, h.Close())
	p.calls()
	h = open(t, dir)
	must(t, h.setDNS(t.Context(), namesPlan("::/0"), device{"lo", lo.Index + 1})) // a new device of the same name
	if got := p.calls(); len(got) == 0 || got[0] != "resolvconf -a lo.blackswan -m 0 -x" {
		t.Errorf("taken over: %q", got)
	}
	must(t, h.Close())

	p.has(resolvconf, "exit 1")
	h = open(t, dir)
	if err := h.Release(t.Context()); err == nil || !strings.Contains(err.Error(), "resolvconf -d lo.blackswan") || !h.Changed() {
		t.Errorf("a program that fails: %v", err)
	}
	p.has(resolvconf, "")
	must(t, h.Release(t.Context()))
	if h.Changed() {
		t.Error("something is left to undo")
	}
}

// TestDNSOfADeadDevice: systemd-resolved forgot it with the device.
func TestDNSOfADeadDevice(t *testing.T) {
	p := newPrograms(t)
	p.has(resolvectl, "")
	h := open(t, t.TempDir())
	must(t, h.setDNS(t.Context(), namesPlan("::/0"), device{"none0", 9}))
	p.calls()
	must(t, h.Release(t.Context()))
	p.want("released")
}

func TestProgramThatHangs(t *testing.T) {
	p := newPrograms(t)
	must(t, os.WriteFile(filepath.Join(p.dir, resolvconf), []byte("#!/bin/sh\nread x </dev/zero\n"), 0o700))
	h := open(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := h.setDNS(ctx, namesPlan("::/0"), loopback(t, h)); !errors.Is(err, ErrDNS) {
		t.Errorf("error %v", err)
	}
}
