package esp

import (
	"fmt"
	"runtime"
	"testing"
)

// TestNoAllocation: a packet costs none, good or bad.
func TestNoAllocation(t *testing.T) {
	everySuite(t, func(t *testing.T, suite int, esn bool) {
		o, i := pair(t, suite, esn)
		const n = 1400
		buf := make([]byte, MaxHeadLen+n+MaxTailLen)
		dst := make([]byte, 0, len(buf))
		copy(buf[MaxHeadLen:], ipv4(n))
		plain := ipv4(n)
		once := func() {
			copy(buf[MaxHeadLen:], plain)
			packet, err := o.Seal(buf, MaxHeadLen, n, NextIPv4)
			if err != nil {
				t.Fatal(err)
			}
			packet[len(packet)-1] ^= 1
			_, _, _, forged := i.Open(dst, packet)
			packet[len(packet)-1] ^= 1
			_, _, _, good := i.Open(dst, packet)
			_, _, _, replayed := i.Open(dst, packet)
			_, _, _, short := i.Open(dst, packet[:9])
			if forged != ErrICV || good != nil || replayed != ErrReplay || short != ErrShort {
				t.Fatal(forged, good, replayed, short)
			}
		}
		once() // makes the ciphers
		if allocs := testing.AllocsPerRun(200, once); allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}

// TestIdleMemory: a pair of idle SAs with a window of 1024, which has carried a
// packet, keeps less than 700 octets.
func TestIdleMemory(t *testing.T) {
	const pairs, window, most = 5000, 1024, 700
	type half struct {
		out *Out
		in  *In
	}
	kept := make([]half, pairs)
	encr, packet := key(1, 36), make([]byte, 200)
	before := heap()
	for n := range kept {
		o, err := NewOut(testSPI, AESGCM16, encr, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		i, err := NewIn(testSPI, AESGCM16, encr, nil, true, window)
		if err != nil {
			t.Fatal(err)
		}
		copy(packet[MaxHeadLen:], ipv4(40))
		sealed, err := o.Seal(packet, MaxHeadLen, 40, NextIPv4)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err = i.Open(sealed[o.Algorithm().HeadLen():][:0], sealed); err != nil {
			t.Fatal(err)
		}
		o.Idle()
		i.Idle()
		kept[n] = half{o, i}
	}
	each := (heap() - before) / pairs
	t.Logf("%d octets for each pair", each)
	if each > most {
		t.Errorf("%d octets for each pair, want %d at most", each, most)
	}
	runtime.KeepAlive(kept)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestRedacted: no verb of fmt shows a key.
func TestRedacted(t *testing.T) {
	o, i := pair(t, 0, true)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, secret := range []any{o, *o, i, *i, o.keys, &i.keys} {
			if got := fmt.Sprintf(verb, secret); got != "redacted" {
				t.Errorf("%s of %T: %q", verb, secret, got)
			}
		}
	}
	if o.String() != "redacted" || i.GoString() != "redacted" {
		t.Error("String or GoString shows something")
	}
}
