package storm

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"blackswan/ike"
	"blackswan/internal/percentile"
)

// Report is what a storm saw. Times after a crash count from the moment at
// which the gateway listened again: one of --self tells it; of another, whoever
// started it has returned or the first client has heard of it, whichever came
// first. CPU is the gateway process's own, user and system, for each client:
// after a crash from that moment or, of another, from its start. What was not
// measured is zero.
type Report struct {
	Clients  int `json:"clients"`
	Resumed  int `json:"resumed"`   // back without a full handshake
	FellBack int `json:"fell_back"` // back by one
	Failed   int `json:"failed"`    // not back in time

	BackSeconds float64           `json:"back_seconds"` // until the last one was back
	Detect      percentile.Spread `json:"detect_ms"`    // to the detection of the crash
	Back        percentile.Spread `json:"back_ms"`      // to the new SA with its Child SA
	DetectedBy  map[string]int    `json:"detected_by"`
	Curve       []Point           `json:"curve"` // clients back against time

	FullLatency   percentile.Spread `json:"full_ms"` // of one full handshake, from its first message
	FullRate      float64           `json:"full_per_second"`
	ResumeLatency percentile.Spread `json:"resume_ms"` // of one resume after the crash
	ResumeRate    float64           `json:"resume_per_second"`

	GatewayCPUFull   float64 `json:"gateway_cpu_us_full"`
	GatewayCPUResume float64 `json:"gateway_cpu_us_resume"` // after the crash
	GatewayCPUQuiet  float64 `json:"gateway_cpu_us_quiet"`  // of a resume without a crash
	GatewayCores     int     `json:"gateway_cores"`         // CPUs that the gateway had for itself; 0: it shared all
	EchoCPU          float64 `json:"echo_cpu_us"`           // of two echoes of 300 octets by UDP, in the same run and on the same CPUs

	GatewayRSS        int64   `json:"gateway_rss_bytes"`        // with every client connected
	GatewayRSSPerSA   float64 `json:"gateway_rss_bytes_per_sa"` // of that, what came with the clients
	GatewayGCFraction float64 `json:"gateway_gc_cpu_fraction"`  // of the gateway's CPU since it listened again
	GatewayQuestions  int     `json:"gateway_most_questions"`   // key agreements and signatures that were under way at once, since it listened again
	GatewaySAs        int     `json:"gateway_sas"`              // that the gateway has at the end

	Retransmissions int64 `json:"retransmissions"` // requests that clients sent again, after the restart

	StormRSS       int64   `json:"storm_rss_bytes"`     // of this process, at most
	StormCPUResume float64 `json:"storm_cpu_us_resume"` // of this process, for what gateway_cpu_us_resume counts at the gateway

	BrokenRing bool `json:"broken_ring,omitempty"` // every ticket was made useless before the crash

	trouble string // what a client that is not back told last
}

// Point of the recovery curve.
type Point struct {
	Milliseconds float64 `json:"ms"`
	Clients      int     `json:"clients"`
}

// OK reports whether every client is there, none by a full handshake after a
// crash unless no ticket was good.
func (r *Report) OK() bool { return r.Failed == 0 && (r.FellBack == 0 || r.BrokenRing) }

// curvePoints are enough for a smooth line.
const curvePoints = 200

// curve is made of sorted times.
func curve(back []time.Duration) []Point {
	var c []Point
	for i := range min(len(back), curvePoints) {
		n := (i+1)*len(back)/min(len(back), curvePoints) - 1
		c = append(c, Point{percentile.Milliseconds(back[n]), n + 1})
	}
	return c
}

// look is what had been used and done at a moment.
type look struct {
	gateway, storm usage
	repeated       int64 // requests that clients sent again
}

func (s *storm) look() look { return look{s.Process.usage(), self().usage(), s.repeated()} }

// full notes the full handshakes.
func (s *storm) full(ctx context.Context, r *Report, before, after usage, took time.Duration) {
	var latency []time.Duration
	s.clients(ctx, func(k *client) { latency = append(latency, time.Duration(k.full)) })
	r.FullLatency, r.FullRate = percentile.Of(latency), rounded(float64(s.Clients)/took.Seconds(), 2)
	r.GatewayCPUFull = s.perClient(before, after)
	r.GatewayRSS = after.rss
	if before.known {
		r.GatewayRSSPerSA = rounded(float64(after.rss-before.rss)/float64(s.Clients), 2)
	}
}

