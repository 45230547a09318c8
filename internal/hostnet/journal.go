package hostnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"blackswan/internal/durable"
)

// ErrDamaged says that a journal cannot be read. Nothing was changed.
var ErrDamaged = errors.New("hostnet: the journal is damaged")

const (
	journalVersion = 1
	journalSuffix  = ".json"
	lockSuffix     = ".lock"
	slotName       = "slot."  // and the number: held by who uses the slot
	maxJournal     = 64 << 20 // octets; 100,000 routes take half of it
)

// journal is what may be in place: all of it was written down before it was
// made, and is crossed out after it is undone.
type journal struct {
	Version int        `json:"version"`
	Boot    string     `json:"boot,omitempty"` // boot-id of the kernel that was changed
	Slot    int        `json:"slot,omitempty"` // 0: none yet
	Entries []entry    `json:"entries,omitempty"`
	Gateway netip.Addr `json:"gateway,omitzero"` // of the last plan
	Link    *link      `json:"link,omitempty"`
	DNS     *resolver  `json:"dns,omitempty"`
}

// link is how a device was before it was set up.
type link struct {
	Device device `json:"device"`
	MTU    int    `json:"mtu"`
	Up     bool   `json:"up"`
}

// empty reports whether nothing is left to undo.
func (j *journal) empty() bool { return len(j.Entries) == 0 && j.Link == nil && j.DNS == nil }

// readJournal reads the file at path; one that is not there is empty. A file
// that others may write to is refused: it would tell root what to remove.
func readJournal(path string) (journal, error) {
	none := journal{Version: journalVersion}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, nil
	case err != nil:
		return none, fmt.Errorf("hostnet: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return none, fmt.Errorf("hostnet: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return none, fmt.Errorf("hostnet: %s has mode %04o: others could say in it what is to be removed; look into it, then chmod 0600", path, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxJournal))
	if err != nil {
		return none, fmt.Errorf("hostnet: %w", err)
	}
	j, err := parseJournal(b)
	if err != nil {
		return none, fmt.Errorf("%w: %s: %w; nothing was changed. What is left of the last run is in \"ip rule\" (preferences %d to %d) and \"ip route show table %d\", both with -4 and -6: remove it, then this file",
			ErrDamaged, path, err, prefOutside+1, prefTunnel+slots, Table)
	}
	return j, nil
}

// parseJournal reads a journal, all of it or nothing.
func parseJournal(b []byte) (journal, error) {
	var j journal
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return journal{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return journal{}, errors.New("something follows its end")
	}
	switch {
	case j.Version != journalVersion:
		return journal{}, fmt.Errorf("it has version %d, this program knows %d", j.Version, journalVersion)
	case j.Slot < 0 || j.Slot > slots || j.Slot == 0 && len(j.Entries) > 0:
		return journal{}, fmt.Errorf("slot %d", j.Slot)
	case j.Link != nil && (j.Link.Device.Name == "" || j.Link.Device.Index <= 0):
		return journal{}, errors.New("a link without a device")
	case j.DNS != nil && j.DNS.check() != nil:
		return journal{}, j.DNS.check()
	}
	for _, e := range j.Entries {
		if err := e.check(); err != nil {
			return journal{}, err
		}
	}
	return j, nil
}

// save puts the journal on disk before it returns; an empty one is no file.
func (h *Host) save() error {
	path := h.file(journalSuffix)
	if h.journal.empty() {
		h.saved = nil
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("hostnet: %w", err)
		}
		return nil // one that comes back after a power cut names what went with the power
	}
	b, err := json.MarshalIndent(&h.journal, "", "\t")
	if bytes.Equal(b, h.saved) {
		return nil
	}
	switch {
	case err != nil:
	case len(b) > maxJournal:
		err = fmt.Errorf("%d entries are too many: give the tunnel fewer and wider networks", len(h.journal.Entries))
	default:
		err = durable.Replace(path, b)
	}
	if err != nil {
		return fmt.Errorf("hostnet: the journal, without which nothing is changed: %w", err)
	}
	h.saved = b
	return nil
}

// file is one of the connection's in the directory.
func (h *Host) file(suffix string) string {
	return filepath.Join(h.dir, url.PathEscape(h.connection)+suffix)
}

// Connections are those that have changed the host, by their journals in the
// directory: they are up, or a crash has left them.
func Connections(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	if err != nil {
		return nil, fmt.Errorf("hostnet: %w", err)
	}
	var all []string
	for _, file := range files {
		name, err := url.PathUnescape(strings.TrimSuffix(filepath.Base(file), journalSuffix))
		if err != nil {
			return nil, fmt.Errorf("hostnet: %s is no journal of ours: remove it: %w", file, err)
		}
		all = append(all, name)
	}
	return all, nil
}

// claim takes the first slot that nobody has: no process, no journal and
// nothing in the kernel, where other directories may have put it.
func (h *Host) claim() error {
	for slot := 1; slot <= slots; slot++ {
		lock, err := durable.TakeLock(h.slotFile(slot))
		if errors.Is(err, durable.ErrHeld) {
			continue
		}
		if err != nil {
			return fmt.Errorf("hostnet: %w", err)
		}
		free, err := h.free(slot)
		if free {
			h.slotLock, h.journal.Slot = lock, slot
			return nil
		}
		if err = errors.Join(err, lock.Close()); err != nil {
			return err
		}
	}
	return fmt.Errorf("hostnet: all %d slots for connections are in use: \"ip rule\" shows them, preferences from %d on", slots, prefTunnel+1)
}

func (h *Host) slotFile(slot int) string {
	return filepath.Join(h.dir, fmt.Sprint(slotName, slot))
}

// free reports whether neither a journal nor the kernel knows the slot. A
// journal that is damaged knows none: nobody will act on it.
func (h *Host) free(slot int) (bool, error) {
	files, err := filepath.Glob(filepath.Join(h.dir, "*"+journalSuffix))
	if err != nil {
		return false, fmt.Errorf("hostnet: %w", err)
	}
	for _, file := range files {
		if j, err := readJournal(file); err == nil && j.Slot == slot {
			return false, nil
		}
	}
	there, err := h.kernel.list(slot, nil)
	return err == nil && len(there) == 0, err
}
