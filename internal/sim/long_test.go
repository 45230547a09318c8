package sim

import (
	"flag"
	"testing"
	"time"
)

// real has the long worlds agree on real keys; make sim does that.
var real = flag.Bool("real", false, "real X25519 in the long worlds")

// months are long lives in a usual network: SAs are rekeyed, the gateway and
// clients die now and then, NATs forget, packets are lost.
func months(t *testing.T, hosts, tunnels, days int) {
	t.Parallel()
	w := New(Options{
		Seed: max(*seed, 1), Shards: 4, Hosts: hosts, Tunnels: tunnels, NAT: true, Cheap: !*real, OnDemand: true, Traffic: 4 * time.Hour,
		Keys: 4 * time.Hour, Network: Network{Loss: 0.005, Double: 0.002, Late: 0.01, Delay: 10 * time.Millisecond},
	})
	w.Connect(10 * time.Minute)
	w.Run(15 * time.Minute)
	for range days * 4 { // a bad moment every six hours
		w.after(w.within(5*time.Hour), func() {
			w.Gateway.Crash(2 * time.Second)
			h := w.Hosts[w.Dice().IntN(len(w.Hosts))]
			w.after(w.within(time.Hour), h.Rebind)
			w.after(w.within(time.Hour), func() { w.Hosts[w.Dice().IntN(len(w.Hosts))].Crash(time.Minute) })
		})
		w.Run(6 * time.Hour)
	}
	if err := w.Rest(15 * time.Minute); err != nil {
		t.Fatal(err)
	}
	logins := len(w.Clients) * (1 + days/7) // before a login is a week old there is another (rule D8)
	if w.Fulls() != logins || w.Fallbacks() != 0 {
		t.Errorf("%d clients: %d full handshakes, want %d, and %d fallbacks", len(w.Clients), w.Fulls(), logins, w.Fallbacks())
	}
	rekeyed(t, w, 3*days)
	t.Logf("%d clients, %d days: %d rekeys, %d resumes", len(w.Clients), days, w.Rekeys(), w.Resumes())
}

func TestDay(t *testing.T)  { months(t, 100, 100, 1) }
func TestWeek(t *testing.T) { months(t, 10, 30, 7) }