// recovered notes what became of the clients after a crash.
func (s *storm) recovered(ctx context.Context, r *Report, before look) {
	after := s.look()
	zero := s.zero(ctx)
	r.Resumed, r.FellBack, r.Failed = 0, 0, 0
	r.DetectedBy = map[string]int{"roll_call": 0, "qcd_reply": 0, "esp_reply": 0, "timeout": 0, "told": 0}
	var detect, back, resume []time.Duration
	s.clients(ctx, func(k *client) {
		if k.detected != 0 {
			detect = append(detect, time.Duration(max(k.detected-zero, 0)))
			r.DetectedBy[byText(k.by)]++
		}
		switch {
		case !k.live:
			r.Failed++
			return
		case k.resumed && !k.fellBack:
			r.Resumed++
		default:
			r.FellBack++
		}
		back, resume = append(back, time.Duration(max(k.back-zero, 0))), append(resume, time.Duration(k.resume))
	})
	r.Detect, r.Back, r.ResumeLatency = percentile.Of(detect), percentile.Of(back), percentile.Of(resume)
	r.BackSeconds, r.Curve = rounded(r.Back.Max/1e3, 3), curve(back)
	if r.BackSeconds > 0 {
		r.ResumeRate = rounded(float64(len(back))/r.BackSeconds, 2)
	}
	r.GatewayCPUResume, r.StormCPUResume = s.perClient(before.gateway, after.gateway), s.perClient(before.storm, after.storm)
	r.Retransmissions = after.repeated - before.repeated
	if r.Failed > 0 {
		r.trouble = s.trouble(ctx)
	}
}

// zero is when the gateway listened again.
func (s *storm) zero(ctx context.Context) int64 {
	zero := int64(s.again.Sub(s.began))
	if s.own != nil {
		return zero
	}
	s.clients(ctx, func(k *client) {
		if k.live {
			zero = min(zero, k.back)
		}
		if k.by != ike.ByNothing && k.by != ike.ByTimeout && k.detected != 0 {
			zero = min(zero, k.detected)
		}
	})
	return zero
}

func byText(b ike.By) string {
	if b == ike.ByNothing {
		return "told"
	}
	return b.String()
}

// finish notes what holds at the end.
func (s *storm) finish(r *Report) {
	r.StormRSS = self().usage().peak
	if s.own == nil {
		return
	}
	if st, err := s.own.status(); err == nil {
		r.GatewaySAs, r.GatewayQuestions = st.Totals.SAs, st.Totals.MostQuestions
		r.GatewayGCFraction = rounded(float64(st.GC)/float64(max(st.CPU, 1)), 4)
	}
}

// clients calls f with every client.
func (s *storm) clients(ctx context.Context, f func(*client)) {
	s.each(ctx, func(c *crowd, _ time.Time) {
		for i := range c.clients {
			f(&c.clients[i])
		}
	})
}

// perClient is the CPU time between two looks for each client, in microseconds.
func (s *storm) perClient(before, after usage) float64 {
	if !before.known || !after.known {
		return 0
	}
	return rounded(float64((after.cpu-before.cpu).Microseconds())/float64(s.Clients), 2)
}

// rounded has so many digits behind the point.
func rounded(f float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(f*unit) / unit
}

// Write writes the report for people: a table.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\n\tfull handshake\tresume\t\n")
	fmt.Fprintf(t, "a second\t%.0f\t%.0f\t\n", r.FullRate, r.ResumeRate)
	fmt.Fprintf(t, "gateway CPU a client\t%.0f us\t%.0f us\t\n", r.GatewayCPUFull, r.GatewayCPUResume)
	fmt.Fprintf(t, "latency, median\t%.1f ms\t%.1f ms\t\n", r.FullLatency.P50, r.ResumeLatency.P50)
	fmt.Fprintf(t, "latency, 99 per cent\t%.1f ms\t%.1f ms\t\n", r.FullLatency.P99, r.ResumeLatency.P99)
	if r.Back.Max > 0 {
		fmt.Fprintf(t, "\nafter the restart\tp50\tp99\tmax\t\n")
		fmt.Fprintf(t, "crash detected\t%.1f ms\t%.1f ms\t%.1f ms\t\n", r.Detect.P50, r.Detect.P99, r.Detect.Max)
		fmt.Fprintf(t, "client back\t%.1f ms\t%.1f ms\t%.1f ms\t\n", r.Back.P50, r.Back.P99, r.Back.Max)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nmemory of the gateway: %.0f MB, %.0f octets for each SA; of the storm: %.0f MB\n",
		float64(r.GatewayRSS)/1e6, r.GatewayRSSPerSA, float64(r.StormRSS)/1e6)
	if r.BrokenRing {
		fmt.Fprintf(&b, "key agreements and signatures under way at once: %d at most\n", r.GatewayQuestions)
	}
	if r.Curve != nil {
		fmt.Fprintf(&b, "retransmissions after the restart: %d; garbage collection: %.1f per cent of the gateway's CPU\n", r.Retransmissions, 100*r.GatewayGCFraction)
		fmt.Fprintf(&b, "%d of %d clients resumed, %d fell back to a full handshake, %d failed%s; all were back after %.2f s\n",
			r.Resumed, r.Clients, r.FellBack, r.Failed, r.trouble, r.BackSeconds)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
