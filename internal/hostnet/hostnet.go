// Package hostnet is what a tunnel changes on its host: addresses, routes,
// rules and DNS, and how all of it is undone.
//
// What the tunnel carries lies in a routing table of its own, [Table], to which
// policy rules lead before the main table is asked. Each prefix is there twice:
// by the TUN, and at a worse metric as a blackhole. When the process dies its
// TUN goes, the blackholes stay, and no packet leaves in the clear until the
// next start or "connect --release" (rule E9). Our own packets (by fwmark) and
// those to the gateway are led to the main table first, so that they follow
// every change of the host's links, and to nowhere when it has no way: never
// into the tunnel.
//
// A full tunnel carries what goes to the local network too, and who comes to
// this host from outside gets no answer past the tunnel. Only a socket that is
// bound to another interface leaves by it: it asked the kernel to look at no
// other. Link-local addresses of IPv6 live by that.
//
// A [Host] keeps a journal: everything is written there, on disk, before it is
// done. It undoes exactly what it has done, whoever did the same beside it, and
// after a crash the next one takes over.
//
// Linux only: elsewhere Open and Routes fail with [errors.ErrUnsupported].
package hostnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"blackswan/internal/durable"
)

// ErrHeld says that another process has the connection. While it runs, the
// host is its business.
var ErrHeld = errors.New("hostnet: another process has this connection up")

// Host is the host as one connection changes it. Its methods are called by one
// goroutine at a time, and none leaves another behind.
type Host struct {
	dir, connection string
	kernel          *kernel
	journal         journal
	saved           []byte // the journal as it is on disk; nil: not known
	told            string // to the resolver by this process
	lock, slotLock  *durable.Lock
}

// Open takes the connection's journal in the directory, which is made if it is
// not there, and holds it until Close: ErrHeld if another process does. It
// changes nothing. A journal that cannot be read is ErrDamaged, and stays.
func Open(dir, connection string) (*Host, error) {
	if connection == "" {
		return nil, errors.New("hostnet: a connection without a name")
	}
	h := &Host{dir: dir, connection: connection}
	if err := h.open(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Host) open() (err error) {
	if h.kernel, err = openKernel(); err != nil {
		return err
	}
	if err := durable.MakeDir(h.dir); err != nil {
		return fmt.Errorf("hostnet: %w", err)
	}
	if h.lock, err = lock(h.file(lockSuffix)); err != nil {
		return err
	}
	if h.journal, err = readJournal(h.file(journalSuffix)); err != nil {
		return err
	}
	if h.journal.Slot > 0 {
		if h.slotLock, err = lock(h.slotFile(h.journal.Slot)); err != nil {
			return err
		}
	}
	boot := bootID()
	if h.journal.Boot != boot { // what a kernel had is gone with it
		h.journal.Entries, h.journal.Link = nil, nil
	}
	h.journal.Boot = boot
	return nil
}

func lock(path string) (*durable.Lock, error) {
	held, err := durable.TakeLock(path)
	switch {
	case errors.Is(err, durable.ErrHeld):
		return nil, fmt.Errorf("%w: it holds %s", ErrHeld, path)
	case err != nil:
		return nil, fmt.Errorf("hostnet: %w", err)
	}
	return held, nil
}

// Close lets go and leaves everything in place, as a crash does. The Host is
// not used afterwards.
func (h *Host) Close() error {
	var errs []error
	for _, l := range []*durable.Lock{h.slotLock, h.lock} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if h.kernel != nil {
		h.kernel.close()
	}
	return errors.Join(errs...)
}

// Changed reports whether the journal names anything that Release would undo:
// right after Open, what a crash has left.
func (h *Host) Changed() bool { return !h.journal.empty() }

// Routes are those that are not released, in this process or before a crash.
func (h *Host) Routes() (all []netip.Prefix) {
	for _, e := range h.journal.Entries {
		if e.Kind == blackhole {
			all = append(all, e.Prefix)
		}
	}
	return all
}

// Gateway is that of the last plan which is not released, in this process or
// before a crash. What a crash has left may keep a new process from asking DNS
// for it: the servers are in the tunnel, or the way to them. Zero: none.
func (h *Host) Gateway() netip.Addr { return h.journal.Gateway }

// Apply makes the host as the plan wants it. It may be called again with
// another plan, or with the same one to mend what others have removed: only
// what differs is changed, what is wanted new comes before what is not wanted
// any more goes, and a prefix of both plans never leaks in between. So it is
// with what a crash has left.
//
// The context bounds the programs that DNS needs. An error that is [ErrDNS]
// alone leaves everything else in place. After any other, what could be done
// without a leak is done; Apply may be tried again, and Release undoes it. It
// is [syscall.EPERM] without CAP_NET_ADMIN.
func (h *Host) Apply(ctx context.Context, p Plan) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("hostnet: %s: %w", h.connection, err)
	}
	now, err := h.kernel.link(p.Device)
	if err != nil {
		return err
	}
	if h.journal.Slot == 0 {
		if err := h.claim(); err != nil {
			return err
		}
	}
	want := p.entries(now.Device)
	there, err := h.there(now.Device)
	if err != nil {
		return err
	}
	if old := h.journal.Link; old != nil && old.Device != now.Device {
		if err := h.restore(); err != nil {
			return err
		}
	}
	h.journal.Gateway = p.Gateway
	if err := h.note(now, there, want); err != nil {
		return err
	}
	if err = h.kernel.setUp(now, p.MTU); err != nil {
		err = explain(fmt.Errorf("hostnet: setting up %s: %w", p.Device, err))
	} else {
		err = h.change(now.Device, want)
	}
	if err = errors.Join(err, h.crossOut(now.Device)); err != nil {
		return err
	}
	return h.setDNS(ctx, &p, now.Device)
}

