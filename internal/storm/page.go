package storm

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

// chart is the recovery curve, and below it how many came back in each part of
// the time, in the units of the page's drawing.
type chart struct {
	Line, Area string // of the curve, as SVG paths
	Bars       []rectangle
	X, Y, Rate []mark
}

// rectangle is one bar.
type rectangle struct{ X, Y, Width, Height float64 }

// mark is a place on an axis and what is written there.
type mark struct {
	At   float64
	Text string
}

// Size of the drawing: two charts with a common time.
const (
	left, right  = 64.0, 880.0
	top, floor   = 12.0, 240.0 // of the curve
	roof, ground = 276.0, 356.0
	bins         = 48
)

// WritePage writes the report as one page of HTML that needs nothing else. Its
// figures are those of the JSON, each in an element that names its key.
func (r *Report) WritePage(w io.Writer) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	figures := map[string]any{}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber() // as it is written
	if err := decoder.Decode(&figures); err != nil {
		return err
	}
	page, err := template.New("page").Funcs(template.FuncMap{
		"figure": func(key string) (template.HTML, error) { return figure(figures, key) },
	}).Parse(pageText)
	if err != nil {
		return err
	}
	return page.Execute(w, struct {
		*Report
		Chart chart
	}{r, draw(r.Curve)})
}

// figure is the number of that key, "back_ms.p99" being one within another.
func figure(figures map[string]any, key string) (template.HTML, error) {
	var at any = figures
	for part := range strings.SplitSeq(key, ".") {
		inner, ok := at.(map[string]any)
		if !ok {
			return "", fmt.Errorf("storm: the report has no %q", key)
		}
		at = inner[part]
	}
	n, ok := at.(json.Number)
	if !ok {
		return "", fmt.Errorf("storm: %q is no figure of the report", key)
	}
	return template.HTML(fmt.Sprintf(`<b data-key="%s">%s</b>`, key, n)), nil
}

// draw makes the drawing of a curve.
func draw(curve []Point) (c chart) {
	if len(curve) == 0 {
		return c
	}
	last := curve[len(curve)-1]
	span, most := max(last.Milliseconds, 0.001), float64(last.Clients)
	x := func(ms float64) float64 { return round1(left + (right-left)*ms/span) }
	y := func(n float64) float64 { return round1(floor - (floor-top)*n/most) }
	var path strings.Builder
	fmt.Fprintf(&path, "M%g %g", x(0), y(0))
	for _, p := range curve {
		fmt.Fprintf(&path, "L%g %g", x(p.Milliseconds), y(float64(p.Clients)))
	}
	c.Line = path.String()
	c.Area = c.Line + fmt.Sprintf("L%g %gZ", right, floor)
	for _, s := range ticks(span / 1e3) {
		c.X = append(c.X, mark{x(s * 1e3), fmt.Sprintf("%g s", s)})
	}
	for _, n := range ticks(most) {
		c.Y = append(c.Y, mark{y(n), fmt.Sprintf("%.0f", n)})
	}
	c.drawRate(curve, span)
	return c
}

// drawRate makes a bar for each part of the time.
func (c *chart) drawRate(curve []Point, span float64) {
	var came [bins]float64
	before := 0
	for _, p := range curve {
		came[min(int(bins*p.Milliseconds/span), bins-1)] += float64(p.Clients - before)
		before = p.Clients
	}
	perSecond := bins / span * 1e3
	most, width := slices.Max(came[:]), (right-left)/bins
	for i, n := range came {
		height := round1((ground - roof) * n / most)
		c.Bars = append(c.Bars, rectangle{round1(left + float64(i)*width), ground - height, round1(width - 1), height})
	}
	for _, n := range ticks(most * perSecond) {
		c.Rate = append(c.Rate, mark{round1(ground - (ground-roof)*n/(most*perSecond)), fmt.Sprintf("%.0f", n)})
	}
}

// ticks are three to six round numbers from 0 to most.
func ticks(most float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(most/2)))
	for _, more := range []float64{2, 2.5, 2} { // 1, 2, 5, 10
		if most/step < 6 {
			break
		}
		step *= more
	}
	var all []float64
	for n := 0; float64(n)*step <= most; n++ {
		all = append(all, float64(n)*step)
	}
	return all
}

func round1(f float64) float64 { return math.Round(f*10) / 10 }
