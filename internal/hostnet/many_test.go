//go:build linux

package hostnet

import (
	"net/netip"
	"strings"
	"testing"
)

// TestManyClients: a gateway may have a route for each of 10,000 clients, comes
// back to them after a crash, and leaves none behind.
func TestManyClients(t *testing.T) {
	l := newLAN(t)
	l.tun("tun0")
	before := l.dump()
	plan := Plan{Device: "tun0", Mark: testMark}
	for i := range 10_000 {
		plan.Routes = append(plan.Routes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32))
	}
	dir := t.TempDir()
	h := open(t, dir)
	must(t, h.Apply(t.Context(), plan))
	must(t, h.Close())
	h = open(t, dir)
	plan.Routes = plan.Routes[1:]
	must(t, h.Apply(t.Context(), plan))
	l.wants("one client less", "10.9.0.0 eth0", "10.9.0.1 tun0", "10.9.39.15 tun0")
	must(t, h.Release(t.Context()))
	l.same("released", before)
}

// TestJournalTooLong: what could not be read again is not written, and nothing
// is changed without it.
func TestJournalTooLong(t *testing.T) {
	h := &Host{dir: t.TempDir(), connection: "office", journal: journal{Version: journalVersion, Slot: 1}}
	const long = 1 << 20
	e := entry{Kind: route, Prefix: netip.MustParsePrefix("10.0.0.0/8"), Device: device{Name: strings.Repeat("x", long), Index: 1}}
	for range maxJournal / long {
		h.journal.Entries = append(h.journal.Entries, e)
	}
	if err := h.save(); err == nil {
		t.Error("it was written")
	}
	if j, err := readJournal(h.file(journalSuffix)); err != nil || !j.empty() {
		t.Errorf("%d entries are on disk, %v", len(j.Entries), err)
	}
}