// there lists what the kernel has of this slot, and of addresses on the device
// and on those in the journal.
func (h *Host) there(devices ...device) ([]entry, error) {
	for _, e := range h.journal.Entries {
		if e.Device != (device{}) && !slices.Contains(devices, e.Device) {
			devices = append(devices, e.Device)
		}
	}
	return h.kernel.list(h.journal.Slot, devices)
}

// note writes into the journal what will be made, before it is.
func (h *Host) note(now link, there, want []entry) error {
	ours := slices.Clone(h.journal.Entries)
	known := setOf(slices.Concat(there, ours))
	for _, e := range want {
		if !known[e] {
			ours = append(ours, e)
		}
	}
	h.journal.Entries = ours
	if h.journal.Link == nil {
		h.journal.Link = &now
	}
	return h.save()
}

// change makes what is wanted and removes what is not. Addresses come first, and
// what is there is looked at again: with the last address of a device the
// kernel drops its IPv4 routes.
func (h *Host) change(dev device, want []entry) error {
	var errs []error
	for _, part := range []func([]entry) []entry{addresses, ways} {
		there, err := h.there(dev)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, h.take(steps(there, part(h.journal.Entries), part(want))))
	}
	return errors.Join(errs...)
}

func addresses(list []entry) []entry {
	return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return e.Kind != address })
}

func ways(list []entry) []entry {
	return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return e.Kind == address })
}

// take takes the steps in turn, and goes on after one that fails: a route by the
// TUN that cannot be had is a blackhole in the tunnel's place, not a leak. Two
// things wait for better times, in the family that failed: nothing is removed,
// and no rule leads into the tunnel that own packets have no rule around.
func (h *Host) take(steps []step) error {
	var errs []error
	var failed, closed [2]bool
	for _, s := range steps {
		family := s.entry.family()
		switch {
		case s.add && s.entry.Kind == tunnel && closed[family]:
		case s.add:
			if err := h.kernel.add(h.journal.Slot, s.entry); err != nil {
				failed[family] = true
				closed[family] = closed[family] || s.entry.Kind == outside || s.entry.Kind == nowhere
				errs = append(errs, explain(fmt.Errorf("hostnet: %s: %w", s.entry.command("add", h.journal.Slot), err)))
			}
		case !failed[family]:
			errs = append(errs, h.remove(s.entry))
		}
	}
	return errors.Join(errs...)
}

// remove undoes an entry, and says how a person does it when it cannot.
func (h *Host) remove(e entry) error {
	if err := h.kernel.remove(h.journal.Slot, e); err != nil {
		return explain(fmt.Errorf("hostnet: cannot undo, do it by hand: %s: %w", e.command("del", h.journal.Slot), err))
	}
	return nil
}

// crossOut takes out of the journal what is not there.
func (h *Host) crossOut(devices ...device) error {
	there, err := h.there(devices...)
	if err != nil {
		return err
	}
	is := setOf(there)
	h.journal.Entries = slices.DeleteFunc(h.journal.Entries, func(e entry) bool { return !is[e] })
	return h.save()
}

// Release undoes everything, and is no error when nothing is to be done or
// somebody else has undone it. What it cannot undo stays in the journal, and
// the error has the commands that do.
//
// The context bounds the programs that DNS needs.
func (h *Host) Release(ctx context.Context) error {
	err := h.ReleaseDNS(ctx)
	if len(h.journal.Entries) > 0 {
		there, failed := h.there()
		if failed == nil {
			failed = errors.Join(h.take(steps(there, h.journal.Entries, nil)), h.crossOut())
		}
		err = errors.Join(err, failed)
	}
	err = errors.Join(err, h.restore(), h.save())
	if h.journal.empty() && h.slotLock != nil {
		err = errors.Join(err, h.slotLock.Close())
		h.slotLock, h.journal.Slot, h.journal.Gateway = nil, 0, netip.Addr{}
	}
	return err
}

// restore sets the device back to what it was, if it is there.
func (h *Host) restore() error {
	l := h.journal.Link
	if l == nil {
		return nil
	}
	if err := h.kernel.restore(*l); err != nil {
		return explain(fmt.Errorf("hostnet: cannot undo the set-up of device %s: %w", l.Device.Name, err))
	}
	h.journal.Link = nil
	return nil
}

// explain adds what to do about the two refusals that have a cure.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w: it takes the capability CAP_NET_ADMIN: be root, or give a systemd unit AmbientCapabilities=CAP_NET_ADMIN", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: IPv6 is switched off on the device: sysctl net.ipv6.conf.default.disable_ipv6 and of the device", err)
	}
	return err
}
