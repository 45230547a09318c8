package interop

import (
	"strings"
	"testing"
)

// Liveness checks, RFC 7296 2.4, in both roles and both directions.
func TestStrongSwanLiveness(t *testing.T) {
	f := meetSwan(t)
	asks, answers := `generating INFORMATIONAL request \d+ \[ \]`, `parsed INFORMATIONAL response \d+ \[ \]`
	isAsked, weAnswer := `parsed INFORMATIONAL request \d+ \[ \]`, `generating INFORMATIONAL response \d+ \[ \]`
	itAsks, weAsk := usual, usual
	itAsks.swan = "dpd_delay = 1s\n"
	weAsk.more = "dpd: 1s\n"
	cases := []struct {
		name  string
		p     profile
		dial  func(*testing.T, *Charon, profile) (*Swan, SwanSA)
		lines [2]string
	}{
		{"its gateway asks our client", itAsks, f.dialSwan, [2]string{asks, answers}},
		{"its client asks our gateway", itAsks, f.swanDials, [2]string{asks, answers}},
		{"our client asks its gateway", weAsk, f.dialSwan, [2]string{isAsked, weAnswer}},
		{"our gateway asks its client", weAsk, f.swanDials, [2]string{isAsked, weAnswer}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ours, before := c.dial(t, f.charon, c.p)
			mark := f.charon.Mark()
			for _, line := range c.lines {
				f.charon.Await(t, mark, line)
			}
			if after := f.charon.AwaitUp(t, "office"); after.UniqueID != before.UniqueID {
				t.Errorf("strongSwan's SA is number %s, was %s", after.UniqueID, before.UniqueID)
			}
			ours.AwaitUp(t)
		})
	}
}

// A peer that falls silent is dead after the retransmissions (RFC 7296 2.4).
func TestStrongSwanFallsSilent(t *testing.T) {
	f := meetSwan(t)
	p := usual
	// A client that may be on its way is waited for longer (RFC 4555 3.11).
	p.more, p.swan = "dpd: 1s\nmobike: off\n", "dpd_delay = 1s\n"
	t.Run("our gateway forgets it", func(t *testing.T) {
		ours, _ := f.swanDials(t, f.charon, p)
		f.swan.Unplug(t)
		ours.AwaitNone(t)
	})
	t.Run("it forgets our client", func(t *testing.T) {
		ours, _ := f.dialSwan(t, f.charon, p)
		mark := f.charon.Mark()
		ours.Kill()
		f.charon.Await(t, mark, `giving up after \d+ retransmits`)
		f.charon.AwaitNone(t)
	})
	t.Run("our client comes back", func(t *testing.T) {
		ours, before := f.dialSwan(t, f.charon, p)
		plug := f.swan.Unplug(t)
		until(t, "our client to notice", func() bool {
			status, err := ours.Status(t)
			return err == nil && status.Totals.Down > 0
		})
		plug()
		ours.AwaitUp(t)
		until(t, "a new SA at strongSwan", func() bool {
			sas := f.charon.SAs(t)
			return len(sas) > 0 && sas[len(sas)-1].State == "ESTABLISHED" && sas[len(sas)-1].UniqueID != before.UniqueID
		})
	})
}

