package ticket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"
)

const (
	day    = 24 * time.Hour
	delay  = int64(PublishDelay / time.Second)
	daySec = int64(86400)
)

func rotated(t testing.TB, keys []Key, now int64, seed uint64) []Key {
	t.Helper()
	keys, err := Rotate(keys, now, day, day, source(seed))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// sealsUnder is the index of the key that seals at now, -1 if there is none.
func sealsUnder(t testing.TB, keys []Key, now int64) int {
	t.Helper()
	s := typical()
	b, err := ring(t, keys).Seal(nil, &s, now, source(7))
	if err == ErrNoKey {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	id := binary.BigEndian.Uint32(b[1:])
	return slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })
}

func TestD10_PublishedThenUsed(t *testing.T) {
	one := rotated(t, nil, start, 1)
	two := rotated(t, one, start+daySec, 2)
	quick := rotated(t, two, start+daySec+10, 3) // by hand, ten seconds later
	both := slices.Clone(two)
	both[0].SealUntil = both[1].SealUntil // as if nobody had told the elder
	backwards := slices.Clone(quick)
	slices.Reverse(backwards)
	for _, c := range []struct {
		name string
		keys []Key
		at   int64
		want int
	}{
		{"no key", nil, start, -1},
		{"the first key has no elder", one, start, 0},
		{"the first key, published", one, start + delay, 0},
		{"the first key, last second", one, start + daySec + delay - 1, 0},
		{"the first key, over", one, start + daySec + delay, -1},
		{"new key, just made", two, start + daySec, 0},
		{"new key, not long enough", two, start + daySec + delay - 1, 0},
		{"new key, long enough", two, start + daySec + delay, 1},
		{"both seal, new one not long enough", both, start + daySec + delay - 1, 0},
		{"both seal, new one long enough", both, start + daySec + delay, 1},
		{"third key, just made", quick, start + daySec + 10, 0},
		{"third key, second in use", quick, start + daySec + delay, 1},
		{"third key, second still", quick, start + daySec + 10 + delay - 1, 1},
		{"third key, long enough", quick, start + daySec + 10 + delay, 2},
		{"in any order", backwards, start + daySec + delay, 1},
		{"in any order, just made", backwards, start + daySec + 10, 2},
		{"the clock went back", two, start - 1000, 0},
	} {
		if got := sealsUnder(t, c.keys, c.at); got != c.want {
			t.Errorf("%s: key %d seals, want %d", c.name, got, c.want)
		}
	}
}

// One Ring goes from key to key by itself, with a salt of its own for each.
func TestD10_ARingGoesOnToTheNextKey(t *testing.T) {
	keys := rotated(t, rotated(t, nil, start, 1), start+daySec, 2)
	r, s, rand := ring(t, keys), typical(), source(3)
	var headers [3][]byte
	for i, now := range []int64{start + daySec, start + daySec + delay - 1, start + daySec + delay} {
		b, err := r.Seal(nil, &s, now, rand)
		if err != nil {
			t.Fatal(err)
		}
		headers[i] = b[:headerSize]
	}
	if !bytes.Equal(headers[0], headers[1]) {
		t.Error("the salt changed without need")
	}
	if binary.BigEndian.Uint32(headers[2][1:]) != keys[1].ID || bytes.Equal(headers[2][5:], headers[0][5:]) {
		t.Errorf("after the change of keys %x, before %x", headers[2], headers[0])
	}
}

// TestRFC5723_9_5_KeysChangeRegularly: through 30 days of rotation at RotateAt
// some key always seals, none longer than a day and its delay, and every
// ticket opens until it has expired, and then its key goes.
func TestRFC5723_9_5_KeysChangeRegularly(t *testing.T) {
	keys := rotated(t, nil, start, 1)
	used := make(map[uint32]int64) // by key id, the last second that it sealed
	most := 0
	for now, n := start, uint64(2); now < start+30*daySec; now += 10 {
		if now >= RotateAt(keys) {
			keys = rotated(t, Prune(keys, now), now, n)
			n++
		}
		key := (&Ring{keys: keys}).sealKey(now)
		if key == nil {
			t.Fatalf("no key seals on day %d", (now-start)/daySec)
		}
		if key.OpenUntil < now+daySec {
			t.Fatalf("a ticket that is sealed now and lives a day outlives its key by %d s", now+daySec-key.OpenUntil)
		}
		if now > key.Created+daySec+delay {
			t.Fatalf("a key still seals after %d s", now-key.Created)
		}
		used[key.ID] = now
		for id, last := range used {
			if now < last+daySec && find(keys, id) == nil {
				t.Fatalf("the key of a ticket of %d s ago is gone", now-last)
			}
		}
		most = max(most, len(keys))
	}
	if len(used) < 29 || most > 4 {
		t.Errorf("%d keys in 30 days, at most %d at a time", len(used), most)
	}
}

