package state

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"blackswan/ticket"
)

// ringFile makes a ring file at noon.
func ringFile(t *testing.T) (path string, keys []ticket.Key) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ring")
	keys, err := CreateRing(path, nil, noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return path, keys
}

// sealer is the id of the key that seals at that time, 0 if none does.
func sealer(t *testing.T, keys []ticket.Key, at time.Time) uint32 {
	t.Helper()
	r, err := ticket.NewRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	s := ticket.Session{Connection: []byte("office"), Lineage: [16]byte{1}, Expires: at.Add(time.Hour).Unix()}
	sealed, err := r.Seal(nil, &s, at.Unix(), rand.Reader)
	if errors.Is(err, ticket.ErrNoKey) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint32(sealed[1:])
}

func TestCreateRing(t *testing.T) {
	path, keys := ringFile(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if read, err := ReadRing(path); err != nil || !slices.Equal(read, keys) || len(keys) != 1 {
		t.Errorf("%d keys made, %d read, %v", len(keys), len(read), err)
	}
	if sealer(t, keys, noon) != keys[0].ID {
		t.Error("the only key does not seal at once")
	}
	if _, err := CreateRing(path, nil, noon, rand.Reader); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("over a file: %v", err)
	}
	if read, err := ReadRing(path); err != nil || !slices.Equal(read, keys) {
		t.Errorf("it changed: %v", err)
	}

	// Keys that a gateway had until now go on opening.
	own, err := ticket.Rotate(nil, noon.Unix(), time.Hour, time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "ring")
	joined, err := CreateRing(path, own, noon.Add(time.Second), rand.Reader)
	if err != nil || len(joined) != 2 || joined[0].ID != own[0].ID || joined[0].Secret != own[0].Secret {
		t.Fatalf("%d keys, %v", len(joined), err)
	}
	if joined, err = CreateRing(filepath.Join(t.TempDir(), "ring"), own, noon.Add(100*time.Hour), rand.Reader); err != nil || len(joined) != 1 {
		t.Errorf("expired ones were taken: %d keys, %v", len(joined), err)
	}
}

// TestRuleD10_TurnRing: a turn publishes a key before it is used, takes away
// what has expired, and every gateway that read the file in time agrees which
// key seals, whether it has read the turned file already or not.
func TestRuleD10_TurnRing(t *testing.T) {
	path, first := ringFile(t)
	day := noon.Add(TurnEvery)
	turned, err := TurnRing(path, day, 10*time.Minute, rand.Reader)
	if err != nil || len(turned) != 2 {
		t.Fatalf("%d keys, %v", len(turned), err)
	}
	if read, err := ReadRing(path); err != nil || !slices.Equal(read, turned) {
		t.Errorf("the file is not what was returned: %v", err)
	}
	used := day.Add(10 * time.Minute)
	for at := day; at.Before(used); at = at.Add(time.Minute) {
		if a, b := sealer(t, turned, at), sealer(t, first, at); a != first[0].ID || b != a {
			t.Errorf("%v after the turn: %x seals where it was read and %x where not", at.Sub(day), a, b)
		}
	}
	if sealer(t, turned, used) != turned[1].ID {
		t.Error("the new key does not seal when its time has come")
	}
	// What the old key has sealed until then opens until its ticket has expired.
	if until := turned[0].OpenUntil; until < used.Add(ticket.DefaultLife).Unix() {
		t.Errorf("the old key opens until %v only", time.Unix(until, 0).UTC())
	}

	// A turn that is late by a day costs nothing, by more it costs new tickets.
	for late, seals := range map[time.Duration]bool{TurnEvery - time.Second: true, TurnEvery + time.Second: false} {
		if got := sealer(t, turned, used.Add(TurnEvery+late)) != 0; got != seals {
			t.Errorf("a key that should be turned for %v seals: %v", late, got)
		}
	}
	if at := TurnAt(turned); !at.Equal(used.Add(TurnEvery)) {
		t.Errorf("to be turned at %v, want %v", at, used.Add(TurnEvery))
	}

	later := used.Add(TurnEvery + ticket.DefaultLife)
	last, err := TurnRing(path, later, 10*time.Minute, rand.Reader)
	if err != nil || len(last) != 2 || last[0].ID != turned[1].ID {
		t.Errorf("the expired key stays: %d keys, %v", len(last), err)
	}
	if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, first[0].Secret[:]) {
		t.Errorf("the secret of the expired key is on disk: %v", err)
	}
}

