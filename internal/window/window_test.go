package window

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

func TestRFC7296_2_1_Judge(t *testing.T) {
	const top = math.MaxUint32
	for _, row := range []struct {
		section string
		recv    Recv
		id      uint32
		want    Verdict
	}{
		{"2.2: the first request has ID 0", Recv{}, 0, Fresh},
		{"2.3: window of one", Recv{}, 1, Ahead},
		{"2.2: nothing was answered yet", Recv{}, top, Ahead},
		{"2.2: next in turn", Recv{next: 1}, 1, Fresh},
		{"2.1: a retransmission", Recv{next: 1}, 0, Repeat},
		{"2.1: its response is forgotten", Recv{next: 2}, 0, Old},
		{"2.3: beyond the window", Recv{next: 2}, 3, Ahead},
		{"2.3: far beyond the window", Recv{next: 2}, top, Ahead},
		{"2.2: the last ID there is", Recv{next: top}, top, Fresh},
		{"2.1: before the last ID", Recv{next: top}, top - 1, Repeat},
		{"2.1: the last ID again", Recv{spent: true}, top, Repeat},
		{"2.2: no ID after the last", Recv{spent: true}, 0, Old},
		{"2.2: no ID after the last", Recv{spent: true}, 1, Old},
	} {
		if got := row.recv.Judge(row.id); got != row.want {
			t.Errorf("RFC 7296 %s: %+v.Judge(%d) = %v, want %v", row.section, row.recv, row.id, got, row.want)
		}
	}
}

// The oracle remembers every answered request in a set.
func TestJudgeAgainstAMemoryOfAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r Recv
	answered := map[uint32]bool{}
	last := uint32(math.MaxUint32)
	for range 20000 {
		id := uint32(rng.IntN(len(answered) + 3))
		want := Ahead
		switch {
		case len(answered) > 0 && id == last:
			want = Repeat
		case answered[id]:
			want = Old
		case id == 0 || answered[id-1]:
			want = Fresh
		}
		if got := r.Judge(id); got != want {
			t.Fatalf("%d answered: Judge(%d) = %v, want %v", len(answered), id, got, want)
		}
		if want == Fresh {
			if id != r.Next() {
				t.Fatalf("Next = %d, but %d is fresh", r.Next(), id)
			}
			r.Done()
			answered[id], last = true, id
		}
	}
	if len(answered) < 100 {
		t.Fatalf("only %d requests were fresh", len(answered))
	}
}

func TestRFC7296_2_2_RecvEndsAtTheLastID(t *testing.T) {
	r := Recv{next: math.MaxUint32}
	r.Done()
	r.Done() // misuse must not open the window again
	if got := r.Judge(math.MaxUint32); got != Repeat {
		t.Errorf("the last request again: %v", got)
	}
	if got := r.Judge(0); got != Old {
		t.Errorf("ID 0 after the last: %v", got)
	}
}

func TestRFC7296_2_3_OneRequestAtATime(t *testing.T) {
	var s Send
	s.Close() // nothing is open: nothing happens
	for want := range uint32(5) {
		if id, ok := s.Next(); id != want || !ok {
			t.Fatalf("Next = %d, %v, want %d", id, ok, want)
		}
		if !s.Idle() {
			t.Fatalf("%d is open before it is sent", want)
		}
		if id, ok := s.Open(); id != want || !ok {
			t.Fatalf("Open = %d, %v, want %d", id, ok, want)
		}
		if _, ok := s.Open(); ok {
			t.Fatalf("a second request is open beside %d", want)
		}
		if _, ok := s.Next(); ok || s.Idle() {
			t.Fatalf("%d is open, and yet another could be sent", want)
		}
		s.Close()
	}
}

func TestRFC7296_2_2_SendEndsAtTheLastID(t *testing.T) {
	s := Send{next: math.MaxUint32}
	if id, ok := s.Open(); id != math.MaxUint32 || !ok {
		t.Fatalf("the last ID: %d, %v", id, ok)
	}
	s.Close()
	if id, ok := s.Open(); ok {
		t.Errorf("a request after the last ID: %d", id)
	}
	s.Close()
	if id, ok := s.Open(); ok || !s.Idle() {
		t.Errorf("Close undid the end: %d", id)
	}
}

func TestWindowsAreSmall(t *testing.T) {
	if r, s := unsafe.Sizeof(Recv{}), unsafe.Sizeof(Send{}); r != 8 || s != 8 {
		t.Errorf("Recv has %d octets and Send %d, want 8 each", r, s)
	}
}

