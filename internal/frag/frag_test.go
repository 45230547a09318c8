package frag

import (
	"bytes"
	"errors"
	"math/bits"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestRFC7383_AppendixB_MaxPlain(t *testing.T) {
	const gcm = 8 + 16 // IV and ICV
	const cbc = 16 + 16
	for _, row := range []struct {
		name                 string
		mtu, overhead, block int
		want                 int
	}{
		// SKF is 4 octets longer than the SK payload of the appendix: 61 + 4.
		{"IPv4, GCM", 576, 20 + 8 + 28 + 8 + gcm, 1, 576 - 65 - gcm},
		{"IPv6, GCM, marker", 1280, 40 + 8 + 4 + 28 + 8 + gcm, 1, 1280 - 89 - gcm},
		{"IPv4, CBC", 576, 20 + 8 + 28 + 8 + cbc, 16, 479},
		{"CBC: room for a whole number of blocks", 160, 0, 16, 159},
		{"CBC: the last block would be cut", 159, 0, 16, 143},
		{"room for the pad length only", 10, 9, 1, 0},
		{"no room", 10, 90, 1, 0},
		{"no room, blocks", 10, 90, 16, 0},
		{"not one block", 100, 90, 16, 0},
	} {
		if got := MaxPlain(row.mtu, row.overhead, row.block); got != row.want {
			t.Errorf("%s: MaxPlain = %d, want %d", row.name, got, row.want)
		}
	}
}

func TestMaxPlainIsTheMost(t *testing.T) {
	for _, block := range []int{1, 4, 16} {
		for mtu := range 400 {
			const overhead = 37
			n := MaxPlain(mtu, overhead, block)
			size := func(plain int) int { return overhead + (plain+1+block-1)/block*block }
			if n > 0 && size(n) > mtu {
				t.Fatalf("mtu %d, block %d: %d octets make %d", mtu, block, n, size(n))
			}
			if size(n+1) <= mtu {
				t.Fatalf("mtu %d, block %d: %d octets would fit too", mtu, block, n+1)
			}
		}
	}
}

func TestRFC7383_2_5_PiecesMakeTheWhole(t *testing.T) {
	plain := make([]byte, 300)
	for i := range plain {
		plain[i] = byte(i)
	}
	for length := range len(plain) {
		for _, limit := range []int{-1, 0, 1, 7, 100, 299, 300, 1000} {
			content := plain[:length]
			n := Pieces(length, limit)
			if n < 1 {
				t.Fatalf("Pieces(%d, %d) = %d", length, limit, n)
			}
			var whole []byte
			for num := 1; num <= n; num++ {
				piece := Piece(content, limit, num)
				if len(piece) > max(limit, 1) || len(piece) == 0 && length > 0 {
					t.Fatalf("piece %d of %d octets by %d has %d octets", num, length, limit, len(piece))
				}
				whole = append(whole, piece...)
			}
			if !bytes.Equal(whole, content) {
				t.Fatalf("%d octets by %d: pieces do not make the whole", length, limit)
			}
			if extra := Piece(content, limit, n+1); len(extra) != 0 {
				t.Fatalf("%d octets by %d: piece %d of %d", length, limit, n+1, n)
			}
		}
	}
}

func TestRFC7383_2_6_Judge(t *testing.T) {
	var r Reassembly
	mustAdd(t, &r, 2, 3, 0, "b")
	for _, row := range []struct {
		name       string
		num, total uint16
		want       error
	}{
		{"number zero", 0, 3, ErrNumber},
		{"total zero", 0, 0, ErrNumber},
		{"number above total", 4, 3, ErrNumber},
		{"total zero, number above", 1, 0, ErrNumber},
		{"smaller total", 1, 2, ErrStale},
		{"duplicate", 2, 3, ErrDuplicate},
		{"too many", 1, 65, ErrTooMany},
		{"far too many", 65535, 65535, ErrTooMany},
		{"missing one", 1, 3, nil},
		{"larger total", 2, 4, nil},
		{"most", 64, 64, nil},
	} {
		if err := r.Judge(row.num, row.total); err != row.want {
			t.Errorf("%s: Judge(%d, %d) = %v, want %v", row.name, row.num, row.total, err, row.want)
		}
		if row.want == nil {
			continue
		}
		before := r
		if _, _, done, err := r.Add(row.num, row.total, 9, []byte("x")); err != row.want || done {
			t.Errorf("%s: Add = %v, %v, want %v", row.name, done, err, row.want)
		}
		if !same(&before, &r) {
			t.Errorf("%s: a dropped fragment changed what was collected", row.name)
		}
	}
}

func TestRFC7383_2_6_FinerSetReplaces(t *testing.T) {
	var r Reassembly
	mustAdd(t, &r, 1, 3, 35, "old1")
	mustAdd(t, &r, 3, 3, 0, "old3")
	mustAdd(t, &r, 2, 4, 0, "B")
	if have, total := bits.OnesCount64(r.have), int(r.total); have != 1 || total != 4 {
		t.Fatalf("%d of %d fragments, want 1 of 4", have, total)
	}
	mustAdd(t, &r, 4, 4, 0, "D")
	mustAdd(t, &r, 3, 4, 99, "C") // Next Payload counts in fragment 1 only
	plain, first, done, err := r.Add(1, 4, 41, []byte("A"))
	if string(plain) != "ABCD" || first != 41 || !done || err != nil {
		t.Errorf("Add = %q, %d, %v, %v", plain, first, done, err)
	}
	if have, total := bits.OnesCount64(r.have), int(r.total); have != 0 || total != 0 || r.buf != nil {
		t.Errorf("after the message %d of %d fragments are left", have, total)
	}
}

func TestRFC7383_2_5_3_FirstFragmentMayBeEmpty(t *testing.T) {
	var r Reassembly
	mustAdd(t, &r, 2, 2, 0, "content")
	plain, first, done, err := r.Add(1, 2, 46, nil)
	if string(plain) != "content" || first != 46 || !done || err != nil {
		t.Errorf("Add = %q, %d, %v, %v", plain, first, done, err)
	}
}

func TestOneFragmentIsAMessage(t *testing.T) {
	var r Reassembly
	body := []byte("whole")
	plain, first, done, err := r.Add(1, 1, 47, body)
	if string(plain) != "whole" || first != 47 || !done || err != nil {
		t.Fatalf("Add = %q, %d, %v, %v", plain, first, done, err)
	}
	body[0] = 'W'
	if string(plain) != "whole" {
		t.Error("the content views the fragment")
	}
}

func TestReassemblyCopies(t *testing.T) {
	var r Reassembly
	body := []byte("ab")
	r.Add(1, 2, 35, body)
	copy(body, "xx")
	if plain, _, _, _ := r.Add(2, 2, 0, body[:1]); string(plain) != "abx" {
		t.Errorf("content %q: a fragment was viewed, not copied", plain)
	}
}

func TestReassemblyIsBounded(t *testing.T) {
	var r Reassembly
	big := make([]byte, MaxMessage)
	mustAdd(t, &r, 1, 2, 35, string(big[:40000]))
	before := r
	if _, _, _, err := r.Add(2, 2, 0, big[:25536]); err != ErrTooLong || !same(&before, &r) {
		t.Errorf("65,536 octets: %v", err)
	}
	if _, _, _, err := r.Add(1, 1, 35, big); err != ErrStale {
		t.Errorf("a smaller total: %v", err)
	}
	if _, _, _, err := r.Add(1, 3, 35, append(big, 0)); err != ErrTooLong || !same(&before, &r) {
		t.Errorf("one fragment of 65,536 octets: %v", err)
	}
	if plain, _, done, err := r.Add(2, 2, 0, big[:25535]); !done || err != nil || len(plain) != MaxMessage {
		t.Errorf("65,535 octets: %d, %v, %v", len(plain), done, err)
	}
	if size := unsafe.Sizeof(r); size > 320 {
		t.Errorf("an empty Reassembly has %d octets", size)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	largest := 0
	for range 20000 {
		total := uint16(1 + rng.IntN(70))
		r.Add(uint16(rng.IntN(int(total)+1)), total, 0, big[:rng.IntN(2000)])
		largest = max(largest, cap(r.buf))
	}
	if largest > 2*MaxMessage || largest < 10000 {
		t.Errorf("largest buffer %d", largest)
	}
}

func TestReassemblyAge(t *testing.T) {
	r := Reassembly{Since: 100}
	mustAdd(t, &r, 1, 2, 35, "a")
	mustAdd(t, &r, 1, 3, 35, "a")
	if age := r.Age(150); age != 50 {
		t.Errorf("Age = %d, want 50: a finer set does not make it younger", age)
	}
}

// naive keeps every set of fragments it ever saw, in maps.
type naive struct {
	total  uint16
	bodies map[uint16][]byte
	first  uint8
}

func (n *naive) add(num, total uint16, first uint8, body []byte) (plain []byte, firstPayload uint8, done bool, err error) {
	held := 0
	for _, b := range n.bodies {
		held += len(b)
	}
	if total > n.total {
		held = 0
	}
	switch {
	case num < 1 || num > total:
		return nil, 0, false, ErrNumber
	case total > 64:
		return nil, 0, false, ErrTooMany
	case total < n.total:
		return nil, 0, false, ErrStale
	case total == n.total && n.bodies[num] != nil:
		return nil, 0, false, ErrDuplicate
	case held+len(body) > 65535:
		return nil, 0, false, ErrTooLong
	case total > n.total:
		*n = naive{total: total, bodies: map[uint16][]byte{}}
	}
	n.bodies[num] = append([]byte{}, body...)
	if num == 1 {
		n.first = first
	}
	if len(n.bodies) < int(total) {
		return nil, 0, false, nil
	}
	for i := uint16(1); i <= total; i++ {
		plain = append(plain, n.bodies[i]...)
	}
	firstPayload = n.first
	*n = naive{}
	return plain, firstPayload, true, nil
}

func TestReassemblyAgainstNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var r Reassembly
	var n naive
	messages := 0
	for range 50000 {
		total := uint16(1 + rng.IntN(6))
		num := uint16(rng.IntN(int(total) + 2))
		body := make([]byte, rng.IntN(8))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		if rng.IntN(50) == 0 {
			body = make([]byte, 30000)
		}
		if compare(t, &r, &n, num, total, uint8(rng.Uint32()), body) {
			messages++
		}
	}
	if messages < 300 {
		t.Fatalf("only %d messages were put together", messages)
	}
}

func FuzzReassembly(f *testing.F) {
	f.Add([]byte("\x01\x02\x23\x04abcd\x02\x02\x00\x02ef"))
	f.Add([]byte("\x02\x03\x00\x01a\x01\x04\x29\x01b\x02\x03\x00\x01c"))
	f.Add([]byte("\x40\x40\x00\x00\x41\x41\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		var r Reassembly
		var n naive
		for len(script) >= 4 {
			num, total, first, length := script[0], script[1], script[2], int(script[3])
			script = script[4:]
			body := script[:min(length, len(script))]
			script = script[len(body):]
			compare(t, &r, &n, uint16(num), uint16(total), first, body)
		}
	})
}

func compare(t *testing.T, r *Reassembly, n *naive, num, total uint16, first uint8, body []byte) (done bool) {
	t.Helper()
	wantPlain, wantFirst, wantDone, wantErr := n.add(num, total, first, body)
	plain, firstPayload, done, err := r.Add(num, total, first, body)
	if !bytes.Equal(plain, wantPlain) || firstPayload != wantFirst || done != wantDone || !errors.Is(err, wantErr) {
		t.Fatalf("Add(%d, %d, %d, %d octets) = %d octets, %d, %v, %v; want %d octets, %d, %v, %v",
			num, total, first, len(body), len(plain), firstPayload, done, err, len(wantPlain), wantFirst, wantDone, wantErr)
	}
	have, of := bits.OnesCount64(r.have), int(r.total)
	if have != len(n.bodies) || of != int(n.total) {
		t.Fatalf("%d of %d fragments, want %d of %d", have, of, len(n.bodies), n.total)
	}
	return done
}

func mustAdd(t *testing.T, r *Reassembly, num, total uint16, first uint8, body string) {
	t.Helper()
	if _, _, done, err := r.Add(num, total, first, []byte(body)); done || err != nil {
		t.Fatalf("Add(%d, %d) = %v, %v", num, total, done, err)
	}
}

func same(a, b *Reassembly) bool {
	return a.have == b.have && a.total == b.total && a.first == b.first && a.spans == b.spans &&
		bytes.Equal(a.buf, b.buf)
}

func BenchmarkReassembly(b *testing.B) {
	body := make([]byte, 1200)
	b.ReportAllocs()
	for b.Loop() {
		var r Reassembly
		for num := uint16(1); num <= 4; num++ {
			r.Add(num, 4, 35, body)
		}
	}
}