// DELETE, RFC 7296 1.4.1, from either side and in either role.
func TestStrongSwanDelete(t *testing.T) {
	f := meetSwan(t)
	t.Run("our client on Ctrl-C", func(t *testing.T) {
		ours, _ := f.dialSwan(t, f.charon, usual)
		mark := f.charon.Mark()
		ours.Interrupt()
		f.charon.Await(t, mark, `received DELETE for IKE_SA office`)
		f.charon.AwaitNone(t)
		if code := ours.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("our client ended with %d", code)
		}
	})
	t.Run("its client", func(t *testing.T) {
		ours, _ := f.swanDials(t, f.charon, usual)
		mark := f.charon.Mark()
		terminate(t, f.charon, "--ike", "office")
		ours.AwaitNone(t)
		if !f.charon.Said(mark, `IKE_SA deleted`) {
			t.Error("strongSwan does not know that its DELETE arrived")
		}
	})
	t.Run("our gateway", func(t *testing.T) {
		ours, _ := f.swanDials(t, f.charon, usual)
		mark := f.charon.Mark()
		ours.Do(t, "delete", ours.AwaitUp(t).SPIr)
		f.charon.Await(t, mark, `received DELETE for IKE_SA office`)
		f.charon.AwaitNone(t)
		ours.AwaitNone(t)
	})
	t.Run("its gateway", func(t *testing.T) {
		ours, before := f.dialSwan(t, f.charon, usual)
		mark := f.charon.Mark()
		terminate(t, f.charon, "--ike", "office")
		if !f.charon.Said(mark, `IKE_SA deleted`) {
			t.Error("strongSwan does not know that its DELETE arrived")
		}
		// Our client keeps its connection up: it dials anew.
		if again := f.charon.AwaitUp(t, "office"); again.UniqueID == before.UniqueID {
			t.Error("strongSwan still has the SA that it has deleted")
		}
		ours.AwaitUp(t)
	})
	t.Run("its client's Child SA alone", func(t *testing.T) {
		ours, _ := f.swanDials(t, f.charon, usual)
		mark := f.charon.Mark()
		terminate(t, f.charon, "--child", "office")
		f.charon.Await(t, mark, `parsed INFORMATIONAL response \d+ \[ D \]`)
		status, err := ours.Status(t)
		if err != nil || len(status.SAs) != 1 || status.SAs[0].State != "established" || status.SAs[0].ChildIn != "" {
			t.Errorf("our gateway after the DELETE of the Child SA: %+v, %v", status.SAs, err)
		}
		if sas := f.charon.SAs(t); len(sas) != 1 || len(sas[0].Children) != 0 {
			t.Errorf("strongSwan after its DELETE of the Child SA: %v", sas)
		}
	})
}

func terminate(t *testing.T, c *Charon, args ...string) {
	t.Helper()
	if out, err := c.Swanctl(t, append([]string{"--terminate", "--timeout", "20"}, args...)...); err != nil {
		t.Fatalf("strongSwan's terminate: %v\n%s", err, out)
	}
}

// A wrong secret is refused with AUTHENTICATION_FAILED and nothing stays
// (RFC 7296 2.21.2).
func TestStrongSwanWrongSecret(t *testing.T) {
	f := meetSwan(t)
	wrong := func(text string) string { return strings.ReplaceAll(text, secret, "another secret") }
	t.Run("its client's", func(t *testing.T) {
		ours := f.gateway.Gateway(t, wrong(usual.ourGateway(f.gateway)), nil)
		usual.swanClient(t, f.charon, f.gateway)
		mark := f.charon.Mark()
		if out, err := f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err == nil {
			t.Errorf("strongSwan is in:\n%s", out)
		}
		f.charon.Await(t, mark, `received AUTHENTICATION_FAILED notify error`)
		ours.AwaitNone(t)
	})
	t.Run("our client's", func(t *testing.T) {
		usual.swanGateway(t, f.charon)
		mark := f.charon.Mark()
		ours := f.client.Connect(t, wrong(usual.ourClient(f.swan)), nil)
		f.charon.Await(t, mark, `generating IKE_AUTH response 1 \[ N\(AUTH_FAILED\) \]`)
		until(t, "our client to count a failure", func() bool {
			status, err := ours.Status(t)
			return err == nil && status.Totals.Failed > 0
		})
	})
}

// Our gateway dies. strongSwan has no RFC 6290: it asks, hears tokens that it
// does not know, and comes back by its own timers.
func TestStrongSwanOutlivesOurCrash(t *testing.T) {
	f := meetSwan(t)
	p := usual
	p.swan = "dpd_delay = 1s\n"
	ours, before := f.swanDials(t, f.charon, p)
	mark := f.charon.Mark()
	ours.Kill()
	ours.Restart(t)
	ours.Await(t, 0, `msg=listening`)
	f.charon.Await(t, mark, `giving up after \d+ retransmits`)
	if out, err := f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err != nil {
		t.Fatalf("strongSwan's initiate: %v\n%s", err, out)
	}
	if after := f.charon.AwaitUp(t, "office"); after.UniqueID == before.UniqueID {
		t.Error("strongSwan still has the SA of the dead gateway")
	}
	if status, err := ours.Status(t); err != nil || status.Totals.TokensShown == 0 {
		t.Errorf("our gateway has shown no token: %+v, %v", status.Totals, err)
	}
}