func TestRotateLeavesItsArgumentAlone(t *testing.T) {
	keys := rotated(t, nil, start, 1)
	before := slices.Clone(keys)
	next := rotated(t, keys, start+100, 2)
	if !slices.Equal(keys, before) || len(next) != 2 {
		t.Fatal("the ring that readers share was changed")
	}
	// The elder seals only until the new one does, and opens a ticket's life longer.
	if old := next[0]; old.SealUntil != start+100+delay || old.OpenUntil != start+100+delay+daySec || old.Secret != keys[0].Secret {
		t.Errorf("elder key: seals until +%d, opens until +%d", old.SealUntil-start, old.OpenUntil-start)
	}
	if got := Prune(next, next[0].OpenUntil-1); len(got) != 2 {
		t.Error("pruned before its last ticket has expired")
	}
	if got := Prune(next, next[0].OpenUntil); len(got) != 1 || got[0].ID != next[1].ID || len(next) != 2 {
		t.Errorf("pruned to %v", got)
	}
}

func TestRFC5723_9_5_KeysAreRandomAnd256Bits(t *testing.T) {
	k := rotated(t, nil, start, 1)[0]
	want := Secret{}
	source(1).Read(want[:])
	if k.Secret != want || len(k.Secret) < 16 {
		t.Error("the secret is not what the source of randomness gave")
	}
	if k.ID == 0 {
		t.Error("id 0")
	}
	for n := range 36 {
		if keys, err := Rotate(nil, start, day, day, &broken{n}); err == nil || keys != nil {
			t.Errorf("a key from %d octets of randomness", n)
		}
	}
	// Neither 0 nor the id of another key is taken.
	random := make([]byte, 32+4*4)
	copy(random[36:], binary.BigEndian.AppendUint32(nil, 9))
	copy(random[40:], binary.BigEndian.AppendUint32(nil, 10))
	keys, err := Rotate(oneKey(9, 1), start, day, day, bytes.NewReader(random))
	if err != nil || keys[1].ID != 10 {
		t.Errorf("%v, %v", err, keys)
	}
}

func TestRFC5723_6_2_KeysLiveLongerThanIKESAs(t *testing.T) {
	k := rotated(t, nil, start, 1)[0]
	if life := k.OpenUntil - k.Created; life < 2*daySec {
		t.Errorf("a key opens for %d s, an IKE SA of a day needs twice that", life)
	}
	for _, c := range []struct {
		seal, ticket, ike time.Duration
		ok                bool
	}{
		{day, day, day, true},
		{day, day, day + PublishDelay/2, true},
		{day, day, day + PublishDelay, false},
		{time.Hour, time.Hour, 8 * time.Hour, false},
		{day, time.Hour, 4 * time.Hour, true},
	} {
		err := CheckLife(c.seal, c.ticket, c.ike)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrKeyLife) {
			t.Errorf("seal %v, ticket %v, IKE SA %v: %v", c.seal, c.ticket, c.ike, err)
		}
	}
}

func TestRingRefusesBadKeys(t *testing.T) {
	good := oneKey(1, 5)
	for name, keys := range map[string][]Key{
		"same id": append(oneKey(1, 6), oneKey(1, 7)...),
		"id 0":    oneKey(0, 6),
	} {
		if _, err := NewRing(keys); err == nil {
			t.Errorf("%s: no error", name)
		}
		r := ring(t, good)
		b := sealed(t, r, typical(), source(1))
		var s Session
		if err := r.SetKeys(keys); err == nil || r.Open(&s, b, start) != nil {
			t.Errorf("%s: %v, and the ring changed all the same", name, err)
		}
	}
}

func TestKeyEncoding(t *testing.T) {
	k := Key{ID: 0xa1b2c3d4, Secret: Secret(bytes.Repeat([]byte{5}, 32)), Created: start, SealUntil: start + 1, OpenUntil: start + 2}
	b := k.Append([]byte("kept"))[4:]
	if got, err := ParseKey(b); err != nil || got != k || len(b) != KeySize {
		t.Fatalf("%v, %d octets, %v", err, len(b), got)
	}
	for n := range b {
		if _, err := ParseKey(b[:n]); err != ErrFormat {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	b[0] = 2
	if _, err := ParseKey(b); err != ErrFormat {
		t.Errorf("version 2: %v", err)
	}
	if _, err := ParseKey(Key{}.Append(nil)); err != ErrFormat {
		t.Errorf("id 0: %v", err)
	}
	if _, err := ParseKey(append(k.Append(nil), 0)); err != ErrFormat {
		t.Errorf("an octet more: %v", err)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(oneKey(1, 5)[0].Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := ParseKey(b); err == nil && !bytes.Equal(k.Append(nil), b) {
			t.Errorf("%x has two encodings", b)
		}
	})
}