func TestTurnRingRefusals(t *testing.T) {
	path, keys := ringFile(t)
	refuses := func(what string, err error, words ...string) {
		t.Helper()
		for _, w := range append(words, path) {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %q", what, err, w)
			}
		}
		if read, err := ReadRing(path); err != nil || !slices.Equal(read, keys) {
			t.Errorf("%s changed the file: %v", what, err)
		}
	}
	_, err := TurnRing(path, noon.Add(time.Hour), 59*time.Second, rand.Reader)
	refuses("a key that is used too soon", err, "1m0s at least")
	_, err = TurnRing(path, noon.Add(-2*time.Hour), time.Hour, rand.Reader)
	refuses("a clock of before the file", err, "set the clock")
	_, err = TurnRing(path, noon, time.Hour, bytes.NewReader(nil))
	refuses("no randomness", errors.Join(err, errors.New(path)), "no randomness")

	if keys, err = TurnRing(path, noon, time.Hour, rand.Reader); err != nil {
		t.Fatal(err)
	}
	_, err = TurnRing(path, noon, time.Minute, rand.Reader)
	refuses("a key that overtakes one", err, "not used yet, but from", "turn it after that")
	if !errors.Is(err, ErrTurned) {
		t.Errorf("%v is not ErrTurned", err)
	}
	for i := len(keys); i < maxRingKeys; i++ {
		if keys, err = TurnRing(path, noon, time.Hour, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	_, err = TurnRing(path, noon, time.Hour, rand.Reader)
	refuses("a turn too many", err, "it has 64 keys")

	gone := filepath.Join(t.TempDir(), "ring")
	if _, err := TurnRing(gone, noon, time.Hour, rand.Reader); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make it with 'blackswan keys new'") {
		t.Errorf("no file: %v", err)
	}
	if beside, err := os.ReadDir(filepath.Dir(gone)); err != nil || len(beside) > 0 {
		t.Errorf("left behind: %v, %v", beside, err)
	}
}

// TestTurnRingAtOnce: of those who turn a file at the same time none undoes the
// turn of another.
func TestTurnRingAtOnce(t *testing.T) {
	path, _ := ringFile(t)
	const many = 8
	done := make(chan error, many)
	for range many {
		go func() {
			_, err := TurnRing(path, noon, time.Hour, rand.Reader)
			done <- err
		}()
	}
	turned := 0
	for range many {
		if err := <-done; err == nil {
			turned++
		} else if !strings.Contains(err.Error(), "try again") {
			t.Error(err)
		}
	}
	if keys, err := ReadRing(path); err != nil || len(keys) != 1+turned || turned == 0 {
		t.Errorf("%d keys after %d turns, %v", len(keys), turned, err)
	}
}

// TestRingFileRefusals: no octet of a ring file can be missing or another, and
// others may not read it. The error names the file and shows nothing of it.
func TestRingFileRefusals(t *testing.T) {
	path, keys := ringFile(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte, words ...string) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadRing(path)
		if err == nil || got != nil {
			t.Fatalf("%s: read", what)
		}
		for _, w := range append(words, path) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %q", what, err, w)
			}
		}
		if strings.Contains(err.Error(), fmt.Sprintf("%x", keys[0].Secret[:4])) {
			t.Errorf("%s: the error shows a secret", what)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		check(fmt.Sprintf("octet %d", i), b)
		check(fmt.Sprintf("cut to %d", i), good[:i])
	}
	check("one more", append(bytes.Clone(good), 0), "cut or altered")
	check("another file", []byte("connections: []\n"), "is no file of ticket keys")
	check("too large", append([]byte(ringMagic), make([]byte, 1<<20)...), "cut or altered")
	check("another format", withSum([]byte{recordVersion + 1}), "has format 2, this program reads 1")
	check("no key", withSum(appendRing(nil, nil)), "cut or altered")
	check("a key twice", withSum(appendRing(nil, []ticket.Key{keys[0], keys[0]})), "cut or altered")
	check("half a key", withSum(appendRing(nil, keys)[:20]), "cut or altered")

	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRing(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "chmod 0600 it") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

// withSum makes a ring file of a record, good or not.
func withSum(record []byte) []byte {
	b := append([]byte(ringMagic), record...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// FuzzParseRingFile gives half of the files the hash that they should have.
func FuzzParseRingFile(f *testing.F) {
	ring, err := ticket.Rotate(nil, 1_800_000_000, time.Hour, time.Hour, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendRing(nil, ring), true)
	f.Add(appendRingFile(nil, ring), false)
	f.Fuzz(func(t *testing.T, b []byte, summed bool) {
		if summed {
			b = withSum(b)
		}
		keys, err := parseRingFile(b)
		if err == nil && !bytes.Equal(appendRingFile(nil, keys), b) {
			t.Fatalf("%x came back as %x", b, appendRingFile(nil, keys))
		}
	})
}
