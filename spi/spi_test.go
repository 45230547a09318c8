package spi

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// testKeys are keys 0 to 2, each with a secret of its own.
func testKeys() []Key {
	all := make([]Key, 3)
	for i := range all {
		all[i] = Key{ID: uint8(i), Secret: Secret(bytes.Repeat([]byte{byte(0x5a + i)}, 32))}
	}
	return all
}

func sealer(t testing.TB, current, node uint8, epoch uint32, shard uint8) *Sealer {
	t.Helper()
	s, err := New(testKeys(), current, node, epoch, shard)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func next(t testing.TB, s *Sealer, generation uint8) uint64 {
	t.Helper()
	spi, err := s.Next(generation)
	if err != nil {
		t.Fatal(err)
	}
	return spi
}

func TestB1_OpenReadsWhatNextWrote(t *testing.T) {
	reader := sealer(t, 0, 9, 1, 63) // another node and shard, same secrets
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		want := Made{
			Node:       uint8(r.Uint32()),
			Epoch:      r.Uint32N(MaxEpoch + 1),
			Generation: uint8(r.Uint32N(generations)),
			Counter:    r.Uint32N(MaxCounter + 1),
			Shard:      uint8(r.Uint32N(MaxShard + 1)),
			KeyID:      uint8(r.Uint32N(3)),
		}
		maker := sealer(t, want.KeyID, want.Node, want.Epoch, want.Shard)
		maker.next = want.Counter
		spi := next(t, maker, want.Generation)
		if got, ok := reader.Open(spi); !ok || got != want {
			t.Fatalf("Open(%016x) = %+v, %v; made as %+v", spi, got, ok, want)
		}
		if got := ShardOf(spi); got != want.Shard {
			t.Fatalf("ShardOf(%016x) = %d, want %d", spi, got, want.Shard)
		}
		if spi>>6&3 != uint64(want.KeyID) {
			t.Fatalf("%016x does not hold key id %d in clear", spi, want.KeyID)
		}
	}
}

// TestB1_P holds P against a slow model written from the rule's words.
func TestB1_P(t *testing.T) {
	s := sealer(t, 1, 0xa7, 0x12345, 0x2c)
	s.next = 0xfedcba9
	got := next(t, s, 2)
	if want := model(t, testKeys()[1], 0xa7, 0x12345, 2, 0xfedcba9, 0x2c); got != want {
		t.Errorf("SPI = %016x, the model says %016x", got, want)
	}
	// Pinned: an SPI must open after every update of the program.
	if pinned := uint64(0x3019a8927c70c26c); got != pinned {
		t.Errorf("SPI = %016x, pinned is %016x", got, pinned)
	}
}

func TestB1_PIsAPermutation(t *testing.T) {
	const n = 1 << 20
	seen := make(map[uint64]bool, n)
	s := sealer(t, 0, 1, 5, 3)
	for range n {
		spi := next(t, s, 0)
		if seen[spi] {
			t.Fatalf("%016x twice", spi)
		}
		seen[spi] = true
	}
	if s.next != n {
		t.Errorf("counter at %d after %d SPIs", s.next, n)
	}
}

func TestB1_ShardsAndEpochsShareNoSPI(t *testing.T) {
	seen := make(map[uint64]string)
	for shard := range uint8(MaxShard + 1) {
		s := sealer(t, 0, 1, 5, shard)
		for epoch := uint32(5); epoch < 8; epoch++ {
			s.SetEpoch(epoch)
			for range 50 {
				spi, who := next(t, s, 0), fmt.Sprintf("shard %d, epoch %d", shard, epoch)
				if seen[spi] != "" {
					t.Fatalf("%016x: %s and %s", spi, seen[spi], who)
				}
				seen[spi] = who
			}
		}
	}
}

