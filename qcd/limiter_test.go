package qcd

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

const ms = int64(1e6)

func addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func TestA5_PerSPI(t *testing.T) {
	l := NewLimiter(&counted{})
	got := 0
	for now := int64(0); now < 20*second; now += ms {
		if l.Allow(now, 7, addr(uint32(now/ms))) { // whoever asks
			if now%second != 0 || now/second >= 8 {
				t.Errorf("a token at %d ms", now/ms)
			}
			got++
		}
	}
	if got != 8 {
		t.Errorf("%d tokens for one SPI, want 8 in all", got)
	}
	if !l.Allow(20*second, 8, addr(1<<24)) {
		t.Error("another SPI gets none")
	}
}

func TestA5_PerSource(t *testing.T) {
	v6 := func(hi uint64) netip.Addr {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], hi)
		b[15] = byte(hi)
		return netip.AddrFrom16(b)
	}
	for name, source := range map[string]func(i uint64) netip.Addr{
		"IPv4 address":        func(uint64) netip.Addr { return addr(0x0a000001) },
		"IPv6 /56":            func(i uint64) netip.Addr { return v6(0x20010db800000100 | i&0xff) },
		"IPv4 mapped to IPv6": func(i uint64) netip.Addr { return netip.AddrFrom16(addr(0x0a000001).As16()) },
	} {
		l := NewLimiter(&counted{})
		got, spi := 0, uint64(0)
		// The rest of the total is 2,000 a second, so the source's own limit rules.
		for now := int64(0); now < 10*second; now += ms {
			for range 2 {
				spi++
				if l.Allow(now, spi, source(spi)) {
					got++
				}
			}
		}
		if want := 1024 + 256*10; got < want-5 || got > want+5 {
			t.Errorf("%s: %d replies in 10 s, want about %d", name, got, want)
		}
		if !l.Allow(10*second, spi+1, v6(0x20010db800000200)) || !l.Allow(10*second, spi+2, addr(0x0a000002)) {
			t.Errorf("%s: its neighbours get none", name)
		}
	}
}

func TestA5_Total(t *testing.T) {
	for name, c := range map[string]struct {
		sources uint32 // how many ask in turn
		want    int    // a second, once the burst is over
	}{
		"newcomers":                {1 << 30, total},
		"sources seen this minute": {500, total - newcomers},
	} {
		l := NewLimiter(&counted{})
		var window [12]int
		n := uint32(0)
		for now := int64(0); now < 12*second; now += second / 40_000 {
			n++
			if l.Allow(now, uint64(n), addr(n%c.sources)) {
				window[now/second]++
			}
		}
		for i, got := range window[2:] {
			if got < c.want*99/100 || got > c.want*101/100 {
				t.Errorf("%s: %d replies in second %d, want %d", name, got, i+2, c.want)
			}
		}
		if window[0] > total+total/10 {
			t.Errorf("%s: %d replies in the first second", name, window[0])
		}
	}
}

func TestA5_ASourceIsNewAgainAfterAMinute(t *testing.T) {
	l := NewLimiter(&counted{})
	reply := func(now int64) bool { // to 10.0.0.1, while others use the rest up
		for spi := uint64(now); l.draw(&l.rest, now, total-newcomers, (total-newcomers)/10); spi++ {
		}
		return l.Allow(now, uint64(now), addr(0x0a000001))
	}
	for _, c := range []struct {
		at   int64
		want bool
	}{{0, true}, {second, false}, {59 * second, false}, {61 * second, true}, {62 * second, false}} {
		if got := reply(c.at); got != c.want {
			t.Errorf("at %d s: %v", c.at/second, got)
		}
	}
}

// TestRFC6290_8_1_ExcessIsIgnored: 50,000 forged requests a second from 10,000
// sources do not keep 100 real clients from their token for 2 s, whenever they
// come: before the crowd is known, when it is, and when its minute is over.
func TestRFC6290_8_1_ExcessIsIgnored(t *testing.T) {
	for _, start := range []int64{0, 100 * ms, 30 * second, 59*second + 900*ms, 60*second + 20*ms, 64 * second} {
		l := NewLimiter(&counted{next: byte(start)})
		r := rand.New(rand.NewPCG(uint64(start), 1))
		waiting := make(map[uint32]bool)
		for client := range uint32(100) {
			waiting[client] = true
		}
		answered := 0
		// The worst case: the forger never runs out of SPIs that open.
		for now := int64(0); now < start+2*second; now += second / 50_000 {
			if l.Allow(now, r.Uint64()|1<<63, addr(0x0a000000+r.Uint32N(10_000))) {
				answered++
			}
			if now >= start && (now-start)%(500*ms) == 0 { // each asks twice a second
				for client := range waiting {
					if l.Allow(now, 1<<32|uint64(client), addr(0xc0000200+client)) {
						delete(waiting, client)
					}
				}
			}
		}
		if len(waiting) > 0 {
			t.Errorf("from %d ms: %d of 100 clients had no token for 2 s", start/ms, len(waiting))
		}
		if most := (start/second + 3) * total; int64(answered) > most {
			t.Errorf("from %d ms: %d forged requests answered, more than %d", start/ms, answered, most)
		}
	}
}

