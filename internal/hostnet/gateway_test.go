package hostnet

import (
	"slices"
	"testing"
	"testing/fstest"
)

func TestForwarding(t *testing.T) {
	const conf = "net/ipv4/conf/"
	good := map[string]string{
		"net/ipv4/ip_forward": "1\n", "net/ipv6/conf/all/forwarding": "1\n", "net/ipv6/conf/all/disable_ipv6": "0\n",
		conf + "all/rp_filter": "0\n", conf + "default/rp_filter": "1\n", conf + "lo/rp_filter": "1\n", conf + "eth0/rp_filter": "0\n",
	}
	v4, v6 := prefixes("10.0.0.0/8"), prefixes("fd00::/48")
	both := slices.Concat(v4, v6)
	tests := []struct {
		name string
		set  map[string]string
		want []string // cures, both families asked for
	}{
		{"all is well", nil, nil},
		{"no IPv4", map[string]string{"net/ipv4/ip_forward": "0\n"}, []string{"sysctl -w net.ipv4.ip_forward=1"}},
		{"no IPv6", map[string]string{"net/ipv6/conf/all/forwarding": "0\n"}, []string{"sysctl -w net.ipv6.conf.all.forwarding=1"}},
		{"IPv6 off", map[string]string{"net/ipv6/conf/all/disable_ipv6": "1\n"}, []string{"sysctl -w net.ipv6.conf.all.disable_ipv6=0"}},
		{"one is strict", map[string]string{conf + "eth0.7/rp_filter": "1\n"}, []string{"sysctl -w net/ipv4/conf/eth0.7/rp_filter=2"}},
		{"all are strict", map[string]string{conf + "all/rp_filter": "1\n"}, []string{"sysctl -w net/ipv4/conf/eth0/rp_filter=2"}},
		{"loose wins over strict", map[string]string{conf + "all/rp_filter": "1\n", conf + "eth0/rp_filter": "2\n"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sys := fstest.MapFS{}
			for _, settings := range []map[string]string{good, test.set} {
				for name, value := range settings {
					sys[name] = &fstest.MapFile{Data: []byte(value)}
				}
			}
			var got []string
			for _, h := range Forwarding(sys, both) {
				got = append(got, h.Cure)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("cures %q, want %q", got, test.want)
			}
			if n := len(Forwarding(sys, v4)) + len(Forwarding(sys, v6)); n != len(test.want) {
				t.Errorf("%d hints of the families one by one, want %d", n, len(test.want))
			}
		})
	}
	if hints := Forwarding(fstest.MapFS{}, both); hints != nil {
		t.Errorf("of nothing: %v", hints)
	}
}