// The shard is the tweak of P: who moves an SPI to another shard gets noise.
func TestB1_ShardAndKeyIDAreBound(t *testing.T) {
	s := sealer(t, 0, 1, 5, 3)
	boot := Boot{Node: 1, Epoch: 6, Base: 6, Earlier: true}
	over := 0
	for range 2000 {
		spi := next(t, s, 0)
		for bit := range 8 {
			if m, ok := s.Open(spi ^ 1<<bit); ok {
				if v, _ := boot.Verdict(m); v == Over {
					over++
				}
			}
		}
	}
	// By chance: node 1 of 256, epoch 0 to 5 of 2^18, in 14,000 openings.
	if over > 1 {
		t.Errorf("%d SPIs with a changed last octet open to an ended epoch", over)
	}
}

// TestRFC6290_9_3_SPIsAreUnpredictable: a stranger who has seen SPIs does not
// find one that opens to an ended epoch of this node, and none looks like the
// one before.
func TestRFC6290_9_3_SPIsAreUnpredictable(t *testing.T) {
	s := sealer(t, 0, 1, 1000, 3)
	boot := Boot{Node: 1, Epoch: 1001, Base: 1001, Earlier: true}
	r := rand.New(rand.NewPCG(3, 4))
	const n = 4000
	over, flips, last := 0, 0, next(t, s, 0)
	for range n {
		spi := next(t, s, 0)
		for d := (spi ^ last) >> 8; d != 0; d &= d - 1 {
			flips++
		}
		last = spi
		for range 10 { // neighbours and numbers out of the air
			for _, guess := range []uint64{spi + uint64(r.Uint32N(1<<20))<<8, spi ^ 1<<(8+r.Uint32N(56)), r.Uint64()} {
				if m, ok := s.Open(guess); ok {
					if v, _ := boot.Verdict(m); v == Over {
						over++
					}
				}
			}
		}
	}
	// A guess is over by chance in 1000 of 2^26: here twice in 120,000.
	if over > 12 {
		t.Errorf("%d of %d guesses open to an ended epoch", over, 30*n)
	}
	// 28 of the 56 bits change from one SPI to the next; standard deviation 0.06.
	if mean := float64(flips) / n; mean < 27.6 || mean > 28.4 {
		t.Errorf("%.2f of 56 bits change from one SPI to the next, want 28", mean)
	}
}

func TestB1_ZeroIsNoSPI(t *testing.T) {
	s := sealer(t, 0, 0, 0, 0)
	left, counter := s.restore(s.blocks[0], 0, 0) // who would be zero
	s.node, s.epoch, s.next = uint8(left>>20), left>>2&MaxEpoch, counter
	spi := next(t, s, uint8(left&3))
	if spi == 0 {
		t.Fatal("Next made the SPI 0")
	}
	if m, _ := s.Open(spi); m.Counter != counter+1 {
		t.Errorf("counter %d follows %d", m.Counter, counter)
	}
}

func TestB1_CounterFull(t *testing.T) {
	s := sealer(t, 0, 1, 7, 0)
	s.next = MaxCounter
	next(t, s, 0)
	for range 3 {
		if spi, err := s.Next(0); !errors.Is(err, ErrCounterFull) {
			t.Fatalf("Next = %x, %v after the last counter", spi, err)
		}
	}
	for _, old := range []uint32{0, 6, 7, MaxEpoch + 1} {
		s.SetEpoch(old)
		if _, err := s.Next(0); err == nil {
			t.Fatalf("epoch %d after 7 repeats SPIs", old)
		}
	}
	s.SetEpoch(8)
	if m, _ := s.Open(next(t, s, 0)); m.Epoch != 8 || m.Counter != 0 {
		t.Errorf("first SPI of epoch 8 is %+v", m)
	}
}

