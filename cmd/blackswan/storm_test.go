package main

import (
	"strings"
	"testing"

	"blackswan/ike"
	"blackswan/internal/storm"
)

// A storm of our own needs nothing, and everybody comes back after SIGKILL.
func TestStorm(t *testing.T) {
	p := newPerson(t)
	for _, row := range []struct{ args, by string }{
		{"storm --self --clients 500", "roll_call"},
		{"storm --self --clients 50 --auth cert --resume", "roll_call"},
		{"storm --self --clients 200 --simultaneous", "told"},
		{"storm --self --clients 200 --ports", "roll_call"},
	} {
		t.Run(row.args, func(t *testing.T) {
			var r storm.Report
			p.json(t, &r, strings.Fields(row.args)...)
			if r.Clients < 50 || r.Resumed != r.Clients || r.FellBack != 0 || r.Failed != 0 || r.GatewaySAs != r.Clients || r.DetectedBy[row.by]+r.DetectedBy["qcd_reply"] != r.Clients {
				t.Errorf("%+v", r)
			}
			if r.GatewayCPUFull <= 0 || r.GatewayCPUResume <= 0 || r.GatewayRSSPerSA <= 0 || r.StormRSS <= 0 || r.BackSeconds <= 0 {
				t.Errorf("figures: %+v", r)
			}
			nothingLeft(t, p)
		})
	}
}

// Loss, copies, detours and a second SIGKILL amid the recovery from the first:
// every client is back, and the gateway has no SA too many.
func TestStormInBadWeather(t *testing.T) {
	p := newPerson(t)
	var r storm.Report
	p.json(t, &r, strings.Fields("storm --self --clients 500 --loss 0.05 --duplicate 0.05 --reorder 0.05 --crashes 2 --dpd 1s --retry 300ms")...)
	if r.Failed != 0 || r.Resumed+r.FellBack != r.Clients || r.GatewaySAs != r.Clients || r.Retransmissions == 0 {
		t.Errorf("%+v", r)
	}
}

// Without a key for any ticket everybody is back by a full handshake. They all
// come at once, and no more key agreements and signatures are under way than the
// gateway lets in (rule E7).
func TestStormWithBrokenRing(t *testing.T) {
	p := newPerson(t)
	limit := ike.DefaultLimits().Questions
	for _, row := range []struct {
		args string
		most int
	}{
		{"storm --self --clients 600 --break-ring", limit},
		{"storm --self --clients 400 --break-ring --auth cert", 2 * limit}, // who is let in asks for a signature too
	} {
		var r storm.Report
		p.json(t, &r, strings.Fields(row.args)...)
		if r.FellBack != r.Clients || r.Resumed != 0 || r.Failed != 0 || r.GatewaySAs != r.Clients || !r.BrokenRing {
			t.Errorf("%s: %+v", row.args, r)
		}
		if r.GatewayQuestions < 1 || r.GatewayQuestions > row.most {
			t.Errorf("%s: %d key agreements and signatures at once, want 1 to %d", row.args, r.GatewayQuestions, row.most)
		}
	}
	if out := p.ok(t, "storm", "--self", "--clients", "20", "--break-ring"); !strings.Contains(out, "key agreements and signatures under way at once: ") {
		t.Errorf("people are not told what was under way:\n%s", out)
	}
}

// The JSON of the storm is a promise to scripts.
func TestStormJSON(t *testing.T) {
	p := newPerson(t)
	var r map[string]any
	p.json(t, &r, "storm", "--self", "--clients", "1")
	for _, key := range strings.Fields(`clients resumed fell_back failed back_seconds gateway_cpu_us_full gateway_cpu_us_resume
		gateway_rss_bytes_per_sa gateway_gc_cpu_fraction retransmissions detect_ms back_ms`) {
		if _, ok := r[key]; !ok {
			t.Errorf("no %q in %v", key, r)
		}
	}
	for _, figure := range []string{"detect_ms", "back_ms"} {
		for _, key := range []string{"p50", "p99", "max"} {
			if _, ok := r[figure].(map[string]any)[key]; !ok {
				t.Errorf("no %q in %s", key, figure)
			}
		}
	}
}

func TestStormForPeople(t *testing.T) {
	p := newPerson(t)
	out := p.ok(t, "storm", "--self", "--clients", "20")
	for _, want := range []string{"gateway CPU a client", "latency, 99 per cent", "crash detected", "20 of 20 clients resumed, 0 fell back to a full handshake, 0 failed; all were back"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestStormUsage(t *testing.T) {
	p := newPerson(t)
	for _, row := range []struct{ args, want string }{
		{"storm", "name a gateway"},
		{"storm --self 192.0.2.1", "leave the other one out"},
		{"storm example.org", "no IP address"},
		{"storm 127.0.0.1 --from here", "--from"},
		{"storm 127.0.0.1 --psk x --clients 0", "0 clients"},
		{"storm 127.0.0.1 --psk x --crash 0", "no process of a gateway"},
		{"storm 127.0.0.1 --psk x --break-ring --crash again.service", "'blackswan keys revoke --state DIR'"},
	} {
		_, stderr, code := p.run(t, strings.Fields(row.args)...)
		if code != exitUsage || !strings.Contains(stderr, row.want) {
			t.Errorf("%s: exit code %d, %s", row.args, code, stderr)
		}
	}
}
