package ticket

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

func lineage(n uint32) (l [16]byte) {
	binary.BigEndian.PutUint32(l[:], n)
	return l
}

func TestRFC5723_9_8_Floors(t *testing.T) {
	f := NewFloors(10)
	if f.Below(lineage(1), 0) {
		t.Error("refused without a floor")
	}
	for _, c := range []struct {
		floor uint32
		want  bool
	}{{0, false}, {1, true}, {1, false}, {5, true}, {4, false}, {Revoked, true}, {Revoked, false}, {6, false}} {
		if got := f.Raise(lineage(1), c.floor, start); got != c.want {
			t.Errorf("Raise to %d = %v", c.floor, got)
		}
	}
	f.Raise(lineage(2), 5, start)
	for serial, want := range map[uint32]bool{0: true, 4: true, 5: false, 6: false, Revoked: false} {
		if got := f.Below(lineage(2), serial); got != want {
			t.Errorf("serial %d below floor 5: %v", serial, got)
		}
		if !f.Below(lineage(1), serial) {
			t.Errorf("serial %d of a revoked lineage is good", serial)
		}
	}
	if f.Len() != 2 || f.Dropped != 0 {
		t.Errorf("%d floors, %d dropped", f.Len(), f.Dropped)
	}
}

// oracle is Floors with a list that is searched.
type oracle struct {
	max    int
	floors []Floor
}

func (o *oracle) find(l [16]byte) int {
	for i, f := range o.floors {
		if f.Lineage == l {
			return i
		}
	}
	return -1
}

// first is the floor that goes first: no revoked one before another, then by
// time. The times of this test are all different.
func (o *oracle) first() int {
	best := 0
	for i, f := range o.floors {
		b := o.floors[best]
		if rf, rb := f.Floor == Revoked, b.Floor == Revoked; rf != rb && rb || rf == rb && f.Until < b.Until {
			best = i
		}
	}
	return best
}

func (o *oracle) raise(l [16]byte, floor uint32, until int64) bool {
	i := o.find(l)
	switch {
	case floor == 0:
		return false
	case i < 0:
		o.floors = append(o.floors, Floor{l, floor, until})
	case o.floors[i].Floor >= floor:
		return false
	default:
		o.floors[i] = Floor{l, floor, max(until, o.floors[i].Until)}
	}
	if len(o.floors) > o.max {
		first := o.first()
		o.floors = append(o.floors[:first], o.floors[first+1:]...)
	}
	return o.find(l) >= 0
}

func (o *oracle) expired(now int64) (n int) {
	for _, f := range o.floors {
		if f.Until <= now {
			n++
		}
	}
	return n
}

// follow forgets what f forgot at now, and tells whether its time had passed.
func (o *oracle) follow(f *Floors, now int64) bool {
	kept := make(map[[16]byte]bool)
	for x := range f.All() {
		kept[x.Lineage] = true
	}
	early := slices.ContainsFunc(o.floors, func(x Floor) bool { return !kept[x.Lineage] && x.Until > now })
	o.floors = slices.DeleteFunc(o.floors, func(x Floor) bool { return !kept[x.Lineage] })
	return !early
}

func TestFloorsAgainstAnOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 7, 60} {
		f, o := NewFloors(size), &oracle{max: size}
		for step := range 6000 {
			l := lineage(r.Uint32N(uint32(2 * size)))
			switch op := r.IntN(20); {
			case op < 14:
				floor := r.Uint32N(4)
				if r.IntN(6) == 0 {
					floor = Revoked
				}
				until := int64(r.IntN(1000))*10_000 + int64(step) // no two alike
				if got, want := f.Raise(l, floor, until), o.raise(l, floor, until); got != want {
					t.Fatalf("size %d, step %d: Raise = %v, want %v", size, step, got, want)
				}
			case op < 15:
				now, n := r.Int64N(5_000_000), 1+r.IntN(5)
				expired := o.expired(now)
				if got := f.Expire(now, n); got != min(expired, n) {
					t.Fatalf("size %d, step %d: %d expired, want %d", size, step, got, min(expired, n))
				}
				if !o.follow(f, now) {
					t.Fatalf("size %d, step %d: expired before its time", size, step)
				}
			default:
				serial := r.Uint32N(5)
				i := o.find(l)
				want := i >= 0 && (serial < o.floors[i].Floor || o.floors[i].Floor == Revoked)
				if got := f.Below(l, serial); got != want {
					t.Fatalf("size %d, step %d: Below = %v, want %v", size, step, got, want)
				}
			}
			if f.Len() != len(o.floors) {
				t.Fatalf("size %d, step %d: %d floors, want %d", size, step, f.Len(), len(o.floors))
			}
		}
		n := 0
		for x := range f.All() {
			n++
			if i := o.find(x.Lineage); i < 0 || o.floors[i] != x {
				t.Errorf("size %d: %+v is not there", size, x)
			}
		}
		if n != len(o.floors) || len(f.slots) > size+1 {
			t.Errorf("size %d: All gives %d of %d; %d slots", size, n, len(o.floors), len(f.slots))
		}
	}
}

func TestD5_RevocationsOutliveTheRest(t *testing.T) {
	f := NewFloors(100)
	for i := range uint32(50) {
		f.Raise(lineage(i), Revoked, start) // soon to expire
	}
	for i := range uint32(10_000) {
		f.Raise(lineage(1000+i), 1, start+int64(i)+1000)
	}
	for i := range uint32(50) {
		if !f.Below(lineage(i), 1<<31) {
			t.Fatalf("revocation %d was forgotten for a spent ticket", i)
		}
	}
	if f.Len() != 100 || f.Dropped != 9950 {
		t.Errorf("%d floors, %d dropped", f.Len(), f.Dropped)
	}
	if f.Below(lineage(1000), 0) || !f.Below(lineage(1000+9999), 0) {
		t.Error("the one that expires first was to go first")
	}
	for i := range uint32(100) { // nothing but revocations
		f.Raise(lineage(500+i), Revoked, start+int64(i)+1)
	}
	if f.Raise(lineage(7777), 1, start+1_000_000) || f.Below(lineage(7777), 0) {
		t.Error("a spent ticket took the room of a revocation")
	}
	if f.Below(lineage(0), 0) || !f.Below(lineage(599), 0) {
		t.Error("of revocations, the one that expires first was to go")
	}
	for range f.All() {
		break // a walk can end early
	}
}

func TestRaiseAllocatesNothing(t *testing.T) {
	f := NewFloors(64)
	n := uint32(0)
	raise := func() { n++; f.Raise(lineage(n%128), n, start+int64(n)); f.Below(lineage(n), 1) }
	for range 1000 {
		raise()
	}
	if got := testing.AllocsPerRun(1000, raise); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestD5_NotBefore(t *testing.T) {
	var n NotBefore
	alice, bob := []byte("\x02alice"), []byte("\x02bob")
	if n.Refuses(alice, 0) {
		t.Error("the zero value refuses")
	}
	n.Set(alice, start)
	n.Set(alice, start-10) // never back
	for at, want := range map[int64]bool{0: true, start - 1: true, start: true, start + 1: false} {
		if got := n.Refuses(alice, at); got != want {
			t.Errorf("authenticated at %+d: refused %v", at-start, got)
		}
	}
	if n.Refuses(bob, 0) || n.Refuses([]byte("\x03alice"), 0) {
		t.Error("somebody else is refused")
	}
	n.Set(bob, start+5)
	n.Expire(start + 1)
	if n.Refuses(alice, 0) || !n.Refuses(bob, start) {
		t.Error("Expire forgot the wrong one")
	}
}

func BenchmarkRaise(b *testing.B) {
	f := NewFloors(1 << 19)
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		f.Raise(lineage(n), 1, start+int64(n))
	}
}
