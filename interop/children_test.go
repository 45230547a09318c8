package interop

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Two Child SAs of one IKE SA, RFC 7296 1.3.1: data has IPv4 and voice IPv6,
// each with a suite of its own.

// twoChildren is the profile of our end.
func twoChildren() profile {
	p := usual.carrying()
	p.more = `children:
  - {name: data, local_ts: [%s], remote_ts: [%s]}
  - {name: voice, local_ts: ["%s"], remote_ts: ["%s"], esp: [chacha20poly1305-x25519]}
`
	return p
}

// swanChildren is strongSwan's configuration with both of them.
func swanChildren(local, remoteAddr, localID, remoteID string, ts [4]string, voice string) string {
	return swanOffice(local, remoteAddr, localID, remoteID,
		swanChild("data", ts[0], ts[1], "aes256gcm16", "tunnel")+swanChild("voice", ts[2], ts[3], voice, "tunnel"))
}

func swanChild(name, localTS, remoteTS, esp, mode string) string {
	return fmt.Sprintf(`      %s {
        local_ts = %s
        remote_ts = %s
        esp_proposals = %s
        mode = %s
        rekey_time = 0
      }
`, name, localTS, remoteTS, esp, mode)
}

// swanOffice is strongSwan's configuration with Child SAs of swanChild.
func swanOffice(local, remoteAddr, localID, remoteID, children string) string {
	return fmt.Sprintf(`connections {
  office {
    version = 2
    local_addrs = %s
    remote_addrs = %s
    proposals = aes256gcm16-prfsha256-x25519
    rekey_time = 0
    encap = no
    local {
      auth = psk
      id = %s
    }
    remote {
      auth = psk
      id = %s
    }
    children {
%s    }
  }
}
secrets {
  ike-office {
    secret = %q
  }
}
`, local, remoteAddr, localID, remoteID, children, secret)
}

// children are those of the only IKE SA at both ends, in strongSwan's words,
// when both have exactly these.
func children(t *testing.T, c *Charon, ours *Swan, names ...string) map[string]SwanChild {
	t.Helper()
	var all map[string]SwanChild
	until(t, fmt.Sprintf("%q at both ends", names), func() bool {
		sas := c.SAs(t)
		status, err := ours.Status(t)
		if len(sas) != 1 || sas[0].State != "ESTABLISHED" || err != nil || len(status.SAs) != 1 {
			return false
		}
		all = map[string]SwanChild{}
		for _, child := range sas[0].Children {
			if child.State == "INSTALLED" {
				all[child.Name] = child
			}
		}
		we := map[string]string{status.SAs[0].Child: status.SAs[0].ChildIn}
		for _, child := range status.SAs[0].Children {
			we[child.Name] = child.In
		}
		for name, child := range all {
			if we[name] != child.Values["spi-out"] {
				return false
			}
		}
		return len(we) == len(names) && slices.Equal(slices.Sorted(maps.Keys(all)), names)
	})
	return all
}

// through pings by both and looks which Child SA had which.
func through(t *testing.T, c *Charon, ours *Swan, we *Node, our, its [2]string) {
	t.Helper()
	before := children(t, c, ours, "data", "voice")
	for version, name := range []string{"data", "voice"} {
		we.Ping(t, our[version], its[version])
		now := children(t, c, ours, "data", "voice")
		for child := range now {
			carried := now[child].Traffic(t).Since(before[child].Traffic(t))
			if mine := child == name; mine && min(carried.In, carried.Out) < 10 || !mine && carried != (Traffic{}) {
				t.Errorf("ten pings by %s: %s has carried %+v", name, child, carried)
			}
		}
		before = now
	}
	if suite := before["data"].Values["encr-alg"] + " " + before["voice"].Values["encr-alg"]; suite != "AES_GCM_16 CHACHA20_POLY1305" {
		t.Errorf("strongSwan has the ciphers %s", suite)
	}
}

func TestStrongSwanHasTwoChildren(t *testing.T) {
	f := meetSwan(t)
	gateway := [4]string{gatewayInner, clientInner, gatewayInner6, clientInner6}
	client := [4]string{clientInner, gatewayInner, clientInner6, gatewayInner6}

	t.Run("we initiate", func(t *testing.T) {
		p := twoChildren()
		p.more = fmt.Sprintf(p.more, clientInner, gatewayInner, clientInner6, gatewayInner6)
		conf := func(voice string) string {
			return swanChildren(f.swan.Addr.String(), "%any", gatewayID, clientID, gateway, voice)
		}
		f.charon.Load(t, conf("aes128-sha256"), nil)
		ours := f.client.Connect(t, p.ourClient(f.swan), nil)
		children(t, f.charon, ours, "data")
		until(t, "strongSwan to refuse voice", func() bool {
			status, err := ours.Status(t)
			return err == nil && len(status.SAs) == 1 && len(status.SAs[0].Wanted) == 1 &&
				status.SAs[0].Wanted[0].Name == "voice" && status.SAs[0].Wanted[0].Refused == "NO_PROPOSAL_CHOSEN received"
		})
		ours.AwaitInner(t, ourClientInner)
		pulse := f.client.Pulse(t, ourClientInner[0], swanGatewayInner[0])

		write(t, filepath.Join(f.charon.dir, "swanctl.conf"), conf("chacha20poly1305-x25519"))
		if out, err := f.charon.Swanctl(t, "--load-conns"); err != nil {
			t.Fatalf("swanctl --load-conns: %v\n%s", err, out)
		}
		before := children(t, f.charon, ours, "data", "voice")["voice"].Values["spi-in"]
		pulse.Stop()
		if n := pulse.Missed(); n > 0 {
			t.Errorf("%d pings by data were not answered while voice was refused", n)
		}
		through(t, f.charon, ours, f.client, ourClientInner, swanGatewayInner)
		for _, command := range [][]string{{"--terminate", "--child", "voice"}, {"--rekey", "--child", "voice"}, {"--rekey", "--ike", "office"}} {
			if out, err := f.charon.Swanctl(t, command...); err != nil {
				t.Fatalf("strongSwan's %s: %v\n%s", command, err, out)
			}
			if command[1] == "--child" {
				until(t, "another Child SA voice", func() bool {
					now := children(t, f.charon, ours, "data", "voice")["voice"].Values["spi-in"]
					gone := now != before
					before = now
					return gone
				})
			}
		}
		through(t, f.charon, ours, f.client, ourClientInner, swanGatewayInner)
		if status, err := ours.Status(t); err != nil || status.Totals.Full != 1 {
			t.Errorf("%d logins, %v", status.Totals.Full, err)
		}
	})

	t.Run("it initiates", func(t *testing.T) {
		p := twoChildren()
		p.more = fmt.Sprintf(p.more, gatewayInner, "10.8.0.0/16", gatewayInner6, "fd08::/16")
		ours := f.gateway.Gateway(t, p.ourGateway(f.gateway), nil)
		f.charon.Load(t, swanChildren(f.swan.Addr.String(), f.gateway.Addr.String(), clientID, gatewayID, client, "chacha20poly1305-x25519"), nil)
		for _, name := range strings.Fields("voice data") {
			if out, err := f.charon.Swanctl(t, "--initiate", "--child", name, "--timeout", "20"); err != nil {
				t.Fatalf("strongSwan's initiate: %v\n%s", err, out)
			}
		}
		ours.AwaitInner(t, ourGatewayInner)
		through(t, f.charon, ours, f.gateway, ourGatewayInner, swanClientInner)
	})
}
