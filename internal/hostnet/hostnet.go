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
// A full tunnel carries what goes to the local network too. What is bound to an
// interface other than the TUN is dropped (IPv4) or finds the main table
// (IPv6, and so link-local addresses work). Who comes to this host from outside
// gets no answer past the tunnel.
//
// A [Host] keeps a journal: everything is written there, on disk, before it is
// done. It undoes exactly what it has done, whoever did the same beside it, and
// after a crash the next one takes over.
//
// This is built for Linux; elsewhere Open, Routes and their like fail with
// [errors.ErrUnsupported].
package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

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
	if h.lock, err = take(h.file(lockSuffix)); err != nil {
		return err
	}
	if h.journal, err = readJournal(h.file(journalSuffix)); err != nil {
		return err
	}
	if h.journal.Slot > 0 {
		if h.slotLock, err = take(h.slotFile(h.journal.Slot)); err != nil {
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

func take(path string) (*durable.Lock, error) {
	lock, err := durable.TakeLock(path)
	switch {
	case errors.Is(err, durable.ErrHeld):
		return nil, fmt.Errorf("%w: it holds %s", ErrHeld, path)
	case err != nil:
		return nil, fmt.Errorf("hostnet: %w", err)
	}
	return lock, nil
}

// Close lets go and leaves everything in place, as a crash does. The Host is
// not used afterwards.
func (h *Host) Close() error {
	var errs []error
	for _, lock := range []*durable.Lock{h.slotLock, h.lock} {
		if lock != nil {
			errs = append(errs, lock.Close())
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

// Apply makes the host as the plan wants it. It may be called again with
// another plan, or with the same one to mend what others have removed: only
// what differs is changed, what is wanted new comes before what is not wanted
// any more goes, and a prefix of both plans never leaks in between. So it is
// with what a crash has left.
//
// The context bounds the programs that DNS needs. An error that is [ErrDNS]
// alone leaves everything else in place. After any other, what could be done
// without risk is done; Apply may be tried again, and Release undoes it. It is
// [fs.ErrPermission] without CAP_NET_ADMIN.
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
	if err := h.note(now, there, want); err != nil {
		return err
	}
	if err := h.kernel.setUp(now, p.MTU); err != nil {
		return explain(fmt.Errorf("hostnet: setting up %s: %w", p.Device, err))
	}
	// With the last address of a device the kernel drops its IPv4 routes: what
	// is there is looked at again.
	err = h.change(there, only(h.journal.Entries, address), only(want, address))
	if again, failed := h.there(now.Device); failed == nil {
		err = errors.Join(err, h.change(again, except(h.journal.Entries, address), except(want, address)))
	} else {
		err = errors.Join(err, failed)
	}
	if err = errors.Join(err, h.crossOut(now.Device, want)); err != nil {
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
	for _, e := range want {
		if !slices.Contains(there, e) && !slices.Contains(ours, e) {
			ours = append(ours, e)
		}
	}
	h.journal.Entries = ours
	if h.journal.Link == nil {
		h.journal.Link = &now
	}
	return h.save()
}

// change takes the steps in turn. A family in which one could not be added is
// left as it is from there on: its blackholes hold.
func (h *Host) change(there, ours, want []entry) error {
	var errs []error
	var failed [2]bool
	for _, s := range steps(there, ours, want) {
		stopped := &failed[s.entry.family()]
		if *stopped {
			continue
		}
		if !s.add {
			errs = append(errs, h.remove(s.entry))
			continue
		}
		if err := h.kernel.add(h.journal.Slot, s.entry); err != nil {
			*stopped = true
			errs = append(errs, explain(fmt.Errorf("hostnet: %s: %w", s.entry.command("add", h.journal.Slot), err)))
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

// crossOut takes out of the journal what is neither wanted nor there.
func (h *Host) crossOut(dev device, want []entry) error {
	there, err := h.there(dev)
	if err != nil {
		return err
	}
	h.journal.Entries = slices.DeleteFunc(h.journal.Entries, func(e entry) bool {
		return !slices.Contains(want, e) && !slices.Contains(there, e)
	})
	return h.save()
}

// Release undoes everything, and is no error when nothing is to be done or
// somebody else has undone it. What it cannot undo stays in the journal, and
// the error has the commands that do.
//
// The context bounds the programs that DNS needs.
func (h *Host) Release(ctx context.Context) error {
	err := h.dropDNS(ctx)
	if len(h.journal.Entries) > 0 {
		there, failed := h.there()
		err = errors.Join(err, failed, h.change(there, h.journal.Entries, nil))
		if failed == nil {
			err = errors.Join(err, h.crossOut(device{}, nil))
		}
	}
	err = errors.Join(err, h.restore(), h.save())
	if h.journal.empty() && h.slotLock != nil {
		err = errors.Join(err, h.slotLock.Close())
		h.slotLock, h.journal.Slot = nil, 0
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

// explain adds what to do about a lack of rights.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: it takes the capability CAP_NET_ADMIN: be root, or give a systemd unit AmbientCapabilities=CAP_NET_ADMIN", err)
	}
	return err
}

func only(list []entry, k kind) []entry {
	return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return e.Kind != k })
}

func except(list []entry, k kind) []entry {
	return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return e.Kind == k })
}
