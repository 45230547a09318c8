package interop

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// outages is a tunnel with a ping every 50 ms through it, whose gateway can be
// killed again and again.
type outages struct {
	gateway, client *Swan
	pulse           *Pulse
	since           time.Time // before the present SA began
}

func meetOutages(t testing.TB) *outages {
	t.Helper()
	there, here := lab.Node(t, "gateway-g"), lab.Node(t, "client-g")
	p := usual.carrying()
	o := &outages{gateway: there.Gateway(t, p.ourGateway(there), nil), since: time.Now()}
	o.client = here.Connect(t, p.ourClient(there), nil)
	o.client.AwaitTunnel(t, ourClientInner)
	o.pulse = here.Pulse(t, ourClientInner[0], ourGatewayInner[0])
	return o
}

// outage kills the gateway, starts it again, and waits until the ping goes on
// by itself. down is from SIGKILL until it listens again, gap how long there
// was no answer.
func (o *outages) outage(t testing.TB) (down, gap time.Duration) {
	t.Helper()
	o.gateway.AwaitStored(t, o.since)
	killed := time.Now()
	o.gateway.Kill()
	o.gateway.Restart(t)
	o.since = o.gateway.Listening(t)
	back := o.pulse.Beat(t, o.since)
	return o.since.Sub(killed), back.Sub(o.pulse.Last(killed))
}

// A ping through the tunnel outlives the gateway: its client resumes, with no
// handshake and nobody's help.
func TestTrafficOutlivesOurCrash(t *testing.T) {
	o := meetOutages(t)
	const crashes = 3
	for range crashes {
		down, gap := o.outage(t)
		t.Logf("down %v, gap %v: %v to recover", down, gap, gap-down)
	}
	status, err := o.client.Status(t)
	if err != nil || status.Totals.Full != 1 || status.Totals.Resumed != crashes {
		t.Errorf("our client after %d crashes: %+v, %v", crashes, status.Totals, err)
	}
	o.client.Interrupt() // while there is a gateway to hear it
}

// BenchmarkGap prints how long the ping takes to go on when the gateway
// listens again, at the median of as many crashes as there are iterations:
// `make bench-gap`.
func BenchmarkGap(b *testing.B) {
	o := meetOutages(b)
	var recoveries []time.Duration
	for b.Loop() {
		down, gap := o.outage(b)
		recoveries = append(recoveries, gap-down)
		fmt.Printf("down %8v  gap %8v  to recover %8v\n",
			down.Round(time.Millisecond), gap.Round(time.Millisecond), (gap - down).Round(time.Millisecond))
	}
	slices.Sort(recoveries)
	line, err := json.Marshal(map[string]any{
		"runs": len(recoveries), "median_seconds": recoveries[len(recoveries)/2].Seconds(),
		"worst_seconds": recoveries[len(recoveries)-1].Seconds(),
	})
	if err != nil {
		b.Fatal(err)
	}
	fmt.Println(string(line))
}
