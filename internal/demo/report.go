package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"blackswan/internal/ladder"
	"blackswan/internal/percentile"
	"blackswan/wire"
)

// Report is what the demo measured. Times count from the moment at which the
// restarted gateway listened; CPU is the gateway process's own, user and
// system, without its start, for each client.
type Report struct {
	Clients  int `json:"clients"`
	Resumed  int `json:"resumed"`   // back without a full handshake
	FellBack int `json:"fell_back"` // back by one
	Failed   int `json:"failed"`    // not back in time

	Detect percentile.Spread `json:"detect_ms"` // to the detection of the crash
	Back   percentile.Spread `json:"back_ms"`   // to the new SA with its Child SA

	GatewayCPUFull   float64 `json:"gateway_cpu_us_full"`
	GatewayCPUResume float64 `json:"gateway_cpu_us_resume"`

	DetectedBy map[string]int    `json:"detected_by"`
	Wire       map[string]uint64 `json:"wire"` // messages after the restart at the gateway's socket, by exchange type

	// Of the client in the middle: answers that it waited for, and octets of
	// all its IKE messages.
	TripsFull    int `json:"round_trips_full"`
	TripsResume  int `json:"round_trips_resume"`
	OctetsFull   int `json:"octets_full"`
	OctetsResume int `json:"octets_resume"`

	rungs     []ladder.Rung // of the first client
	listening time.Time     // again
	troubles  []string      // of who failed
}

// OK reports whether every client came back without a full handshake.
func (r *Report) OK() bool { return r.Resumed == r.Clients }

func (s *supervisor) report(listening time.Time) *Report {
	r := &Report{
		Clients: len(s.lives), listening: listening, rungs: s.rungs,
		DetectedBy: map[string]int{"roll_call": 0, "qcd_reply": 0, "esp_reply": 0, "timeout": 0},
	}
	var detect, back []time.Duration
	var full, resume []traffic
	for i := range s.lives {
		l := &s.lives[i]
		if !l.detected.IsZero() {
			detect = append(detect, l.detected.Sub(listening))
			r.DetectedBy[l.by]++
		}
		if l.returned.IsZero() {
			r.Failed++
			r.troubles = append(r.troubles, fmt.Sprintf("client %d: %s", i+1, l.trouble))
			continue
		}
		back = append(back, l.returned.Sub(listening))
		full = append(full, l.full)
		switch {
		case l.resumed && !l.fellBack:
			r.Resumed++
			resume = append(resume, l.resume)
		default:
			r.FellBack++
		}
	}
	r.Detect, r.Back = percentile.Of(detect), percentile.Of(back)
	r.TripsFull, r.OctetsFull = middle(full)
	r.TripsResume, r.OctetsResume = middle(resume)
	return r
}

func middle(all []traffic) (trips, octets int) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.SortFunc(all, func(a, b traffic) int { return a.Octets - b.Octets })
	t := all[len(all)/2]
	return t.Trips, t.Octets
}

// Write writes the report for people: the ladder of the first client, and a
// table.
func (r *Report) Write(w io.Writer) error {
	after := slices.IndexFunc(r.rungs, func(g ladder.Rung) bool { return !g.At.Before(r.listening) })
	if after < 0 {
		after = len(r.rungs)
	}
	if before := r.rungs[:after]; len(before) > 0 {
		if _, err := fmt.Fprint(w, "\nThe first client connects (-> it sends, <- it gets):\n\n"); err != nil {
			return err
		}
		if err := ladder.Write(w, before[0].At, before); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprint(w, "\nThe gateway was killed and listens again, at 0.0 ms:\n\n"); err != nil {
		return err
	}
	if err := ladder.Write(w, r.listening, r.rungs[after:]); err != nil {
		return err
	}
	return r.table(w)
}

func (r *Report) table(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\n\tfull handshake\tresume\t\n")
	fmt.Fprintf(t, "round trips\t%d\t%d\t\n", r.TripsFull, r.TripsResume)
	fmt.Fprintf(t, "octets of IKE\t%d\t%d\t\n", r.OctetsFull, r.OctetsResume)
	fmt.Fprintf(t, "gateway CPU a client\t%.0f us\t%.0f us\t\n", r.GatewayCPUFull, r.GatewayCPUResume)
	fmt.Fprintf(t, "\nafter the restart\tp50\tp99\tmax\t\n")
	fmt.Fprintf(t, "crash detected\t%.1f ms\t%.1f ms\t%.1f ms\t\n", r.Detect.P50, r.Detect.P99, r.Detect.Max)
	fmt.Fprintf(t, "traffic ready\t%.1f ms\t%.1f ms\t%.1f ms\t\n", r.Back.P50, r.Back.P99, r.Back.Max)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\ndetected by:   %s\n", counts(r.DetectedBy, func(k string) string { return k }))
	fmt.Fprintf(&b, "on the wire:   %s\n", counts(r.Wire, exchangeName))
	fmt.Fprintf(&b, "%d of %d clients resumed, %d fell back to a full handshake, %d failed\n", r.Resumed, r.Clients, r.FellBack, r.Failed)
	for _, line := range r.troubles[:min(len(r.troubles), 5)] {
		fmt.Fprintln(&b, line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// counts lists what is not zero, the most first.
func counts[N int | uint64](m map[string]N, name func(string) string) string {
	var keys []string
	for k, n := range m {
		if n > 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b]) - int(m[a])
		}
		return strings.Compare(a, b)
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", name(k), m[k])
	}
	if len(keys) == 0 {
		return "nothing"
	}
	return strings.Join(keys, ", ")
}

func exchangeName(number string) string {
	var n uint8
	if _, err := fmt.Sscan(number, &n); err != nil {
		return number
	}
	return wire.ExchangeType(n).String()
}