// TestA5_Office: a thousand clients behind one address, of which each asks once a
// second until it is answered, have their tokens within three seconds: alone, and
// beside one who floods from another address.
func TestA5_Office(t *testing.T) {
	for _, flood := range []int64{0, 50_000} {
		for _, shards := range []uint64{1, 2, 8} {
			var of []*Limiter
			for i := range shards {
				of = append(of, NewLimiter(&counted{next: byte(i)}).Divide(int(shards)))
			}
			waiting := map[uint64]bool{}
			for spi := range uint64(1000) {
				waiting[spi] = true
			}
			forged := uint64(1 << 40)
			for now := 10 * second; now < 13*second; now += ms {
				for range flood / 1000 {
					forged++
					of[forged%shards].Allow(now, forged, addr(0x0a000002))
				}
				for spi := uint64(now / ms % 1000); waiting[spi]; delete(waiting, spi) { // its turn in this second
					if !of[spi%shards].Allow(now, spi, addr(0x0a000001)) {
						break
					}
				}
			}
			if len(waiting) > 0 {
				t.Errorf("%d shards, flood of %d: %d clients of the office have no token", shards, flood, len(waiting))
			}
		}
	}
}

func TestA5_SharesAddUp(t *testing.T) {
	const n = 4
	var shards [n]*Limiter
	for i := range shards {
		shards[i] = NewLimiter(&counted{next: byte(i)}).Divide(n)
	}
	got, plain, spi := 0, 0, uint32(0)
	for now := int64(0); now < 5*second; now += second / 40_000 {
		spi++
		if shards[spi%n].Allow(now, uint64(spi), addr(spi)) {
			got++
		}
		if shards[spi%n].AllowPlain(now) {
			plain++
		}
	}
	if got < 5*total*98/100 || got > 5*total+total/10 {
		t.Errorf("%d tokens in 5 s of %d shards, want %d a second", got, n, total)
	}
	if plain < 495 || plain > 515 {
		t.Errorf("%d notices in 5 s of %d shards, want 100 a second", plain, n)
	}
	if l := NewLimiter(&counted{}).Divide(0); !l.Allow(0, 1, addr(1)) {
		t.Error("a share of none")
	}
}

func TestA2_PlainNoticesAre100ASecond(t *testing.T) {
	l := NewLimiter(&counted{})
	got := 0
	for now := int64(0); now < 10*second; now += ms {
		if l.AllowPlain(now) {
			got++
		}
	}
	if got < 1000 || got > 1010 {
		t.Errorf("%d in 10 s, want 100 a second", got)
	}
}

func TestA6_Budget(t *testing.T) {
	var b Budget
	got := 0
	for now := int64(0); now < 10*second; now += ms {
		if b.Take(now) {
			got++
		}
	}
	if got < 100 || got > 110 {
		t.Errorf("%d comparisons in 10 s, want ten a second", got)
	}
}

// What is forgotten for want of room is forgotten in favour of who asks, and
// nobody finds out whose record lies beside his own.
func TestA5_MemoryIsFixed(t *testing.T) {
	l := NewLimiter(&counted{})
	if n := testing.AllocsPerRun(100, func() { l.Allow(second, rand.Uint64(), addr(rand.Uint32())); l.AllowPlain(0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	refused := 0
	for i := range uint32(300_000) { // far more than there is room for, slowly
		if !l.Allow(second+int64(i)*ms, uint64(i), addr(i)) {
			refused++
		}
	}
	if refused > 0 {
		t.Errorf("%d newcomers refused because of others' records", refused)
	}
}

func TestNewLimiterNeedsRandomness(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a hash without a key")
		}
	}()
	NewLimiter(broken{})
}

func BenchmarkAllow(b *testing.B) {
	l := NewLimiter(&counted{})
	now, src := int64(0), addr(1)
	b.ReportAllocs()
	for b.Loop() {
		now += 100_000
		l.Allow(now, uint64(now), src)
	}
}
