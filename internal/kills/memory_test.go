package kills

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"blackswan/internal/state"
	"blackswan/qcd"
	"blackswan/store"
	"blackswan/store/bolt"
	"blackswan/ticket"
)

// memory is what the disk had after the kill before.
type memory struct {
	records map[string][]byte // without the pages, which are written behind
	rotated bool              // a rotation was acknowledged since
}

// Records that are there once a gateway has listened.
const (
	ringRecord  = "keys/ticket"
	qcdRecord   = "keys/qcd"
	spiRecord   = "keys/spi"
	nameRecord  = "installation"
	epochRecord = "node/000"
	revoked     = "revoked/"
)

// survived reads the store of a gateway that was killed, and holds it against
// what was there before. listened says that the process got that far.
func (m *memory) survived(t *testing.T, dir string, listened bool) {
	t.Helper()
	now := look(t, dir)
	if now[epochRecord] == nil {
		if listened || m.records != nil {
			t.Fatalf("the store has forgotten that it was ever used: %d records", len(now))
		}
		return // killed before it had begun
	}
	if m.records != nil {
		m.compare(t, now, listened)
	}
	for _, key := range []string{ringRecord, qcdRecord, spiRecord, nameRecord} {
		if len(now[key]) == 0 {
			t.Errorf("record %q is not there", key)
		}
	}
	m.records, m.rotated = now, false
}

func (m *memory) compare(t *testing.T, now map[string][]byte, listened bool) {
	t.Helper()
	before, after := epoch(m.records), epoch(now)
	if after < before || listened && after == before {
		t.Errorf("epoch %d after %d", after, before)
	}
	for _, key := range []string{spiRecord, nameRecord} {
		if !bytes.Equal(now[key], m.records[key]) {
			t.Errorf("record %q has changed", key)
		}
	}
	if m.rotated {
		m.compareRotated(t, now)
	} else if !bytes.Equal(now[ringRecord], m.records[ringRecord]) || !bytes.Equal(now[qcdRecord], m.records[qcdRecord]) {
		t.Error("keys that nobody turned have changed")
	}
	for key, value := range m.records {
		if strings.HasPrefix(key, revoked) && !bytes.Equal(now[key], value) {
			t.Errorf("the revocation %s is lost", key)
		}
	}
}

// compareRotated: a rotation that was acknowledged is on disk, and takes
// nothing away.
func (m *memory) compareRotated(t *testing.T, now map[string][]byte) {
	t.Helper()
	old, ring := keys(t, m.records[ringRecord]), keys(t, now[ringRecord])
	if len(ring) != len(old)+1 {
		t.Fatalf("after a rotation the ring has %d keys, want the %d old ones and one more", len(ring), len(old))
	}
	for i, k := range old { // a rotation changes how long they seal
		if ring[i].ID != k.ID || ring[i].Secret != k.Secret {
			t.Errorf("key %08x of the ring is lost", k.ID)
		}
	}
	was, errOld := qcd.ParseGenerations(m.records[qcdRecord])
	is, errNew := qcd.ParseGenerations(now[qcdRecord])
	if err := errors.Join(errOld, errNew); err != nil {
		t.Fatal(err)
	}
	if want := (was.Current + 1) % qcd.Slots; is.Current != want {
		t.Errorf("after a rotation generation %d of the QCD secret is current, want %d", is.Current, want)
	}
	for i, kept := range was.Kept {
		if kept && uint8(i) != is.Current && (!is.Kept[i] || is.Secrets[i] != was.Secrets[i]) {
			t.Errorf("generation %d of the QCD secret is lost", i)
		}
	}
}

// keys are those of a ring: version 1 | for each ticket.KeySize.
func keys(t *testing.T, ring []byte) (all []ticket.Key) {
	t.Helper()
	for b := range slices.Chunk(ring[1:], ticket.KeySize) {
		k, err := ticket.ParseKey(b)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

func epoch(records map[string][]byte) uint32 { // version 1 | epoch 4
	return binary.BigEndian.Uint32(records[epochRecord][1:])
}

// look reads all records of a store whose gateway is dead, from a copy: the
// file itself is left to the next process as it is. Every page is checked, and
// every value must open under the state key.
func look(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	file := filepath.Join(dir, "store.db")
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	copied := filepath.Join(t.TempDir(), "store.db")
	if err == nil {
		err = os.WriteFile(copied, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	engine, err := bolt.Open(copied, true)
	if err != nil {
		t.Fatalf("the store of a gateway that was killed: %v", err)
	}
	key, err := state.ReadStateKey(filepath.Join(dir, "state.key"))
	if errors.Is(err, os.ErrNotExist) {
		key, err = state.NewStateKey(), nil // the store comes first: it must be empty
	}
	records := map[string][]byte{}
	sealed := state.Seal(engine, key)
	err = errors.Join(err, sealed.List(t.Context(), nil, func(e store.Entry) error {
		for _, table := range []string{"rollcall/", "children/", "floors/"} {
			if bytes.HasPrefix(e.Key, []byte(table)) {
				return nil
			}
		}
		records[string(e.Key)] = bytes.Clone(e.Value)
		return nil
	}), sealed.Close(), os.Remove(copied))
	if err != nil {
		t.Fatalf("the store of a gateway that was killed: %v", err)
	}
	return records
}
