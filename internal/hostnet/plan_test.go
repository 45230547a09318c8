package hostnet

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestEntries(t *testing.T) {
	tests := []struct {
		name string
		plan Plan
		want []string // as of slot 1
	}{
		{"nothing", Plan{}, nil},
		{"addresses alone", Plan{Addresses: prefixes("10.9.0.5/24", "fd00::5/128", "10.9.0.5/24")}, []string{
			"ip -4 address add 10.9.0.5/24 dev tun0",
			"ip -6 address add fd00::5/128 dev tun0",
		}},
		{"split", Plan{Routes: prefixes("10.1.2.3/8"), Gateway: netip.MustParseAddr("192.0.2.1"), Mark: 0xb5}, []string{
			"ip -4 rule add pref 20501 fwmark 0xb5 lookup main protocol 69",
			"ip -4 rule add pref 20601 fwmark 0xb5 unreachable protocol 69",
			"ip -4 route add blackhole 10.0.0.0/8 table 17664 metric 1001 proto 69",
			"ip -4 route add 10.0.0.0/8 dev tun0 table 17664 metric 101 proto 69",
			"ip -4 rule add pref 20701 lookup 17664 protocol 69",
		}},
		{"the gateway inside", Plan{Routes: prefixes("192.0.2.0/24", "192.0.0.0/8"), Gateway: netip.MustParseAddr("::ffff:192.0.2.1")}, []string{
			"ip -4 rule add pref 20501 to 192.0.2.1/32 lookup main protocol 69",
			"ip -4 rule add pref 20601 to 192.0.2.1/32 unreachable protocol 69",
			"ip -4 route add blackhole 192.0.2.0/24 table 17664 metric 1001 proto 69",
			"ip -4 route add blackhole 192.0.0.0/8 table 17664 metric 1001 proto 69",
			"ip -4 route add 192.0.2.0/24 dev tun0 table 17664 metric 101 proto 69",
			"ip -4 route add 192.0.0.0/8 dev tun0 table 17664 metric 101 proto 69",
			"ip -4 rule add pref 20701 lookup 17664 protocol 69",
		}},
		{"full, of the other family", Plan{Routes: prefixes("::/0"), Gateway: netip.MustParseAddr("192.0.2.1")}, []string{
			"ip -6 route add blackhole ::/0 table 17664 metric 1001 proto 69",
			"ip -6 route add ::/0 dev tun0 table 17664 metric 101 proto 69",
			"ip -6 rule add pref 20701 lookup 17664 protocol 69",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, e := range test.plan.entries(device{"tun0", 7}) {
				if err := e.check(); err != nil {
					t.Error(err)
				}
				got = append(got, e.command("add", 1))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestPlansRefused(t *testing.T) {
	good := Plan{Device: "tun0", Routes: prefixes("10.0.0.0/8"), DNS: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Search: []string{"corp.example", "x_1.test."}}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(p *Plan){
		"no device":              func(p *Plan) { p.Device = "" },
		"a device like a flag":   func(p *Plan) { p.Device = "-x" },
		"a zero prefix":          func(p *Plan) { p.Routes = append(p.Routes, netip.Prefix{}) },
		"a mapped address":       func(p *Plan) { p.Addresses = prefixes("::ffff:10.0.0.1/128") },
		"no server":              func(p *Plan) { p.DNS = []netip.Addr{{}} },
		"a server with a zone":   func(p *Plan) { p.DNS = []netip.Addr{netip.MustParseAddr("fe80::1%eth0")} },
		"a domain like a flag":   func(p *Plan) { p.Search = []string{"-x"} },
		"a domain for all names": func(p *Plan) { p.Search = []string{"~."} },
		"a domain of two lines":  func(p *Plan) { p.Search = []string{"a\nnameserver 1.2.3.4"} },
		"an empty domain":        func(p *Plan) { p.Search = []string{""} },
		"a long domain":          func(p *Plan) { p.Search = []string{strings.Repeat("a", 254)} },
	} {
		p := good
		spoil(&p)
		if p.check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// table is a host that looks up as slowly as the words say.
type table []entry

// way is where a packet goes.
func (all table) way(to netip.Addr, mark uint32) string {
	best, bits := "clear", -1 // nothing in our table
	for _, e := range all {
		if e.Prefix.Contains(to) && (e.Mark == 0 || e.Mark == mark) {
			switch {
			case e.Kind == outside:
				return "clear" // asked first, and main has a way
			case e.Kind == blackhole && e.Prefix.Bits() > bits:
				best, bits = "dropped", e.Prefix.Bits()
			case e.Kind == route && e.Prefix.Bits() >= bits:
				best, bits = "tunnel", e.Prefix.Bits()
			}
		}
	}
	if !slices.ContainsFunc(all, func(e entry) bool { return e.Kind == tunnel && e.family() == bit(to.Is6()) }) {
		return "clear"
	}
	return best
}

// without is the host after a device is gone.
func (all table) without(d device) table {
	return slices.DeleteFunc(slices.Clone(all), func(e entry) bool { return e.Device == d })
}

// TestStepsNeverLeak walks from random plans to random plans. After each step,
// and if the process is killed after it, what both plans carry is not in the
// clear, and own packets are.
func TestStepsNeverLeak(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		from, to := randomPlan(r), randomPlan(r)
		before, after := device{"tun0", 1}, device{"tun0", 1}
		host := table(from.entries(before))
		ours := slices.Clone(host)
		if r.IntN(2) == 0 { // it was killed
			host, after = host.without(before), device{"tun0", 2}
		}
		foreign := entry{Kind: blackhole, Prefix: netip.MustParsePrefix("203.0.113.0/24")}
		host = append(host, foreign)
		want := to.entries(after)
		check := func(when string, host table) {
			for _, a := range probes {
				carried := carries(&from, a) && carries(&to, a)
				if way := host.way(a, 0); carried && way == "clear" {
					t.Fatalf("%s: %v in the clear\nfrom %+v\nto %+v\nhost %v", when, a, from, to, host)
				}
				if way := host.way(a, from.Mark); from.Mark != 0 && from.Mark == to.Mark && way != "clear" {
					t.Fatalf("%s: own packet to %v: %s", when, a, way)
				}
				if way := host.way(from.Gateway, 0); from.Gateway == to.Gateway && way != "clear" {
					t.Fatalf("%s: to the gateway: %s", when, way)
				}
			}
		}
		for _, s := range steps(host, ours, want) {
			if s.add {
				host = append(host, s.entry)
			} else {
				host = slices.DeleteFunc(host, func(e entry) bool { return e == s.entry })
			}
			check("after a step", host)
			check("killed after a step", host.without(after))
		}
		if got := len(host); got != len(want)+1 || !slices.Contains(host, foreign) {
			t.Fatalf("%d entries, want %d and the foreign one: %v", got, len(want), host)
		}
		for _, a := range probes {
			if way := host.way(a, 0); carries(&to, a) && way != "tunnel" {
				t.Fatalf("at the end %v: %s", a, way)
			}
		}
		for _, s := range steps(host, want, nil) {
			if s.add {
				t.Fatal("a release adds")
			}
		}
	}
}

var probes = []netip.Addr{
	netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.1.9.9"), netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("198.51.100.1"),
	netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2001:db8::1"),
}

// carries reports whether a packet belongs into the tunnel of the plan.
func carries(p *Plan, a netip.Addr) bool {
	return a != p.Gateway && slices.ContainsFunc(p.Routes, func(r netip.Prefix) bool { return r.Contains(a) })
}

func randomPlan(r *rand.Rand) (p Plan) {
	for _, prefix := range prefixes("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "0.0.0.0/0", "0.0.0.0/1", "198.51.100.0/24", "::/0", "fd00::/8") {
		if r.IntN(3) == 0 {
			p.Routes = append(p.Routes, prefix)
		}
	}
	p.Gateway = probes[r.IntN(len(probes))]
	p.Mark = uint32(r.IntN(3))
	for _, a := range prefixes("10.9.0.5/32", "fd00::5/128") {
		if r.IntN(2) == 0 {
			p.Addresses = append(p.Addresses, a)
		}
	}
	return p
}

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
