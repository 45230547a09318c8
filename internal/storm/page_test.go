package storm

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"blackswan/internal/percentile"
)

func TestTicks(t *testing.T) {
	for _, row := range []struct {
		most float64
		want []float64
	}{
		{100000, []float64{0, 20000, 40000, 60000, 80000, 100000}},
		{1, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{3.9, []float64{0, 1, 2, 3}},
		{0.02, []float64{0, 0.01, 0.02}},
	} {
		got := ticks(row.most)
		near := func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }
		if !slices.EqualFunc(got, row.want, near) {
			t.Errorf("up to %g: %v, want %v", row.most, got, row.want)
		}
	}
}

func TestDraw(t *testing.T) {
	c := draw([]Point{{500, 1}, {1000, 4}})
	if c.Line != "M64 240L472 183L880 12" || c.Area != c.Line+"L880 240Z" {
		t.Errorf("line %s\narea %s", c.Line, c.Area)
	}
	if len(c.Bars) != bins || c.Bars[bins/2].Height != 26.7 || c.Bars[bins-1].Height != ground-roof || c.Bars[0].Height != 0 {
		t.Errorf("bars: %v", c.Bars)
	}
	if last := c.X[len(c.X)-1]; last != (mark{880, "1 s"}) {
		t.Errorf("time axis: %v", c.X)
	}
	if c := draw(nil); c.Line != "" {
		t.Errorf("of nothing: %+v", c)
	}
}

// One who comes back at the very moment is a curve too.
func TestDrawOne(t *testing.T) {
	for _, curve := range [][]Point{{{0, 1}}, {{0.001, 1}}} {
		var b bytes.Buffer
		r := &Report{Clients: 1, Curve: curve, DetectedBy: map[string]int{"roll_call": 1, "qcd_reply": 0, "esp_reply": 0, "timeout": 0, "told": 0}}
		if err := r.WritePage(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("curve %v: no numbers in the page", curve)
		}
	}
}

func TestWritePage(t *testing.T) {
	r := &Report{Clients: 7, FullLatency: percentile.Spread{P50: 1.5, P99: 2.25, Max: 3}}
	var b bytes.Buffer
	if err := r.WritePage(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<b data-key="clients">7</b>`, `<b data-key="full_ms.p99">2.25</b>`, "the gateway did not crash"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	for _, not := range []string{"http:", "https:", "<script", "<svg"} { // self-contained, and no curve
		if strings.Contains(b.String(), not) {
			t.Errorf("the page has %q", not)
		}
	}
}
