package interop

import (
	"fmt"
	"testing"
)

// The peers alone, before we meet them: tells a broken peer from a broken us.

func TestStrongSwanMeetsItself(t *testing.T) {
	nat := lab.NAT(t, "swan-nat")
	west := nat.Behind(t, "swan-west", "10.8.1.1/32", "fd08:1::1/128")
	east := lab.Node(t, "swan-east", "10.7.0.1/32", "fd07::1/128")
	conf := func(local, remote string, ids, ts [2]string, esp string) string {
		return fmt.Sprintf(`connections {
  self {
    version = 2
    local_addrs = %s
    remote_addrs = %s
    proposals = aes256gcm16-prfsha256-x25519
    rekey_time = 0
    local { auth = psk
 id = %s
 }
    remote { auth = psk
 id = %s
 }
    children {
      self { local_ts = %s
 remote_ts = %s
 esp_proposals = %s
 rekey_time = 0
 }
    }
  }
}
secrets {
  ike-self { secret = "a secret of the test" }
}
`, local, remote, ids[0], ids[1], ts[0], ts[1], esp)
	}
	w, e := west.StartCharon(t), east.StartCharon(t)
	west.Serve(t)
	east.Serve(t)
	inner := [2]string{"10.8.1.0/24,fd08:1::/64", "10.7.0.0/16,fd07::/64"}
	for _, esp := range espSuites {
		t.Run(esp, func(t *testing.T) {
			w.Load(t, conf(west.Addr.String(), east.Addr.String(), [2]string{"west", "east"}, inner, esp), nil)
			e.Load(t, conf(east.Addr.String(), "%any", [2]string{"east", "west"}, [2]string{inner[1], inner[0]}, esp), nil)
			if out, err := w.Swanctl(t, "--initiate", "--child", "self", "--timeout", "10"); err != nil {
				t.Fatalf("initiate: %v\n%s", err, out)
			}
			w.AwaitUp(t, "self")
			e.AwaitUp(t, "self")
			cross(t, west, east, swanClientInner, swanGatewayInner, func() (_, _ Traffic) {
				return w.AwaitUp(t, "self").Children[0].Traffic(t), e.AwaitUp(t, "self").Children[0].Traffic(t)
			})
		})
	}
}

func TestLibreswanMeetsItself(t *testing.T) {
	west, east := lab.Node(t, "libre-west"), lab.Node(t, "libre-east")
	conf := conn("self",
		"left="+west.Addr.String(), "leftid=@west", "leftsubnet=10.8.2.0/24",
		"right="+east.Addr.String(), "rightid=@east", "rightsubnet=10.7.0.0/16",
		"keyexchange=ikev2", "authby=secret", "session-resumption=yes",
		"ike=aes_gcm256-sha2_256-dh31", "esp=aes_gcm256")
	const secrets = `@west @east : PSK "a secret of the test"` + "\n"
	w, e := west.StartPluto(t, conf, secrets, "self"), east.StartPluto(t, conf, secrets, "self")
	for _, p := range []*Pluto{w, e} {
		p.Whack(t, "--impair", "send_no_delete", "--impair", "revival")
	}
	w.Initiate(t, "self")
	w.Await(t, 0, gotTicket)
	resume := func(want string) {
		mark := w.Mark()
		w.Suspend(t, "self")
		w.Initiate(t, "self")
		w.Await(t, mark, want)
		w.Await(t, mark, gotTicket)
	}
	resume(clientResumed)

	// Restarted, it has lost the key of its tickets: a NACK, and its client
	// falls back at once.
	e.Restart(t, "self")
	w.Whack(t, "--no-impair", "revival") // its word for the fallback
	resume(clientFull)
}

func TestTsharkKnowsABrokenPacket(t *testing.T) {
	from, to := lab.Node(t, "judge-from"), lab.Node(t, "judge-to")
	seen := func(datagram []byte) Packets {
		capture := to.Capture(t)
		if _, err := from.Dial(t, to.Addr, 500).Write(datagram); err != nil {
			t.Fatal(err)
		}
		until(t, "the datagram", func() bool { return capture.Size(t) > 24 }) // a file header alone
		return capture.End(t)
	}
	if good := seen(halfOpen(t)); len(good) != 1 || len(good.Faults()) != 0 {
		t.Errorf("%d packets, faults of a good one: %v", len(good), good.Faults())
	}
	broken := halfOpen(t)
	broken[28+40+3] = 0x08 // the KE payload ends before its key, which then reads as payloads
	if bad := seen(broken); len(bad.Faults()) == 0 {
		t.Errorf("no fault in a broken one:\n%s", bad.Ladder())
	}
}
