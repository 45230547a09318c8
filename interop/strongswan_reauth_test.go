package interop

import "testing"

// Repeated authentication, RFC 4478: our gateway says how long a login holds,
// and strongSwan repeats it in time. (As a gateway strongSwan says so only to
// clients that it could not call back itself.)
func TestStrongSwanReauthentication(t *testing.T) {
	f := meetSwan(t)
	p := usual
	p.more, p.swan = "reauth: 6s\n", "over_time = 2s\n"
	mark := f.charon.Mark()
	ours, before := f.swanDials(t, f.charon, p)
	f.charon.Await(t, mark, `received AUTH_LIFETIME of [56]s, scheduling reauthentication in [1-4]s`)
	until(t, "a second login, and one SA", func() bool {
		s, err := ours.Status(t)
		return err == nil && s.Totals.Full >= 2 && len(s.SAs) == 1
	})
	if after := f.charon.AwaitUp(t, "office"); after.UniqueID == before.UniqueID {
		t.Error("strongSwan's SA is the old one")
	}
}
