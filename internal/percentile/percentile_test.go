package percentile

import (
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i)*time.Millisecond)
	}
	for _, row := range []struct {
		times []time.Duration
		want  Spread
	}{
		{nil, Spread{}},
		{[]time.Duration{1500 * time.Microsecond}, Spread{1.5, 1.5, 1.5}},
		{[]time.Duration{3e6, 1e6, 2e6}, Spread{2, 3, 3}},
		{hundred, Spread{50, 99, 100}},
		{[]time.Duration{1_234_567}, Spread{1.235, 1.235, 1.235}},
	} {
		if got := Of(row.times); got != row.want {
			t.Errorf("%d times: %+v, want %+v", len(row.times), got, row.want)
		}
	}
}
