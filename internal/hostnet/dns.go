package hostnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ErrDNS says that the DNS of the host is not as the plan wants it; the error
// that wraps it says what to do.
var ErrDNS = errors.New("hostnet: DNS was not set")

// patience is how long a program may take; resolvconf itself waits ten seconds
// for its lock.
const patience = 15 * time.Second

// Programs that take DNS servers of a device.
const (
	resolvectl = "resolvectl" // of systemd-resolved; fails where that does not run
	resolvconf = "resolvconf" // of openresolv, of Debian, or resolvectl by another name
)

// resolver is which program was told something about which device.
type resolver struct {
	Program string `json:"program"`
	Device  device `json:"device"`
}

func (r *resolver) check() error {
	if r.Program != resolvectl && r.Program != resolvconf || r.Device.Name == "" || strings.HasPrefix(r.Device.Name, "-") {
		return fmt.Errorf("DNS by program %q for device %q", r.Program, r.Device.Name)
	}
	return nil
}

// record is the name under which resolvconf keeps what we tell it.
func (r *resolver) record() string { return r.Device.Name + ".blackswan" }

// setDNS tells the first program that is there and works about the servers.
func (h *Host) setDNS(ctx context.Context, p *Plan, dev device) error {
	if len(p.DNS) == 0 {
		return h.ReleaseDNS(ctx)
	}
	tell := fmt.Sprint(dev, p.DNS, p.Search, p.full())
	if h.told == tell {
		return nil
	}
	if old := h.journal.DNS; old != nil && old.Device.Name != dev.Name {
		if err := h.ReleaseDNS(ctx); err != nil {
			return err
		}
	}
	var tried []error
	for _, program := range []string{resolvectl, resolvconf} {
		if _, err := exec.LookPath(program); err != nil {
			tried = append(tried, err)
			continue
		}
		err := h.tell(ctx, p, resolver{program, dev})
		if err == nil {
			h.told = tell
			return nil
		}
		tried = append(tried, err, h.ReleaseDNS(ctx))
	}
	servers := strings.TrimSpace(resolvConf(p))
	return fmt.Errorf("%w: %w; start systemd-resolved or install openresolv, or put into /etc/resolv.conf: %s",
		ErrDNS, errors.Join(tried...), strings.ReplaceAll(servers, "\n", ", "))
}

// tell gives the servers to one program. What it may have done is in the
// journal before.
func (h *Host) tell(ctx context.Context, p *Plan, r resolver) error {
	if old := h.journal.DNS; old != nil && old.Program != r.Program {
		if err := h.ReleaseDNS(ctx); err != nil {
			return err
		}
	}
	h.journal.DNS = &r
	if err := h.save(); err != nil {
		return err
	}
	if r.Program == resolvconf {
		args := []string{"-a", r.record(), "-m", "0"}
		if p.everyName() {
			args = append(args, "-x") // no other servers beside these
		}
		return run(ctx, resolvConf(p), resolvconf, args...)
	}
	servers, domains := []string{"dns", r.Device.Name}, []string{"domain", r.Device.Name}
	for _, s := range p.DNS {
		servers = append(servers, s.String())
	}
	if p.everyName() {
		domains = append(domains, "~.")
	}
	domains = append(domains, p.Search...)
	route := []string{"default-route", r.Device.Name, fmt.Sprint(p.everyName())}
	for _, args := range [][]string{servers, domains, route} {
		if err := run(ctx, "", resolvectl, args...); err != nil {
			return err
		}
	}
	return nil
}

// ReleaseDNS undoes what was done to the host's DNS, and nothing else: after a
// crash the servers of a tunnel that is not there would have to say where its
// gateway is. A device that is gone took along what systemd-resolved knew of
// it.
func (h *Host) ReleaseDNS(ctx context.Context) error {
	r := h.journal.DNS
	if r == nil {
		return nil
	}
	h.told = ""
	args := []string{"-d", r.record(), "-f"} // -f: no error when there is none; not known to all
	if r.Program == resolvectl {
		args = []string{"revert", r.Device.Name}
	}
	if r.Program == resolvconf || h.kernel.has(r.Device) {
		if err := run(ctx, "", r.Program, args...); err != nil {
			return fmt.Errorf("hostnet: cannot undo, do it by hand: %s %s: %w", r.Program, strings.Join(args, " "), err)
		}
	}
	h.journal.DNS = nil
	return h.save()
}

// full reports whether the tunnel carries all of a family.
func (p *Plan) full() bool {
	return slices.ContainsFunc(p.Routes, func(r netip.Prefix) bool { return r.Bits() == 0 })
}

// everyName reports whether all names are asked of the tunnel's servers, not
// only those below the search domains.
func (p *Plan) everyName() bool { return p.full() || len(p.Search) == 0 }

// resolvConf are the servers in the words of resolv.conf(5).
func resolvConf(p *Plan) string {
	var b strings.Builder
	for _, s := range p.DNS {
		fmt.Fprintf(&b, "nameserver %v\n", s)
	}
	if len(p.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(p.Search, " "))
	}
	return b.String()
}

// run runs a program of the PATH; what it says is in the error.
func run(ctx context.Context, stdin, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Stdin = strings.NewReader(stdin)
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.200q", strings.Join(append([]string{program}, args...), " "), err, bytes.TrimSpace(out))
	}
	return nil
}