func TestVerdictNames(t *testing.T) {
	for v, want := range map[Verdict]string{Fresh: "fresh", Repeat: "repeat", Old: "old", Ahead: "ahead", 9: "unknown"} {
		if got := v.String(); got != want {
			t.Errorf("Verdict(%d) = %q, want %q", v, got, want)
		}
	}
}

func TestBackoffNominal(t *testing.T) {
	const half = 1 << 31 // a jitter that moves nothing
	for _, row := range []struct {
		name string
		b    Backoff
		try  int
		want time.Duration
	}{
		{"first", Backoff{Initial: time.Second, Factor: 200}, 0, time.Second},
		{"doubles", Backoff{Initial: time.Second, Factor: 200}, 3, 8 * time.Second},
		{"grows by 1.8", Backoff{Initial: 4 * time.Second, Factor: 180}, 2, 12960 * time.Millisecond},
		{"capped", Backoff{Initial: time.Second, Max: 5 * time.Second, Factor: 200}, 3, 5 * time.Second},
		{"capped from the start", Backoff{Initial: 9 * time.Second, Max: 5 * time.Second, Factor: 200}, 0, 5 * time.Second},
		{"constant", Backoff{Initial: time.Second, Factor: 100}, 40, time.Second},
		{"never shrinks", Backoff{Initial: time.Second, Factor: 1}, 40, time.Second},
		{"zero factor", Backoff{Initial: time.Second}, 40, time.Second},
		{"huge try", Backoff{Initial: time.Second, Max: time.Minute, Factor: 101}, math.MaxInt, time.Minute},
		{"a nanosecond that cannot grow", Backoff{Initial: 1, Factor: 150}, math.MaxInt, 1},
		{"no delay", Backoff{Factor: 200}, math.MaxInt, 0},
		{"negative delay", Backoff{Initial: -time.Second, Factor: 200}, 5, 0},
		{"no cap", Backoff{Initial: time.Second, Factor: math.MaxUint16}, math.MaxInt, longest},
		{"longest time", Backoff{Initial: math.MaxInt64, Max: math.MaxInt64, Factor: math.MaxUint16}, 2, longest},
	} {
		got := row.b.Delay(row.try, half)
		if got-row.want > 1 || row.want-got > 1 {
			t.Errorf("%s: Delay(%d) = %v, want %v", row.name, row.try, got, row.want)
		}
	}
}

func TestBackoffAgainstFloats(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		b := Backoff{
			Initial: time.Duration(1 + rng.Int64N(int64(10*time.Second))),
			Max:     time.Duration(1 + rng.Int64N(int64(time.Hour))),
			Factor:  uint16(100 + rng.IntN(400)),
		}
		try, jitter := rng.IntN(12), rng.Uint32()
		nominal := min(float64(b.Initial)*math.Pow(float64(b.Factor)/100, float64(try)), float64(b.Max))
		want := nominal * (1 + Jitter/100.0*(float64(jitter)/(1<<31)-1))
		got := float64(b.Delay(try, jitter))
		if math.Abs(got-want) > 1e-6*want+2000 { // whole nanoseconds, grown a dozen times
			t.Fatalf("%+v.Delay(%d, %d) = %v, want %v", b, try, jitter, got, want)
		}
	}
}

func TestBackoffJitterReachesBothEnds(t *testing.T) {
	b := Backoff{Initial: 10 * time.Second, Factor: 200}
	low, high := b.Delay(0, 0), b.Delay(0, math.MaxUint32)
	if low != 8500*time.Millisecond {
		t.Errorf("least delay %v, want 8.5s", low)
	}
	if d := 11500*time.Millisecond - high; d < 0 || d > time.Microsecond {
		t.Errorf("longest delay %v, want just under 11.5s", high)
	}
}

func TestBackoffTotal(t *testing.T) {
	for _, row := range []struct {
		b    Backoff
		want time.Duration
	}{
		{Backoff{Initial: time.Second, Factor: 200, Tries: 5}, 31 * time.Second},
		{Backoff{Initial: time.Second, Max: 4 * time.Second, Factor: 200, Tries: 5}, 15 * time.Second},
		{Backoff{Initial: time.Second, Factor: 200}, 0},
		{Backoff{Initial: time.Hour, Factor: math.MaxUint16, Tries: 1000}, longest},
	} {
		if got := row.b.Total(); got != row.want {
			t.Errorf("%+v.Total() = %v, want %v", row.b, got, row.want)
		}
	}
}