func TestB2_OldKeysOpen(t *testing.T) {
	old := sealer(t, 0, 1, 5, 3)
	spi := next(t, old, 1)
	changed := sealer(t, 2, 1, 6, 3)
	if m, ok := changed.Open(spi); !ok || m.Epoch != 5 || m.KeyID != 0 {
		t.Errorf("under the next key: %+v, %v", m, ok)
	}
	if m, _ := changed.Open(next(t, changed, 1)); m.KeyID != 2 {
		t.Errorf("new SPIs have key %d, want 2", m.KeyID)
	}
	gone, err := New(testKeys()[2:], 2, 1, 6, 3)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := gone.Open(spi); ok {
		t.Errorf("without its key it opens to %+v", m)
	}
}

func TestNewRefuses(t *testing.T) {
	all := testKeys()
	for name, err := range map[string]error{
		"no key":      second(New(nil, 0, 1, 1, 0)),
		"current":     second(New(all, 3, 1, 1, 0)),
		"current 200": second(New(all, 200, 1, 1, 0)),
		"key twice":   second(New(append(all, all[1]), 0, 1, 1, 0)),
		"key id 4":    second(New([]Key{{ID: 4}}, 0, 1, 1, 0)),
		"epoch 2^18":  second(New(all, 0, 1, MaxEpoch+1, 0)),
		"shard 64":    second(New(all, 0, 1, 1, MaxShard+1)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second(_ *Sealer, err error) error { return err }

func TestB4_Epoch(t *testing.T) {
	hour := func(h int) time.Time { return birth.Add(time.Duration(h) * time.Hour) }
	for _, c := range []struct {
		name   string
		stored uint32
		now    time.Time
		want   uint32
		err    error
	}{
		{"first start", 0, hour(5000), 5000, nil},
		{"within the hour", 5000, hour(5000).Add(time.Minute), 5001, nil},
		{"many starts in an hour", 6000, hour(5000), 6001, nil},
		{"state lost", 0, hour(6000), 6000, nil},
		{"clock before 2026", 0, hour(-1000), 1, nil},
		{"clock of 1970", 77, time.Unix(0, 0), 78, nil},
		{"last", MaxEpoch - 1, hour(0), MaxEpoch, nil},
		{"last by the clock", 3, hour(MaxEpoch), MaxEpoch, nil},
		{"full", MaxEpoch, hour(0), 0, ErrEpochFull},
		{"full by the clock", 3, hour(MaxEpoch + 1), 0, ErrEpochFull},
		{"of another format", 1<<32 - 1, hour(0), 0, ErrEpochFull},
	} {
		if got, err := Epoch(c.stored, c.now); got != c.want || err != c.err {
			t.Errorf("%s: Epoch(%d, %v) = %d, %v; want %d, %v", c.name, c.stored, c.now, got, err, c.want, c.err)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	k := testKeys()[0]
	s := sealer(t, 0, 1, 1, 0)
	for _, v := range []any{k, &k, testKeys(), k.Secret, &k.Secret, s, *s} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
			text := fmt.Sprintf(verb, v)
			if !strings.Contains(text, "redacted") || strings.Contains(text, "5a") || strings.Contains(text, "90") || strings.Contains(text, "ZZ") {
				t.Errorf("%s of %T: %s", verb, v, text)
			}
		}
	}
	if k.Secret.String() != "redacted" || k.Secret.GoString() != "redacted" {
		t.Error("String or GoString shows the secret")
	}
}

func TestNoAllocation(t *testing.T) {
	s := sealer(t, 0, 1, 1, 0)
	spi := next(t, s, 0)
	if n := testing.AllocsPerRun(100, func() { s.Next(0); s.Open(spi) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNext(b *testing.B) {
	s := sealer(b, 0, 1, 1, 0)
	b.ReportAllocs()
	for b.Loop() {
		s.Next(0)
	}
}

func BenchmarkOpen(b *testing.B) {
	s := sealer(b, 0, 1, 1, 0)
	spi := next(b, s, 0)
	b.ReportAllocs()
	for b.Loop() {
		s.Open(spi)
	}
}
