package state

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"blackswan/store"
	"blackswan/ticket"
)

func TestRuleD11_KeepClock(t *testing.T) {
	path, opt := t.TempDir(), machineAt(t, "m1")
	bootOnce(t, path, opt, noon)
	for _, c := range []struct {
		keep, want time.Time
	}{
		{noon.Add(time.Hour), noon.Add(time.Hour)},
		{noon.Add(-time.Hour), noon.Add(time.Hour)},
		{noon.Add(time.Hour + 300*time.Millisecond), noon.Add(time.Hour)},
		{noon.Add(2 * time.Hour), noon.Add(2 * time.Hour)},
	} {
		d := openDir(t, path, opt)
		boot(t, d, noon.Add(3*time.Hour))
		for range 2 {
			if err := d.KeepClock(t.Context(), c.keep); err != nil {
				t.Fatal(err)
			}
		}
		closeDir(t, d)
		if b := bootOnce(t, path, opt, noon.Add(3*time.Hour)); !b.Clock.Equal(c.want) {
			t.Errorf("kept %v: next start has %v; want %v", c.keep, b.Clock, c.want)
		}
	}
	b := bootOnce(t, path, opt, noon)
	if len(b.Notes) != 1 || !strings.Contains(b.Notes[0], "went back by 2h0m0s") {
		t.Errorf("the clock went back: notes %q", b.Notes)
	}
}

// TestRuleD10_Ring: a start rotates when no key seals any more, drops keys that
// open nothing, and drops none because a clock leapt.
func TestRuleD10_Ring(t *testing.T) {
	const day = 24 * time.Hour
	opt := machineAt(t, "m1")
	opt.SealPeriod, opt.TicketLife = day, 2*day
	for _, c := range []struct {
		name  string
		at    time.Time
		kept  time.Time // 0: not
		keys  int       // after the start
		old   bool      // the first key is still there
		notes string
	}{
		{"an hour later", noon.Add(time.Hour), time.Time{}, 1, true, ""},
		{"seal period over", noon.Add(day + time.Minute), time.Time{}, 2, true, ""},
		{"last ticket expired", noon.Add(3*day + time.Hour), time.Time{}, 1, false, ""},
		{"a leap", noon.Add(1000 * day), time.Time{}, 2, true, "ahead of the last run"},
		{"a long pause that was kept", noon.Add(1000 * day), noon.Add(999 * day), 1, false, ""},
		{"back", noon.Add(-1000 * day), time.Time{}, 1, true, "went back"},
		{"back from when a key was due", noon, noon.Add(2 * day), 2, true, "went back"},
	} {
		path := t.TempDir()
		d := openDir(t, path, opt)
		first := boot(t, d, noon)
		if !c.kept.IsZero() {
			if err := d.KeepClock(t.Context(), c.kept); err != nil {
				t.Fatal(err)
			}
		}
		closeDir(t, d)
		b := bootOnce(t, path, opt, c.at)
		if len(b.Ring) != c.keys || (b.Ring[0].ID == first.Ring[0].ID) != c.old {
			t.Errorf("%s: ring %+v; want %d keys, the old one among them: %v", c.name, b.Ring, c.keys, c.old)
		}
		if notes := strings.Join(b.Notes, "\n"); !strings.Contains(notes, c.notes) || (notes == "") != (c.notes == "") {
			t.Errorf("%s: notes %q; want %q", c.name, notes, c.notes)
		}
		if last := b.Ring[len(b.Ring)-1]; last.SealUntil-last.Created < int64(day/time.Second) || last.OpenUntil-last.SealUntil != int64(2*day/time.Second) {
			t.Errorf("%s: key %+v does not live as the options say", c.name, last)
		}
		if again := bootOnce(t, path, opt, c.at); len(again.Ring) != c.keys {
			t.Errorf("%s: the next start has %d keys; want %d", c.name, len(again.Ring), c.keys)
		}
	}
}

func TestRuleD8_PruneTickets(t *testing.T) {
	d := openDir(t, t.TempDir(), machineAt(t, "m1"))
	boot(t, d, noon)
	ring, err := d.RotateTickets(t.Context(), noon.Add(24*time.Hour), rand.Reader)
	if err != nil || len(ring) != 2 {
		t.Fatalf("RotateTickets = %+v, %v", ring, err)
	}
	until := ring[0].OpenUntil
	for _, c := range []struct {
		at   int64
		want int
	}{{until - 1, 2}, {until, 1}} {
		ring, err := d.PruneTickets(t.Context(), time.Unix(c.at, 0))
		if err != nil || len(ring) != c.want {
			t.Errorf("at %d: %+v, %v; want %d keys", c.at, ring, err, c.want)
		}
	}
	if ring, err := d.RotateTickets(t.Context(), time.Unix(until+int64(100*time.Hour/time.Second), 0), rand.Reader); err != nil || len(ring) != 1 {
		t.Errorf("RotateTickets after all have expired = %+v, %v; want the new one alone", ring, err)
	}
}

func TestRuleD5_Revoke(t *testing.T) {
	path, opt := t.TempDir(), machineAt(t, "m1")
	now := time.Now()
	floors := []ticket.Floor{
		{Lineage: [16]byte{1}, Floor: ticket.Revoked, Until: now.Add(time.Hour).Unix()},
		{Lineage: [16]byte{2}, Floor: 7, Until: now.Add(2 * time.Hour).Unix()},
		{Lineage: [16]byte{3}, Floor: ticket.Revoked, Until: now.Unix() - 1}, // over
	}
	d := openDir(t, path, opt)
	if err := d.Revoke(t.Context(), now, floors...); err != nil {
		t.Fatal(err)
	}
	closeDir(t, d)
	d = openDir(t, path, opt)
	got := make(map[ticket.Floor]bool)
	if err := d.Revoked(t.Context(), func(f ticket.Floor) { got[f] = true }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !got[floors[0]] || !got[floors[1]] {
		t.Errorf("kept %v; want the first two of %v", got, floors)
	}
	raised := ticket.Floor{Lineage: [16]byte{2}, Floor: math.MaxUint32, Until: floors[1].Until}
	if err := d.Revoke(t.Context(), now, raised); err != nil {
		t.Fatal(err)
	}
	count := 0
	if err := d.Revoked(t.Context(), func(f ticket.Floor) {
		if count++; f.Lineage == raised.Lineage && f != raised {
			t.Errorf("kept %v; want %v", f, raised)
		}
	}); err != nil || count != 2 {
		t.Errorf("%d floors, %v; want 2", count, err)
	}
	for name, value := range map[string][]byte{"short": {1}, "another's": AppendFloor(nil, floors[0])} {
		key := fmt.Appendf(nil, "%s%032x", revokedPrefix, 9)
		if err := d.Store().Apply(t.Context(), []store.Op{{Key: key, Value: value}}, store.Durable); err != nil {
			t.Fatal(err)
		}
		if err := d.Revoked(t.Context(), func(ticket.Floor) {}); !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), string(key)) {
			t.Errorf("%s: %v; want ErrRecord and the name", name, err)
		}
	}
}
