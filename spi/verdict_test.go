package spi

import "testing"

func TestB3_Verdict(t *testing.T) {
	// Started with epoch 100; the counter was full once since.
	boot := Boot{Node: 7, Epoch: 101, Base: 100, Earlier: true}
	moved := boot
	moved.Earlier = false
	for _, c := range []struct {
		name   string
		boot   Boot
		made   Made
		want   Verdict
		reason Reason
	}{
		{"last epoch before", boot, Made{Node: 7, Epoch: 99}, Over, EarlierBoot},
		{"first epoch of all", boot, Made{Node: 7, Epoch: 0}, Over, EarlierBoot},
		{"base", boot, Made{Node: 7, Epoch: 100}, Unknown, ThisBoot},
		{"this epoch", boot, Made{Node: 7, Epoch: 101}, Unknown, ThisBoot},
		{"future epoch", boot, Made{Node: 7, Epoch: 102}, Unknown, FutureEpoch},
		{"RFC 6290 9.2: other node", boot, Made{Node: 8, Epoch: 99}, Unknown, OtherNode},
		{"RFC 6290 9.2: other node, future", boot, Made{Node: 6, Epoch: 200}, Unknown, OtherNode},
		{"B4: other machine", moved, Made{Node: 7, Epoch: 99}, Unknown, OtherMachine},
		{"B4: other machine, this start", moved, Made{Node: 7, Epoch: 100}, Unknown, ThisBoot},
		{"B4: other machine, future", moved, Made{Node: 7, Epoch: 102}, Unknown, FutureEpoch},
	} {
		if got, reason := c.boot.Verdict(c.made); got != c.want || reason != c.reason {
			t.Errorf("%s: %v (%s), want %v (%s)", c.name, got, reason, c.want, c.reason)
		}
	}
}

// TestRFC6290_9_2_NoTokenForAnotherMembersSA: every pair of members, in every
// order of epochs: an SPI that one made is never over for the other.
func TestRFC6290_9_2_NoTokenForAnotherMembersSA(t *testing.T) {
	for _, epoch := range []uint32{1, 50, MaxEpoch} {
		other := sealer(t, 0, 2, epoch, 0)
		made, ok := other.Open(next(t, other, 0))
		if !ok {
			t.Fatal("does not open")
		}
		for _, base := range []uint32{1, 49, 51, MaxEpoch} {
			boot := Boot{Node: 1, Epoch: base, Base: base, Earlier: true}
			if v, reason := boot.Verdict(made); v != Unknown || reason != OtherNode {
				t.Errorf("member 1 with base %d on an SPI of member 2, epoch %d: %v (%s)", base, epoch, v, reason)
			}
		}
	}
}

func TestVerdictNames(t *testing.T) {
	for v, want := range map[Verdict]string{Unknown: "unknown", Live: "live", Over: "over", 9: "unknown"} {
		if v.String() != want {
			t.Errorf("Verdict(%d) = %q, want %q", v, v, want)
		}
	}
}
